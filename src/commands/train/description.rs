//! What a person is told before the run: data, network, and how it is trained.

use nn_core::{Dataset, Normalization, Precision};
use nn_engine::{Compute, Manifest};

use super::Data;
use crate::config::{Base, Choice as _, RecipeName};
use crate::privacy::Privacy;

/// The run in a few lines; `base` is the model that it begins with, and `delta` that of `--dp-delta`.
pub(super) fn description(
    manifest: &Manifest,
    splits: &Data,
    compute: &Compute,
    (recipe, base): (RecipeName, Option<&Base>),
    delta: Option<f32>,
) -> String {
    let p = manifest.parts();
    let widths: Vec<String> = p.model.widths().iter().map(ToString::to_string).collect();
    let count = |set: &Dataset, what: &str| format!("{} {what}", set.len());
    let sets = [
        Some(count(&splits.train, "training")),
        splits.validation.as_ref().map(|set| count(set, "validation")),
        Some(count(&splits.test, "test")),
    ];
    let sets: Vec<String> = sets.into_iter().flatten().collect();
    let (last, others) = sets.split_last().map_or(("", &[][..]), |(last, others)| (last.as_str(), others));
    format!(
        "{}: {} and {last} samples; network {}, {} parameters{}; mini-batches of {}; {} thread{}, {}\n\
         recipe {} (--recipe): {}, {}, {}; {} at {}, {} schedule; {} epochs",
        splits.name,
        others.join(", "),
        widths.join("-"),
        indicatif::HumanCount(p.model.parameters() as u64),
        [
            if p.model.precision() == Precision::Bf16 { ", bf16" } else { "" },
            if p.model.normalization() == Normalization::Layer { ", layer normalisation" } else { "" },
        ]
        .concat(),
        p.recipe.batch_size,
        compute.threads.count(),
        if compute.threads.count() == 1 { "" } else { "s" },
        compute.isa.name(),
        recipe.name(),
        p.model.activation(),
        p.model.output(),
        p.model.cost(),
        p.recipe.optimizer.name(),
        p.recipe.learning_rate,
        p.recipe.schedule.shape.name(),
        p.recipe.epochs,
    ) + &base.map_or(String::new(), |base| format!("\n{}", beginning(base)))
        + &in_rounds(manifest)
        + &averaged(manifest)
        + &private(manifest, delta, base, splits.validation.is_some())
}

/// The model that a run begins with, as a line.
pub(in crate::commands) fn beginning(base: &Base) -> String {
    let hash: String = base.sha256.chars().take(12).collect();
    format!("weights from {} ({hash}…) to begin with (--from)", base.path.display())
}

/// The privacy of a run as lines of its description; empty without.
fn private(manifest: &Manifest, delta: Option<f32>, base: Option<&Base>, validated: bool) -> String {
    let Some(privacy) = Privacy::of(manifest, delta) else { return String::new() };
    let learnt = match base {
        Some(base) => format!(
            "\nε is of this run's training only: it does not cover what the model {} has learnt before",
            base.path.display()
        ),
        None => String::new(),
    };
    let chosen = if validated {
        "\nε is of the training samples only: what is chosen by the validation samples is not counted"
    } else {
        ""
    };
    format!(
        "\ndifferential privacy (--dp-noise): at the end ε = {:.2} for δ = {:e} (--dp-delta), against those who do not know the \
         seed\nonly model.safetensors is for them: the other files of the run have the seed, or follow from the samples",
        privacy.epsilon(manifest.total_steps()),
        privacy.delta
    ) + &learnt
        + chosen
}

/// The rounds of a run as a line of its description; empty without.
fn in_rounds(manifest: &Manifest) -> String {
    let Some(rounds) = manifest.rounds() else { return String::new() };
    let last = manifest.total_steps().saturating_sub(1);
    // The last round of an epoch is short, so the longest is looked for.
    let longest = (0..last.min(1000)).map(|round| manifest.span(round).steps).max().unwrap_or(1);
    let first = manifest.span(0).steps;
    let steps = if first >= longest { first.to_string() } else { format!("{first} to {longest}") };
    format!(
        "\nrounds of {steps} steps, {} replicas; differences in {} bits; outer rate {}, momentum {}",
        rounds.replicas, rounds.delta_bits, rounds.outer_learning_rate, rounds.outer_momentum
    )
}

/// What the run's model is, as a line of its description, if it is not the trained weights themselves.
fn averaged(manifest: &Manifest) -> String {
    manifest.recipe().ema.map_or(String::new(), |decay| {
        format!("\nthe model is the moving average of the weights, {decay} (--ema)")
    })
}
