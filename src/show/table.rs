//! Bars and tables: probabilities, the confusion matrix, scores by class, regression errors.

use super::names::Names;
use super::style::{Block, Style, Tint, columns, join, left, right};
use crate::metrics::{Classification, Confusion, Regression};

/// The most columns of a class name in a table.
const NAME: usize = 24;

/// Draws the `top` largest outputs as bars, in descending order, ties by class. A full bar is 1. The class `truth` is
/// marked, and shown even if it is not among the largest.
pub(crate) fn probabilities(
    outputs: &[f32],
    names: &Names,
    top: usize,
    truth: Option<usize>,
    style: &Style,
) -> String {
    bars(outputs, names, top, truth, style).into_text()
}

/// [`probabilities`] as a block, to place beside a picture.
pub(super) fn bars(outputs: &[f32], names: &Names, top: usize, truth: Option<usize>, style: &Style) -> Block {
    let mut order: Vec<usize> = (0..outputs.len()).collect();
    order.sort_by(|&a, &b| outputs[b].total_cmp(&outputs[a]).then(a.cmp(&b)));
    let hidden = truth.filter(|truth| order.iter().skip(top).any(|class| class == truth));
    order.truncate(top);
    order.extend(hidden);

    let label = |class: usize| style.clip(&names.name(class), NAME);
    let label_width = order.iter().map(|&class| columns(&label(class))).max().unwrap_or(0);
    let mark = style.pick(" ← true", " <- true");
    let mark_width = if truth.is_some() { columns(mark) } else { 0 };
    // Label, two spaces, bar, one space, "100.0 %" or ">99.9 %", mark.
    let bar_width = style.width.saturating_sub(label_width + 2 + 1 + 7 + mark_width).clamp(5, 40);
    let mut block = Block::new(label_width + 2 + bar_width + 1 + 7 + mark_width);
    for (rank, &class) in order.iter().enumerate() {
        let bar = left(&bar(outputs[class], bar_width, style), bar_width);
        let percent = right(&style.percent(f64::from(outputs[class])), 7);
        let (tint, weight) = if rank == 0 { (Tint::Good, Tint::Strong) } else { (Tint::Bar, Tint::Dim) };
        let name = right(&label(class), label_width);
        let true_mark = if truth == Some(class) { mark } else { "" };
        let line = format!(
            "{}  {} {}{}",
            if rank == 0 { style.paint(Tint::Strong, &name) } else { name },
            style.paint(tint, &bar),
            style.paint(weight, &percent),
            style.paint(Tint::Good, true_mark)
        );
        block.push(&line, label_width + 2 + bar_width + 1 + 7 + columns(true_mark));
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

/// Draws precision, recall, F1 and sample count of each class, their means, and the accuracy.
pub(crate) fn class_table(report: &Classification, names: &Names, style: &Style) -> String {
    let label = |class: usize| style.clip(&names.name(class), NAME);
    let width = report.classes.iter().map(|c| columns(&label(c.class))).max().unwrap_or(0).max("mean".len());
    let score = |score: Option<f64>| {
        let text = score.map_or(style.pick("–", "-").to_owned(), |score| style.percent(score));
        let tint = score.filter(|&score| score < 0.5).map(|_| Tint::Bad);
        let padded = right(&text, 9);
        tint.map_or(padded.clone(), |tint| style.paint(tint, &padded))
    };
    let row = |label: &str, scores: [Option<f64>; 3], support: usize| {
        let [precision, recall, f1] = scores.map(score);
        let support = right(&support.to_string(), 8);
        format!("{}  {precision}  {recall}  {f1}  {support}", left(label, width))
    };
    let head = format!("{}  precision     recall         F1   samples", left("", width));
    let mut lines = vec![style.paint(Tint::Dim, &head)];
    for class in &report.classes {
        lines.push(row(&label(class.class), [class.precision, class.recall, class.f1], class.support));
    }
    if let Some(mean) = report.macro_average {
        lines.push(String::new());
        lines.push(row("mean", [mean.precision, mean.recall, mean.f1].map(Some), report.samples));
    }
    if let Some(accuracy) = report.accuracy {
        let accuracy = style.paint(Tint::Strong, &style.percent(accuracy));
        lines.push(format!("accuracy {accuracy} ({} of {})", report.correct, report.samples));
    }
    join(&lines)
}

/// Draws the errors of each regression output. `names` are the names of the outputs.
pub(crate) fn regression_table(report: &Regression, names: &Names, style: &Style) -> String {
    let label = |at: usize| style.clip(&names.name(at), NAME);
    let width =
        (0..report.outputs.len()).map(|at| columns(&label(at))).max().unwrap_or(0).max("output".len());
    let head =
        format!("{}  {:>12}  {:>12}  {:>8}", left("output", width), "MSE", "MAE", style.pick("R²", "R^2"));
    let mut lines = vec![style.paint(Tint::Dim, &head)];
    for (at, output) in report.outputs.iter().enumerate() {
        let r2 = output.r2.map_or(style.pick("–", "-").to_owned(), |r2| format!("{r2:.4}"));
        lines.push(format!(
            "{}  {}  {}  {}",
            left(&label(at), width),
            right(&number(output.mse), 12),
            right(&number(output.mae), 12),
            right(&r2, 8)
        ));
    }
    join(&lines)
}

/// A number with five significant digits, in scientific notation if it is very large or small.
fn number(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if (1e-3..1e6).contains(&value.abs()) {
        let before = value.abs().log10().floor() as i32;
        format!("{value:.*}", usize::try_from(4 - before).unwrap_or(0))
    } else {
        format!("{value:.4e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{classification, regression};
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

    const UNICODE: Style = Style { color: Color::None, unicode: true, width: 80 };

    #[test]
    fn bars_are_aligned_and_the_truth_is_always_shown() {
        let names = Names::new(&["cat", "dog", "axolotl", "owl"]);
        let style = Style { width: 37, ..UNICODE };
        let golden = "\
dog  ███████████▉       70.0 %
cat  ████▎              25.0 %
owl  ▉                   5.0 % ← true";
        assert_eq!(probabilities(&[0.25, 0.7, 0.0, 0.05], &names, 2, Some(3), &style), golden);
        let plain = "    dog  ##########         60.0 %
axolotl  #######            40.0 %";
        assert_eq!(probabilities(&[0.0, 0.6, 0.4, 0.0], &names, 2, None, &Style::plain(34)), plain);
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

    #[test]
    fn scores_by_class() {
        let mut outputs = Vec::new();
        for answer in [0, 0, 1, 1] {
            outputs.extend((0..3).map(|class| if class == answer { 0.9 } else { 0.05 }));
        }
        let report = classification(&[0, 0, 0, 1], &outputs, 3);
        let golden = "      precision     recall         F1   samples
0       100.0 %     66.7 %     80.0 %         3
1        50.0 %    100.0 %     66.7 %         1
2             -          -          -         0

mean     75.0 %     83.3 %     73.3 %         4
accuracy 75.0 % (3 of 4)";
        assert_eq!(class_table(&report, &Names::numbered(3), &Style::plain(80)), golden);
    }

    #[test]
    fn regression_errors() {
        let report = regression(&[1.0, 5.0, 2.0, 5.0, 3.0, 5.0], &[1.0, 5.0, 2.5, 4.0, 2.0, 5.0], 2);
        let golden = "\
output           MSE           MAE       R^2
price        0.41667       0.50000    0.3750
area         0.33333       0.33333         -";
        assert_eq!(regression_table(&report, &Names::new(&["price", "area"]), &Style::plain(80)), golden);
        let shown = [0.0, 123_456.7, 1.5, 2e9, 3e-7].map(number);
        assert_eq!(shown, ["0", "123457", "1.5000", "2.0000e9", "3.0000e-7"]);
    }
}
