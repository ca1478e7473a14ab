//! A count of the simulation's events: a simulation in which nothing happens proves nothing.

use std::collections::BTreeMap;

/// The number of events of each kind.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

/// Events that must happen, each at least once in this many seeds.
const EVENTS: [(&str, u64); 30] = [
    ("step", 1),
    ("reissue", 5),
    ("duplicate", 5),
    ("stale step", 5),
    ("malformed", 10),
    ("superseded", 100),
    ("silent", 200),
    ("quarantined", 50),
    ("disproved", 50),
    ("garbled", 100),
    ("late worker back", 50),
    ("admitted in mid-step", 200),
    ("unknown worker", 50),
    ("stale generation", 20),
    ("sent to a later life", 20),
    ("long pause of a worker", 10),
    ("nothing gets up", 10),
    ("nothing gets down", 10),
    ("pause of the coordinator", 5),
    ("clock set back", 10),
    ("clock set forward", 10),
    ("coordinator crash", 3),
    ("gave up waiting", 20),
    ("life from a snapshot", 5),
    ("life from the beginning", 10),
    ("snapshot safe", 1),
    ("snapshot lost", 20),
    ("snapshot torn", 20),
    ("snapshot damaged", 20),
    ("snapshot passed over", 10),
];

impl Tally {
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    pub(crate) fn assert_eventful(&self, seeds: u64) {
        for (what, rarity) in EVENTS {
            let count = self.0.get(what).copied().unwrap_or_default();
            assert!(count >= seeds / rarity, "only {count} times in {seeds} seeds: {what}");
        }
    }
}
