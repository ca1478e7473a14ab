//! Rows of cells in columns.

use super::style::{Style, Tint, columns, join, left, right};

/// The space between two columns.
const GAP: &str = "  ";

/// A table whose first row is the headings: the first `words` columns are aligned to the left, the others to the right. Columns that do
/// not fit into the width are left out from the right, and the last line says how many.
pub(crate) fn grid(rows: &[Vec<String>], words: usize, style: &Style) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &Vec<String>, at: usize| row.get(at).map_or("", String::as_str).to_owned();
    let widths: Vec<usize> =
        (0..count).map(|at| rows.iter().map(|row| columns(&cell(row, at))).max().unwrap_or(0)).collect();
    let mut shown = 0;
    let mut room = style.width;
    for (at, width) in widths.iter().enumerate() {
        let wanted = width + if at == 0 { 0 } else { GAP.len() };
        // Of a first column that is too wide there is at least the beginning.
        if wanted > room && at > 0 {
            break;
        }
        room = room.saturating_sub(wanted);
        shown = at + 1;
    }
    let mut lines: Vec<String> = rows
        .iter()
        .enumerate()
        .map(|(number, row)| {
            let cells: Vec<String> = (0..shown)
                .map(|at| {
                    let width = widths[at].min(style.width);
                    let text = style.clip(&cell(row, at), width);
                    if at < words { left(&text, width) } else { right(&text, width) }
                })
                .collect();
            let line = cells.join(GAP);
            if number == 0 { style.paint(Tint::Dim, line.trim_end()) } else { line }
        })
        .collect();
    if shown < count {
        let more = count - shown;
        let noun = if more == 1 { "column has" } else { "columns have" };
        lines.push(format!("{more} {noun} no room: a wider terminal or --json shows them"));
    }
    join(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_do_not_fit_are_counted() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<String>>();
        let rows = [row(&["run", "state", "loss"]), row(&["digits", "complete", "0.5"])];
        assert_eq!(grid(&rows, 2, &Style::plain(40)), "run     state     loss\ndigits  complete   0.5");
        assert_eq!(
            grid(&rows, 2, &Style::plain(20)),
            "run     state\ndigits  complete\n1 column has no room: a wider terminal or --json shows them"
        );
    }
}
