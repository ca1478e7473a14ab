//! The picture of a range test, as SVG that needs nothing else.

use std::fmt::Write as _;

use super::Tested;
use super::text::{header, in_words, suggestion};
use crate::show::{escaped, ticks};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 500.0;
/// The drawing between its axes: left, top, right, bottom.
const FRAME: (f64, f64, f64, f64) = (74.0, 76.0, 836.0, 440.0);

/// The places of the drawing.
struct Scale {
    low: f64,
    high: f64,
    bottom: f64,
    top: f64,
}

impl Scale {
    fn x(&self, rate: f64) -> f64 {
        let (left, _, right, _) = FRAME;
        left + (rate.log10() - self.low) / (self.high - self.low) * (right - left)
    }

    fn y(&self, loss: f64) -> f64 {
        let (_, top, _, bottom) = FRAME;
        bottom - (loss - self.bottom) / (self.top - self.bottom) * (bottom - top)
    }
}

/// The whole file.
pub(super) fn picture(tested: &Tested<'_>) -> String {
    let (points, top) = tested.shown();
    let least = points.iter().map(|point| point.1).filter(|y| y.is_finite()).fold(top, f64::min);
    let low = f64::from(tested.test.low).log10();
    let high = f64::from(tested.test.high).log10();
    let room = (0.2 * (top - least)).max(1e-9);
    let scale = Scale { low, high, bottom: (least - room).max(0.0), top };
    let mut svg = head(&header(tested), &suggestion(tested));
    axes(&mut svg, &scale);
    curve(&mut svg, &scale, tested, &points);
    marks(&mut svg, &scale, tested);
    svg + "</svg>\n"
}

fn head(title: &str, subtitle: &str) -> String {
    let (left, ..) = FRAME;
    let (title, subtitle) = (escaped(title), escaped(subtitle));
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" font-family="system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif" font-size="13" fill="#1f2328">
<title>{title}</title>
<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>
<text x="{left}" y="30" font-size="14">{title}</text>
<text x="{left}" y="53" font-size="15" font-weight="600">{subtitle}</text>
"##
    )
}

/// The grid, the numbers and the names of the axes.
fn axes(svg: &mut String, scale: &Scale) {
    let (left, top, right, bottom) = FRAME;
    for power in (scale.low - 1e-6).ceil() as i32..=(scale.high + 1e-6).floor() as i32 {
        let x = scale.x(10_f64.powi(power));
        let _ = writeln!(
            svg,
            r##"<path d="M{x:.1} {top}V{bottom}" stroke="#e6e8eb"/><text x="{x:.1}" y="{:.1}" text-anchor="middle" fill="#59636e">{}</text>"##,
            bottom + 19.0,
            if (-3..=4).contains(&power) { 10_f64.powi(power).to_string() } else { format!("1e{power}") }
        );
    }
    for loss in ticks(scale.bottom, scale.top) {
        let y = scale.y(loss);
        let _ = writeln!(
            svg,
            r##"<path d="M{left} {y:.1}H{right}" stroke="#e6e8eb"/><text x="{:.1}" y="{:.1}" text-anchor="end" fill="#59636e">{loss}</text>"##,
            left - 9.0,
            y + 4.5
        );
    }
    let (middle, height) = (f64::midpoint(left, right), f64::midpoint(top, bottom));
    let _ = writeln!(
        svg,
        r##"<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="#8c959f"/>
<text x="{middle}" y="{:.1}" text-anchor="middle">learning rate</text>
<text x="20" y="{height}" text-anchor="middle" transform="rotate(-90 20 {height})">loss of a mini-batch</text>
<clipPath id="frame"><rect x="{left}" y="{top}" width="{:.1}" height="{:.1}"/></clipPath>"##,
        bottom + 44.0,
        right - left,
        bottom - top
    );
}

/// Each loss as a dot, and the smoothed ones as a line.
fn curve(svg: &mut String, scale: &Scale, tested: &Tested<'_>, points: &[(f64, f64)]) {
    svg.push_str("<g clip-path=\"url(#frame)\">\n<g fill=\"#0969da\" fill-opacity=\"0.22\">");
    for step in tested.curve.steps().iter().filter(|step| step.loss.is_finite()) {
        // What is far outside would only make the file longer.
        if step.loss <= 2.0 * scale.top {
            let (x, y) = (scale.x(f64::from(step.rate)), scale.y(step.loss));
            let _ = write!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="2.2"/>"#);
        }
    }
    svg.push_str("</g>\n<polyline fill=\"none\" stroke=\"#0969da\" stroke-width=\"2.5\" stroke-linejoin=\"round\" points=\"");
    for &(rate, loss) in points.iter().filter(|(_, loss)| loss.is_finite()) {
        let _ = write!(svg, "{:.1},{:.1} ", scale.x(rate), scale.y(loss.min(4.0 * scale.top)));
    }
    svg.push_str("\"/>\n</g>\n");
}

/// The rates that the curve tells, with their names at the lower left: the loss of low rates is high, so there is room.
fn marks(svg: &mut String, scale: &Scale, tested: &Tested<'_>) {
    let (left, top, right, bottom) = FRAME;
    let Some(finding) = tested.curve.finding() else { return };
    let marks = [
        (finding.suggested, "suggested", r##"stroke="#1a7f37" stroke-width="2""##, 600),
        (finding.steepest, "the loss falls fastest", r##"stroke="#6e7781" stroke-dasharray="2 3""##, 400),
        (finding.lowest, "the loss is lowest", r##"stroke="#6e7781" stroke-dasharray="8 4""##, 400),
    ];
    // The suggestion may be one of the others, which needs no line then.
    let others = marks[1..].iter().filter(|mark| mark.0 != finding.suggested);
    for (number, &(rate, name, stroke, weight)) in marks[..1].iter().chain(others).enumerate() {
        let x = scale.x(f64::from(rate));
        if (left..=right).contains(&x) {
            let _ = writeln!(svg, r#"<path d="M{x:.1} {top}V{bottom}" {stroke}/>"#);
        }
        let (at, y) = (left + 16.0, bottom - 62.0 + 22.0 * number as f64);
        let _ = writeln!(
            svg,
            r#"<path d="M{at} {y}h26" {stroke}/><text x="{}" y="{}" font-weight="{weight}">{name}: {}</text>"#,
            at + 34.0,
            y + 4.5,
            in_words(rate)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_data_are_text() {
        assert_eq!(escaped("a<b>&\"\u{7}c"), "a&lt;b&gt;&amp;&quot;c");
    }
}
