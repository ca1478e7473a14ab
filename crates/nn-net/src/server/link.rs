//! What the coordinator's link carries, as far as it can be seen: the planner weighs a better balance against more bytes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// Transfers that the speed is the median of.
const RECENT: usize = 31;

/// Smaller ones are over before they can be measured.
const LEAST: usize = 64 << 10;

/// The transfers of gradients to this coordinator.
#[derive(Debug, Default)]
pub(super) struct Link {
    arriving: AtomicUsize,
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    rates: Vec<f64>,
    oldest: usize,
}

/// A gradient that is arriving.
#[derive(Debug)]
pub(super) struct Transfer<'a> {
    link: &'a Link,
    since: Instant,
}

impl Link {
    /// A gradient's header has come.
    pub(super) fn begin(&self) -> Transfer<'_> {
        self.arriving.fetch_add(1, Ordering::Relaxed);
        Transfer { link: self, since: Instant::now() }
    }

    /// Bytes a second, once something has been measured.
    pub(super) fn speed(&self) -> Option<f64> {
        let mut rates = self.recent.lock().unwrap_or_else(PoisonError::into_inner).rates.clone();
        let middle = rates.len().checked_sub(1)? / 2;
        Some(*rates.select_nth_unstable_by(middle, f64::total_cmp).1)
    }

    /// A transfer that took so long while `together` were under way. They share the link, or each has a thinner one of its
    /// own: either way all of them together show what comes through.
    fn record(&self, bytes: usize, seconds: f64, together: usize) {
        let rate = bytes as f64 * together as f64 / seconds.max(1e-6);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let Recent { rates, oldest } = &mut *recent;
        if rates.len() < RECENT {
            rates.push(rate);
        } else {
            rates[*oldest] = rate;
            *oldest = (*oldest + 1) % RECENT;
        }
    }
}

impl Transfer<'_> {
    /// All of it is there.
    pub(super) fn end(self, bytes: usize) {
        if bytes >= LEAST {
            let together = self.link.arriving.load(Ordering::Relaxed);
            self.link.record(bytes, self.since.elapsed().as_secs_f64(), together.max(1));
        }
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        self.link.arriving.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_the_median_of_what_all_transfers_carried_together() {
        let link = Link::default();
        assert_eq!(link.speed(), None);
        link.record(1_000_000, 0.01, 1);
        assert_eq!(link.speed(), Some(1e8));
        // Two that share the link are half as fast each.
        link.record(1_000_000, 0.02, 2);
        // What was in a buffer already seems to come at once.
        link.record(1_000_000, 0.0, 1);
        assert_eq!(link.speed(), Some(1e8));
        for _ in 0..RECENT {
            link.record(1_000_000, 0.1, 1);
        }
        assert_eq!(link.speed(), Some(1e7), "what was long ago does not count");
    }

    #[test]
    fn transfers_are_counted_until_they_end_or_break() {
        let link = Link::default();
        let (a, b) = (link.begin(), link.begin());
        assert_eq!(link.arriving.load(Ordering::Relaxed), 2);
        a.end(LEAST - 1);
        assert_eq!(link.speed(), None, "too small to tell");
        b.end(LEAST);
        assert!(link.speed().is_some());
        drop(link.begin());
        assert_eq!(link.arriving.load(Ordering::Relaxed), 0);
    }
}
