//! Figures for Prometheus, which asks for them whenever it likes. All names begin with `nn_`, and all units are base units.
//!
//! | File | Contents |
//! | --- | --- |
//! | `text.rs` | the text format |
//! | `run.rs` | the figures of a run |
//! | `cluster.rs` | the figures of a coordinator's workers, from its status |
//! | `worker.rs` | a worker's own figures |
//! | `serve.rs` | the figures of `nn serve` |
//! | `sweep.rs` | the figures of `nn sweep` |

mod cluster;
mod run;
mod serve;
mod sweep;
mod text;
mod worker;

use std::time::{Duration, SystemTime};

pub(crate) use self::run::RunFigures;
pub(crate) use self::serve::ServeFigures;
pub(crate) use self::sweep::SweepFigures;
pub(crate) use self::text::MEDIA_TYPE;
use self::text::{Exposition, Kind};
pub(crate) use self::worker::WorkerFigures;

/// The upper limits of the intervals in which durations are counted, in seconds: from a tenth of a millisecond to half a minute.
const DURATIONS: [f64; 12] = [1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

/// Figures that can be asked for at any time.
pub(crate) trait Figures: Send + Sync {
    /// Adds the families of now.
    fn write(&self, text: &mut Exposition);
}

/// The figures of now as text, and those that every program has: `program` and since when it runs.
pub(crate) fn text_of(program: &str, since: SystemTime, figures: &impl Figures) -> String {
    let mut text = Exposition::default();
    text.family("nn_build_info", Kind::Gauge, "The program: always 1.");
    let labels = [("program", program), ("version", env!("CARGO_PKG_VERSION"))];
    text.sample("nn_build_info", &labels, 1.0);
    let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    text.one(
        "nn_process_start_time_seconds",
        Kind::Gauge,
        "When the program started, in seconds since 1970.",
        since.as_secs_f64(),
    );
    figures.write(&mut text);
    text.into_text()
}

/// The text of figures, checked for what Prometheus takes for granted; for tests.
#[cfg(test)]
fn told(figures: &impl Figures) -> String {
    let since = SystemTime::UNIX_EPOCH + Duration::from_millis(1500);
    let text = text_of("nn train", since, figures);
    assert!(text.contains("\nnn_process_start_time_seconds 1.5\n"), "{text}");
    // Every sample belongs to the family above it, and no family is there twice.
    let mut families = vec![""];
    for line in text.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(rest) => {
                let family = rest.split(' ').next().unwrap();
                assert!(!families.contains(&family) && family.starts_with("nn_"), "{family}: {text}");
                families.push(family);
            }
            None => {
                assert!(line.starts_with('#') || line.starts_with(families[families.len() - 1]), "{line}")
            }
        }
    }
    text
}
