//! Connections that end again and again after about as many bytes, as behind a proxy with a limit.

use std::fmt;

/// Connections that must end alike, one after the other, before that is said.
const IN_A_ROW: u32 = 3;
/// Fewer bytes are no reason to suspect a limit: every connection begins with some.
const LEAST: u64 = 16 * 1024;

/// Who counts the bytes of a worker's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The worker, which also counts what was still on its way when the connection was closed.
    Sender,
    /// The coordinator, which never reads what the system still held when the connection was reset.
    Receiver,
}

/// How the connections of one worker have ended lately.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ends {
    /// The fewest and the most bytes of the connections that ended alike.
    fewest: u64,
    most: u64,
    /// How many they are.
    alike: u32,
}

impl Ends {
    /// Notes that a connection broke after `bytes` of the worker's. Some if that is the third in a row that ended after
    /// about as many.
    pub(crate) fn note(&mut self, bytes: u64, side: Side) -> Option<Limit> {
        if bytes < LEAST {
            *self = Self::default();
            return None;
        }
        let (fewest, most) = (self.fewest.min(bytes), self.most.max(bytes));
        *self = if self.alike > 0 && most - fewest <= fewest / 2 {
            Self { fewest, most, alike: self.alike.saturating_add(1) }
        } else {
            Self { fewest: bytes, most: bytes, alike: 1 }
        };
        // The sender counts too many, the receiver too few.
        let bytes = if side == Side::Sender { self.fewest } else { self.most };
        (self.alike == IN_A_ROW).then_some(Limit { bytes })
    }
}

/// The bytes after which every connection of a worker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The number nearest to the limit: the fewest of what was sent, the most of what was received.
    pub bytes: u64,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "every connection ends after about ")?;
        match self.bytes {
            bytes if bytes < 1_000_000 => write!(f, "{} kB", bytes / 1000)?,
            bytes => write!(f, "{:.1} MB", bytes as f64 / 1e6)?,
        }
        write!(f, " sent: a proxy's limit? (nginx: client_max_body_size 0)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_connections_that_end_alike_are_noticed_once() {
        let mut ends = Ends::default();
        let said: Vec<bool> = [1_048_576, 1_100_000, 1_048_600, 1_048_600, 1_048_600]
            .map(|n| ends.note(n, Side::Sender).is_some())
            .into();
        assert_eq!(said, [false, false, true, false, false]);
        // Another limit is another sentence.
        let said: Vec<String> = [9_000_000, 8_500_000, 8_400_000]
            .iter()
            .filter_map(|&n| ends.note(n, Side::Sender))
            .map(|l| l.to_string())
            .collect();
        let want =
            "every connection ends after about 8.4 MB sent: a proxy's limit? (nginx: client_max_body_size 0)";
        assert_eq!(said, [want]);
    }

    #[test]
    fn a_limit_is_the_fewest_bytes_sent_and_the_most_received() {
        for (side, want) in [(Side::Sender, 1_050_000), (Side::Receiver, 1_300_000)] {
            let mut ends = Ends::default();
            let found = [1_100_000, 1_300_000, 1_050_000].map(|bytes| ends.note(bytes, side));
            assert_eq!(found, [None, None, Some(Limit { bytes: want })], "{side:?}");
        }
    }

    #[test]
    fn connections_that_end_anyhow_are_not() {
        let mut ends = Ends::default();
        for bytes in
            [1_000_000, 2_000_000, 1_000_000, 20_000, 900_000, 100, 900_000, 900_000, 0, 900_000, 900_000]
        {
            assert_eq!(ends.note(bytes, Side::Sender), None, "{bytes}");
        }
        // Nor do small steps add up: the first counts.
        let mut ends = Ends::default();
        for bytes in [1_000_000, 1_400_000, 1_900_000, 2_600_000] {
            assert_eq!(ends.note(bytes, Side::Sender).map(|limit| limit.bytes), None, "{bytes}");
        }
        assert_eq!(ends.note(2_700_000, Side::Sender), Some(Limit { bytes: 1_900_000 }));
    }
}
