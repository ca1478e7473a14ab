//! How often what has happened: a simulation in which nothing happens proves nothing.

use std::collections::BTreeMap;

/// How much of what has happened.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    pub(crate) fn assert_eventful(&self) {
        for what in [
            "step",
            "reissue",
            "duplicate",
            "stale step",
            "malformed",
            "superseded",
            "silent",
            "quarantined",
            "late worker back",
            "let in in mid-step",
            "unknown worker",
            "stale generation",
        ] {
            assert!(self.0.get(what).is_some_and(|&count| count > 0), "not once in all seeds: {what}");
        }
    }
}
