//! The columns of a table, one line each.

use nn_data::{ColumnKind, ColumnSurvey, Survey};

use super::style::{Style, Tint, columns, join, left, right};

/// The most columns of a name.
const NAME: usize = 28;

/// The columns of a surveyed table: position, name, kind, missing and distinct values, range; and, if there is room, the reason
/// for the kind.
pub(crate) fn columns_table(survey: &Survey, style: &Style) -> String {
    let total = survey.rows.max(1) as f64;
    let rows: Vec<[String; 6]> = survey
        .columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let name = column.name.as_deref().filter(|name| !name.trim().is_empty());
            let plain: String =
                name.unwrap_or("(no name)").chars().map(|c| if c.is_control() { '?' } else { c }).collect();
            let missing = column.missing as f64 / total;
            [
                at.to_string(),
                style.clip(&plain, NAME),
                column.kind.name().to_owned(),
                if column.missing == 0 { String::new() } else { style.percent(missing) },
                column.distinct.to_string(),
                range(column),
            ]
        })
        .collect();
    let titles = ["#", "column", "kind", "missing", "values", "range"];
    let width = |cell: usize| {
        let cells = rows.iter().map(|row| columns(&row[cell]));
        cells.chain([columns(titles[cell])]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let all: usize = widths.iter().sum::<usize>() + 2 * (titles.len() - 1);
    // On a narrow terminal the range goes first, then the number of values.
    let shown = match style.width {
        room if room >= all => 6,
        room if room >= all - widths[5] - 2 => 5,
        _ => 4,
    };
    let line = |cells: [&str; 6]| {
        let cells = cells.iter().zip(&widths).enumerate().take(shown);
        let cells: Vec<String> = cells
            .map(
                |(at, (cell, &width))| {
                    if matches!(at, 0 | 3 | 4) { right(cell, width) } else { left(cell, width) }
                },
            )
            .collect();
        cells.join("  ")
    };
    let room = style.width.saturating_sub(all + 2);
    let mut lines = vec![style.paint(Tint::Dim, &line(titles))];
    for (row, column) in rows.iter().zip(&survey.columns) {
        let mut text = line(row.each_ref().map(String::as_str));
        if shown == 6 && room >= 24 {
            text += "  ";
            text += &style.paint(Tint::Dim, &style.clip(&column.reason, room));
        }
        let seen = column.kind.is_feature() || column.kind == ColumnKind::Target;
        lines.push(if seen { text } else { style.paint(Tint::Dim, &text) });
    }
    join(&lines)
}

fn range(column: &ColumnSurvey) -> String {
    let short = |x: f64| {
        let text = format!("{x}");
        if text.len() <= 10 { text } else { format!("{x:.4e}") }
    };
    match column.range {
        Some((least, greatest)) if least == greatest => short(least),
        Some((least, greatest)) => format!("{} to {}", short(least), short(greatest)),
        None => String::new(),
    }
}

/// A sentence broken at the width of the terminal, its later lines indented.
pub(crate) fn wrapped(text: &str, style: &Style) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let room = style.width.clamp(40, 110);
        let full = lines
            .last()
            .is_some_and(|line| !line.trim().is_empty() && columns(line) + 1 + columns(word) > room);
        if full {
            lines.push("  ".to_owned());
        }
        if let Some(line) = lines.last_mut() {
            if !line.trim().is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}
