//! Being told how far a load or a fetch is.

/// Is told what happens; the caller draws it (or does not).
pub trait Progress {
    /// `what` is going on; `done` bytes of `total` are through, where the total is known.
    fn report(&self, what: &str, done: u64, total: Option<u64>);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _what: &str, _done: u64, _total: Option<u64>) {}
}

impl<F: Fn(&str, u64, Option<u64>)> Progress for F {
    fn report(&self, what: &str, done: u64, total: Option<u64>) {
        self(what, done, total);
    }
}
