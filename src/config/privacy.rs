//! The options of differentially private training: what they need, and what they do not go together with.

use nn_core::Precision;

use super::options::Learn;
use super::origins::{Origin, Origins};
use crate::failure::Failure;

/// δ for a number of training samples, if no other one is asked for: the greatest power of ten below 1/n, so that a promise that
/// is broken with probability δ for each sample is likely to be kept for all.
pub(crate) fn default_delta(samples: usize) -> f64 {
    let mut delta = 1.0;
    while delta * samples as f64 >= 1.0 {
        delta /= 10.0;
    }
    delta
}

pub(super) fn delta_in_words() -> String {
    "the power of ten below 1/training samples".into()
}

/// Refuses options that would break the promise of --dp-noise, or have no effect without it.
///
/// # Errors
/// Exit code 2, with the option and what to do.
pub(super) fn check(learn: &Learn, origins: &Origins) -> Result<(), Failure> {
    let wrong = |key: &str, why: &str, help: String| {
        Err(Failure::usage(format_args!("{} {why}", origins.subject(key))).help(help))
    };
    if learn.dp_noise.is_none() {
        for (key, given) in [("dp-clip", learn.dp_clip.is_some()), ("dp-delta", learn.dp_delta.is_some())] {
            if given {
                let help = format!("add --dp-noise, such as --dp-noise 1, or remove {key}");
                return wrong(key, "has no effect without --dp-noise", help);
            }
        }
        return Ok(());
    }
    if learn.dp_clip.is_none() {
        let help = "add --dp-clip, such as --dp-clip 1: about the median norm of a sample's gradient is a good start";
        return wrong("dp-noise", "needs a limit on each sample's gradient", help.into());
    }
    if origins.of("seed") == Origin::Default {
        let seed = random_seed();
        let help = format!("add --seed with a secret number, such as this random one: --seed {seed}");
        return wrong(
            "dp-noise",
            "needs a seed that nobody can guess, because the noise follows from it",
            help,
        );
    }
    if learn.clip_samples > 0.0 {
        let help = "remove --clip-samples; --dp-clip is the same limit".into();
        return wrong("clip-samples", "limits the same as --dp-clip", help);
    }
    if learn.clip_norm.is_some() {
        let help = "remove --clip-norm; --dp-clip limits the gradients already".into();
        return wrong("clip-norm", "would measure the gradient before it has its noise", help);
    }
    if learn.rounds.is_some() {
        let help = "remove --rounds, or --dp-noise".into();
        return wrong(
            "rounds",
            "does not go with --dp-noise: workers take steps of their own, without noise",
            help,
        );
    }
    if learn.precision != Precision::F32 {
        let help = "use --precision f32, or remove --dp-noise".into();
        return wrong("precision", "would round a clipped gradient to more than --dp-clip", help);
    }
    Ok(())
}

/// A number from the system's generator, as a proposal; in words, if there is none.
fn random_seed() -> String {
    getrandom::u64().map_or_else(|_| "with 19 digits".to_owned(), |seed| (seed >> 1).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delta_is_below_one_in_all_samples() {
        assert_eq!([1, 9, 10, 1438, 60_000].map(default_delta), [0.1, 0.1, 0.01, 1e-4, 1e-5]);
        assert_eq!(default_delta(0), 1.0);
    }
}
