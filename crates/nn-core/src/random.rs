//! Randomness that is addressed, not drawn.
//!
//! Every number is a pure function of (seed, purpose, epoch, position), so anyone can recompute any part in any order,
//! without the numbers before it. The generator is ChaCha with 8 rounds; its block counter is the position.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::model::Model;
use crate::params::layout;
use crate::spec::Init;

/// The purpose of a stream of random numbers. Its number is part of the address: never reuse or change one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// Initial weights and biases.
    Init = 1,
    /// The order of the samples in an epoch.
    Shuffle = 2,
    /// The choice of the samples held back for testing.
    Split = 3,
    /// The rounding of a replica's difference to four bits.
    Rounding = 4,
    /// The units that dropout leaves out, by epoch and sample.
    Dropout = 5,
    /// The distortion of a picture in training.
    Distortion = 6,
    /// The noise of differentially private training, by step and parameter.
    PrivacyNoise = 7,
    /// The values of options that a sweep draws: the run takes the place of the epoch, the option that of the position.
    Sweep = 16,
}

/// The start of the stream for (seed, purpose, epoch).
fn stream(seed: u64, purpose: Purpose, epoch: u64) -> ChaCha8Rng {
    let mut key = [0_u8; 32];
    key[..8].copy_from_slice(b"nn-rand1");
    key[8..16].copy_from_slice(&seed.to_le_bytes());
    key[16..24].copy_from_slice(&(purpose as u64).to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(epoch);
    rng
}

/// The keys of a replica's random rounding in a round. Each index of a parameter has its own number with them.
#[must_use]
pub fn rounding_keys(seed: u64, round: u64, replica: u32) -> [u32; 2] {
    let mut rng = stream(seed, Purpose::Rounding, round);
    // One 64-bit word for each replica; a word is two of the generator's.
    rng.set_word_pos(2 * u128::from(replica));
    let word = rng.next_u64();
    [word as u32, (word >> 32) as u32]
}

/// 32 well-mixed bits for an index under two keys.
#[inline(always)]
pub(crate) fn mixed(keys: [u32; 2], index: u32) -> u32 {
    // Two multiplications with shifts in between mix 32 bits well (Wellons' search for such functions, 2018).
    let x = index.wrapping_add(keys[0]);
    let x = (x ^ x >> 16).wrapping_mul(0x7feb_352d);
    let x = (x ^ x >> 15).wrapping_add(keys[1]).wrapping_mul(0x846c_a68b);
    x ^ x >> 16
}

/// Writes a permutation of `0..order.len()` to `order`: the samples of `epoch` in the order of training. It is a
/// Fisher–Yates shuffle with one 64-bit word for each position.
pub fn permutation(seed: u64, purpose: Purpose, epoch: u64, order: &mut [u32]) {
    for (i, x) in order.iter_mut().enumerate() {
        *x = i as u32;
    }
    let mut rng = stream(seed, purpose, epoch);
    for i in (1..order.len()).rev() {
        // The high half of a 64 × 64-bit product: its bias is below 2⁻³² for up to 2³² samples.
        let word = u128::from(rng.next_u64());
        let j = ((word * (i as u128 + 1)) >> 64) as usize;
        order.swap(i, j);
    }
}

/// The key of a purpose in an epoch: one word of the generator, from which [`sample_key`] makes one for each sample.
#[must_use]
pub(crate) fn epoch_key(seed: u64, purpose: Purpose, epoch: u64) -> u64 {
    stream(seed, purpose, epoch).next_u64()
}

/// The key of a sample among those of an epoch. A block of ChaCha for each sample would take longer than what some uses
/// do with it; no secret depends on these numbers, so they only need to be well mixed.
#[inline(always)]
#[must_use]
pub(crate) fn sample_key(epoch_key: u64, sample: u32) -> u64 {
    word(epoch_key, sample)
}

/// Word `at` of the stream that a key stands for: SplitMix64 (Steele, Lea and Flood 2014), whose state after n steps is its
/// first one plus n times a constant, so that any word can be computed without those before it.
#[inline(always)]
#[must_use]
pub(crate) fn word(key: u64, at: u32) -> u64 {
    let mut z = key.wrapping_add((u64::from(at) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// The number in [0, 1) at an address, with 53 bits. Neighbouring positions have nothing in common.
#[must_use]
pub fn uniform(seed: u64, purpose: Purpose, epoch: u64, position: u32) -> f64 {
    let mut rng = stream(seed, purpose, epoch);
    rng.set_word_pos(u128::from(position) * 2);
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// The initial weights and biases of a model, in the order of the flat buffer. Each layer has its own stream, so its
/// weights do not depend on the layers before it. γ of a normalised layer is 1, and β is 0.
#[must_use]
pub fn initial_parameters(model: &Model, init: Init, seed: u64) -> Vec<f32> {
    let mut params = vec![0.0; model.parameters()];
    for (l, layer) in layout(model).into_iter().enumerate() {
        let mut normals = Normals { rng: stream(seed, Purpose::Init, l as u64), spare: None };
        let (fan_in, fan_out) = (layer.inputs as f64, layer.outputs as f64);
        let deviation = match init {
            Init::Normal => 1.0,
            Init::Scaled => 1.0 / libm::sqrt(fan_in),
            Init::Xavier => libm::sqrt(2.0 / (fan_in + fan_out)),
            Init::He => libm::sqrt(2.0 / fan_in),
        };
        for w in &mut params[layer.weights] {
            *w = (normals.next() * deviation) as f32;
        }
        params[layer.gains].fill(1.0);
        if matches!(init, Init::Normal | Init::Scaled) {
            for b in &mut params[layer.biases] {
                *b = normals.next() as f32;
            }
        }
    }
    params
}

/// Standard normal deviates by the Box–Muller transform, in f64 with a pure-Rust `log`, `sin` and `cos`.
struct Normals {
    rng: ChaCha8Rng,
    spare: Option<f64>,
}

impl Normals {
    fn next(&mut self) -> f64 {
        if let Some(z) = self.spare.take() {
            return z;
        }
        const UNIT: f64 = 1.0 / (1_u64 << 53) as f64;
        // u in (0, 1], so that its logarithm is finite.
        let u = ((self.rng.next_u64() >> 11) + 1) as f64 * UNIT;
        let angle = (self.rng.next_u64() >> 11) as f64 * UNIT * core::f64::consts::TAU;
        let radius = libm::sqrt(-2.0 * libm::log(u));
        self.spare = Some(radius * libm::sin(angle));
        radius * libm::cos(angle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Activation, Cost, Output};

    #[test]
    fn permutations_are_permutations_and_depend_on_their_whole_address() {
        let draw = |seed, purpose, epoch| {
            let mut order = vec![0; 1000];
            permutation(seed, purpose, epoch, &mut order);
            order
        };
        let first = draw(1, Purpose::Shuffle, 0);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(0..1000));
        assert_eq!(first, draw(1, Purpose::Shuffle, 0));
        assert_ne!(first, draw(2, Purpose::Shuffle, 0));
        assert_ne!(first, draw(1, Purpose::Split, 0));
        assert_ne!(first, draw(1, Purpose::Shuffle, 1));
        permutation(1, Purpose::Shuffle, 0, &mut []);
        permutation(1, Purpose::Shuffle, 0, &mut [7]);
    }

    #[test]
    fn a_number_depends_on_its_whole_address_and_on_nothing_else() {
        let mut seen: Vec<u64> = Vec::new();
        for (seed, epoch, position) in [(1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1), (1, 0, u32::MAX)] {
            let x = uniform(seed, Purpose::Sweep, epoch, position);
            assert!((0.0..1.0).contains(&x) && x == uniform(seed, Purpose::Sweep, epoch, position));
            assert_ne!(x, uniform(seed, Purpose::Shuffle, epoch, position));
            seen.push(x.to_bits());
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 5);
        let mean = (0..10_000).map(|at| uniform(3, Purpose::Sweep, 0, at)).sum::<f64>() / 1e4;
        assert!((mean - 0.5).abs() < 0.02, "{mean}"); // seven standard deviations
    }

    #[test]
    fn the_words_of_a_key_are_those_of_splitmix64() {
        // The first words of Vigna's splitmix64.c from the state 1234567.
        let want = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423_u64];
        assert_eq!([0, 1, 2].map(|at| word(1_234_567, at)), want);
    }

    #[test]
    fn a_sample_key_depends_on_its_whole_address_and_on_nothing_else() {
        let key = |seed, purpose, epoch, sample| sample_key(epoch_key(seed, purpose, epoch), sample);
        let mut keys = vec![key(2, Purpose::Distortion, 0, 0), key(1, Purpose::Shuffle, 0, 0)];
        for epoch in 0..20 {
            keys.extend((0..1000).map(|sample| key(1, Purpose::Distortion, epoch, sample)));
        }
        keys.push(key(1, Purpose::Distortion, 0, u32::MAX));
        assert_eq!(keys[2], key(1, Purpose::Distortion, 0, 0));
        let all = keys.len();
        // Every bit is set in half of the keys, and changes with every second sample: 7 deviations of 20,000 throws.
        for bit in 0..64 {
            let of = |key: &u64| key >> bit & 1;
            let ones: u64 = keys.iter().map(of).sum();
            let changes: u64 = keys.windows(2).map(|pair| of(&pair[0]) ^ of(&pair[1])).sum();
            assert!(ones.abs_diff(10_000) < 500 && changes.abs_diff(10_000) < 500, "{bit}: {ones} {changes}");
        }
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }

    #[test]
    fn every_position_is_equally_likely() {
        // The position of sample 0 over 20,000 epochs. A chi-squared of 9 degrees of freedom exceeds 30 once in 2,000
        // times.
        let mut counts = [0_u32; 10];
        let mut order = [0; 10];
        for epoch in 0..20_000 {
            permutation(5, Purpose::Shuffle, epoch, &mut order);
            counts[order.iter().position(|&s| s == 0).unwrap()] += 1;
        }
        let chi: f64 = counts.iter().map(|&c| (f64::from(c) - 2000.0).powi(2) / 2000.0).sum();
        assert!(chi < 30.0, "{counts:?}");
    }

    #[test]
    fn deviates_have_the_stated_deviation() {
        for (init, deviation) in [
            (Init::Normal, 1.0),
            (Init::Scaled, 0.05),
            (Init::Xavier, (2.0_f64 / 500.0).sqrt()),
            (Init::He, (2.0_f64 / 400.0).sqrt()),
        ] {
            let model =
                Model::new(vec![400, 100], Activation::Relu, Output::Softmax, Cost::CrossEntropy).unwrap();
            let params = initial_parameters(&model, init, 3);
            let weights = &params[..40_000];
            let mean = weights.iter().map(|&w| f64::from(w)).sum::<f64>() / 4e4;
            let variance = weights.iter().map(|&w| (f64::from(w) - mean).powi(2)).sum::<f64>() / 4e4;
            assert!(mean.abs() < 0.02 * deviation, "{init:?}: mean {mean}");
            assert!(
                (variance.sqrt() / deviation - 1.0).abs() < 0.02,
                "{init:?}: deviation {}",
                variance.sqrt()
            );
            let book = matches!(init, Init::Normal | Init::Scaled);
            assert_eq!(params[40_000..].iter().any(|&b| b != 0.0), book);
        }
    }
}
