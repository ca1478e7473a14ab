//! Connections that end again and again after about as many bytes, as behind a proxy with a limit.

use std::fmt;

/// Connections that must end alike, one after the other, before that is said.
const IN_A_ROW: u32 = 3;
/// Fewer bytes are no reason to suspect a limit: every connection begins with some.
const LEAST: u64 = 16 * 1024;

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
    /// Notes that a connection broke after the worker had sent `bytes`. Some if that is the third in a row that ended after
    /// about as many.
    pub(crate) fn note(&mut self, bytes: u64) -> Option<Limit> {
        if bytes < LEAST {
            *self = Self::default();
            return None;
        }
        let (fewest, most) = (self.fewest.min(bytes), self.most.max(bytes));
        // Whoever sends counts bytes too that were on their way when the connection was closed.
        *self = if self.alike > 0 && most - fewest <= fewest / 2 {
            Self { fewest, most, alike: self.alike.saturating_add(1) }
        } else {
            Self { fewest: bytes, most: bytes, alike: 1 }
        };
        (self.alike == IN_A_ROW).then_some(Limit { bytes: self.fewest })
    }
}

/// The bytes after which every connection of a worker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The fewest bytes of the last connections.
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
        let said: Vec<bool> =
            [1_048_576, 1_100_000, 1_048_600, 1_048_600, 1_048_600].map(|n| ends.note(n).is_some()).into();
        assert_eq!(said, [false, false, true, false, false]);
        // Another limit is another sentence.
        let said: Vec<String> = [9_000_000, 8_500_000, 8_400_000]
            .iter()
            .filter_map(|&n| ends.note(n))
            .map(|l| l.to_string())
            .collect();
        let want =
            "every connection ends after about 8.4 MB sent: a proxy's limit? (nginx: client_max_body_size 0)";
        assert_eq!(said, [want]);
    }

    #[test]
    fn connections_that_end_anyhow_are_not() {
        let mut ends = Ends::default();
        for bytes in
            [1_000_000, 2_000_000, 1_000_000, 20_000, 900_000, 100, 900_000, 900_000, 0, 900_000, 900_000]
        {
            assert_eq!(ends.note(bytes), None, "{bytes}");
        }
        // Nor do small steps add up: the first counts.
        let mut ends = Ends::default();
        for bytes in [1_000_000, 1_400_000, 1_900_000, 2_600_000] {
            assert_eq!(ends.note(bytes).map(|limit| limit.bytes), None, "{bytes}");
        }
        assert_eq!(ends.note(2_700_000), Some(Limit { bytes: 1_900_000 }));
    }
}
