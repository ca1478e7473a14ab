//! The plan: which worker computes which leaves of a step. It decides how long a step takes and nothing else.
//!
//! Every worker gets one contiguous range of leaves, the longer the faster it is. A worker returns its range as the
//! nodes of [`Tree::cover`], so the boundaries decide how many nodes there are: the range 0..4 is one node, 1..5 is
//! three. One estimate of the step's time weighs balance against transfers:
//!
//! ```text
//! T = max over workers (seconds until it is free + samples / speed) + nodes · bytes of a node / bytes per second
//! ```
//!
//! All workers finish, and the coordinator's link transfers every node but those of a worker in its own process. Starting from boundaries proportional to speed,
//! each boundary in turn moves to the nearby place with the least T, until none moves.

use std::ops::Range;

use nn_core::{Node, Tree};

use super::ids::WorkerId;

/// A worker as the planner sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    /// Samples a second.
    pub(super) speed: f64,
    /// Seconds until it is free.
    pub(super) busy: f64,
    /// Whether its nodes travel. Those of a worker in this process do not.
    pub(super) remote: bool,
}

/// The relative change of a speed from which on a plan is made anew. Plans are no more exact than that, and under an
/// unchanged plan every worker's samples are still in its caches.
const SAME: f64 = 0.05;

/// Makes plans for whole steps, and keeps the last one until its inputs change noticeably.
#[derive(Debug, Default)]
pub(super) struct Planner {
    made: Option<Made>,
    /// Plans made so far.
    #[cfg(test)]
    plans: usize,
}

/// A plan and its inputs.
#[derive(Debug)]
struct Made {
    tree: Tree,
    workers: Vec<WorkerId>,
    candidates: Vec<Candidate>,
    node_seconds: f64,
    ranges: Vec<Range<u32>>,
}

impl Made {
    fn holds(&self, tree: &Tree, workers: &[WorkerId], candidates: &[Candidate], node_seconds: f64) -> bool {
        let same = |old: f64, new: f64| (new - old).abs() <= old * SAME;
        self.tree == *tree
            && self.workers == workers
            && same(self.node_seconds, node_seconds)
            && self.candidates.iter().zip(candidates).all(|(old, new)| {
                old.remote == new.remote
                    && same(old.speed, new.speed)
                    && same(old.busy * old.speed, new.busy * new.speed)
            })
    }
}

impl Planner {
    /// Divides all leaves of a step among the workers, in their order; some ranges may be empty.
    pub(super) fn whole(
        &mut self,
        tree: &Tree,
        workers: &[WorkerId],
        candidates: &[Candidate],
        node_seconds: f64,
    ) -> &[Range<u32>] {
        let made = self.made.take().filter(|made| made.holds(tree, workers, candidates, node_seconds));
        let made = made.unwrap_or_else(|| {
            #[cfg(test)]
            {
                self.plans += 1;
            }
            Made {
                tree: *tree,
                workers: workers.to_vec(),
                candidates: candidates.to_vec(),
                node_seconds,
                ranges: plan(tree, 0..tree.leaves(), candidates, node_seconds),
            }
        });
        &self.made.insert(made).ranges
    }
}

/// Passes over all boundaries. They rarely move more than twice.
const PASSES: usize = 4;

/// The least relative gain that is worth a move. It also keeps rounding errors from deciding.
const WORTH: f64 = 1e-6;

/// Divides a range of leaves among the candidates, in their order; some ranges may be empty. `node_seconds` is the cost
/// of one more node.
pub(super) fn plan(
    tree: &Tree,
    leaves: Range<u32>,
    candidates: &[Candidate],
    node_seconds: f64,
) -> Vec<Range<u32>> {
    let mut bounds = proportional(tree, &leaves, candidates);
    let mut estimate = Estimate { tree, candidates, node_seconds, nodes: Vec::new(), parts: Vec::new() };
    let mut best = estimate.start(&bounds);
    for _ in 0..PASSES {
        let mut moved = false;
        for b in 1..candidates.len() {
            let (low, high, here) = (bounds[b - 1], bounds[b + 1], bounds[b]);
            let mut choice = here;
            for place in places(tree, here, low..high) {
                bounds[b] = place;
                let t = estimate.moved(&bounds, b);
                if t < best * (1.0 - WORTH) {
                    (best, choice) = (t, place);
                }
            }
            moved |= choice != here;
            bounds[b] = choice;
            estimate.keep(&bounds, b);
        }
        if !moved {
            break;
        }
    }
    bounds.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

/// Boundaries with which all workers would finish at the same time if leaves were divisible, rounded to whole leaves.
fn proportional(tree: &Tree, leaves: &Range<u32>, candidates: &[Candidate]) -> Vec<u32> {
    let samples = |leaf: u32| (leaf as usize * tree.shard()).min(tree.samples()) as f64;
    let work = samples(leaves.end) - samples(leaves.start);
    // The time T at which Σ max(0, T − busy)·speed = work, found by adding workers in the order in which they are free.
    let mut by_busy: Vec<&Candidate> = candidates.iter().collect();
    by_busy.sort_by(|a, b| a.busy.total_cmp(&b.busy));
    let (mut speed, mut done, mut until) = (0.0, 0.0, f64::INFINITY);
    for c in by_busy {
        if c.busy >= until {
            break;
        }
        speed += c.speed;
        done += c.busy * c.speed;
        until = (work + done) / speed;
    }
    let mut bounds = vec![leaves.start];
    let mut given = 0.0;
    for c in candidates {
        given += (until - c.busy).max(0.0) * c.speed;
        let at = (given / tree.shard() as f64).round() as u32;
        bounds.push(leaves.start.saturating_add(at).clamp(bounds[bounds.len() - 1], leaves.end));
    }
    let last = bounds.len() - 1;
    bounds[last] = leaves.end;
    bounds
}

/// The places that a boundary may move to: one leaf to either side, and the nearest multiples of 2, 4, 8 …, which cut no
/// node of that size.
fn places(tree: &Tree, here: u32, within: Range<u32>) -> impl Iterator<Item = u32> {
    (0..=tree.root().level).flat_map(move |level| {
        let size = 1_u64 << level;
        let down = u64::from(here) / size * size;
        let up = down + size;
        let down = if down == u64::from(here) { down.saturating_sub(size) } else { down };
        [down, up].map(|at| (at.min(u64::from(u32::MAX)) as u32).clamp(within.start, within.end))
    })
}

/// The estimate T of a plan, updated as boundaries move.
struct Estimate<'a> {
    tree: &'a Tree,
    candidates: &'a [Candidate],
    node_seconds: f64,
    nodes: Vec<Node>,
    /// The finishing time of each range, and the number of its nodes that travel.
    parts: Vec<(f64, usize)>,
}

impl Estimate<'_> {
    fn start(&mut self, bounds: &[u32]) -> f64 {
        for i in 0..self.candidates.len() {
            let part = self.part(bounds, i);
            self.parts.push(part);
        }
        self.total(|i, parts| parts[i])
    }

    fn part(&mut self, bounds: &[u32], i: usize) -> (f64, usize) {
        let range = bounds[i]..bounds[i + 1];
        if range.is_empty() {
            return (0.0, 0);
        }
        let c = &self.candidates[i];
        self.nodes.clear();
        if c.remote {
            self.tree.cover_into(range.clone(), &mut self.nodes);
        }
        let shard = self.tree.shard();
        let samples = (range.end as usize * shard).min(self.tree.samples()) - range.start as usize * shard;
        (c.busy + samples as f64 / c.speed, self.nodes.len())
    }

    /// T with boundary `b` moved.
    fn moved(&mut self, bounds: &[u32], b: usize) -> f64 {
        let (left, right) = (self.part(bounds, b - 1), self.part(bounds, b));
        self.total(|i, parts| {
            if i + 1 == b {
                left
            } else if i == b {
                right
            } else {
                parts[i]
            }
        })
    }

    fn keep(&mut self, bounds: &[u32], b: usize) {
        self.parts[b - 1] = self.part(bounds, b - 1);
        self.parts[b] = self.part(bounds, b);
    }

    fn total(&self, part: impl Fn(usize, &[(f64, usize)]) -> (f64, usize)) -> f64 {
        let (mut latest, mut nodes) = (0.0_f64, 0);
        for i in 0..self.parts.len() {
            let (time, count) = part(i, &self.parts);
            latest = latest.max(time);
            nodes += count;
        }
        latest + nodes as f64 * self.node_seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plan for workers of these speeds, as text.
    fn golden(leaves: usize, speeds: &[f64], node_seconds: f64) -> String {
        let tree = Tree::new(leaves * 10, 10);
        let candidates: Vec<Candidate> =
            speeds.iter().map(|&speed| Candidate { speed, busy: 0.0, remote: true }).collect();
        text(&plan(&tree, 0..tree.leaves(), &candidates, node_seconds))
    }

    fn text(ranges: &[Range<u32>]) -> String {
        ranges.iter().map(|r| format!("{}..{}", r.start, r.end)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn golden_plans() {
        // If transfers cost nothing, shares are as even as leaves allow.
        assert_eq!(golden(8, &[1.0], 0.0), "0..8");
        assert_eq!(golden(8, &[1.0, 1.0], 0.0), "0..4 4..8");
        assert_eq!(golden(8, &[1.0, 1.0, 1.0], 0.0), "0..3 3..5 5..8");
        assert_eq!(golden(8, &[3.0, 1.0], 0.0), "0..6 6..8");
        assert_eq!(golden(16, &[1.0, 2.0, 5.0], 0.0), "0..2 2..6 6..16");
        // More workers than leaves; a worker so slow that a single leaf would hold up everybody.
        assert_eq!(golden(2, &[1.0, 1.0, 1.0], 0.0).matches("..").count(), 3);
        assert_eq!(golden(8, &[1.0, 0.01, 1.0], 0.0), "0..4 4..4 4..8");
    }

    #[test]
    fn expensive_transfers_align_the_ranges() {
        // A leaf takes 10 s. 0..3 3..5 5..8 is 6 nodes in 30 s, 0..2 2..5 5..8 is 5 in the same time, and two halves
        // are 2 nodes in 40 s: from 4 s a node on, the third worker is not worth its bytes.
        assert_eq!(golden(8, &[1.0, 1.0, 1.0], 0.1), "0..2 2..5 5..8");
        assert_eq!(golden(8, &[1.0, 1.0, 1.0], 6.0), "0..0 0..4 4..8");
        assert_eq!(golden(16, &[3.0, 2.0, 2.0], 0.1), "0..6 6..11 11..16");
        assert_eq!(golden(16, &[3.0, 2.0, 2.0], 3.0), "0..8 8..12 12..16");
        assert_eq!(golden(8, &[1.0, 1.0], 30.0), "0..4 4..8");
        assert_eq!(golden(8, &[1.0, 1.0], 50.0), "0..0 0..8");
    }

    #[test]
    fn nodes_that_do_not_travel_cost_nothing_to_divide() {
        let tree = Tree::new(80, 10);
        let plan_for = |remote: [bool; 2]| {
            let candidates: Vec<Candidate> = [(3.0, remote[0]), (5.0, remote[1])]
                .map(|(speed, remote)| Candidate { speed, busy: 0.0, remote })
                .into();
            text(&plan(&tree, 0..8, &candidates, 2.0))
        };
        // A leaf takes 10 s. 0..3 3..8 is four nodes in 10 s; two of 0..4 4..8 take 40/3 s.
        assert_eq!(plan_for([true, true]), "0..4 4..8");
        // The two nodes of 0..3 are free, and 3..8 is two that travel: three seconds faster than 0..4 and one.
        assert_eq!(plan_for([false, true]), "0..3 3..8");
    }

    #[test]
    fn a_plan_is_kept_until_its_inputs_change_noticeably() {
        let mut planner = Planner::default();
        let tree = Tree::new(80, 10);
        let of = |speeds: &[f64]| -> Vec<Candidate> {
            speeds.iter().map(|&speed| Candidate { speed, busy: 0.0, remote: true }).collect()
        };
        let ids = |count: u64| -> Vec<WorkerId> { (0..count).map(WorkerId).collect() };
        let first = planner.whole(&tree, &ids(2), &of(&[1.0, 3.0]), 0.1).to_vec();
        assert_eq!(text(&first), "0..2 2..8");
        assert_eq!(planner.whole(&tree, &ids(2), &of(&[1.04, 2.9]), 0.1), first);
        assert_eq!(planner.plans, 1);
        planner.whole(&tree, &ids(2), &of(&[1.0, 2.8]), 0.1);
        planner.whole(&tree, &ids(3), &of(&[1.0, 2.8, 1.0]), 0.1);
        planner.whole(&Tree::new(30, 10), &ids(3), &of(&[1.0, 2.8, 1.0]), 0.1);
        planner.whole(&Tree::new(30, 10), &ids(3), &of(&[1.0, 2.8, 1.0]), 0.2);
        assert_eq!(planner.plans, 5);
    }

    #[test]
    fn busy_workers_get_less() {
        let tree = Tree::new(80, 10);
        let two = |busy| [busy, 0.0].map(|busy| Candidate { speed: 1.0, busy, remote: true });
        assert_eq!(text(&plan(&tree, 0..8, &two(40.0), 0.0)), "0..2 2..8");
        assert_eq!(text(&plan(&tree, 0..8, &two(1e9), 0.0)), "0..0 0..8");
        assert_eq!(text(&plan(&tree, 3..5, &two(0.0), 0.0)), "3..4 4..5");
    }

    #[test]
    fn every_leaf_is_assigned_once_whatever_the_speeds() {
        let mut noise = 1_u64;
        let mut next = || {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (noise >> 40) as f64 / (1 << 24) as f64
        };
        for leaves in 1..40 {
            for count in 1..12 {
                let tree = Tree::new(leaves * 3 - 1, 3);
                let candidates: Vec<Candidate> = (0..count)
                    .map(|_| Candidate {
                        speed: 0.001 + next() * next() * 100.0,
                        busy: next() - 0.5,
                        remote: next() > 0.2,
                    })
                    .map(|c| Candidate { busy: c.busy.max(0.0), ..c })
                    .collect();
                let ranges = plan(&tree, 0..tree.leaves(), &candidates, next() * 0.1);
                assert_eq!(ranges.len(), count);
                assert!(ranges.iter().cloned().flatten().eq(0..tree.leaves()), "{candidates:?}: {ranges:?}");
            }
        }
    }
}
