//! The effect of each option, as a table and as dots with their spread.

use std::fmt::Write as _;

use super::super::super::sweep::{Effect, Effects, Level, Results};
use super::super::scale::Scale;
use super::short;
use crate::show::escaped;

const WIDTH: f64 = 460.0;
/// The drawing between the names of the values and its right edge.
const LEFT: f64 = 158.0;
const RIGHT: f64 = 444.0;
/// The height of a row, and the room above the first and below the last.
const ROW: f64 = 28.0;
const TOP: f64 = 6.0;
const BOTTOM: f64 = 42.0;

/// The longest name of a value, in characters.
const LONGEST: usize = 20;

/// The most values that are drawn.
const DRAWN: usize = 24;

/// A figure for each option; empty if none varies.
pub(super) fn figures(results: &Results, effects: &Effects) -> String {
    if effects.options.is_empty() {
        return String::new();
    }
    let (times, name) = results.by.of_axis();
    let ends = |level: &Level| {
        let (mean, spread) = (level.mean? * times, level.spread.unwrap_or(0.0) * times);
        Some([mean - spread, mean + spread])
    };
    let levels = effects.options.iter().flat_map(|effect| effect.levels.iter().take(DRAWN));
    let scale = Scale::linear(levels.filter_map(ends).flatten()).map(Scale::roomy);
    let spread = match effects.repeated {
        Some(what) => format!(
            "the standard deviation over {what}, of trials that have all options in common (pooled over these groups)"
        ),
        None => "the standard deviation over the trials with that value, which differ in the other options"
            .to_owned(),
    };
    let when = if effects.first_stage {
        " Figures are those at the end of the first stage of successive halving, which all trials reach."
    } else {
        ""
    };
    let mut html = format!(
        "<h3>The effect of each option</h3>\n<p class=\"faint\">The mean {} of the trials with a value, whatever their other options are; \
         ± is {spread}.{when} All drawings have the same axis.</p>\n<div class=\"charts\">\n",
        escaped(&results.by.in_words())
    );
    for effect in &effects.options {
        let _ =
            write!(html, "<figure class=\"effect\"><figcaption>--{}</figcaption>", escaped(&effect.option));
        if let Some(scale) = scale {
            html += &dots(effect, scale, &name, times);
        }
        html += &table(results, effect);
        html += "</figure>\n";
    }
    html + "</div>\n"
}

/// The means as dots, with whiskers as long as the spread.
fn dots(effect: &Effect, scale: Scale, name: &str, times: f64) -> String {
    let levels = &effect.levels[..effect.levels.len().min(DRAWN)];
    let floor = TOP + ROW * levels.len() as f64;
    let x = |value: f64| LEFT + scale.at(value) * (RIGHT - LEFT);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"Mean and spread for each value of {}\">",
        floor + BOTTOM,
        escaped(&effect.option)
    );
    for (tick, text) in scale.ticks() {
        let at = x(tick);
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{at:.1} {TOP}V{floor}\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
            floor + 17.0
        );
    }
    let _ = write!(
        svg,
        "<path class=\"axis\" d=\"M{LEFT} {floor}H{RIGHT}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        f64::midpoint(LEFT, RIGHT),
        floor + 36.0,
        escaped(name)
    );
    for (row, level) in levels.iter().enumerate() {
        let y = TOP + ROW * (row as f64 + 0.5);
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            escaped(&short(&level.value, LONGEST))
        );
        let Some(mean) = level.mean.map(|mean| mean * times) else { continue };
        if let Some(spread) = level.spread.map(|spread| spread * times) {
            let (from, to) = (x(mean - spread).max(LEFT), x(mean + spread).min(RIGHT));
            let _ = write!(
                svg,
                "<path class=\"whisker\" d=\"M{from:.1} {y:.1}H{to:.1}M{from:.1} {:.1}v8M{to:.1} {:.1}v8\"/>",
                y - 4.0,
                y - 4.0
            );
        }
        let _ = write!(svg, "<circle class=\"mean\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"5\"/>", x(mean));
    }
    svg + "</svg>"
}

/// The same in numbers, with the number of trials behind each.
fn table(results: &Results, effect: &Effect) -> String {
    let mut html = String::from(
        "<div class=\"wide\"><table><thead><tr><th>value</th><th>mean</th><th>±</th><th>trials</th></tr></thead><tbody>\n",
    );
    for level in &effect.levels {
        let trials = match level.without {
            0 => level.trials.to_string(),
            without => format!("{}, {without} without a figure", level.trials),
        };
        let _ = writeln!(
            html,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{trials}</td></tr>",
            escaped(&level.value),
            results.by.shown(level.mean),
            results.by.shown(level.spread),
        );
    }
    html + "</tbody></table></div>"
}
