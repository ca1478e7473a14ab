//! Curves as SVG within a page, whose style sheet has the colours.

use std::fmt::Write as _;

use super::scale::Scale;
use crate::show::escaped;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
/// The drawing between its axes: left, top, right, bottom.
const FRAME: (f64, f64, f64, f64) = (78.0, 12.0, 624.0, 246.0);

/// The place between two axes.
pub(super) struct Plane {
    pub(super) x: Scale,
    pub(super) y: Scale,
}

impl Plane {
    /// Where a point is drawn.
    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let (left, top, right, floor) = FRAME;
        (left + self.x.at(x) * (right - left), floor - self.y.at(y) * (floor - top))
    }

    /// The beginning of a figure, up to the axes; the drawing and [`END`] follow.
    pub(super) fn begin(&self, title: &str, x_name: &str) -> String {
        let (left, top, right, floor) = FRAME;
        let mut svg = format!(
            "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">",
            title = escaped(title)
        );
        for (tick, name) in self.y.ticks() {
            let at = self.place((self.x.low(), tick)).1;
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{left} {at:.1}H{right}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
                left - 8.0,
                at + 5.0
            );
        }
        for (tick, name) in self.x.ticks() {
            let at = self.place((tick, self.y.low())).0;
            let _ = write!(
                svg,
                "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>",
                floor + 20.0
            );
        }
        let _ = write!(
            svg,
            "<path class=\"axis\" d=\"M{left} {top}V{floor}H{right}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            f64::midpoint(left, right),
            floor + 44.0,
            escaped(x_name)
        );
        svg
    }

    /// The path through points; what is not finite is a gap.
    pub(super) fn path(&self, points: &[(f64, f64)]) -> String {
        let mut path = String::new();
        let mut pen_up = true;
        for &point in points {
            let (px, py) = self.place(point);
            let drawn = point.1.is_finite() && py.is_finite();
            if drawn {
                let _ = write!(path, "{}{px:.1} {py:.1}", if pen_up { 'M' } else { 'L' });
            }
            pen_up = !drawn;
        }
        path
    }

    /// A dot of a curve that is a single point.
    pub(super) fn dot(&self, points: &[(f64, f64)], class: &str) -> String {
        let [only] = points else { return String::new() };
        let (x, y) = self.place(*only);
        if !y.is_finite() {
            return String::new();
        }
        format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>")
    }
}

/// Styles of lines: they are told apart by their dashes, too. The style sheet has as many colours.
const DASHES: [&str; 6] = ["", "7 3", "2 3", "9 3 2 3", "14 4", "4 4"];

/// A curve.
pub(super) struct Curve {
    pub(super) name: String,
    /// By x; what is not finite is a gap.
    pub(super) points: Vec<(f64, f64)>,
}

/// A chart with its legend; empty if no curve has a point. A curve without points has no place in it, but keeps its colour, so that a run has
/// the same one in all charts.
pub(super) fn chart(title: &str, x_name: &str, curves: &[Curve]) -> String {
    let finite = || curves.iter().flat_map(|curve| &curve.points).filter(|(_, y)| y.is_finite());
    let (x, y) = (Scale::linear(finite().map(|p| p.0)), Scale::linear(finite().map(|p| p.1)));
    let (Some(x), Some(y)) = (x, y) else { return String::new() };
    let plane = Plane { x, y: y.roomy() };
    let mut svg = plane.begin(title, x_name);
    let drawn = || curves.iter().enumerate().filter(|(_, curve)| !curve.points.is_empty());
    for (number, curve) in drawn() {
        let (color, dash) = (number % 6, DASHES[number % DASHES.len()]);
        let path = plane.path(&curve.points);
        let _ = write!(svg, "<path class=\"c{color}\" stroke-dasharray=\"{dash}\" d=\"{path}\"/>");
        svg += &plane.dot(&curve.points, &format!("c{color}"));
    }
    svg.push_str("</svg><ul class=\"legend\">");
    for (number, curve) in drawn() {
        let (color, dash) = (number % 6, DASHES[number % DASHES.len()]);
        let _ = write!(
            svg,
            "<li><svg viewBox=\"0 0 30 8\" aria-hidden=\"true\"><path class=\"c{color}\" stroke-dasharray=\"{dash}\" d=\"M0 4H30\"/></svg>{}</li>",
            escaped(&curve.name)
        );
    }
    svg + "</ul></figure>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_constants_are_drawn() {
        let curve = |points: &[(f64, f64)]| Curve { name: "a<b".into(), points: points.to_vec() };
        let svg = chart("Loss", "epoch", &[curve(&[(1.0, 2.0), (2.0, f64::NAN), (3.0, 1.0), (4.0, 0.5)])]);
        let path = svg
            .split("class=\"c0\"")
            .nth(1)
            .unwrap()
            .split("d=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 1), "{path}");
        assert!(svg.contains("a&lt;b") && !svg.contains("NaN"), "{svg}");
        assert_eq!(chart("Loss", "epoch", &[curve(&[])]), "");
        let flat = chart("Loss", "epoch", &[curve(&[(1.0, 0.5)])]);
        assert!(flat.contains("<circle") && !flat.contains("NaN") && !flat.contains("inf"), "{flat}");
    }
}
