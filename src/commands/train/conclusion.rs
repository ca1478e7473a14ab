//! How good the network is beside the trivial answer, in words, and what to try if it is no better.

use nn_core::{Activation, Cost, Optimizer, Output};
use nn_engine::Manifest;

use super::observer::Finished;
use crate::metrics::{Baseline, Figures};
use crate::show::{Names, Style, number, r2};

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
    pub(super) fn warning(&self, names: &Names, style: &Style, manifest: &Manifest) -> Option<String> {
        if self.baseline.is_beaten_by(&self.figures) {
            return None;
        }
        let trivial = match &self.baseline {
            Baseline::Majority { class, .. } => format!("always answering `{}`", names.name(*class)),
            Baseline::Mean { means, .. } => trivial_numbers(means),
        };
        let compared = self.comparison(names, style);
        if let (Figures::Classes(figures), Baseline::Majority { balanced_accuracy: trivial_balanced, .. }) =
            (&self.figures, &self.baseline)
            && let Some(balanced) =
                figures.balanced_accuracy.filter(|balanced| *balanced > 1.2 * trivial_balanced)
        {
            return Some(format!(
                "the network is right less often than {trivial} is, or hardly more often: {compared}. But its balanced \
                 accuracy, in which every class counts the same, is {} where that answer has {}: judge it by that if rare \
                 classes matter most, or try {}",
                style.percent(balanced),
                style.percent(*trivial_balanced),
                remedies(manifest)
            ));
        }
        Some(format!(
            "the network is NO BETTER than {trivial}: {compared}. Try {}, and check the labels (in a table: \
             --label-column)",
            remedies(manifest)
        ))
    }
}

fn trivial_numbers(means: &[f64]) -> String {
    match means {
        [mean] => format!("always answering the mean, {},", number(*mean)),
        _ => "always answering the means".to_owned(),
    }
}

/// Options that may help this run to learn.
fn remedies(manifest: &Manifest) -> String {
    let (model, recipe) = (manifest.model(), manifest.recipe());
    let numbers = model.output() == Output::Linear;
    let adam = matches!(recipe.optimizer, Optimizer::Adam { .. } | Optimizer::AdamW { .. });
    let usual = model.activation() == Activation::Relu && (numbers || model.cost() == Cost::CrossEntropy);
    let more = format!("more --epochs than {}", recipe.epochs);
    if usual && adam {
        format!("--learning-rate {}, {more}", recipe.learning_rate / 10.0)
    } else {
        let loss = if numbers { "" } else { " --output softmax --cost cross-entropy" };
        format!("--activation relu{loss} --optimizer adam --learning-rate 0.001, {more}")
    }
}
