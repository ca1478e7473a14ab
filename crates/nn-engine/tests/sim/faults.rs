//! What goes wrong, and when.

use crate::noise::Noise;

/// A fault of one machine, or a new machine.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// The connection breaks; both ends notice.
    Cut,
    /// Nothing gets through any more; the worker notices some time, the coordinator never.
    Vanish,
    /// The process stands still for so many microseconds.
    Hang(u64),
    /// The process lives and says so, but never finishes anything again.
    Wedge,
    /// The process dies; another is started after so many microseconds.
    Crash(u64),
    /// The process dies for good.
    Leave,
    /// The machine computes so many times slower from now on.
    Slow(u64),
    /// And as fast as ever again.
    Fast,
    /// So many of a hundred contributions of the machine are rubbish from now on.
    Rubbish(u64),
    /// A new machine joins.
    Join,
}

/// Everything about a seed's weather.
#[derive(Debug)]
pub(crate) struct Weather {
    pub(crate) machines: u64,
    pub(crate) min_workers: usize,
    pub(crate) patience: f64,
    /// Microseconds that a message takes: at least, at most, and at worst.
    pub(crate) delay: (u64, u64, u64),
    /// Of a hundred contributions.
    pub(crate) duplicates: u64,
    /// When, to which machine (modulo their number), what.
    pub(crate) faults: Vec<(u64, u64, Fault)>,
    /// From here on nothing goes wrong.
    pub(crate) healed: u64,
}

const SECOND: u64 = 1_000_000;

impl Weather {
    pub(crate) fn draw(noise: &mut Noise) -> Self {
        let machines = noise.between(1, 6);
        // Most runs are over within half a second, unless something holds them up.
        let horizon = *noise.pick(&[10_000, 30_000, 100_000, 400_000]);
        let mut faults = Vec::new();
        for _ in 0..noise.below(16) {
            let fault = match noise.below(17) {
                0..=2 => Fault::Cut,
                3 | 4 => Fault::Vanish,
                5..=7 => Fault::Hang(*noise.pick(&[5_000, 100_000, SECOND, 15 * SECOND])),
                8 | 9 => Fault::Crash(*noise.pick(&[1_000, 50_000, 2 * SECOND])),
                10 => Fault::Leave,
                16 => Fault::Wedge,
                11 => Fault::Slow(*noise.pick(&[3, 30, 300])),
                12 => Fault::Fast,
                13 => Fault::Rubbish(*noise.pick(&[10, 100])),
                _ => Fault::Join,
            };
            faults.push((noise.below(horizon), noise.word(), fault));
        }
        faults.sort_by_key(|(at, ..)| *at);
        Self {
            machines,
            min_workers: noise.between(1, machines.min(3)) as usize,
            patience: *noise.pick(&[1.0, 6.0]),
            delay: *noise.pick(&[(20, 50, 100), (100, 2_000, 10_000), (1_000, 5_000, 80_000)]),
            duplicates: *noise.pick(&[0, 10, 50]),
            faults,
            healed: horizon + 20 * SECOND,
        }
    }
}
