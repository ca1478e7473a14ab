//! Drawing the findings of `nn doctor`.

use super::style::{Style, Tint, columns, left};

/// The verdict of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Everything is in order.
    Ok,
    /// It works, but not as well as it could, or not for much longer.
    Warning,
    /// It does not work.
    Problem,
}

impl Verdict {
    /// The verdict in one word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// Widths of the columns for the verdict and the name of the check.
const VERDICT: usize = 9;
const CHECK: usize = 13;

/// The most columns of a line of text; longer lines are hard to read.
const WIDEST: usize = 110;

/// Draws a finding: the verdict, the name of the check, what was found, and how to fix it.
///
/// ```text
/// warning  disk         87 MiB are free
///                       fix: free some space
/// ```
pub(crate) fn finding(
    verdict: Verdict,
    check: &str,
    found: &str,
    fix: Option<&str>,
    style: &Style,
) -> String {
    let indent = VERDICT + CHECK;
    let width = style.width.min(WIDEST).saturating_sub(indent).max(20);
    let tint = match verdict {
        Verdict::Ok => Tint::Good,
        Verdict::Warning => Tint::Warn,
        Verdict::Problem => Tint::Bad,
    };
    let word = verdict.word();
    let padding = " ".repeat(VERDICT - columns(word));
    let mut text = style.paint(tint, word) + &padding + &style.paint(Tint::Strong, &left(check, CHECK));
    text += &wrap(found, width).join(&format!("\n{}", " ".repeat(indent)));
    if let Some(fix) = fix {
        let lines = wrap(&format!("fix: {fix}"), width);
        for line in lines {
            text += &format!("\n{}{line}", " ".repeat(indent));
        }
    }
    if style.unicode { text } else { text.replace('µ', "u").replace('…', "...") }
}

/// Wraps text between words. A word too long for a line gets a line of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        // The words may come from a peer, and must not steer the terminal.
        let word: String = word.chars().filter(|c| !c.is_control()).collect();
        match lines.last_mut() {
            Some(line) if columns(line) + 1 + columns(&word) <= width => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_stands_above_its_fix() {
        let style = Style::plain(80);
        let text = finding(Verdict::Warning, "disk", "87 MiB are free", Some("free some space"), &style);
        let golden = "\
warning  disk         87 MiB are free
                      fix: free some space";
        assert_eq!(text, golden);
    }

    #[test]
    fn long_texts_are_wrapped_and_aligned() {
        let found = "one two three four five six seven eight nine ten eleven twelve thirteen";
        let text = finding(Verdict::Problem, "a check", found, Some("do this"), &Style::plain(50));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "problem  a check      one two three four five six");
        assert_eq!(lines[1], "                      seven eight nine ten eleven");
        assert_eq!(lines.last(), Some(&"                      fix: do this"));
        let figures = finding(Verdict::Ok, "x", "12 µs (ab…)", None, &Style::plain(50));
        assert_eq!(figures, "ok       x            12 us (ab...)");
        assert!(lines.iter().all(|line| columns(line) <= 50), "{text}");
    }

    #[test]
    fn a_word_that_is_too_long_stays_whole() {
        let path = "x".repeat(60);
        let text = finding(Verdict::Ok, "path", &format!("it is {path} here"), None, &Style::plain(60));
        assert!(text.contains(&path), "{text}");
        let text = finding(Verdict::Ok, "path", "a \x1b[31mred\x07 word", Some("a\rb"), &Style::plain(60));
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }
}
