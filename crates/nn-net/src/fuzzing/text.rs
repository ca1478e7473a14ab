//! Text for people.

/// The longest message for people, in bytes, whatever a peer sends.
pub(crate) const LONGEST_TEXT: usize = 4096;

/// Whether text may go to a terminal or a log.
pub(crate) fn is_plain(text: &str) -> bool {
    text.len() <= LONGEST_TEXT && !text.chars().any(char::is_control)
}
