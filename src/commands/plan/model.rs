//! The model of time: what a step, or a round, takes with workers behind a network. Pure functions of measured costs.
//!
//! Everything goes through the coordinator's link, which carries both directions at once. A *turn*, a step or a round, goes
//! piece by piece (layers or, in rounds, runs of blocks) through five stations:
//!
//! ```text
//! ready     workers have computed the piece: a layer when backpropagation reaches it, a difference after H steps
//! up        bytes of all contributions / link
//! summed    numbers · contributions · seconds to add one, and the step that follows
//! down      bytes for all workers / link
//! overhead  OVERHEAD + 2 · latency, once a turn
//! ```
//!
//! Each station handles one piece at a time, in order, while the others are busy with other pieces. The next turn begins when
//! the last piece is down. Bytes: weights and gradients are 4 · P; a difference in b bits is P · (b / 8 + 1 / 256), of which its
//! compact form takes a part that is measured.

use nn_core::Tree;
use nn_engine::{Encoding, Manifest};
use serde::Serialize;

/// Seconds of a turn that no byte and no number explain: messages are framed, threads wake up, on both sides. As in the
/// study of rounds.
pub(in crate::commands) const OVERHEAD: f64 = 2e-3;

/// The part of a link's speed that is payload: a frame of Ethernet takes 1538 bytes for 1448 of TCP's.
pub(in crate::commands) const PAYLOAD: f64 = 1448.0 / 1538.0;

/// The most parameters of a gradient that is sent whole, as `nn-worker` does it.
const WHOLE: usize = 128 * 1024;

/// The part of a gradient's time that is spent before its first layer is ready: the pass forward.
const FORWARD: f64 = 1.0 / 3.0;

/// How often a step is planned anew until the plan is taken as settled.
const PLANS: usize = 8;

/// The rounds of a run that are looked at. Of a longer one the first decide, which are the shorter ones.
const MOST_ROUNDS: u64 = 100_000;

/// What a run costs on this machine, in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::commands) struct Costs {
    /// The numbers of each layer, the first layer first.
    pub(in crate::commands) layers: Vec<usize>,
    /// A whole step on one machine.
    pub(in crate::commands) step: f64,
    /// A gradient: without samples, and for each sample.
    pub(in crate::commands) gradient: (f64, f64),
    /// The optimizer's step, and what follows it.
    pub(in crate::commands) optimizer: f64,
    /// A gradient is received and added, for each number.
    pub(in crate::commands) add: f64,
    /// One step of as many replicas as a worker has, which run side by side on its threads; the first entry is of one.
    pub(in crate::commands) replica_step: Vec<f64>,
    /// A replica's difference is computed and coded, once a round.
    pub(in crate::commands) replica_round: f64,
    /// A difference is decoded and added, for each number.
    pub(in crate::commands) merge: f64,
    /// The outer step, for each number.
    pub(in crate::commands) outer: f64,
    /// A byte is moved between the network and memory, in either direction.
    pub(in crate::commands) handling: f64,
    /// The part of the weights' bytes that travels: 1, or about a half if workers need them only as bf16.
    pub(in crate::commands) weights: f64,
    /// The compact form of differences.
    pub(in crate::commands) compact: Compact,
}

/// What the compact form of a round's differences saves and costs, by byte of their blocks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(in crate::commands) struct Compact {
    /// The part of the bytes that travels to the coordinator.
    pub(in crate::commands) up: f64,
    /// The part that travels from it.
    pub(in crate::commands) down: f64,
    /// Seconds in which a byte is written.
    pub(in crate::commands) write: f64,
    /// Seconds in which a byte is read.
    pub(in crate::commands) read: f64,
}

impl Compact {
    /// Blocks as they are.
    pub(in crate::commands) const NONE: Self = Self { up: 1.0, down: 1.0, write: 0.0, read: 0.0 };
}

/// The coordinator's link, and the workers behind it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(in crate::commands) struct Network {
    /// Bytes a second to the coordinator.
    pub(in crate::commands) up: f64,
    /// Bytes a second from it.
    pub(in crate::commands) down: f64,
    /// The part of them that is payload: [`PAYLOAD`], or 1 where payload was measured.
    pub(in crate::commands) payload: f64,
    /// Seconds of a message in one direction.
    pub(in crate::commands) latency: f64,
    /// The speed of a worker, where the measured machine's is 1.
    pub(in crate::commands) worker_speed: f64,
    /// Whether one of the workers is the coordinator's machine itself: nothing travels to it or from it.
    pub(in crate::commands) own_worker: bool,
}

impl Network {
    /// Seconds of so many bytes to the coordinator.
    fn seconds_up(&self, bytes: f64) -> f64 {
        bytes / (self.up * self.payload)
    }

    /// Seconds of so many bytes from it.
    fn seconds_down(&self, bytes: f64) -> f64 {
        bytes / (self.down * self.payload)
    }

    /// Those of so many workers to whom something has to travel.
    fn remote(&self, workers: u32) -> u32 {
        workers.saturating_sub(u32::from(self.own_worker))
    }

    /// The same workers with another link.
    fn with_link(self, bytes_a_second: f64) -> Self {
        Self { up: bytes_a_second, down: bytes_a_second, ..self }
    }
}

/// What takes the most of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::commands) enum Bound {
    /// The workers compute.
    Computing,
    /// The coordinator's link carries bytes.
    Link,
    /// Messages are on their way, and threads wake up.
    Latency,
    /// The coordinator sums and steps.
    Summing,
}

impl Bound {
    /// Its name.
    pub(in crate::commands) fn name(self) -> &'static str {
        match self {
            Self::Computing => "computing",
            Self::Link => "link",
            Self::Latency => "latency",
            Self::Summing => "summing",
        }
    }
}

/// A turn: a step or, on average over the run, a round. Bytes and seconds are of one turn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(in crate::commands) struct Turn {
    /// Workers.
    pub(in crate::commands) workers: u32,
    /// Those of them that compute: a mini-batch that is small for the network is not worth dividing among all.
    pub(in crate::commands) computing_workers: u32,
    /// Sequential steps.
    pub(in crate::commands) steps: f64,
    /// Samples.
    pub(in crate::commands) samples: f64,
    /// Bytes that a worker that computes sends.
    pub(in crate::commands) worker_up: f64,
    /// Bytes that a worker receives.
    pub(in crate::commands) worker_down: f64,
    /// Bytes that the coordinator receives.
    pub(in crate::commands) coordinator_up: f64,
    /// Bytes that it sends.
    pub(in crate::commands) coordinator_down: f64,
    /// Seconds from one turn to the next.
    pub(in crate::commands) seconds: f64,
    /// Seconds for which the slowest worker computes.
    pub(in crate::commands) computing: f64,
    /// Seconds for which the link is busy in its busier direction.
    pub(in crate::commands) link: f64,
    /// Seconds for which the coordinator's processor is busy.
    pub(in crate::commands) summing: f64,
    /// Overhead and latency.
    pub(in crate::commands) waiting: f64,
}

impl Turn {
    /// Samples a second.
    pub(in crate::commands) fn samples_per_second(&self) -> f64 {
        self.samples / self.seconds
    }

    /// What takes the most of it.
    pub(in crate::commands) fn bound(&self) -> Bound {
        [
            (self.computing, Bound::Computing),
            (self.link, Bound::Link),
            (self.waiting, Bound::Latency),
            (self.summing, Bound::Summing),
        ]
        .into_iter()
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(Bound::Computing, |(_, bound)| bound)
    }
}

/// A piece on its way: when it is ready, its bytes from all workers, the coordinator's seconds, its bytes to all workers.
#[derive(Debug, Clone, Copy)]
struct Piece {
    ready: f64,
    up: f64,
    summing: f64,
    down: f64,
}

/// When the last piece is down.
fn pipeline(pieces: &[Piece], network: &Network) -> f64 {
    let (mut port_in, mut processor, mut port_out) = (0.0_f64, 0.0_f64, 0.0_f64);
    for piece in pieces {
        port_in = port_in.max(piece.ready) + network.seconds_up(piece.up);
        processor = processor.max(port_in) + piece.summing;
        port_out = port_out.max(processor) + network.seconds_down(piece.down);
    }
    port_out
}

/// A turn's seconds and sums from its pieces.
fn turn(pieces: &[Piece], computing: f64, network: &Network, workers: u32) -> Turn {
    let sum = |of: fn(&Piece) -> f64| pieces.iter().map(of).sum::<f64>();
    let (up, down) = (sum(|piece| piece.up), sum(|piece| piece.down));
    let waiting = OVERHEAD + 2.0 * network.latency;
    Turn {
        workers,
        computing_workers: workers,
        steps: 1.0,
        samples: 0.0,
        worker_up: 0.0,
        worker_down: down / f64::from(network.remote(workers).max(1)),
        coordinator_up: up,
        coordinator_down: down,
        seconds: pipeline(pieces, network) + waiting,
        computing,
        link: network.seconds_up(up).max(network.seconds_down(down)),
        summing: sum(|piece| piece.summing),
        waiting,
    }
}

/// The largest share, in samples, and the nodes of all shares that travel, if so many workers divide a tree evenly.
fn shares(tree: &Tree, workers: u32, network: &Network) -> (usize, u32) {
    let leaves = u64::from(tree.leaves());
    let bound = |at: u32| (leaves * u64::from(at)).div_ceil(u64::from(workers)) as u32;
    let (mut largest, mut nodes) = (0, 0);
    for at in 0..workers {
        let range = bound(at)..bound(at + 1);
        let samples = |leaf: u32| (leaf as usize * tree.shard()).min(tree.samples());
        largest = largest.max(samples(range.end) - samples(range.start));
        if !range.is_empty() && at >= workers - network.remote(workers) {
            nodes += tree.cover(range).len() as u32;
        }
    }
    (largest, nodes)
}

/// A synchronous step with so many workers, after the coordinator's planner has settled on how many of them compute. It
/// weighs, as the engine does, a smaller share against one more node to transfer, by the transfer times that it has seen.
pub(in crate::commands) fn synchronous(costs: &Costs, tree: &Tree, workers: u32, network: &Network) -> Turn {
    let most = workers.min(tree.leaves());
    let gradient = |active: u32| {
        let (fixed, each) = costs.gradient;
        (fixed + each * shares(tree, active, network).0 as f64) / network.worker_speed
    };
    let mut step = step_of(costs, tree, (workers, most), gradient(most), network);
    for _ in 0..PLANS {
        let active = step.computing_workers;
        let nodes = |active: u32| f64::from(shares(tree, active, network).1);
        let transfer = (step.seconds - step.computing).max(0.0) / 2.0 / nodes(active).max(1.0);
        let time = |active: u32| gradient(active) + nodes(active) * transfer;
        let best = (1..=most).min_by(|&a, &b| time(a).total_cmp(&time(b))).unwrap_or(1);
        if best == active {
            break;
        }
        step = step_of(costs, tree, (workers, best), gradient(best), network);
    }
    step
}

/// A synchronous step of which `active` of the workers compute for `computing` seconds.
fn step_of(
    costs: &Costs,
    tree: &Tree,
    (workers, active): (u32, u32),
    computing: f64,
    network: &Network,
) -> Turn {
    let all: usize = costs.layers.iter().sum();
    let nodes = f64::from(shares(tree, active, network).1);
    let whole = [all];
    let layers = if all <= WHOLE { &whole[..] } else { &costs.layers };
    let mut done = 0;
    let mut pieces = Vec::new();
    // The last layer's gradient is ready first.
    for &numbers in layers.iter().rev() {
        done += numbers;
        let part = numbers as f64 / all as f64;
        let bytes = Encoding::F32.bytes_for(numbers) as f64;
        let (up, down) = (nodes * bytes, f64::from(network.remote(workers)) * bytes * costs.weights);
        let ready = computing * (FORWARD + (1.0 - FORWARD) * done as f64 / all as f64);
        let summing =
            nodes * numbers as f64 * costs.add + part * costs.optimizer + costs.handling * (up + down);
        pieces.push(Piece { ready, up, summing, down });
    }
    let step = turn(&pieces, computing, network, workers);
    Turn {
        computing_workers: active,
        samples: tree.samples() as f64,
        worker_up: step.coordinator_up / f64::from(network.remote(active).max(1)),
        ..step
    }
}

/// The mean round of a run with so many workers; `None` if the run has no rounds.
pub(in crate::commands) fn rounds(
    costs: &Costs,
    manifest: &Manifest,
    workers: u32,
    network: &Network,
) -> Option<Turn> {
    let down = manifest.update_encoding()?;
    let up = manifest.contribution_encoding();
    let pieces = manifest.pieces();
    let count = manifest.total_steps().clamp(1, MOST_ROUNDS);
    let mut known: Vec<((u64, u32), Turn)> = Vec::new();
    let mut mean: Option<Turn> = None;
    for round in 0..count {
        let span = manifest.span(round);
        let replicas = manifest.tree(round).leaves();
        let key = (span.steps, replicas);
        let found = known.iter().find(|(other, _)| *other == key).map(|(_, turn)| *turn);
        let one = found.unwrap_or_else(|| {
            let side_by_side = replicas.div_ceil(workers);
            let computing = computing(costs, span.steps, side_by_side) / network.worker_speed;
            let piece = |range: &std::ops::Range<usize>| {
                let numbers = range.len() as f64;
                let travelling = replicas - if network.own_worker { side_by_side } else { 0 };
                let (blocks_up, blocks_down) =
                    (up.bytes_for(range.len()) as f64, down.bytes_for(range.len()) as f64);
                let up = f64::from(travelling) * blocks_up * costs.compact.up;
                let down = f64::from(network.remote(workers)) * blocks_down * costs.compact.down;
                let summing = numbers * (f64::from(replicas) * costs.merge + costs.outer)
                    + f64::from(travelling) * blocks_up * costs.compact.read
                    + blocks_down * costs.compact.write;
                Piece { ready: computing, up, summing: summing + costs.handling * (up + down), down }
            };
            let pieces: Vec<Piece> = pieces.iter().map(piece).collect();
            let turn = turn(&pieces, computing, network, workers);
            let computing_workers = replicas.min(workers);
            let of_replica: f64 =
                manifest.pieces().iter().map(|range| up.bytes_for(range.len()) as f64).sum();
            let worker_up = of_replica * f64::from(side_by_side) * costs.compact.up;
            let turn = Turn { steps: span.steps as f64, computing_workers, worker_up, ..turn };
            known.push((key, turn));
            turn
        });
        let one = Turn { samples: span.samples as f64, ..one };
        mean = Some(match mean {
            None => one,
            Some(sum) => sum.plus(&one),
        });
    }
    mean.map(|sum| sum.over(count as f64))
}

/// Seconds in which a worker computes so many replicas of a round.
fn computing(costs: &Costs, steps: u64, replicas: u32) -> f64 {
    let known = costs.replica_step.len().max(1);
    // Beyond what was measured they take turns.
    let turns = (replicas as usize).div_ceil(known);
    let at = (replicas as usize).div_ceil(turns).clamp(1, known) - 1;
    let step = costs.replica_step.get(at).copied().unwrap_or(costs.step);
    turns as f64 * (steps as f64 * step + costs.replica_round)
}

impl Turn {
    /// The sums of two turns of the same workers.
    fn plus(&self, other: &Self) -> Self {
        Self {
            workers: self.workers,
            computing_workers: self.computing_workers.max(other.computing_workers),
            steps: self.steps + other.steps,
            samples: self.samples + other.samples,
            worker_up: self.worker_up + other.worker_up,
            worker_down: self.worker_down + other.worker_down,
            coordinator_up: self.coordinator_up + other.coordinator_up,
            coordinator_down: self.coordinator_down + other.coordinator_down,
            seconds: self.seconds + other.seconds,
            computing: self.computing + other.computing,
            link: self.link + other.link,
            summing: self.summing + other.summing,
            waiting: self.waiting + other.waiting,
        }
    }

    /// The mean of `count` turns that these are the sums of.
    fn over(&self, count: f64) -> Self {
        Self {
            steps: self.steps / count,
            samples: self.samples / count,
            worker_up: self.worker_up / count,
            worker_down: self.worker_down / count,
            coordinator_up: self.coordinator_up / count,
            coordinator_down: self.coordinator_down / count,
            seconds: self.seconds / count,
            computing: self.computing / count,
            link: self.link / count,
            summing: self.summing / count,
            waiting: self.waiting / count,
            ..*self
        }
    }
}

/// The slowest and the fastest link that are tried, in bytes a second: 10 kbit/s and 10 Tbit/s.
const LINKS: (f64, f64) = (1.25e3, 1.25e12);

/// The slowest link with which `turn` gives at least so many samples a second, in bytes a second; `None` if none does.
pub(in crate::commands) fn break_even_link(
    network: &Network,
    samples_per_second: f64,
    turn: impl Fn(&Network) -> Option<Turn>,
) -> Option<f64> {
    let pays = |link: f64| {
        turn(&network.with_link(link)).is_some_and(|turn| turn.samples_per_second() >= samples_per_second)
    };
    least(LINKS, pays)
}

/// The largest mini-batch that is tried.
const LARGEST_BATCH: f64 = 16_777_216.0;

/// The smallest mini-batch from which a synchronous step with so many workers is faster than one machine; `None` if there is
/// none. It is cut into as many leaves as `tree`.
pub(in crate::commands) fn break_even_batch(
    costs: &Costs,
    tree: &Tree,
    workers: u32,
    network: &Network,
) -> Option<usize> {
    let leaves = tree.leaves() as usize;
    let pays = |batch: f64| {
        let samples = batch.round() as usize;
        let alone = costs.gradient.0 + costs.gradient.1 * samples as f64 + costs.optimizer;
        let tree = Tree::new(samples, samples.div_ceil(leaves));
        synchronous(costs, &tree, workers, network).seconds <= alone
    };
    least((f64::from(workers), LARGEST_BATCH), pays).map(|batch| batch.round() as usize)
}

/// The least number between two, by ratio, from which `pays` holds.
fn least((mut low, mut high): (f64, f64), pays: impl Fn(f64) -> bool) -> Option<f64> {
    if pays(low) {
        return Some(low);
    }
    if !pays(high) {
        return None;
    }
    while high / low > 1.01 {
        let middle = (low * high).sqrt();
        if pays(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}

#[cfg(test)]
#[path = "model_tests.rs"]
pub(super) mod tests;
