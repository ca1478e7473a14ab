//! The faults of a simulated run, and when they happen.

use std::time::Duration;

use nn_engine::{Cluster, Engine, Generation};

use crate::disk;
use crate::noise::Noise;
use crate::runs::{Run, compute};

/// A fault of a machine or of the coordinator, or a new machine. Times are in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// The connection breaks; both ends notice.
    Cut,
    /// No more messages get through; the worker notices eventually, the coordinator never.
    Vanish,
    /// Messages are held in one direction; then they all arrive, or the connection breaks.
    OneWay { up: bool, micros: u64, heals: bool },
    /// The process stands still for this long.
    Hang(u64),
    /// The process keeps sending heartbeats, but never finishes a node again.
    Wedge,
    /// The process dies; another one starts after this long.
    Crash(u64),
    /// The process dies, and no other replaces it.
    Leave,
    /// The machine becomes this many times slower.
    Slow(u64),
    /// The machine becomes fast again.
    Fast,
    /// From now on, this percentage of the machine's contributions is malformed.
    Rubbish(u64),
    /// From now on, this percentage of the machine's nodes is wrong but well-formed. (Rubbish, if there are no audits.)
    Lie(u64),
    /// A new machine joins.
    Join,
    /// The coordinator dies, and starts again after this long.
    CoordinatorCrash(u64),
    /// The coordinator stands still for this long.
    CoordinatorHang(u64),
    /// The coordinator's clock jumps by this much.
    Clock(i64),
}

/// The conditions of a seed.
#[derive(Debug)]
pub(crate) struct Weather {
    pub(crate) machines: u64,
    pub(crate) min_workers: usize,
    pub(crate) patience: f64,
    /// The coordinator's limit on waiting for workers.
    pub(crate) wait_timeout: Option<Duration>,
    /// The fraction of nodes under audit.
    pub(crate) audit: f64,
    /// The assumed bandwidth of the coordinator's link, in bytes a second.
    pub(crate) link: f64,
    pub(crate) snapshot_every: Duration,
    /// The delay of a message in microseconds: the least, the most, and the worst case.
    pub(crate) delay: (u64, u64, u64),
    /// The percentage of contributions that arrive twice.
    pub(crate) duplicates: u64,
    /// Each fault with its time and its machine (modulo their number).
    pub(crate) faults: Vec<(u64, u64, Fault)>,
    /// The coordinator crashes soon after each of these steps, once.
    pub(crate) crashes: Vec<u64>,
    /// The time from which on there are no faults.
    pub(crate) healed: u64,
}

const SECOND: u64 = 1_000_000;

impl Weather {
    pub(crate) fn draw(noise: &mut Noise) -> Self {
        let audit = *noise.pick(&[0.0, 0.0, 0.0, 0.3, 1.0]);
        let machines = noise.between(if audit > 0.0 { 2 } else { 1 }, 6);
        // Most runs take less than half a second, unless something holds them up.
        let horizon = *noise.pick(&[10_000, 30_000, 100_000, 400_000]);
        let mut faults = Vec::new();
        for _ in 0..noise.below(18) {
            let fault = match fault(noise) {
                // Only an audit of all nodes finds every lie.
                Fault::Lie(percent) if audit < 1.0 => Fault::Rubbish(percent),
                fault => fault,
            };
            faults.push((noise.below(horizon), noise.word(), fault));
        }
        faults.sort_by_key(|(at, ..)| *at);
        Self {
            machines,
            // If all nodes are audited, a lone worker must not be believed, so there have to be two.
            min_workers: noise.between(if audit == 1.0 { 2 } else { 1 }, machines.min(3)) as usize,
            audit,
            patience: *noise.pick(&[1.0, 6.0]),
            wait_timeout: noise.percent(30).then(|| Duration::from_millis(noise.between(50, 3_000))),
            link: *noise.pick(&[1e4, 1e9]),
            snapshot_every: disk::interval(noise),
            delay: *noise.pick(&[(20, 50, 100), (100, 2_000, 10_000), (1_000, 5_000, 80_000)]),
            duplicates: *noise.pick(&[0, 10, 50]),
            faults,
            crashes: (0..noise.below(3)).map(|_| noise.below(16)).collect(),
            healed: horizon + 20 * SECOND,
        }
    }

    /// An engine at the beginning of a run.
    pub(crate) fn engine(&self, run: &Run, generation: u64) -> Engine {
        Engine::new(run.manifest.clone(), compute(), self.snapshot_every).with_cluster(Cluster {
            generation: Generation(generation),
            min_workers: self.min_workers,
            patience: self.patience,
            wait_timeout: self.wait_timeout,
            link_bytes_per_second: self.link,
            audit: self.audit,
            ..Cluster::default()
        })
    }
}

fn fault(noise: &mut Noise) -> Fault {
    match noise.below(28) {
        0..=2 => Fault::Cut,
        3 | 4 => Fault::Vanish,
        5..=7 => Fault::Hang(*noise.pick(&[5_000, 100_000, SECOND, 15 * SECOND, 60 * SECOND])),
        8 | 9 => Fault::Crash(*noise.pick(&[1_000, 50_000, 2 * SECOND])),
        10 => Fault::Leave,
        11 => Fault::Slow(*noise.pick(&[3, 30, 300])),
        12 => Fault::Fast,
        13 => Fault::Rubbish(*noise.pick(&[10, 100])),
        14 | 15 => Fault::Join,
        16 => Fault::Wedge,
        17 | 18 => Fault::OneWay {
            up: noise.percent(50),
            micros: *noise.pick(&[3_000, 50_000, SECOND, 12 * SECOND]),
            heals: noise.percent(50),
        },
        19..=21 => Fault::CoordinatorCrash(*noise.pick(&[0, 1_000, 100_000, 5 * SECOND])),
        26 | 27 => Fault::Lie(*noise.pick(&[20, 100])),
        22 | 23 => Fault::CoordinatorHang(*noise.pick(&[5_000, 200_000, 3 * SECOND, 30 * SECOND])),
        _ => {
            let jump = *noise.pick(&[50_000, SECOND, 60 * SECOND, 3_600 * SECOND]) as i64;
            Fault::Clock(if noise.percent(60) { -jump } else { jump })
        }
    }
}
