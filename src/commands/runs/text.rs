//! The tables of `nn runs`.

use std::path::Path;

use indicatif::HumanCount;

use super::read::{Found, State};
use crate::show::{Style, counted, grid};

/// The figures that are compared, with what they are called, in the order of the table. Those that no run has are left out.
pub(in crate::commands) const FIGURES: [(&str, &str); 16] = [
    ("test_accuracy", "test accuracy"),
    ("test_macro_f1", "test macro F1"),
    ("test_r2", "test R²"),
    ("test_rmse", "test RMSE"),
    ("test_loss", "test loss"),
    ("validation_accuracy", "validation accuracy"),
    ("validation_r2", "validation R²"),
    ("validation_loss", "validation loss"),
    ("train_accuracy", "train accuracy"),
    ("train_loss", "train loss"),
    ("epsilon", "ε"),
    ("noise_scale", "noise scale"),
    ("parameters", "parameters"),
    ("steps", "steps"),
    ("samples_per_second", "samples/s"),
    ("wall_seconds", "seconds"),
];

/// A line for each run.
pub(super) fn list(found: &[Found], folder: &Path, style: &Style) -> String {
    let mut rows = vec![
        ["run", "state", "epochs", "validation", "test", "train loss", "samples/s"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for run in found {
        let name = run.folder.strip_prefix(folder).unwrap_or(&run.folder);
        let name = if name.as_os_str().is_empty() { &run.folder } else { name };
        let epochs = match (run.epochs(), run.planned()) {
            (Some(done), Some(planned)) => format!("{done}/{planned}"),
            (Some(done), None) => done.to_string(),
            (None, Some(planned)) => format!("0/{planned}"),
            (None, None) => String::new(),
        };
        let best = |set: &str| {
            let accuracy = run.number(&format!("{set}_accuracy"));
            let others = [("r2", "R² "), ("loss", "loss ")].into_iter();
            let other = || {
                others.map(|(key, word)| Some(format!("{word}{:.4}", run.number(&format!("{set}_{key}"))?)))
            };
            accuracy.map_or_else(
                || other().flatten().next().unwrap_or_default(),
                |part| format!("{:.2} %", part * 100.0),
            )
        };
        rows.push(vec![
            name.display().to_string(),
            run.state.name().to_owned(),
            epochs,
            best("validation"),
            best("test"),
            run.number("train_loss").map(|loss| format!("{loss:.4}")).unwrap_or_default(),
            run.number("samples_per_second")
                .map(|rate| HumanCount(rate as u64).to_string())
                .unwrap_or_default(),
        ]);
    }
    let mut text = grid(&rows, 2, style);
    let running = found.iter().filter(|run| run.state == State::Running).count();
    text += &format!("\n{}", counted(found.len(), "run"));
    if running > 0 {
        text += &format!(", {running} running");
    }
    text + &remarks(found)
}

/// A column for each run: the differing options on top, then the figures.
pub(super) fn compare(found: &[Found], keys: &[String], style: &Style) -> String {
    let mut rows = Vec::new();
    let mut row = |name: &str, cell: &dyn Fn(&Found) -> String| {
        let mut cells = vec![name.to_owned()];
        cells.extend(found.iter().map(cell));
        rows.push(cells);
    };
    row("", &|run| short_name(&run.folder));
    row("state", &|run| run.state.name().to_owned());
    for key in keys {
        row(key, &|run| run.options.get(key).cloned().unwrap_or_else(|| "–".to_owned()));
    }
    row("epochs done", &|run| run.epochs().map(|epochs| epochs.to_string()).unwrap_or_default());
    for (key, name) in FIGURES {
        if found.iter().any(|run| run.number(key).is_some()) {
            row(name, &|run| run.number(key).map(|value| figure(key, value)).unwrap_or_default());
        }
    }
    row("weights", &|run| {
        let hash = run.figures.get("params_sha256").and_then(|hash| hash.as_str());
        hash.map(|hash| hash.chars().take(12).collect()).unwrap_or_default()
    });
    let mut text = grid(&rows, 1, style);
    if found.len() > 1 && keys.is_empty() {
        text += "\nall options are the same";
    }
    text + &remarks(found)
}

/// The last two parts of a path, which tell runs of a sweep apart.
pub(in crate::commands) fn short_name(folder: &Path) -> String {
    let parts: Vec<String> =
        folder.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    parts[parts.len().saturating_sub(2)..].join("/")
}

/// A figure as people read it.
pub(in crate::commands) fn figure(key: &str, value: f64) -> String {
    match key {
        _ if key.ends_with("accuracy") => format!("{:.2} %", value * 100.0),
        "parameters" | "steps" | "samples_per_second" => HumanCount(value as u64).to_string(),
        "wall_seconds" => format!("{value:.1}"),
        _ => format!("{value:.4}"),
    }
}

/// What is wrong with the files of runs, a line each.
fn remarks(found: &[Found]) -> String {
    let of_files = found.iter().flat_map(|run| &run.remarks).map(|remark| format!("\n{remark}"));
    let of_logs = found.iter().filter(|run| run.damaged > 0).map(|run| {
        let lines = counted(run.damaged, "line");
        format!(
            "\n{} of {} {} damaged",
            lines,
            run.folder.join("metrics.jsonl").display(),
            if run.damaged == 1 { "is" } else { "are" }
        )
    });
    of_files.chain(of_logs).collect()
}
