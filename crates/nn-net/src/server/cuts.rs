//! Workers whose connections all break after about as many bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::wire::ends::{Ends, Limit, Side};

/// A worker whose connections all end after about as many bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutOff {
    /// The worker's name.
    pub name: String,
    /// The bytes after which its connections end.
    pub limit: Limit,
}

impl fmt::Display for CutOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.limit)
    }
}

/// How the connections of each worker end.
#[derive(Debug, Default)]
pub(super) struct Cuts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By member: dialling again makes another worker, but not another member.
    ends: BTreeMap<u64, Ends>,
    found: Vec<CutOff>,
}

/// The most members that are remembered, and the most that wait to be reported.
const REMEMBERED: usize = 256;

impl Cuts {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a worker's connection broke after this many bytes had been received.
    pub(super) fn note(&self, member: u64, name: &str, bytes: u64) {
        let mut state = self.lock();
        // Strangers cannot make it grow without end.
        if state.ends.len() >= REMEMBERED && !state.ends.contains_key(&member) {
            state.ends.clear();
        }
        let limit = state.ends.entry(member).or_default().note(bytes, Side::Receiver);
        if let Some(limit) = limit.filter(|_| state.found.len() < REMEMBERED) {
            state.found.push(CutOff { name: name.to_owned(), limit });
        }
    }

    /// The workers of which this was found since the last call.
    pub(super) fn take(&self) -> Vec<CutOff> {
        std::mem::take(&mut self.lock().found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_has_connections_of_its_own() {
        let cuts = Cuts::default();
        // Many workers that break off at the same time, as when their machines are switched off.
        for member in 0..3 * REMEMBERED as u64 {
            cuts.note(member, "many", 1_000_000);
        }
        assert!(cuts.take().is_empty());
        for _ in 0..3 {
            cuts.note(7, "ada", 1_000_000);
            cuts.note(8, "grace", 5_000);
        }
        let found: Vec<String> = cuts.take().iter().map(ToString::to_string).collect();
        let limit =
            "every connection ends after about 1.0 MB sent: a proxy's limit? (nginx: client_max_body_size 0)";
        assert_eq!(found, [format!("ada: {limit}")]);
        assert!(cuts.take().is_empty() && cuts.lock().ends.len() <= REMEMBERED);
    }
}
