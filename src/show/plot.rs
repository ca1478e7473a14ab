//! A curve over a logarithmic axis.

use super::style::{Style, Tint, columns, right};

/// A place on the horizontal axis that is marked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mark {
    /// Where it is, a positive number.
    pub(crate) at: f64,
    /// Its letter, below the axis.
    pub(crate) letter: char,
}

/// Lines of the drawing, without the axis.
const HEIGHT: usize = 12;

/// The columns of the numbers at the vertical axis.
const NUMBERS: usize = 8;

/// The most columns of the drawing: a wider one says no more.
const WIDEST: usize = 100;

/// Draws (x, y) points, x positive and ascending, in at most [`Style::width`] columns; `top` is the highest y to show, and what is higher is
/// drawn there. Marks are dotted lines with a letter each.
pub(crate) fn plot(points: &[(f64, f64)], top: f64, marks: &[Mark], style: &Style) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    let width = style.width.min(WIDEST).saturating_sub(NUMBERS + 2).max(8);
    let (low, high) = (first.0.ln(), last.0.ln());
    let column = |x: f64| {
        let way = if high > low { (x.ln() - low) / (high - low) } else { 0.0 };
        (way.clamp(0.0, 1.0) * (width - 1) as f64).round() as usize
    };
    let bottom = points.iter().map(|point| point.1).filter(|y| y.is_finite()).fold(top, f64::min);
    let row = |y: f64| {
        let way = if top > bottom { (y.min(top) - bottom) / (top - bottom) } else { 0.0 };
        HEIGHT - 1 - (way.clamp(0.0, 1.0) * (HEIGHT - 1) as f64).round() as usize
    };
    let mut cells = vec![vec![None; width]; HEIGHT];
    for mark in marks {
        cells.iter_mut().for_each(|line| line[column(mark.at)] = Some(Tint::Dim));
    }
    for (x, y) in filled(points, width, column) {
        // What is not finite has left the picture.
        let at = if y.is_finite() { row(y) } else { 0 };
        cells[at][x] = Some(Tint::Bar);
    }
    let mut text = String::new();
    for (number, line) in cells.iter().enumerate() {
        let label = match number {
            0 => format!("{top:.3}"),
            _ if number == HEIGHT / 2 => {
                let way = (HEIGHT - 1 - number) as f64 / (HEIGHT - 1) as f64;
                format!("{:.3}", bottom + way * (top - bottom))
            }
            _ if number + 1 == HEIGHT => format!("{bottom:.3}"),
            _ => String::new(),
        };
        let drawn: String = line
            .iter()
            .map(|cell| match cell {
                None => " ".to_owned(),
                Some(Tint::Dim) => style.paint(Tint::Dim, style.pick("┊", ":")),
                Some(tint) => style.paint(*tint, style.pick("•", "*")),
            })
            .collect();
        let line = format!("{} {}{drawn}", right(&label, NUMBERS), style.pick("│", "|"));
        text += line.trim_end();
        text.push('\n');
    }
    text + &axis((first.0, last.0), marks, column, width, style)
}

/// A y for each column between the first and the last point: the mean of its points, or the line between its neighbours.
fn filled(points: &[(f64, f64)], width: usize, column: impl Fn(f64) -> usize) -> Vec<(usize, f64)> {
    let mut sums = vec![(0.0, 0_u32); width];
    for &(x, y) in points {
        let (sum, count) = &mut sums[column(x)];
        (*sum, *count) = (*sum + y, *count + 1);
    }
    let known: Vec<(usize, f64)> = sums
        .iter()
        .enumerate()
        .filter(|(_, (_, count))| *count > 0)
        .map(|(at, (sum, count))| (at, sum / f64::from(*count)))
        .collect();
    let mut all = Vec::new();
    for pair in known.windows(2) {
        let ((from, y), (to, z)) = (pair[0], pair[1]);
        all.extend((from..to).map(|at| (at, y + (z - y) * (at - from) as f64 / (to - from) as f64)));
    }
    all.extend(known.last());
    all
}

/// The horizontal axis with the powers of ten, and the letters of the marks.
fn axis(
    (first, last): (f64, f64),
    marks: &[Mark],
    column: impl Fn(f64) -> usize,
    width: usize,
    style: &Style,
) -> String {
    let indent = " ".repeat(NUMBERS + 2);
    let mut line: Vec<&str> = vec![style.pick("─", "-"); width];
    let mut labels = String::new();
    let powers = (first.log10() - 1e-6).ceil() as i32..=(last.log10() + 1e-6).floor() as i32;
    for power in powers {
        let at = column(10_f64.powi(power));
        line[at] = style.pick("┴", "+");
        let label = format!("1e{power}");
        let start = at.saturating_sub(label.len() / 2).min(width.saturating_sub(label.len()));
        // A label that would touch the one before is left out.
        if labels.is_empty() || start > columns(&labels) {
            labels += &" ".repeat(start - columns(&labels));
            labels += &label;
        }
    }
    let mut letters = vec![' '; width];
    marks.iter().for_each(|mark| letters[column(mark.at)] = mark.letter);
    let letters: String = letters.into_iter().collect();
    let corner = style.pick("└", "+");
    let line: String = line.concat();
    let text = format!("{}{corner}{line}\n{indent}{labels}\n", " ".repeat(NUMBERS + 1));
    if marks.is_empty() {
        text
    } else {
        format!("{text}{indent}{}\n", style.paint(Tint::Strong, letters.trim_end()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::style::Color;
    use super::*;

    fn points() -> Vec<(f64, f64)> {
        (0..=60)
            .map(|i| (10_f64.powf(-4.0 + f64::from(i) / 10.0), (f64::from(i) / 10.0 - 4.0).abs()))
            .collect()
    }

    #[test]
    fn a_curve_is_drawn_within_its_columns() {
        let marks = [Mark { at: 1e-3, letter: 's' }, Mark { at: 1.0, letter: 'm' }];
        for width in [20, 60, 80, 120, 200] {
            for unicode in [false, true] {
                let style = Style { color: Color::None, unicode, width };
                let text = plot(&points(), 3.0, &marks, &style);
                assert_eq!(text.lines().count(), HEIGHT + 3);
                assert!(text.lines().all(|line| columns(line) <= width.max(20)), "{width}:\n{text}");
                assert_eq!(text.is_ascii(), !unicode);
            }
        }
    }

    #[test]
    fn what_is_drawn_is_the_curve() {
        let marks = [Mark { at: 1.0, letter: 'm' }];
        let text = plot(&points(), 3.0, &marks, &Style::plain(60));
        let lines: Vec<&str> = text.lines().collect();
        // It begins above the picture, at the top, and its lowest point is at the mark.
        assert!(lines[0].starts_with("   3.000 |*"), "{text}");
        let lowest = lines[HEIGHT - 1];
        assert!(lowest.starts_with("   0.000 |"), "{text}");
        let mark = lines[HEIGHT + 2].find('m').unwrap();
        assert_eq!(&lowest[mark..=mark], "*", "{text}");
        assert!(lines[3][mark..].starts_with(':'), "{text}");
        for power in ["1e-4", "1e-2", "1e0", "1e2"] {
            assert!(lines[HEIGHT + 1].contains(power), "{text}");
        }
        // One star in each column of the drawing.
        for at in 10..60 {
            let stars = lines[..HEIGHT].iter().filter(|line| line.as_bytes().get(at) == Some(&b'*')).count();
            assert_eq!(stars, 1, "column {at}:\n{text}");
        }
    }

    #[test]
    fn losses_that_are_not_finite_leave_the_picture_at_the_top() {
        let mut points = points();
        points[60].1 = f64::NAN;
        let text = plot(&points, 3.0, &[], &Style::plain(60));
        assert!(text.lines().next().unwrap().ends_with('*'), "{text}");
        assert_eq!(plot(&[], 1.0, &[], &Style::plain(60)), "");
    }
}
