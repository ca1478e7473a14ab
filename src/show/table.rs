//! Bars and the confusion matrix.

use super::names::Names;
use super::style::{Block, CONFIDENCE, Style, Tint, columns, join, left, right};
use crate::metrics::{Confusion, OutputKind};

/// The most columns of a class name in a table.
pub(super) const NAME: usize = 24;

/// A network's answer for one sample.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    /// One output for each class.
    pub(crate) outputs: &'a [f32],
    /// Their meaning.
    pub(crate) kind: OutputKind,
}

/// Draws the `top` largest outputs as bars, in descending order, ties by class. A full bar is 1. The class `truth` is
/// marked, and shown even if it is not among the largest.
pub(crate) fn probabilities(
    answer: Answer<'_>,
    names: &Names,
    top: usize,
    truth: Option<usize>,
    style: &Style,
) -> String {
    bars(answer, names, top, truth, style).into_text()
}

/// [`probabilities`] as a block, to place beside a picture.
pub(super) fn bars(
    answer: Answer<'_>,
    names: &Names,
    top: usize,
    truth: Option<usize>,
    style: &Style,
) -> Block {
    let outputs = answer.outputs;
    let mut order: Vec<usize> = (0..outputs.len()).collect();
    order.sort_by(|&a, &b| outputs[b].total_cmp(&outputs[a]).then(a.cmp(&b)));
    let hidden = truth.filter(|truth| order.iter().skip(top).any(|class| class == truth));
    order.truncate(top);
    order.extend(hidden);

    let label = |class: usize| style.clip(&names.name(class), NAME);
    let label_width = order.iter().map(|&class| columns(&label(class))).max().unwrap_or(0);
    let mark = style.pick(" ← true", " <- true");
    let mark_width = if truth.is_some() { columns(mark) } else { 0 };
    // Label, two spaces, bar, one space, output, mark.
    let rest = label_width + 2 + 1 + CONFIDENCE;
    let bar_width = style.width.saturating_sub(rest + mark_width).clamp(5, 40);
    let mut block = Block::new(rest + bar_width + mark_width);
    for (rank, &class) in order.iter().enumerate() {
        let bar = left(&bar(outputs[class], bar_width, style), bar_width);
        let output = right(&style.confidence(outputs[class], answer.kind), CONFIDENCE);
        let (tint, weight) = if rank == 0 { (Tint::Good, Tint::Strong) } else { (Tint::Bar, Tint::Dim) };
        let name = right(&label(class), label_width);
        let true_mark = if truth == Some(class) { mark } else { "" };
        let line = format!(
            "{}  {} {}{}",
            if rank == 0 { style.paint(Tint::Strong, &name) } else { name },
            style.paint(tint, &bar),
            style.paint(weight, &output),
            style.paint(Tint::Good, true_mark)
        );
        block.push(&line, rest + bar_width + columns(true_mark));
    }
    block
}

/// A bar in steps of an eighth of a cell. Any output above 0 shows at least the thinnest bar.
fn bar(value: f32, width: usize, style: &Style) -> String {
    let value = if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) };
    if !style.unicode {
        return "#".repeat((value * width as f32).round() as usize);
    }
    let eighths = (value * (width * 8) as f32).round() as usize;
    let eighths = if value > 0.0 { eighths.max(1) } else { 0 };
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    "█".repeat(eighths / 8) + rest
}

/// Draws the confusion matrix: one row per true class, one column per predicted class. Rows are labelled with names;
/// columns too if all names are short, else with class numbers. The diagonal is green (in brackets without colours), and
/// zeros are dots.
///
/// If the terminal is too narrow for the matrix, the most frequent confusions are listed instead.
pub(crate) fn confusion_matrix(confusion: &Confusion, names: &Names, style: &Style) -> String {
    let classes = confusion.classes();
    let named = (0..classes).all(|class| columns(&names.name(class)) <= 5);
    let column = |class: usize| if named { names.name(class) } else { class.to_string() };
    let labels: Vec<String> = (0..classes)
        .map(|class| {
            let name = style.clip(&names.name(class), NAME);
            if named { name } else { format!("{name}  {class}") }
        })
        .collect();
    let counts = (0..classes).flat_map(|t| (0..classes).map(move |p| confusion.count(t, p)));
    let count_width = counts.max().map_or(1, |most| most.to_string().len());
    let cell = (0..classes).map(|class| columns(&column(class))).max().unwrap_or(1).max(count_width);
    let label_width = labels.iter().map(|label| columns(label)).max().unwrap_or(0).max("true".len());
    // Two columns between counts leave room for the brackets around the diagonal. With colours, one is enough.
    let widest = label_width + 1 + classes * (cell + 2);
    let sides = match style.colored() {
        _ if widest <= style.width => 2,
        true if label_width + 2 + classes * (cell + 1) <= style.width => 1,
        _ => return top_confusions(confusion, names, widest, style),
    };
    let mut lines = vec![
        format!("{}  {}", " ".repeat(label_width), style.paint(Tint::Dim, "predicted")),
        format!("{} ", style.paint(Tint::Dim, &right("true", label_width))),
    ];
    let framed = |text: &str, tint: Option<Tint>, bracket: bool| {
        let padded = right(text, cell);
        let padded = tint.map_or(padded.clone(), |tint| style.paint(tint, &padded));
        match (bracket, sides) {
            (true, _) => right(&format!("[{text}]"), cell + 2),
            (false, 2) => format!(" {padded} "),
            _ => format!(" {padded}"),
        }
    };
    for class in 0..classes {
        lines[1] += &framed(&column(class), Some(Tint::Dim), false);
    }
    for (truth, label) in labels.iter().enumerate() {
        let mut line = right(label, label_width) + " ";
        for answer in 0..classes {
            let count = confusion.count(truth, answer);
            line += &match (count, truth == answer) {
                (0, _) => framed(style.pick("·", "."), Some(Tint::Dim), false),
                (_, true) => framed(&count.to_string(), Some(Tint::Good), !style.colored()),
                (_, false) => framed(&count.to_string(), Some(Tint::Bad), false),
            };
        }
        lines.push(line);
    }
    join(&lines)
}

/// The most frequent confusions of a matrix that does not fit.
fn top_confusions(confusion: &Confusion, names: &Names, needed: usize, style: &Style) -> String {
    const MOST: usize = 12;
    let all = confusion.confusions();
    let classes = confusion.classes();
    if all.is_empty() {
        return format!("None of the {classes} classes was mistaken for another.");
    }
    let mut lines = vec![format!(
        "The matrix of {classes} classes needs {needed} columns, but only {} are available. Most frequent confusions{}:",
        style.width,
        if all.len() > MOST { format!(", {MOST} of {}", all.len()) } else { String::new() },
    )];
    let name = |class: usize| style.clip(&names.name(class), NAME);
    let shown = &all[..all.len().min(MOST)];
    let width = |class: fn(&(usize, usize, usize)) -> usize| {
        shown.iter().map(|entry| columns(&name(class(entry)))).max().unwrap_or(0)
    };
    let (from, to) = (width(|e| e.0), width(|e| e.1));
    let count_width = shown[0].2.to_string().len();
    for &(truth, predicted, count) in shown {
        let share = count as f64 / confusion.support(truth) as f64;
        lines.push(format!(
            "  {} {} {}  {}  {}",
            right(&name(truth), from),
            style.paint(Tint::Dim, style.pick("→", "->")),
            left(&name(predicted), to),
            style.paint(Tint::Bad, &right(&count.to_string(), count_width)),
            style.paint(Tint::Dim, &right(&style.percent(share), 7)),
        ));
    }
    join(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::style::Color;

    fn matrix(counts: &[&[usize]]) -> Confusion {
        let mut confusion = Confusion::new(counts.len());
        for (truth, row) in counts.iter().enumerate() {
            for (predicted, &count) in row.iter().enumerate() {
                (0..count).for_each(|_| confusion.add(truth, predicted));
            }
        }
        confusion
    }

    fn percent(outputs: &[f32]) -> Answer<'_> {
        Answer { outputs, kind: OutputKind::Probabilities }
    }

    const UNICODE: Style = Style { color: Color::None, unicode: true, width: 80 };

    #[test]
    fn bars_are_aligned_and_the_truth_is_always_shown() {
        let names = Names::new(&["cat", "dog", "axolotl", "owl"]);
        let style = Style { width: 37, ..UNICODE };
        let golden = "\
dog  ███████████▉       70.0 %
cat  ████▎              25.0 %
owl  ▉                   5.0 % ← true";
        assert_eq!(probabilities(percent(&[0.25, 0.7, 0.0, 0.05]), &names, 2, Some(3), &style), golden);
        let plain = "    dog  ##########         60.0 %
axolotl  #######            40.0 %";
        assert_eq!(probabilities(percent(&[0.0, 0.6, 0.4, 0.0]), &names, 2, None, &Style::plain(34)), plain);
        let scores = "axolotl  ####################  12.500
    cat                        -3.000";
        let answer = Answer { outputs: &[-3.0, -4.0, 12.5, -1e7], kind: OutputKind::Scores };
        assert_eq!(probabilities(answer, &names, 2, None, &Style::plain(37)), scores);
    }

    #[test]
    fn a_matrix_is_aligned_with_dots_for_zeros() {
        let confusion = matrix(&[&[43, 0, 1], &[0, 105, 2], &[7, 0, 0]]);
        let golden = "      predicted
true    0    1    2
   0  [43]   .    1
   1    . [105]   2
   2    7    .    .";
        assert_eq!(confusion_matrix(&confusion, &Names::numbered(3), &Style::plain(80)), golden);
    }

    #[test]
    fn long_names_label_only_the_rows() {
        let names = Names::new(&["Trouser", "Bag"]);
        let golden = "            predicted
      true  0  1
Trouser  0 [3] 1
    Bag  1  · [2]";
        assert_eq!(confusion_matrix(&matrix(&[&[3, 1], &[0, 2]]), &names, &UNICODE), golden);
    }

    #[test]
    fn colours_mark_the_diagonal() {
        let style = Style { color: Color::Palette, ..UNICODE };
        let drawn = confusion_matrix(&matrix(&[&[3, 1], &[0, 2]]), &Names::numbered(2), &style);
        assert!(drawn.contains("\x1b[1;32m3\x1b[0m") && drawn.contains("\x1b[1;31m1\x1b[0m"), "{drawn:?}");
        assert!(drawn.contains("\x1b[2m·\x1b[0m") && !drawn.contains('['.to_string().repeat(2).as_str()));
    }

    #[test]
    fn a_matrix_too_wide_becomes_a_list() {
        let mut confusion = Confusion::new(100);
        (0..100).for_each(|class| confusion.add(class, class));
        (0..3).for_each(|_| confusion.add(41, 14));
        confusion.add(7, 1);
        let golden = "\
The matrix of 100 classes needs 405 columns, but only 80 are available. Most frequent confusions:
  41 -> 14  3   75.0 %
   7 -> 1   1   50.0 %";
        assert_eq!(confusion_matrix(&confusion, &Names::numbered(100), &Style::plain(80)), golden);
        let fits = confusion_matrix(&confusion, &Names::numbered(100), &Style::plain(500));
        assert_eq!(fits.lines().count(), 102);
    }
}
