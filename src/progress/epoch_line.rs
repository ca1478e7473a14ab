//! The line of an epoch, as long as there is room for.

use indicatif::HumanCount;
use unicode_width::UnicodeWidthStr;

use crate::metrics::NumberFigures;
use crate::show::{number, r2};

/// The results of an epoch, for people to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EpochLine {
    /// The epoch, counted from 1.
    pub(crate) epoch: u64,
    pub(crate) epochs: u32,
    pub(crate) train_loss: f64,
    /// The samples of the following figures: `validation` or `test`.
    pub(crate) set: &'static str,
    pub(crate) loss: Option<f64>,
    /// As a fraction, 0 to 1.
    pub(crate) accuracy: Option<f64>,
    /// That of the trained weights, where `accuracy` is that of their average.
    pub(crate) raw_accuracy: Option<f64>,
    /// The errors of predicted numbers; `None` for classes.
    pub(crate) numbers: Option<NumberFigures>,
    /// The gradient noise scale in samples, if it is measured; infinite if the noise hides the gradient.
    pub(crate) noise_scale: Option<f64>,
    /// The privacy spent, with differential privacy.
    pub(crate) epsilon: Option<f64>,
    pub(crate) samples_per_second: f64,
}

impl EpochLine {
    /// The line in one of [`FORMS`], the longest first.
    pub(super) fn text(&self, form: usize) -> String {
        let digits = self.epochs.to_string().len();
        let mut text = format!("epoch {:>digits$}/{}", self.epoch, self.epochs);
        let (set, places) = (self.set, if form < 2 { 5 } else { 4 });
        match self.loss {
            Some(loss) if form >= 4 => {
                text += &format!("  loss {:.places$} / {loss:.places$}", self.train_loss)
            }
            Some(loss) => {
                text += &format!("  train loss {:.places$}  {set} loss {loss:.places$}", self.train_loss);
            }
            None => text += &format!("  train loss {:.places$}", self.train_loss),
        }
        // A set that is named once need not be named again.
        let again = if form == 0 && set == "test" { "test " } else { "" };
        if let Some(accuracy) = self.accuracy {
            text += &format!("  {again}accuracy {:.2} %", accuracy * 100.0);
            if let Some(raw) = self.raw_accuracy.filter(|_| form < 3) {
                text += &format!(" (raw {:.2} %)", raw * 100.0);
            }
        }
        if let Some(figures) = self.numbers {
            text += &figures.r2.map_or(String::new(), |value| format!("  {again}R² {}", r2(value)));
            if form < 3 {
                text += &figures.rmse.map_or(String::new(), |rmse| format!("  RMSE {}", number(rmse)));
            }
        }
        if let Some(scale) = self.noise_scale.filter(|_| form < 3) {
            let scale = if scale.is_finite() {
                HumanCount(scale.round() as u64).to_string()
            } else {
                "unknown".into()
            };
            text += &format!("  noise scale {scale}");
        }
        if let Some(epsilon) = self.epsilon.filter(|_| form < 4) {
            text += &format!("  ε {epsilon:.2}");
        }
        let speed = HumanCount(self.samples_per_second as u64);
        match form {
            0 => text + &format!("  {speed} samples/s"),
            1 | 2 => text + &format!("  {speed}/s"),
            _ => text,
        }
    }

    /// The first form from `form` on that fits into `columns`, or the last.
    pub(super) fn fitting(&self, form: usize, columns: usize) -> usize {
        (form..FORMS - 1).find(|&form| self.text(form).width() <= columns).unwrap_or(FORMS - 1)
    }
}

/// The forms of the line of an epoch: whole; with shorter words; with shorter numbers; without the speed and the RMSE; with one
/// word for both losses.
const FORMS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(set: &'static str, epochs: u32, accuracy: Option<f64>) -> EpochLine {
        let figures = NumberFigures { r2: Some(0.98765), rmse: Some(12.345), ..Default::default() };
        EpochLine {
            epoch: 7,
            epochs,
            train_loss: 0.123_456,
            set,
            loss: Some(0.234_567),
            accuracy,
            raw_accuracy: None,
            numbers: accuracy.is_none().then_some(figures),
            noise_scale: None,
            epsilon: None,
            samples_per_second: 123_456.7,
        }
    }

    #[test]
    fn the_line_of_an_epoch_fits_a_terminal() {
        for (set, epochs, accuracy) in every(&["validation", "test"], &[9, 30, 200, 1000]) {
            let line = line(set, epochs, accuracy);
            for columns in [60, 80, 120, usize::MAX] {
                let text = line.text(line.fitting(0, columns));
                assert!(text.width() <= columns, "{columns}: {text}");
                assert!(
                    text.contains("0.23") && (text.contains("98.77 %") || text.contains("R² ")),
                    "{text}"
                );
            }
            // Nothing is lost on 120 columns, and little on 80.
            let wide = line.text(line.fitting(0, 120));
            assert!(wide.contains(&format!("{set} loss")) && wide.ends_with("/s"), "{wide}");
            let usual = line.text(line.fitting(0, 80));
            assert!(usual.contains("train loss") && usual.contains(&format!("{set} loss")), "{usual}");
        }
        let usual = line("test", 30, Some(0.98765));
        let all =
            "epoch  7/30  train loss 0.12346  test loss 0.23457  test accuracy 98.77 %  123,456 samples/s";
        assert_eq!(usual.text(usual.fitting(0, usize::MAX)), all);
        let eighty = "epoch  7/30  train loss 0.12346  test loss 0.23457  accuracy 98.77 %  123,456/s";
        assert_eq!(usual.text(usual.fitting(0, 80)), eighty);
        assert_eq!(usual.text(usual.fitting(0, 60)), "epoch  7/30  loss 0.1235 / 0.2346  accuracy 98.77 %");
        let averaged = EpochLine { raw_accuracy: Some(0.9), ..line("test", 30, Some(0.98765)) };
        assert!(averaged.text(0).contains("test accuracy 98.77 % (raw 90.00 %)"), "{}", averaged.text(0));
        assert!(!averaged.text(3).contains("raw"));
        let noisy = EpochLine { noise_scale: Some(1234.5), ..usual };
        assert!(noisy.text(1).contains("accuracy 98.77 %  noise scale 1,235  "), "{}", noisy.text(1));
        let hidden = EpochLine { noise_scale: Some(f64::INFINITY), ..usual };
        assert!(hidden.text(1).contains("  noise scale unknown  "), "{}", hidden.text(1));
        let private = EpochLine { epsilon: Some(2.345), ..usual };
        assert_eq!(
            private.text(private.fitting(0, 60)),
            "epoch  7/30  loss 0.1235 / 0.2346  accuracy 98.77 %"
        );
        assert!(
            private.text(private.fitting(0, 80)).ends_with("accuracy 98.77 %  ε 2.35"),
            "{}",
            private.text(3)
        );
        // Once a line was short, the next one is not longer.
        assert_eq!(usual.fitting(2, 200), 2);
    }

    fn every(sets: &[&'static str], epochs: &[u32]) -> Vec<(&'static str, u32, Option<f64>)> {
        let mut all = Vec::new();
        for &set in sets {
            for &epochs in epochs {
                all.extend([(set, epochs, Some(0.98765)), (set, epochs, None)]);
            }
        }
        all
    }
}
