//! Progress of loading and fetching.

/// Receives progress reports while data is fetched and loaded. The caller decides whether and how to show them.
pub trait LoadProgress {
    /// Reports the current activity `what`, with `done` bytes finished of `total`, if the total is known.
    fn report(&self, what: &str, done: u64, total: Option<u64>);
}

/// Discards all progress reports.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl LoadProgress for Silent {
    fn report(&self, _what: &str, _done: u64, _total: Option<u64>) {}
}

impl<F: Fn(&str, u64, Option<u64>)> LoadProgress for F {
    fn report(&self, what: &str, done: u64, total: Option<u64>) {
        self(what, done, total);
    }
}
