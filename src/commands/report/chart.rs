//! Curves as SVG within a page, whose style sheet has the colours.

use std::fmt::Write as _;

use crate::show::{escaped, ticks};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
/// The drawing between its axes: left, top, right, bottom.
const FRAME: (f64, f64, f64, f64) = (64.0, 12.0, 628.0, 256.0);

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
    let span = |of: fn(&(f64, f64)) -> f64| {
        finite().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
    };
    let (mut x, mut y) = (span(|point| point.0), span(|point| point.1));
    if finite().next().is_none() {
        return String::new();
    }
    for (low, high) in [&mut x, &mut y] {
        if low == high {
            let room = if *low == 0.0 { 0.5 } else { low.abs() * 0.05 };
            (*low, *high) = (*low - room, *high + room);
        }
    }
    let room = (y.1 - y.0) * 0.05;
    // What is never negative does not begin below 0.
    let bottom = if y.0 >= 0.0 { (y.0 - room).max(0.0) } else { y.0 - room };
    let y = (bottom, y.1 + room);
    let (left, top, right, floor) = FRAME;
    let place = |(px, py): (f64, f64)| {
        (left + (px - x.0) / (x.1 - x.0) * (right - left), floor - (py - y.0) / (y.1 - y.0) * (floor - top))
    };
    let mut svg = format!(
        "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">",
        title = escaped(title)
    );
    for tick in ticks(y.0, y.1) {
        let at = place((x.0, tick)).1;
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{left} {at:.1}H{right}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
            left - 8.0,
            at + 4.0
        );
    }
    for tick in ticks(x.0, x.1) {
        let at = place((tick, y.0)).0;
        let _ =
            write!(svg, "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>", floor + 18.0);
    }
    let _ = write!(
        svg,
        "<path class=\"axis\" d=\"M{left} {top}V{floor}H{right}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        f64::midpoint(left, right),
        floor + 38.0,
        escaped(x_name)
    );
    let drawn = || curves.iter().enumerate().filter(|(_, curve)| !curve.points.is_empty());
    for (number, curve) in drawn() {
        let (color, dash) = (number % 6, DASHES[number % DASHES.len()]);
        let mut path = String::new();
        let mut pen_up = true;
        for &point in &curve.points {
            if point.1.is_finite() {
                let (px, py) = place(point);
                let _ = write!(path, "{}{px:.1} {py:.1}", if pen_up { 'M' } else { 'L' });
            }
            pen_up = !point.1.is_finite();
        }
        let _ = write!(svg, "<path class=\"c{color}\" stroke-dasharray=\"{dash}\" d=\"{path}\"/>");
        if let [only] = curve.points.as_slice() {
            let (px, py) = place(*only);
            let _ = write!(svg, "<circle class=\"c{color}\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"3\"/>");
        }
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
