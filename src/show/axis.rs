//! What drawings in SVG and pages in HTML have in common: the numbers beside an axis, and text.

/// Round numbers between two, about five of them.
pub(crate) fn ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    if !(rough > 0.0 && rough.is_finite()) {
        return Vec::new();
    }
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    // Numbers are made from whole ones, so that 0.3 is not 0.30000000000000004.
    let digits = (-step.log10().floor()).max(0.0) as usize;
    (((low / step).ceil() as i64)..=((high / step).floor() as i64))
        .filter_map(|k| format!("{:.digits$}", k as f64 * step).parse().ok())
        .collect()
}

/// Text for XML and HTML, which has no control characters.
pub(crate) fn escaped(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_round_and_within() {
        assert_eq!(ticks(0.0, 1.0), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        assert_eq!(ticks(0.12, 0.31), [0.15, 0.2, 0.25, 0.3]);
        assert_eq!(ticks(0.93, 0.99), [0.94, 0.96, 0.98]);
        assert_eq!(ticks(-3.0, 900.0), [0.0, 200.0, 400.0, 600.0, 800.0]);
        assert!(ticks(1.0, 1.0).is_empty() && ticks(0.0, f64::NAN).is_empty());
    }
}
