//! What a network confuses and what its units look at, in HTML: classes and `data:` pictures, without styles or scripts. `parts.css` is the
//! style sheet.

use std::fmt::Write as _;

use super::image::{diverging, grey, scale};
use crate::commands::insight::{Insight, Judged, Tiles};
use crate::metrics::{ClassReport, NumberFigures, Regression};
use crate::show::{counted, escaped, number};

/// The most classes of a matrix that is drawn.
const MATRIX: usize = 26;

/// The confusions that are listed.
const LISTED: usize = 12;

/// The shades of a cell: the style sheet has as many.
const SHADES: f64 = 8.0;

/// The part about a network.
pub(in crate::commands) fn insight_html(insight: &Insight) -> String {
    let mut html = String::from("<section class=\"insight\">\n");
    if insight.is_checkpoint {
        let _ = writeln!(
            html,
            "<p class=\"faint\">The network is that of {}, after {}.</p>",
            escaped(&insight.file),
            counted(insight.step as usize, "step")
        );
    }
    if let Some(judged) = &insight.judged {
        html += &answers(insight, judged);
    }
    if let Some(why) = &insight.missing {
        let _ = writeln!(
            html,
            "<p class=\"caution\">There is no confusion matrix and there are no mistakes: {}.</p>",
            escaped(why)
        );
    }
    if let Some(tiles) = &insight.tiles {
        html += &weights(tiles, &insight.names);
    }
    html + "</section>\n"
}

fn answers(insight: &Insight, judged: &Judged) -> String {
    let mut html = format!(
        "<h3>Answers to the {} of {}</h3>\n",
        counted(judged.samples, "test sample"),
        escaped(&judged.data)
    );
    if let Some(report) = &judged.classes {
        let _ =
            writeln!(html, "<p>{} are right, {} wrong.</p>", report.correct, report.samples - report.correct);
        html += "<div class=\"pair\">\n";
        html += &confusion(report, &insight.names);
        html += &classes(report, &insight.names);
        html += "</div>\n";
        html += &mistakes(insight, judged);
    }
    if let Some(regression) = &judged.numbers {
        html += &numbers(regression, &insight.names);
    }
    html
}

/// The name of a class.
fn name(names: &[String], class: usize) -> String {
    escaped(&names.get(class).cloned().unwrap_or_else(|| class.to_string()))
}

/// The confusion matrix, or the most frequent confusions of many classes.
fn confusion(report: &ClassReport, names: &[String]) -> String {
    let (matrix, count) = (&report.confusion, report.confusion.classes());
    let confusions = matrix.confusions();
    // A right answer is shaded by its part of the class, a confusion beside the most frequent one: it would not be seen among right answers.
    let worst = confusions.first().map_or(0, |&(.., count)| count);
    let mut html = String::from("<figure><figcaption>Confusion matrix</figcaption>");
    if count <= MATRIX {
        html += "<div class=\"wide\"><table class=\"confusion\"><thead><tr><th>true ↓<br>predicted →</th>";
        for class in 0..count {
            let _ = write!(html, "<th>{}</th>", name(names, class));
        }
        html += "</tr></thead><tbody>\n";
        for truth in 0..count {
            let _ = write!(html, "<tr><th>{}</th>", name(names, truth));
            for predicted in 0..count {
                let cell = matrix.count(truth, predicted);
                let (kind, most) =
                    if truth == predicted { ("hit", matrix.support(truth)) } else { ("miss", worst) };
                let shade = (cell as f64 / most.max(1) as f64 * SHADES).ceil();
                let text = if cell == 0 { "·".to_owned() } else { cell.to_string() };
                let _ = write!(html, "<td class=\"{kind} shade{shade:.0}\">{text}</td>");
            }
            html += "</tr>\n";
        }
        html += "</tbody></table></div>";
    }
    if confusions.is_empty() {
        return html + "<p>Nothing was confused.</p></figure>\n";
    }
    html += "<p>Most often: ";
    let listed: Vec<String> = confusions
        .iter()
        .take(LISTED)
        .map(|&(truth, predicted, count)| {
            format!("{} as {} ({count})", name(names, truth), name(names, predicted))
        })
        .collect();
    html += &listed.join(", ");
    let more = confusions.len().saturating_sub(LISTED);
    html + if more > 0 { " …" } else { "." } + "</p></figure>\n"
}

/// Precision, recall and F1 of each class.
fn classes(report: &ClassReport, names: &[String]) -> String {
    let part =
        |part: Option<f64>| part.map_or_else(|| "–".to_owned(), |part| format!("{:.2} %", part * 100.0));
    let mut html = String::from(
        "<figure><figcaption>Each class</figcaption><div class=\"wide\"><table><thead><tr><th>class</th><th>precision</th><th>recall</th>\
         <th>F1</th><th>samples</th><th>predicted</th></tr></thead><tbody>\n",
    );
    for class in &report.classes {
        let _ = writeln!(
            html,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            name(names, class.class),
            part(class.precision),
            part(class.recall),
            part(class.f1),
            class.support,
            class.answered
        );
    }
    if let Some(mean) = report.macro_average {
        let _ = writeln!(
            html,
            "<tr class=\"first\"><th>mean</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td></td></tr>",
            part(Some(mean.precision)),
            part(Some(mean.recall)),
            part(Some(mean.f1)),
            report.samples
        );
    }
    html + "</tbody></table></div></figure>\n"
}

/// The most confidently wrong answers, drawn if they are pictures.
fn mistakes(insight: &Insight, judged: &Judged) -> String {
    if judged.mistakes.is_empty() {
        return String::new();
    }
    let mut html = String::from("<figure><figcaption>The most confident mistakes</figcaption>");
    if !judged.shows_samples {
        html += "<p>The run is private, so the page does not show its samples.</p></figure>\n";
        return html;
    }
    html += "<ul class=\"tiles\">\n";
    for mistake in &judged.mistakes {
        let (truth, predicted) =
            (name(&insight.names, mistake.truth), name(&insight.names, mistake.predicted));
        let sure = if judged.probabilities {
            format!("{:.1} %", f64::from(mistake.confidence) * 100.0)
        } else {
            format!("output {:.3}", mistake.confidence)
        };
        let picture =
            mistake.pixels.as_deref().zip(insight.image).and_then(|(pixels, size)| grey(pixels, size));
        let picture = picture.map_or_else(String::new, |address| {
            format!("<img class=\"sample\" alt=\"test sample {}\" src=\"{address}\">", mistake.sample)
        });
        let _ = writeln!(
            html,
            "<li>{picture}<span><strong>{truth}</strong> taken for <strong>{predicted}</strong></span><span class=\"faint\">{sure}, sample {}</span></li>",
            mistake.sample
        );
    }
    html + "</ul></figure>\n"
}

/// The weights of the first layer, a picture for each unit.
fn weights(tiles: &Tiles, names: &[String]) -> String {
    let what = if tiles.hidden { "unit of the first hidden layer" } else { "class" };
    let shown = match tiles.units - tiles.levels.len() {
        0 => format!("each {what}"),
        _ => format!("the first {} of {} units of the first layer", tiles.levels.len(), tiles.units),
    };
    let mut html = format!(
        "<figure><figcaption>Weights from the pixels to {shown}</figcaption>\n<p class=\"scale\"><span>−{0}</span>",
        number(f64::from(tiles.scale))
    );
    if let Some(address) = scale() {
        let _ = write!(html, "<img alt=\"from dark blue through grey to light yellow\" src=\"{address}\">");
    }
    let _ = writeln!(
        html,
        "<span>{}</span></p><p class=\"faint\">One scale for all, grey at 0; 99.5 % of the weights are on it, and larger ones (up to {}) are \
         drawn like its ends. Light pixels excite a unit, dark ones inhibit it.</p><ul class=\"tiles\">",
        number(f64::from(tiles.scale)),
        number(f64::from(tiles.largest))
    );
    for (unit, levels) in tiles.levels.iter().enumerate() {
        let caption = if tiles.hidden { unit.to_string() } else { name(names, unit) };
        if let Some(address) = diverging(levels, tiles.size) {
            let _ = writeln!(
                html,
                "<li><img class=\"sample\" alt=\"weights of unit {unit}\" src=\"{address}\"><span class=\"faint\">{caption}</span></li>"
            );
        }
    }
    html + "</ul></figure>\n"
}

/// The errors of a regression.
fn numbers(regression: &Regression, names: &[String]) -> String {
    let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), number);
    let mut html = String::from(
        "<figure><figcaption>Errors, in the units of the targets</figcaption><div class=\"wide\"><table><thead><tr><th>target</th><th>RMSE</th>\
         <th>mean absolute error</th><th>median absolute error</th><th>R²</th></tr></thead><tbody>\n",
    );
    let mut row = |name: &str, figures: &NumberFigures| {
        let r2 = figures.r2.map_or_else(|| "–".to_owned(), |r2| format!("{r2:.4}"));
        let _ = writeln!(
            html,
            "<tr><th>{name}</th><td>{}</td><td>{}</td><td>{}</td><td>{r2}</td></tr>",
            shown(figures.rmse),
            shown(figures.mae),
            shown(figures.median_absolute_error)
        );
    };
    for (at, figures) in regression.outputs.iter().enumerate() {
        row(&name(names, at), figures);
    }
    if regression.outputs.len() > 1 {
        row("mean", &regression.mean);
    }
    html + "</tbody></table></div></figure>\n"
}
