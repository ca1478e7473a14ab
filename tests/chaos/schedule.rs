//! The faults of a run and their times, as a function of the seed.

use std::time::Duration;

/// The kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A worker gets SIGKILL and is started again.
    KillWorker,
    /// A worker gets SIGKILL, and one without a cached training set replaces it.
    ReplaceWorker,
    /// A worker gets SIGTERM and is started again.
    StopWorker,
    /// A worker gets SIGSTOP, and SIGCONT later.
    StallWorker,
    /// The coordinator gets SIGKILL and is started again with `--resume`.
    KillCoordinator,
    /// The same, and another SIGKILL while it starts.
    KillCoordinatorTwice,
    /// The coordinator gets SIGTERM and is started again with `--resume`.
    StopCoordinator,
    /// The coordinator gets SIGSTOP, and SIGCONT later.
    StallCoordinator,
    /// A worker's connection is closed.
    Cut,
    /// A worker's connection is closed again and again.
    CutOften,
    /// All connections are closed at once.
    CutAll,
    /// For a while, nothing reaches the coordinator from a worker. The connection stays open.
    HoldUp,
    /// For a while, nothing reaches a worker. The connection stays open.
    HoldDown,
    /// For a while, nothing passes between a worker and the coordinator. The connection stays open.
    HoldBoth,
    /// For a while, nothing passes between the coordinator and any worker.
    Partition,
    /// The network of a worker is slow for a while.
    Delay,
    /// Bytes are missing from the middle of a stream.
    Lose,
    /// Another worker joins, for a while or until the end.
    Join,
    /// Peers send nonsense.
    Garbage,
}

/// The number of seeds in a row, starting at a multiple of it, that have every kind between them.
pub(crate) const DECK: u64 = 4;

/// The number of random faults in addition to those from the deck.
const MORE: usize = 2;

impl Kind {
    pub(crate) const ALL: [Self; 19] = [
        Self::KillWorker,
        Self::ReplaceWorker,
        Self::StopWorker,
        Self::StallWorker,
        Self::KillCoordinator,
        Self::KillCoordinatorTwice,
        Self::StopCoordinator,
        Self::StallCoordinator,
        Self::Cut,
        Self::CutOften,
        Self::CutAll,
        Self::HoldUp,
        Self::HoldDown,
        Self::HoldBoth,
        Self::Partition,
        Self::Delay,
        Self::Lose,
        Self::Join,
        Self::Garbage,
    ];

    /// Whether the fault hits the coordinator's process.
    pub(crate) fn is_of_coordinator(self) -> bool {
        use Kind::{KillCoordinator, KillCoordinatorTwice, StallCoordinator, StopCoordinator};
        matches!(self, KillCoordinator | KillCoordinatorTwice | StopCoordinator | StallCoordinator)
    }
}

/// A fault, its time and its target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// The number of steps after which it happens.
    pub(crate) at: u64,
    /// The worker that it hits, if it hits one.
    pub(crate) worker: usize,
    /// Its duration.
    pub(crate) lasts: Duration,
    /// The time after which a process that has ended is started again.
    pub(crate) pause: Duration,
    /// A random number for everything else that is left to chance.
    pub(crate) dice: u64,
}

/// A run and its faults.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) workers: usize,
    pub(crate) min_workers: usize,
    /// Whether workers keep dialling after the run is over.
    pub(crate) stay: bool,
    /// The options for the network, the mini-batches or rounds, and the optimizer.
    pub(crate) training: String,
    pub(crate) faults: Vec<Fault>,
}

/// The number of training samples of the digits.
pub(crate) const SAMPLES: u64 = 1438;
pub(crate) const BATCH: u64 = 128;
pub(crate) const EPOCHS: u64 = 450;
pub(crate) const STEPS_PER_EPOCH: u64 = SAMPLES.div_ceil(BATCH);
pub(crate) const STEPS: u64 = EPOCHS * STEPS_PER_EPOCH;

impl Plan {
    /// The plan for a seed, with faults that last `stretch` times as long as usual.
    pub(crate) fn of(seed: u64, stretch: u32) -> Self {
        let mut random = Random::new(0xc4a0_5000 + seed);
        let workers = 3 + random.below(2) as usize;
        let optimizers = [
            "--optimizer sgd",
            "--optimizer momentum --learning-rate 0.1",
            "--optimizer adam --learning-rate 0.002",
            "--optimizer nesterov --learning-rate 0.1 --schedule cosine",
            "--optimizer adamw --learning-rate 0.004 --weight-decay 0.05 --schedule one-cycle",
        ];
        let optimizer = optimizers[random.below(optimizers.len() as u64) as usize];
        let shards: u64 = [8, 16, 23][random.below(3) as usize];
        let hidden = ["48,32", "64", "40,30,20"][random.below(3) as usize];
        let mut kinds = dealt(seed);
        kinds.extend((0..MORE).map(|_| Kind::ALL[random.below(Kind::ALL.len() as u64) as usize]));
        let mut faults: Vec<Fault> = kinds
            .into_iter()
            .map(|kind| Fault {
                kind,
                // Not before the run has begun, and not after it is over.
                at: STEPS / 100 + random.below(STEPS * 7 / 10),
                worker: random.below(workers as u64) as usize,
                lasts: stretch * random.between(100, if kind == Kind::StallWorker { 5000 } else { 2500 }),
                pause: random.between(0, 700),
                dice: random.next(),
            })
            .collect();
        faults.sort_by_key(|fault| fault.at);
        let (min_workers, stay) = (1 + random.below(2) as usize, random.below(2) == 0);
        // Every other seed in rounds, which have as many samples as mini-batches have.
        let batches = if seed % 2 == 1 {
            let (steps, replicas) = [(2, 4), (1, 8), (4, 2)][random.below(3) as usize];
            let bits = [8, 8, 4, 32][random.below(4) as usize];
            let batch = BATCH / steps / replicas;
            let shards = shards.min(batch).min(5);
            format!(
                "--batch-size {batch} --shard-size {shards} --rounds {steps} --replicas {replicas} --delta-bits {bits}"
            )
        } else {
            format!("--batch-size {BATCH} --shard-size {shards}")
        };
        let precision = if seed % 5 == 2 { " --precision bf16" } else { "" };
        let regularization = match seed % 5 {
            3 => {
                " --augment affine,elastic --dropout 0.1 --input-dropout 0.05 --label-smoothing 0.1 --clip-samples 1 \
                 --clip-norm 0.5 --max-norm 3 --ema 0.99 --activation gelu --normalization layer"
            }
            _ => "",
        };
        let normalization = if seed % 5 == 1 { " --normalization layer" } else { "" };
        let training =
            format!("{batches} --hidden {hidden} {optimizer}{precision}{regularization}{normalization}");
        Self { seed, workers, min_workers, stay, training, faults }
    }

    /// All options that decide the weights.
    pub(crate) fn options(&self) -> String {
        format!("--epochs {EPOCHS} --eval-every 25 {}", self.training)
    }
}

/// The kinds of fault that a seed is dealt. The deck of all kinds is shuffled anew for every [`DECK`] seeds.
fn dealt(seed: u64) -> Vec<Kind> {
    let mut deck = Kind::ALL;
    let mut random = Random::new(0xdec4_0000 + seed / DECK);
    for place in (1..deck.len()).rev() {
        deck.swap(place, random.below(place as u64 + 1) as usize);
    }
    deck.into_iter().skip((seed % DECK) as usize).step_by(DECK as usize).collect()
}

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A number of milliseconds in `from..to`.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

#[test]
fn seeds_in_a_row_have_every_kind_of_fault() {
    for first in [0, DECK, 96 * DECK] {
        let dealt: Vec<Kind> = (first..first + DECK).flat_map(dealt).collect();
        assert_eq!(dealt.len(), Kind::ALL.len());
        assert!(Kind::ALL.iter().all(|kind| dealt.contains(kind)), "{dealt:?}");
    }
}
