//! `nn report`: runs as one page that needs nothing else: sweeps, curves, options, results, and for each model a card, what it confuses and
//! what its units look at.
//!
//! | File | Contents |
//! | --- | --- |
//! | `chart.rs`, `scale.rs` | curves as SVG; places on an axis |
//! | `sweep/` | the section about a sweep |
//! | `insight.rs`, `image.rs` | confusions, mistakes and weights; pictures as `data:` addresses |
//! | `style.css`, `parts.css` | the style of the page; that of the parts which other pages have, too |

mod chart;
mod image;
mod insight;
mod scale;
mod sweep;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use self::chart::{Curve, chart};
pub(in crate::commands) use self::insight::insight_html;
pub(in crate::commands) use self::sweep::Sweep;
use super::insight::{TestSets, look};
use super::runs::{FIGURES, Found, Search, State, differing, figure, gathered, short_name};
use crate::config::ReportArgs;
use crate::failure::{Failure, write_stdout};
use crate::show::{counted, escaped};
use crate::store::write_atomically;

/// The style sheet of [`Sweep::html`] and [`insight_html`]; it says what the page must define.
pub(in crate::commands) const PARTS: &str = include_str!("parts.css");

/// The most curves in a chart: more are a tangle. The tables have all runs.
const MOST: usize = 12;

/// The most networks that are evaluated and drawn, since that takes time and makes a page large.
const NETWORKS: usize = 12;

/// The runs whose logs are kept for curves.
const LOGS: usize = 250;

/// The sets of samples that figures are about.
const SETS: [&str; 3] = ["train", "validation", "test"];

/// A run with the lines of its epochs.
type Logged<'a> = (&'a Found, &'a [Map<String, Value>]);

/// Writes the page.
pub(crate) fn report(args: &ReportArgs) -> Result<(), Failure> {
    let found = gathered(&args.folders, LOGS)?;
    let text = page(&found, TestSets::new(args.data.clone(), Some("--data DATA")));
    write_atomically(&args.out, text.as_bytes()).map_err(|error| {
        Failure::failed(format_args!("cannot write {}: {error}", args.out.display()))
            .help("name another file with --out")
    })?;
    write_stdout(format!("{} in {}\n", in_words(&found), args.out.display()))
}

/// The sections about the sweeps in some folders; empty if there are none. What cannot be read now may be readable later.
pub(in crate::commands) fn sweeps(folders: &[PathBuf]) -> String {
    let Ok(Search { runs, logs, sweeps }) = gathered(folders, LOGS) else { return String::new() };
    sweeps.iter().map(|folder| section(folder, &runs, &logs).0).collect()
}

/// The section about a sweep, and the sweep if its file is sound.
fn section<'a>(
    folder: &Path,
    runs: &'a [Found],
    logs: &'a [Vec<Map<String, Value>>],
) -> (String, Option<Sweep<'a>>) {
    match Sweep::read(folder, runs, logs) {
        Ok(sweep) => (sweep.html(), Some(sweep)),
        Err(why) => {
            let text = format!(
                "<p class=\"caution\">There is a sweep in {} that cannot be shown: {}. Its runs are shown like others.</p>\n",
                escaped(&folder.display().to_string()),
                escaped(&why)
            );
            (text, None)
        }
    }
}

/// What a page is about.
fn in_words(found: &Search) -> String {
    let runs = counted(found.runs.len(), "run");
    match found.sweeps.len() {
        0 => runs,
        sweeps => format!("{} with {runs}", counted(sweeps, "sweep")),
    }
}

/// The whole page.
fn page(found: &Search, mut sets: TestSets) -> String {
    let Search { runs, logs, sweeps } = found;
    let title = match (runs.as_slice(), sweeps.as_slice()) {
        ([only], []) => format!("Run {}", short_name(&only.folder)),
        _ => in_words(found),
    };
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <title>{0}</title>\n<style>\n{1}{2}</style></head>\n<body><h1>{0}</h1>\n\
         <p class=\"faint\">Written by nn {3}. Everything on this page is in the file itself.</p>\n",
        escaped(&title),
        include_str!("style.css"),
        PARTS,
        env!("CARGO_PKG_VERSION"),
    );
    // Of a sweep's runs only the best has a part of its own; the section about the sweep has all of them.
    let mut swept: BTreeSet<PathBuf> = BTreeSet::new();
    let mut cards: Vec<&Found> = Vec::new();
    for folder in sweeps {
        let (text, sweep) = section(folder, runs, logs);
        html += &text;
        if let Some(sweep) = sweep {
            swept.extend(sweep.results.trials.iter().map(|trial| trial.folder.clone()));
            cards.extend(sweep.best());
        }
    }
    let others: Vec<Logged<'_>> = runs
        .iter()
        .zip(logs)
        .filter(|(run, _)| !swept.contains(&run.folder))
        .map(|(run, log)| (run, log.as_slice()))
        .collect();
    let single: Vec<&Found> = others.iter().map(|(run, _)| *run).collect();
    if !single.is_empty() {
        html += &results(&single);
        html += &charts(&others);
    }
    cards.extend(single);
    for (at, run) in cards.iter().enumerate() {
        html += &card(run);
        if at < NETWORKS {
            html += &match look(run, &mut sets) {
                Ok(insight) => insight_html(&insight),
                Err(why) => format!("<p class=\"caution\">{}.</p>\n", escaped(&why)),
            };
        } else if at == NETWORKS {
            html += "<p class=\"faint\">The networks of this run and the following ones are not drawn: a page has at most 12. To see one, write \
                     a report of its folder alone.</p>\n";
        }
    }
    html + "</body></html>\n"
}

/// The options in which the runs differ, above their results.
fn results(found: &[&Found]) -> String {
    let mut html = String::from("<h2>Results</h2>\n<div class=\"wide\"><table><thead><tr><th></th>");
    for run in found {
        let _ = write!(html, "<th>{}</th>", escaped(&short_name(&run.folder)));
    }
    html += "</tr></thead><tbody>\n";
    let mut row = |name: &str, cell: &dyn Fn(&Found) -> String| {
        let _ = write!(html, "<tr><th>{}</th>", escaped(name));
        for run in found {
            let _ = write!(html, "<td>{}</td>", escaped(&cell(run)));
        }
        html += "</tr>\n";
    };
    row("state", &|run| run.state.name().to_owned());
    for key in differing(found.iter().copied()) {
        row(&format!("--{key}"), &|run| run.options.get(&key).cloned().unwrap_or_else(|| "–".to_owned()));
    }
    row("epochs done", &|run| run.epochs().map(|epochs| epochs.to_string()).unwrap_or_default());
    for (key, name) in FIGURES {
        if found.iter().any(|run| run.number(key).is_some()) {
            row(name, &|run| run.number(key).map(|value| figure(key, value)).unwrap_or_default());
        }
    }
    html += "</tbody></table></div>\n";
    html
}

/// The curves: of a single run by set, of several by run.
fn charts(runs: &[Logged<'_>]) -> String {
    let drawn = &runs[..runs.len().min(MOST)];
    let points = |lines: &[Map<String, Value>], key: &str, times: f64| -> Vec<(f64, f64)> {
        let point = |line: &Map<String, Value>| {
            Some((line.get("epoch")?.as_f64()?, line.get(key)?.as_f64()? * times))
        };
        lines.iter().filter_map(point).collect()
    };
    let mut html = String::new();
    let mut add = |title: &str, x: &str, curves: Vec<Curve>| {
        html += &chart(title, x, &curves);
    };
    for (figure, title, times) in
        [("loss", "Loss", 1.0), ("accuracy", "Accuracy in %", 100.0), ("r2", "R²", 1.0)]
    {
        if let [(_, lines)] = drawn {
            let of_sets = SETS.map(|set| Curve {
                name: set.to_owned(),
                points: points(lines, &format!("{set}_{figure}"), times),
            });
            add(title, "epoch", of_sets.into());
            continue;
        }
        for set in SETS {
            let of_runs = drawn.iter().map(|(run, lines)| Curve {
                name: short_name(&run.folder),
                points: points(lines, &format!("{set}_{figure}"), times),
            });
            add(&format!("{title}, {set}"), "epoch", of_runs.collect());
        }
    }
    for (key, title) in [
        ("learning_rate", "Learning rate"),
        ("samples_per_second", "Samples a second"),
        ("noise_scale", "Gradient noise scale"),
        ("epsilon", "ε of differential privacy"),
    ] {
        let of_runs = drawn
            .iter()
            .map(|(run, lines)| Curve { name: short_name(&run.folder), points: points(lines, key, 1.0) });
        add(title, "epoch", of_runs.collect());
    }
    if html.is_empty() {
        return html;
    }
    let more = runs.len() - drawn.len();
    let note = if more > 0 {
        format!("<p class=\"faint\">The first {} of {}.</p>\n", drawn.len(), counted(runs.len(), "run"))
    } else {
        String::new()
    };
    format!("<h2>Curves</h2>\n{note}<div class=\"charts\">\n{html}</div>\n")
}

/// A card for the model of a run: what it is, what it was made of, how good it is, and how to get it again.
fn card(run: &Found) -> String {
    let text = |name: &str| -> Option<String> {
        match run.figures.get(name)? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            Value::Array(items) => {
                Some(items.iter().map(ToString::to_string).collect::<Vec<_>>().join("–").replace('"', ""))
            }
            value => Some(value.to_string()),
        }
    };
    let mut html = format!(
        "<h2>Model card: {}</h2>\n<table class=\"text\"><tbody>\n",
        escaped(&short_name(&run.folder))
    );
    let option = |key: &str| run.options.get(key).cloned();
    let facts = [
        ("network", text("layers")),
        ("activation", option("activation")),
        (
            "output and cost",
            option("output").zip(option("cost")).map(|(output, cost)| format!("{output}, {cost}")),
        ),
        ("parameters", text("parameters")),
        ("data", text("data").or_else(|| option("data"))),
        ("hash of the data (SHA-256)", text("data_sha256")),
        ("trained for", run.epochs().map(|epochs| counted(epochs as usize, "epoch"))),
        (
            "always the most frequent class gives",
            run.number("baseline_accuracy").map(|part| figure("accuracy", part)),
        ),
        ("test accuracy", run.number("test_accuracy").map(|part| figure("accuracy", part))),
        ("test R²", run.number("test_r2").map(|value| figure("r2", value))),
        (
            "privacy",
            run.number("epsilon").zip(run.number("delta")).map(|(e, d)| format!("ε = {e:.3} at δ = {d}")),
        ),
        ("hash of the weights (SHA-256)", text("params_sha256")),
        ("hash of the run (SHA-256)", text("config_hash")),
        ("made with", text("version").map(|version| format!("nn {version}"))),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            let _ = writeln!(html, "<tr><th>{name}</th><td>{}</td></tr>", escaped(&value));
        }
    }
    html += "</tbody></table>\n";
    if run.state == State::Running {
        html += "<p>This run still goes on: the page shows it as it was.</p>\n";
    }
    if !run.options.is_empty() {
        let file = run.folder.join("run.toml");
        let _ = writeln!(
            html,
            "<p>The same weights, bit for bit, on any machine: <code>nn train --config {} --out again</code></p>\n\
             <details><summary>All options</summary><table class=\"text\"><tbody>",
            escaped(&path_text(&file))
        );
        for (key, value) in &run.options {
            let _ = writeln!(html, "<tr><th>{}</th><td>{}</td></tr>", escaped(key), escaped(value));
        }
        html += "</tbody></table></details>\n";
    }
    html
}

fn path_text(path: &Path) -> String {
    crate::show::shell_path_flag("config", path)
        .and_then(|flag| flag.strip_prefix("--config ").map(str::to_owned))
        .unwrap_or_else(|| path.display().to_string())
}
