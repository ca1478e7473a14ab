//! How good the network is beside the trivial answer, in words, and what to try if it is no better.

use nn_core::{Activation, Optimizer, Output};
use nn_engine::Manifest;

use super::times;
use crate::config::RecipeName;
use crate::metrics::{Baseline, Figures};
use crate::show::{Names, Style, number, r2};
use crate::store::ModelFile;

/// How a run with early stopping ended: with the weights of its best evaluation.
#[derive(Debug, Clone, Copy)]
pub(in crate::commands) struct Ending {
    /// Whether it ended before its last epoch.
    pub(in crate::commands) early: bool,
    /// The epoch of the weights, counted from 1.
    pub(in crate::commands) epoch: u64,
    /// Steps done.
    pub(in crate::commands) last: u64,
    /// The evaluations without improvement that end the run.
    pub(in crate::commands) evaluations: u32,
}

/// A run that is over, and how good its network is on the test samples.
pub(in crate::commands) struct Finished {
    /// The network after the last step, or that of the best evaluation.
    pub(in crate::commands) model: ModelFile,
    /// How a run with early stopping ended; `None` for other runs, and for one that can still go on.
    pub(in crate::commands) ending: Option<Ending>,
    pub(in crate::commands) figures: Figures,
    /// The trivial answer, to compare with.
    pub(in crate::commands) baseline: Baseline,
}

impl Ending {
    /// How the run ended, in one line.
    pub(super) fn in_words(&self) -> String {
        let Self { early, epoch, last, evaluations } = self;
        let weights =
            format!("the weights are those after epoch {epoch}, the best on the validation samples");
        if *early {
            format!(
                "stopped early after step {last}: {evaluations} evaluations without improvement; {weights}"
            )
        } else {
            weights
        }
    }
}

impl Finished {
    /// One line that compares the network with the trivial answer, such as ``test accuracy 97.1 %; always answering
    /// `benign` gives 62.7 %``.
    pub(super) fn comparison(&self, names: &Names, style: &Style) -> String {
        match (&self.figures, &self.baseline) {
            (Figures::Classes(figures), Baseline::Majority { class, accuracy, .. }) => format!(
                "test accuracy {}; always answering `{}` gives {}",
                style.percent(figures.accuracy.unwrap_or(f64::NAN)),
                names.name(*class),
                style.percent(*accuracy)
            ),
            (Figures::Numbers(figures), Baseline::Mean { means, figures: trivial }) => {
                let text = |figure: Option<f64>, text: fn(f64) -> String| {
                    figure.map_or(style.pick("–", "-").to_owned(), text)
                };
                format!(
                    "test {} {}, RMSE {}; {} gives RMSE {}",
                    style.pick("R²", "R^2"),
                    text(figures.r2, r2),
                    text(figures.rmse, number),
                    trivial_numbers(means),
                    text(trivial.rmse, number)
                )
            }
            _ => String::new(),
        }
    }

    /// What to say if the network is no better than the trivial answer; `None` if it is.
    pub(super) fn warning(
        &self,
        names: &Names,
        style: &Style,
        run: (&Manifest, RecipeName),
    ) -> Option<String> {
        if self.baseline.is_beaten_by(&self.figures) {
            return None;
        }
        let compared = self.comparison(names, style);
        let remedies = self.remedies(run);
        if let (Figures::Classes(figures), Baseline::Majority { balanced_accuracy: guess, .. }) =
            (&self.figures, &self.baseline)
            && self.baseline.is_beaten_on_balance(&self.figures)
        {
            return Some(format!(
                "the network is NO BETTER than the trivial answer by its accuracy: {compared}. By the balanced accuracy, \
                 in which rare classes count as much as others, it is: {} instead of {}. If accuracy matters, try {}",
                style.percent(figures.balanced_accuracy.unwrap_or(f64::NAN)),
                style.percent(*guess),
                remedies
            ));
        }
        Some(format!(
            "the network is NO BETTER than the trivial answer: {compared}. Try {remedies}, and check the labels (in a \
             table: --label-column)"
        ))
    }

    /// Options that may help this run to learn.
    fn remedies(&self, (manifest, name): (&Manifest, RecipeName)) -> String {
        let (model, recipe) = (manifest.model(), manifest.recipe());
        let (output, loss) = match self.figures {
            Figures::Classes(_) => (Output::Softmax, " --output softmax --cost cross-entropy"),
            Figures::Numbers(_) if model.output() == Output::Linear => (Output::Linear, ""),
            Figures::Numbers(_) => (Output::Linear, " --output linear"),
        };
        let adam = matches!(recipe.optimizer, Optimizer::Adam { .. } | Optimizer::AdamW { .. });
        let more = format!("more --epochs than {}", recipe.epochs);
        if name == RecipeName::Book {
            return format!("--recipe auto, {more}");
        }
        if model.activation() == Activation::Relu && model.output() == output && adam {
            format!("--learning-rate {}, {more}", times(recipe.learning_rate, 0.1))
        } else {
            format!("--activation relu{loss} --optimizer adam --learning-rate 0.001, {more}")
        }
    }
}

fn trivial_numbers(means: &[f64]) -> String {
    match means {
        [mean] => format!("always answering the mean, {},", number(*mean)),
        _ => "always answering the means".to_owned(),
    }
}
