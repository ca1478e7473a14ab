//! `--json`: what happens in a run, as JSON Lines on standard output, for programs.

use std::io::{Write as _, stdout};
use std::time::Duration;

use nn_core::Compute;
use nn_engine::{Manifest, StepReport};
use serde_json::{Value, json};

use crate::progress::above;

/// The least time between two lines of progress.
const EVERY: Duration = Duration::from_secs(1);

/// Writes the lines.
pub(super) struct Feed {
    /// When the next line of progress is due; `None` if there are none.
    due: Option<Duration>,
}

/// What the first line says of a run.
pub(super) struct Start<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) compute: &'a Compute,
    /// The folder of the run.
    pub(super) out: String,
    pub(super) data: &'a str,
    pub(super) test_samples: usize,
    /// Steps, or rounds, that are done already.
    pub(super) done: u64,
    /// What a person would be told before the run.
    pub(super) notes: Vec<String>,
}

impl Feed {
    /// Begins with a line for the run. Lines of progress come only if `progress`.
    pub(super) fn begin(progress: bool, start: Start<'_>) -> Self {
        let Start { manifest, compute, out, data, test_samples, done, notes } = start;
        line(&json!({
            "kind": "run",
            "out": out,
            "data": data,
            "data_sha256": manifest.parts().data_sha256,
            "config_hash": manifest.hash(),
            "layers": manifest.model().widths(),
            "parameters": manifest.model().parameters(),
            "train_samples": manifest.parts().train_samples,
            "test_samples": test_samples,
            "epochs": manifest.recipe().epochs,
            "total_steps": manifest.sequential_steps(manifest.total_steps()),
            "steps": manifest.sequential_steps(done),
            "threads": compute.threads.count(),
            "isa": compute.isa.name(),
            "version": env!("CARGO_PKG_VERSION"),
            "notes": notes,
        }));
        Self { due: progress.then_some(Duration::ZERO) }
    }

    /// A step, after which `steps` sequential ones are done, at time `now`.
    pub(super) fn step(&mut self, now: Duration, report: &StepReport, steps: u64, samples_per_second: f64) {
        if self.due.is_some_and(|due| now >= due) {
            self.due = Some(now + EVERY);
            line(&json!({
                "kind": "progress",
                "epoch": report.epoch + 1,
                "steps": steps,
                "loss": report.loss,
                "learning_rate": report.learning_rate,
                "samples_per_second": samples_per_second,
                "seconds": now.as_secs_f64(),
            }));
        }
    }

    /// An epoch, by its line in the log.
    pub(super) fn epoch(&self, of_log: &Value) {
        line(of_log);
    }

    /// Something beside the steps, by its line in the log.
    pub(super) fn event(&self, of_log: &Value) {
        line(of_log);
    }

    /// The end of the run, by its summary.
    pub(super) fn end(&self, summary: &Value) {
        let mut last = json!({ "kind": "end" });
        if let (Value::Object(last), Value::Object(summary)) = (&mut last, summary) {
            last.extend(summary.clone());
        }
        line(&last);
    }
}

/// Writes a line. Training continues even if the reader has closed standard output.
pub(in crate::commands) fn line(value: &Value) {
    above(|| {
        let _ = writeln!(stdout(), "{value}");
    });
}
