//! What happens when, as a function of the seed.

use std::time::Duration;

/// What can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// SIGKILL, and the same worker again.
    KillWorker,
    /// SIGKILL, and another one that has no training set yet.
    ReplaceWorker,
    /// SIGTERM, and the same worker again.
    StopWorker,
    /// SIGSTOP, and SIGCONT later.
    StallWorker,
    /// SIGKILL, and `--resume`.
    KillCoordinator,
    /// The same, and once more while it is coming up.
    KillCoordinatorTwice,
    /// SIGTERM, and `--resume`.
    StopCoordinator,
    /// SIGSTOP, and SIGCONT later.
    StallCoordinator,
    /// A worker's connection is closed.
    Cut,
    /// That, again and again.
    CutOften,
    /// All connections are closed at once.
    CutAll,
    /// Nothing reaches the coordinator from a worker for a while; no connection is closed.
    HoldUp,
    /// Nothing reaches a worker.
    HoldDown,
    /// Neither.
    HoldBoth,
    /// Nothing passes between the coordinator and any worker.
    Partition,
    /// A slow network.
    Delay,
    /// Bytes of a stream are missing, and those after them come.
    Lose,
    /// One more worker, for a while or to the end.
    Join,
    /// Peers that talk nonsense.
    Garbage,
}

/// So many seeds in a row, from a multiple of it on, have every kind between them.
pub(crate) const DECK: u64 = 4;

/// Faults that are drawn beside those that the deck gives.
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

    /// Whether it is done to the coordinator's process.
    pub(crate) fn is_of_coordinator(self) -> bool {
        use Kind::{KillCoordinator, KillCoordinatorTwice, StallCoordinator, StopCoordinator};
        matches!(self, KillCoordinator | KillCoordinatorTwice | StopCoordinator | StallCoordinator)
    }
}

/// One thing that breaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// Once so many steps are done.
    pub(crate) at: u64,
    /// To which worker, for those that are done to one.
    pub(crate) worker: usize,
    /// How long it lasts.
    pub(crate) lasts: Duration,
    /// A process that has ended is started again after this.
    pub(crate) pause: Duration,
    /// For what else is left to chance.
    pub(crate) dice: u64,
}

/// A run, and what happens in it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) workers: usize,
    pub(crate) min_workers: usize,
    /// Whether workers go on dialling when they are told that a run is over.
    pub(crate) stay: bool,
    /// Optimizer and sizes.
    pub(crate) training: String,
    pub(crate) faults: Vec<Fault>,
}

/// Training samples of the digits.
pub(crate) const SAMPLES: u64 = 1438;
pub(crate) const BATCH: u64 = 128;
pub(crate) const EPOCHS: u64 = 450;
pub(crate) const STEPS_PER_EPOCH: u64 = SAMPLES.div_ceil(BATCH);
pub(crate) const STEPS: u64 = EPOCHS * STEPS_PER_EPOCH;

impl Plan {
    /// The plan of a seed, with faults that last `stretch` times as long as usual.
    pub(crate) fn of(seed: u64, stretch: u32) -> Self {
        let mut random = Random::new(0xc4a0_5000 + seed);
        let workers = 3 + random.below(2) as usize;
        let optimizers = [
            "--optimizer sgd",
            "--optimizer momentum --learning-rate 0.1",
            "--optimizer adam --learning-rate 0.002",
            "--optimizer nesterov --learning-rate 0.1 --schedule cosine",
        ];
        let optimizer = optimizers[random.below(4) as usize];
        let shards = [8, 16, 23][random.below(3) as usize];
        let hidden = ["48,32", "64", "40,30,20"][random.below(3) as usize];
        let mut kinds = dealt(seed);
        kinds.extend((0..MORE).map(|_| Kind::ALL[random.below(Kind::ALL.len() as u64) as usize]));
        let mut faults: Vec<Fault> = kinds
            .into_iter()
            .map(|kind| Fault {
                kind,
                // Late enough that the run has begun, early enough that it is not over.
                at: STEPS / 100 + random.below(STEPS * 7 / 10),
                worker: random.below(workers as u64) as usize,
                lasts: stretch * random.between(100, if kind == Kind::StallWorker { 5000 } else { 2500 }),
                pause: random.between(0, 700),
                dice: random.next(),
            })
            .collect();
        faults.sort_by_key(|fault| fault.at);
        Self {
            seed,
            workers,
            min_workers: 1 + random.below(2) as usize,
            stay: random.below(2) == 0,
            training: format!("--hidden {hidden} --shard-size {shards} {optimizer}"),
            faults,
        }
    }

    /// The run's options: all that its weights depend on.
    pub(crate) fn options(&self) -> String {
        format!("--epochs {EPOCHS} --batch-size {BATCH} --eval-every 25 {}", self.training)
    }
}

/// The kinds of a seed: those of its place in the deck, which is shuffled for every so many seeds.
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

    /// Any number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// So many milliseconds.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

#[test]
fn seeds_in_a_row_have_every_kind() {
    for first in [0, DECK, 96 * DECK] {
        let dealt: Vec<Kind> = (first..first + DECK).flat_map(dealt).collect();
        assert_eq!(dealt.len(), Kind::ALL.len());
        assert!(Kind::ALL.iter().all(|kind| dealt.contains(kind)), "{dealt:?}");
    }
}
