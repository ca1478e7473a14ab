//! The section about a sweep: its configurations in order, parallel coordinates, learning curves, and the effect of each option. It has classes
//! and neither styles nor scripts, so that a page with a strict Content-Security-Policy can have it; `parts.css` is its style sheet.

mod curves;
mod effect;
mod parallel;

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value};

use super::super::runs::{Found, epochs, short_name};
use super::super::sweep::{Configuration, Results, Trial, TrialState, effects, value_in_words};
use super::Logged;
use crate::show::{counted, escaped};

/// The configurations that are listed at once; the others are folded away.
const LISTED: usize = 20;

/// The most trials that are drawn: more would be a blot. The tables have all of them.
const DRAWN: usize = 200;

/// A sweep that a page is about.
pub(in crate::commands) struct Sweep<'a> {
    pub(in crate::commands) results: Results,
    /// For each trial the run in its folder, if there is one, and the lines of its epochs.
    runs: Vec<Option<Logged<'a>>>,
}

impl<'a> Sweep<'a> {
    /// The sweep in a folder; `found` are the runs that the page is about, with the lines of their epochs.
    ///
    /// # Errors
    /// What is wrong with its file, in a sentence.
    pub(in crate::commands) fn read(
        folder: &Path,
        found: &'a [Found],
        logs: &'a [Vec<Map<String, Value>>],
    ) -> Result<Self, String> {
        let results = Results::read(folder, found)?;
        let of = |trial: &Trial| {
            let at = found.iter().position(|run| run.folder == trial.folder)?;
            Some((&found[at], logs.get(at).map_or(&[][..], Vec::as_slice)))
        };
        let runs = results.trials.iter().map(of).collect();
        Ok(Self { results, runs })
    }

    /// The first run of the best configuration.
    pub(in crate::commands) fn best(&self) -> Option<&'a Found> {
        let at = *self.results.best()?.trials.first()?;
        Some(self.runs[at]?.0)
    }

    /// The trials that are drawn: the best ones, and as many others as there is room for.
    fn drawn(&self) -> Vec<usize> {
        let all = || 0..self.results.trials.len();
        let is_best = |&at: &usize| self.results.is_best(&self.results.trials[at]);
        let mut drawn: Vec<usize> = all().filter(|at| !is_best(at)).take(DRAWN).collect();
        // What is drawn last lies on top.
        drawn.extend(all().filter(is_best));
        drawn
    }

    /// The lines of a trial's epochs.
    fn log(&self, at: usize) -> Vec<Map<String, Value>> {
        match self.runs[at] {
            Some((run, [])) => epochs(&run.folder),
            Some((_, lines)) => lines.to_vec(),
            None => Vec::new(),
        }
    }

    /// The section.
    pub(in crate::commands) fn html(&self) -> String {
        let results = &self.results;
        let mut html = format!(
            "<section class=\"sweep\"><h2>Sweep {}</h2>\n{}",
            escaped(&short_name(&results.folder)),
            self.summary()
        );
        html += &self.ranking();
        let drawn = self.drawn();
        let more = results.trials.len() - drawn.len();
        if more > 0 {
            let _ = writeln!(
                html,
                "<p class=\"faint\">The drawings have the first {DRAWN} trials and the best; {more} more are in the tables only.</p>"
            );
        }
        html += &parallel::figure(results, &drawn);
        let logs: Vec<(usize, Vec<Map<String, Value>>)> =
            drawn.iter().map(|&at| (at, self.log(at))).collect();
        html += &curves::figures(results, &logs);
        html += &effect::figures(results, &effects(results));
        html += &self.trials();
        html + "</section>\n"
    }

    /// What the sweep is, how far it is, and by what its trials are compared.
    fn summary(&self) -> String {
        let results = &self.results;
        let states = in_words(results.trials.iter().map(|trial| trial.state));
        let mut html = format!(
            "<p>{} of {}: {states}. The sweep is {}.</p>\n",
            counted(results.trials.len(), "trial"),
            counted(results.configurations.len(), "configuration"),
            results.outcome,
        );
        let figure = escaped(&results.by.in_words());
        if results.by.is_by_validation() {
            let _ = writeln!(
                html,
                "<p>Configurations are ranked by their mean {figure}, as <code>nn sweep</code> ranks them, once all of their trials are done. \
                 Test figures only say how good the chosen ones are; they rank nothing.</p>"
            );
        } else {
            let _ = writeln!(
                html,
                "<p class=\"caution\">This sweep has no validation samples, so there is nothing to choose by: a configuration chosen by {figure} \
                 would look better than it is. Nothing is ranked here. Sweep again with <code>--validation-fraction 0.1</code> or \
                 <code>--folds 5</code>.</p>"
            );
        }
        match results.best() {
            Some(best) => {
                let names: Vec<String> = best.trials.iter().take(10).map(|&at| self.name(at)).collect();
                let more = if best.trials.len() > 10 { " …" } else { "" };
                let options = self.options(best);
                let options = if options.is_empty() { "its only configuration".to_owned() } else { options };
                let _ = writeln!(
                    html,
                    "<p class=\"winner\"><strong>★ Best by validation:</strong> {}, {figure} {}{}: {}{more}</p>",
                    escaped(&options),
                    results.by.shown(best.ranked.score.value),
                    spread(results, best),
                    escaped(&names.join(" ")),
                );
            }
            None if results.by.is_by_validation() => {
                html += "<p>No configuration is done yet, so none is the best.</p>\n";
            }
            None => {}
        }
        html
    }

    /// The folder of a trial within the sweep's.
    fn name(&self, at: usize) -> String {
        let name = self.results.trials[at].folder.file_name();
        name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The options of a configuration that vary in the sweep.
    fn options(&self, configuration: &Configuration) -> String {
        let Some(&first) = configuration.trials.first() else { return String::new() };
        let trial = &self.results.trials[first];
        let option = |name: &String| format!("--{name} {}", value_in_words(trial.options.get(name)));
        self.results.varied.iter().map(option).collect::<Vec<_>>().join(" ")
    }

    /// The configurations in order.
    fn ranking(&self) -> String {
        let results = &self.results;
        let rows: Vec<String> = results.configurations.iter().map(|c| self.row(c)).collect();
        let mut head = String::from("<div class=\"wide\"><table><thead><tr><th>place</th>");
        let _ = write!(head, "<th>{}</th><th>trials</th>", escaped(&results.by.in_words()));
        for name in &results.varied {
            let _ = write!(head, "<th class=\"option\">--{}</th>", escaped(name));
        }
        if self.has_test() {
            head += "<th>test, ranks nothing</th>";
        }
        head += "<th class=\"words\">state</th><th class=\"words\">folders</th></tr></thead><tbody>\n";
        let (first, others) = rows.split_at(rows.len().min(LISTED));
        let mut html = format!("{head}{}</tbody></table></div>\n", first.concat());
        if !others.is_empty() {
            let _ = writeln!(
                html,
                "<details><summary>{} more</summary>{head}{}</tbody></table></div></details>",
                others.len(),
                others.concat()
            );
        }
        html
    }

    /// Whether there are test figures beside those that rank.
    fn has_test(&self) -> bool {
        self.results.by.is_by_validation() && self.results.trials.iter().any(|trial| trial.test.is_some())
    }

    fn row(&self, configuration: &Configuration) -> String {
        let results = &self.results;
        let best = configuration.place == Some(1);
        let place = match configuration.place {
            Some(1) => "★ 1".to_owned(),
            Some(place) => place.to_string(),
            None => "–".to_owned(),
        };
        let mut row = format!(
            "<tr{}><th>{place}</th><td>{}{}</td><td>{}</td>",
            if best { " class=\"first\"" } else { "" },
            results.by.shown(configuration.ranked.score.value),
            spread(results, configuration),
            configuration.trials.len(),
        );
        let trials = || configuration.trials.iter().map(|&at| &results.trials[at]);
        for name in &results.varied {
            let value = trials().next().and_then(|trial| trial.options.get(name));
            let _ = write!(row, "<td>{}</td>", escaped(&value_in_words(value)));
        }
        if self.has_test() {
            let tests: Vec<f64> = trials().filter_map(|trial| trial.test).collect();
            let mean = tests.iter().sum::<f64>() / tests.len() as f64;
            let mean = Some(mean).filter(|_| tests.len() == configuration.trials.len());
            let _ = write!(row, "<td class=\"faint\">{}</td>", results.by.shown(mean));
        }
        let names: Vec<String> = configuration.trials.iter().take(3).map(|&at| self.name(at)).collect();
        let more = if configuration.trials.len() > 3 { " …" } else { "" };
        let _ = writeln!(
            row,
            "<td class=\"words\">{}</td><td class=\"words\">{}{more}</td></tr>",
            in_words(trials().map(|trial| trial.state)),
            escaped(&names.join(" "))
        );
        row
    }

    /// A row for each trial.
    fn trials(&self) -> String {
        let results = &self.results;
        let folds = results.trials.iter().any(|trial| trial.fold.is_some());
        let mut html = format!(
            "<details><summary>All {}</summary><div class=\"wide\"><table><thead><tr><th>trial</th><th class=\"words\">state</th>\
             <th>epochs</th><th>{}</th>",
            counted(results.trials.len(), "trial"),
            escaped(&results.by.in_words())
        );
        for name in &results.varied {
            let _ = write!(html, "<th class=\"option\">--{}</th>", escaped(name));
        }
        html += "<th>seed</th>";
        html += if folds { "<th>fold</th>" } else { "" };
        html += if self.has_test() { "<th>test, ranks nothing</th>" } else { "" };
        html += "</tr></thead><tbody>\n";
        for (at, trial) in results.trials.iter().enumerate() {
            let _ = write!(
                html,
                "<tr{}><th>{}</th><td class=\"words\">{}</td><td>{}/{}</td><td>{}</td>",
                if results.is_best(trial) { " class=\"first\"" } else { "" },
                escaped(&self.name(at)),
                trial.state.name(),
                trial.epochs,
                trial.planned,
                results.by.shown(trial.score.value),
            );
            for name in &results.varied {
                let _ = write!(html, "<td>{}</td>", escaped(&value_in_words(trial.options.get(name))));
            }
            // The run's own, which is kept secret if the run is private.
            let seed = self.runs[at].and_then(|(run, _)| run.options.get("seed"));
            let _ = write!(html, "<td>{}</td>", seed.map_or_else(|| "–".to_owned(), |seed| escaped(seed)));
            if folds {
                let _ = write!(html, "<td>{}</td>", trial.fold.map(|f| f.to_string()).unwrap_or_default());
            }
            if self.has_test() {
                let _ = write!(html, "<td class=\"faint\">{}</td>", results.by.shown(trial.test));
            }
            html += "</tr>\n";
        }
        html + "</tbody></table></div></details>\n"
    }
}

/// The deviation of a configuration's figure over its runs, if it has several.
fn spread(results: &Results, configuration: &Configuration) -> String {
    let spread = configuration.ranked.spread;
    spread.map_or_else(String::new, |spread| format!(" ± {}", results.by.shown(Some(spread))))
}

/// A name of at most `longest` characters, cut off if it is longer.
fn short(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest - 1).chain(['…']).collect()
}

/// How many are in each state, in words.
fn in_words(states: impl Iterator<Item = TrialState>) -> String {
    let mut counts: Vec<(TrialState, usize)> = Vec::new();
    for state in states {
        match counts.iter_mut().find(|(known, _)| *known == state) {
            Some((_, count)) => *count += 1,
            None => counts.push((state, 1)),
        }
    }
    match counts.as_slice() {
        [(state, _)] => state.name().to_owned(),
        counts => {
            let words: Vec<String> =
                counts.iter().map(|(state, count)| format!("{count} {}", state.name())).collect();
            words.join(", ")
        }
    }
}

/// How a trial is drawn, beside its place: the style sheet has these classes.
fn class(results: &Results, trial: &Trial) -> &'static str {
    match trial.state {
        _ if results.is_best(trial) => "trial best",
        TrialState::Diverged | TrialState::Failed => "trial diverged",
        TrialState::Done => "trial",
        _ => "trial partial",
    }
}

/// What a trial is, for whoever points at its line.
fn about(results: &Results, trial: &Trial) -> String {
    let name = trial.folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut text = name;
    for option in &results.varied {
        let _ = write!(text, ", {option} {}", value_in_words(trial.options.get(option)));
    }
    let _ = write!(
        text,
        ": {}, {} {}",
        trial.state.name(),
        results.by.in_words(),
        results.by.shown(trial.score.value)
    );
    escaped(&text)
}

/// The legend of the drawings in which a line is a trial; only what occurs is in it.
fn legend(results: &Results, drawn: &[usize]) -> String {
    let mut html = String::from("<ul class=\"legend\">");
    for (key, name) in [
        ("trial best", "the best configuration by validation"),
        ("trial", "other trials that are done"),
        ("trial partial", "left behind by halving, stopped, or not done yet"),
        ("trial diverged", "diverged or failed"),
    ] {
        if drawn.iter().any(|&at| class(results, &results.trials[at]) == key) {
            let _ = write!(
                html,
                "<li><svg viewBox=\"0 0 30 8\" aria-hidden=\"true\"><path class=\"{key}\" d=\"M0 4H30\"/></svg>{name}</li>"
            );
        }
    }
    html + "</ul>"
}
