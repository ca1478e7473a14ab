//! The figures of an evaluation: scores by class, errors of numbers.

use super::names::Names;
use super::style::{Style, Tint, columns, join, left, right};
use super::table::NAME;
use crate::metrics::{ClassReport, NumberFigures, Regression};

/// Draws precision, recall, F1 and sample count of each class, and their means.
pub(crate) fn class_table(report: &ClassReport, names: &Names, style: &Style) -> String {
    // The columns beside the label.
    const REST: usize = 3 * (2 + 9) + 2 + 8;
    let label = |class: usize| style.clip(&names.name(class), label_width(style, REST));
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
    join(&lines)
}

/// Draws the figures on all classes but the accuracy, which stands in a headline, side by side as the width allows. `loss`
/// is the loss of training, on the same samples. Figures that are not defined are left out.
pub(crate) fn class_figures(report: &ClassReport, loss: f64, style: &Style) -> String {
    let percent = |x: f64| style.percent(x);
    let plain = |x: f64| format!("{x:.4}");
    let (figures, curves) = (&report.figures, &report.curves);
    let cells: Vec<(&str, String)> = [
        ("balanced accuracy", figures.balanced_accuracy.map(percent)),
        ("macro F1", figures.macro_f1.map(percent)),
        ("loss", Some(format!("{loss:.5}"))),
        ("log loss", figures.log_loss.map(|x| format!("{x:.5}"))),
        ("ROC AUC", curves.roc_auc.map(plain)),
        ("PR AUC", curves.pr_auc.map(plain)),
        ("Brier score", curves.brier.map(plain)),
        ("calibration error", curves.calibration_error.map(percent)),
    ]
    .into_iter()
    .filter_map(|(name, text)| text.map(|text| (name, text)))
    .collect();
    const GAP: usize = 4;
    let name = cells.iter().map(|(name, _)| columns(name)).max().unwrap_or(0);
    let value = cells.iter().map(|(_, value)| columns(value)).max().unwrap_or(0);
    let across = ((style.width + GAP) / (name + 2 + value + GAP)).clamp(1, 3);
    let lines: Vec<String> = cells
        .chunks(across)
        .map(|row| {
            let cell = |(label, figure): &(&str, String)| {
                left(label, name) + "  " + &style.paint(Tint::Strong, &right(figure, value))
            };
            row.iter().map(cell).collect::<Vec<_>>().join(&" ".repeat(GAP))
        })
        .collect();
    join(&lines)
}

/// Draws the errors of each target and, if there are several, their means. `names` are the names of the targets.
pub(crate) fn regression_table(report: &Regression, names: &Names, style: &Style) -> String {
    // The columns beside the label.
    const REST: usize = 2 * (2 + 11) + 2 + 12 + 2 + 8;
    let label = |at: usize| style.clip(&names.name(at), label_width(style, REST));
    let width =
        (0..report.outputs.len()).map(|at| columns(&label(at))).max().unwrap_or(0).max("output".len());
    let row = |label: &str, figures: &NumberFigures| {
        let shown = |figure: Option<f64>, text: fn(f64) -> String, width: usize| {
            right(&figure.map_or(style.pick("–", "-").to_owned(), text), width)
        };
        format!(
            "{}  {}  {}  {}  {}",
            left(label, width),
            shown(figures.rmse, number, 11),
            shown(figures.mae, number, 11),
            shown(figures.median_absolute_error, number, 12),
            shown(figures.r2, r2, 8),
        )
    };
    let head = format!(
        "{}  {:>11}  {:>11}  {:>12}  {:>8}",
        left("output", width),
        "RMSE",
        "MAE",
        "median error",
        style.pick("R²", "R^2")
    );
    let mut lines = vec![style.paint(Tint::Dim, &head)];
    for (at, figures) in report.outputs.iter().enumerate() {
        lines.push(row(&label(at), figures));
    }
    if report.outputs.len() > 1 {
        lines.push(String::new());
        lines.push(row("mean", &report.mean));
    }
    join(&lines)
}

/// The most columns of a label, so that it fits beside `rest` columns.
fn label_width(style: &Style, rest: usize) -> usize {
    style.width.saturating_sub(rest).clamp("output".len(), NAME)
}

/// R² with four decimals, at most 8 columns wide.
pub(crate) fn r2(value: f64) -> String {
    if value > -10.0 { format!("{value:.4}") } else { format!("{value:.1e}") }
}

/// A number with five significant digits, in scientific notation if it is very large or small.
pub(crate) fn number(value: f64) -> String {
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
    use crate::metrics::{OutputKind, Units, class_report, regression};

    fn report(kind: OutputKind) -> ClassReport {
        let outputs: Vec<f32> = [0, 0, 1, 1]
            .iter()
            .flat_map(|&answer| (0..3).map(move |class| if class == answer { 0.9 } else { 0.05 }))
            .collect();
        class_report(&[0, 0, 0, 1], &outputs, 3, kind)
    }

    #[test]
    fn scores_by_class() {
        let golden = "      precision     recall         F1   samples
0       100.0 %     66.7 %     80.0 %         3
1        50.0 %    100.0 %     66.7 %         1
2             -          -          -         0

mean     75.0 %     83.3 %     73.3 %         4";
        let report = report(OutputKind::Scores);
        assert_eq!(class_table(&report, &Names::numbered(3), &Style::plain(80)), golden);
    }

    #[test]
    fn figures_stand_side_by_side_as_the_width_allows() {
        let golden = "\
balanced accuracy   83.3 %    macro F1            73.3 %
loss               0.12500    ROC AUC             0.8333
PR AUC              0.7083";
        let shown = class_figures(&report(OutputKind::Scores), 0.125, &Style::plain(60));
        assert_eq!(shown, golden);
        let report = report(OutputKind::Probabilities);
        for (width, lines) in [(26, 8), (60, 4), (80, 4), (120, 3)] {
            let shown = class_figures(&report, 0.125, &Style::plain(width));
            assert_eq!(shown.lines().count(), lines, "{shown}");
            assert!(shown.lines().all(|line| columns(line) <= width), "{shown}");
            assert!(shown.contains("calibration error") && shown.contains("log loss"), "{shown}");
        }
    }

    #[test]
    fn errors_of_numbers() {
        let (targets, outputs) = ([1.0, 5.0, 2.0, 5.0, 3.0, 5.0], [1.0, 5.0, 2.5, 4.0, 2.0, 5.0]);
        let report = regression(&targets, &outputs, 2, &Units::default());
        let golden = "\
output         RMSE          MAE  median error       R^2
price       0.64550      0.50000       0.50000    0.3750
area        0.57735      0.33333             0         -

mean        0.61142      0.41667       0.25000    0.3750";
        assert_eq!(regression_table(&report, &Names::new(&["price", "area"]), &Style::plain(80)), golden);
        let shown = [0.0, 123_456.7, 1.5, 2e9, 3e-7].map(number);
        assert_eq!(shown, ["0", "123457", "1.5000", "2.0000e9", "3.0000e-7"]);
        assert_eq!([-0.25, -1234.5, 1.0].map(r2), ["-0.2500", "-1.2e3", "1.0000"]);
    }

    #[test]
    fn tables_fit_a_narrow_terminal() {
        let names = Names::new(&["the first of the long names", "the second of the long names", "3"]);
        let classes = class_table(&report(OutputKind::Scores), &names, &Style::plain(60));
        let numbers = regression(&[1e9, -2.0, 0.0, 1.0], &[0.0, 5e-9, 0.0, 1e7], 2, &Units::default());
        let numbers = regression_table(&numbers, &names, &Style::plain(60));
        for line in classes.lines().chain(numbers.lines()) {
            assert!(columns(line) <= 60, "{classes}\n{numbers}");
        }
    }
}
