//! Who is given what, and when it is given to somebody else too.

use std::cmp::Ordering;
use std::ops::Range;
use std::time::Duration;

use nn_core::{Node, NodeStats};

use super::Engine;
use super::audit::Trial;
use super::deadlines::allowance;
use super::plan::{Candidate, Planner, plan};
use super::protocol::{Action, Assignment, Attempt, Part, Step, WorkerId};
use super::reduce::LeafSet;
use super::report::Outcome;
use super::state::{Issue, Progress, Standing};
use crate::encoding::Encoding;

/// What has been given out in this step.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Whether the step has begun.
    pub(super) begun: bool,
    pub(super) began: Duration,
    /// Since when there are too few workers.
    pub(super) paused: Option<Duration>,
    /// How many attempts there have been.
    pub(super) attempts: u32,
    /// In the order of assignment.
    pub(super) issues: Vec<Issue>,
    pub(super) reissued: u64,
    /// No deadline passes before, as far as was known when it was computed.
    pub(super) next_due: Duration,
    /// Loss and counts of the whole mini-batch, once all have come.
    pub(super) stats: Option<NodeStats>,
    /// Nodes that are held back.
    pub(super) trials: Vec<Trial>,
    /// Whether one of those needs one more worker.
    pub(super) deadlock: bool,
    /// What each worker says that it has computed for, in this step.
    computed: Vec<(WorkerId, Duration)>,
    covered: LeafSet,
    nodes: Vec<Node>,
    planner: Planner,
}

impl Round {
    /// Whatever a worker holds, it is not waited for.
    pub(super) fn forget(&mut self, worker: WorkerId) {
        self.issues.retain(|issue| issue.worker != worker);
        for trial in &mut self.trials {
            trial.forget(worker);
        }
    }

    /// A worker has computed for so long.
    pub(super) fn computed(&mut self, worker: WorkerId, time: Duration) {
        if time.is_zero() {
            return;
        }
        match self.computed.iter_mut().find(|(id, _)| *id == worker) {
            Some((_, all)) => *all = all.saturating_add(time),
            None => self.computed.push((worker, time)),
        }
    }

    /// What carrying one node took in this step, now that it is done: its time without the slowest worker's computing went
    /// to carrying weights one way and gradients the other, and to everything around it. None if nobody has said how long
    /// computing took.
    pub(super) fn transfer(&self, now: Duration) -> Option<Duration> {
        let slowest = self.computed.iter().map(|(_, time)| *time).max()?;
        let nodes = u32::try_from(self.issues.len()).unwrap_or(u32::MAX).max(1);
        Some(now.saturating_sub(self.began).saturating_sub(slowest) / 2 / nodes)
    }

    /// The step is over.
    pub(super) fn clear(&mut self) {
        self.computed.clear();
        self.issues.clear();
        self.trials.clear();
        self.deadlock = false;
        self.begun = false;
        self.attempts = 0;
        self.paused = None;
        self.stats = None;
    }

    pub(super) fn find(&self, worker: WorkerId, node: Node) -> Option<usize> {
        self.issues.iter().position(|issue| issue.worker == worker && issue.node == node)
    }

    pub(super) fn is_busy(&self, worker: WorkerId) -> bool {
        self.issues.iter().any(|issue| issue.worker == worker && issue.is_pending())
    }

    /// Whether a worker is idle, and has not computed this node before, which then is held back.
    fn can_help(&self, worker: WorkerId, node: Node) -> bool {
        !self.is_busy(worker)
            && self.find(worker, node).is_none_or(|at| self.issues[at].progress != Progress::Done)
    }

    fn has_offended(&self, worker: WorkerId) -> bool {
        self.issues.iter().any(|issue| issue.worker == worker && issue.progress == Progress::Void)
    }
}

impl Engine {
    /// Brings the run as far as it can go without further events: begins the step if there are workers enough, gives out
    /// what nobody holds, and once more what is overdue. Called after everything that could have changed that.
    pub(super) fn settle(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.outcome.is_some() {
            return;
        }
        if self.step >= self.total_steps {
            self.finish(Outcome::Complete, actions);
            return;
        }
        if self.believe(now, actions) {
            return;
        }
        if !self.round.begun || self.workers.active().next().is_none() {
            if self.workers.ready() == 0 || self.workers.count() < self.cluster.min_workers {
                self.pause(now, actions);
                return;
            }
            self.begin(now, actions);
        }
        self.issue_missing(now, actions);
        self.reissue_overdue(now, actions);
        self.call_witnesses(now, actions);
    }

    /// There are too few workers. It waits for others to come, but not for ever if the operator does not want that.
    pub(super) fn pause(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let since = *self.round.paused.get_or_insert(now);
        let waited = now.saturating_sub(since);
        if self.cluster.wait_timeout.is_some_and(|timeout| waited >= timeout) {
            let (have, want) = (self.workers.count(), self.wanted());
            let since = self.clock.shown(since);
            self.finish(Outcome::NoWorkers { have, want, since, waited }, actions);
        }
    }

    /// How many workers must be connected to go on.
    pub(super) fn wanted(&self) -> usize {
        let more = if self.round.deadlock { self.workers.count() + 1 } else { 1 };
        self.cluster.min_workers.max(more)
    }

    /// The step begins, or goes on after nobody was left, with everybody who is there.
    fn begin(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.round.paused = None;
        self.workers.miss_nobody();
        if !self.round.begun {
            self.round.begun = true;
            self.round.began = now;
            for (_, worker) in self.workers.iter_mut() {
                worker.given = 0;
            }
        }
        self.admit(actions);
    }

    /// Those who have joined take part from here on. They get the weights of the step, and those of the next step that
    /// the others have been sent already.
    pub(super) fn admit(&mut self, actions: &mut Vec<Action>) {
        let step = Step(self.step);
        for (worker, state) in self.workers.iter_mut() {
            if state.standing != Standing::Joining {
                continue;
            }
            state.standing = Standing::Active;
            actions.push(Action::Send { worker, step, part: Part::All });
            if self.step + 1 < self.total_steps {
                let ahead = (0..self.layout.len()).filter(|&layer| self.weights.is_ahead(layer));
                let next = Step(self.step + 1);
                actions.extend(ahead.map(|layer| {
                    let part = Part::Layer(layer as u32);
                    Action::Send { worker, step: next, part }
                }));
            }
        }
    }

    /// Gives out all leaves that are neither counted nor held by anybody.
    fn issue_missing(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let leaves = self.tree.leaves();
        let before = self.round.issues.len();
        if before == 0 && self.reduction.is_untouched() && self.round.trials.is_empty() {
            self.issue_range(now, 0..leaves, actions);
        } else {
            let mut covered = std::mem::take(&mut self.round.covered);
            self.reduction.counted_into(&mut covered);
            for issue in self.round.issues.iter().filter(|issue| issue.is_pending()) {
                covered.insert(self.tree.leaves_of(issue.node));
            }
            for trial in self.round.trials.iter().filter(|trial| trial.has_testimony()) {
                covered.insert(self.tree.leaves_of(trial.node));
            }
            let mut at = 0;
            let mut any = false;
            while let Some(gap) = covered.gap(at) {
                at = gap.end;
                any = true;
                self.issue_range(now, gap, actions);
            }
            self.round.covered = covered;
            if !any {
                return;
            }
        }
        self.round.attempts += 1;
    }

    /// Plans a range of leaves and gives it out.
    fn issue_range(&mut self, now: Duration, range: Range<u32>, actions: &mut Vec<Action>) {
        let mut nodes = std::mem::take(&mut self.round.nodes);
        let mut active = self.workers.active().map(|(id, _)| id);
        let (first, second) = (active.next(), active.next());
        drop(active);
        match (first, second) {
            (None, _) => {}
            (Some(only), None) => {
                nodes.clear();
                self.tree.cover_into(range, &mut nodes);
                self.reduction.divide(&mut nodes);
                self.issue_nodes(now, only, &nodes, actions);
            }
            _ => {
                let whole = range == (0..self.tree.leaves());
                let (ids, candidates) = self.candidates();
                let node_seconds = if self.workers.iter().any(|(_, worker)| worker.pace.speed().is_some()) {
                    self.transfer().as_secs_f64()
                } else {
                    0.0
                };
                let ranges = if whole {
                    self.round.planner.whole(&self.tree, &ids, &candidates, node_seconds).to_vec()
                } else {
                    plan(&self.tree, range, &candidates, node_seconds)
                };
                for (id, range) in ids.into_iter().zip(ranges) {
                    if range.is_empty() {
                        if let Some(worker) = self.workers.get_mut(id).filter(|_| whole) {
                            worker.pace.fade();
                        }
                        continue;
                    }
                    nodes.clear();
                    self.tree.cover_into(range, &mut nodes);
                    self.reduction.divide(&mut nodes);
                    self.issue_nodes(now, id, &nodes, actions);
                }
            }
        }
        self.round.nodes = nodes;
    }

    /// What it takes to carry a node to the coordinator: as measured, or else as guessed.
    pub(super) fn transfer(&self) -> Duration {
        if let Some(transfer) = self.transfer {
            return transfer;
        }
        let bytes = Encoding::F32.bytes_for(self.params().len());
        let seconds = bytes as f64 / self.cluster.link_bytes_per_second.max(1.0);
        Duration::from_secs_f64(seconds.min(86_400.0))
    }

    /// Workers that can be given something: those who have sent rubbish in this step only if there is nobody else.
    fn candidates(&self) -> (Vec<WorkerId>, Vec<Candidate>) {
        let spotless = |id: WorkerId| !self.round.has_offended(id);
        let anybody = !self.workers.active().any(|(id, _)| spotless(id));
        self.workers
            .active()
            .filter(|(id, _)| anybody || spotless(*id))
            .map(|(id, worker)| {
                let speed = self.workers.speed(worker).unwrap_or(worker.threads as f64);
                let pending = |issue: &&Issue| issue.worker == id && issue.is_pending();
                let samples: usize = self
                    .round
                    .issues
                    .iter()
                    .filter(pending)
                    .map(|i| self.tree.samples_of(i.node).len())
                    .sum();
                (id, Candidate { speed, busy: samples as f64 / speed })
            })
            .unzip()
    }

    pub(super) fn issue_nodes(
        &mut self,
        now: Duration,
        worker: WorkerId,
        nodes: &[Node],
        actions: &mut Vec<Action>,
    ) {
        self.round.next_due = Duration::ZERO;
        let attempt = Attempt(self.round.attempts);
        if attempt.0 > 0 {
            self.round.reissued += nodes.len() as u64;
        }
        for &node in nodes {
            match self.round.find(worker, node) {
                Some(at) => {
                    self.round.issues[at].renew(attempt, now);
                    // It says all of it again.
                    self.round.trials.iter_mut().filter(|t| t.node == node).for_each(|t| t.forget(worker));
                }
                None => self.round.issues.push(Issue::new(worker, node, attempt, now)),
            }
            if let Some(state) = self.workers.get_mut(worker) {
                state.given += self.tree.samples_of(node).len();
            }
            actions.push(Action::Assign(Assignment {
                worker,
                generation: self.cluster.generation,
                step: Step(self.step),
                attempt,
                node,
            }));
        }
    }

    /// When each node that is wanted should have come, by its place among the issues. What somebody else has sent
    /// meanwhile is not wanted, though its worker computes it before the nodes that it was given after.
    pub(super) fn deadlines(&self) -> Vec<(usize, Duration)> {
        let mut deadlines = Vec::new();
        for (id, worker) in self.workers.iter() {
            let typical = self.workers.typical(worker);
            let (mut start, mut samples) = (None, 0);
            for (at, issue) in self.round.issues.iter().enumerate() {
                if issue.worker != id || !issue.is_pending() {
                    continue;
                }
                // Nodes are computed one after the other.
                let start = *start.get_or_insert(issue.since.max(worker.free_since));
                samples += self.tree.samples_of(issue.node).len();
                if self.reduction.has_all(issue.node) {
                    continue;
                }
                let allowed = allowance(&worker.pace, typical, samples, self.cluster.patience);
                deadlines.push((at, start.saturating_add(allowed)));
            }
        }
        deadlines
    }

    /// Gives overdue nodes to idle workers too.
    fn reissue_overdue(&mut self, now: Duration, actions: &mut Vec<Action>) {
        // This is called with every node that comes, and deadlines are not for nothing.
        if now < self.round.next_due {
            return;
        }
        let joining = self.workers.iter().any(|(_, worker)| worker.standing == Standing::Joining);
        if !joining && !self.workers.active().any(|(id, _)| !self.round.is_busy(id)) {
            return;
        }
        let mut overdue = self.deadlines();
        self.round.next_due = overdue.iter().map(|(_, deadline)| *deadline).min().unwrap_or(Duration::MAX);
        overdue.retain(|(_, deadline)| *deadline <= now);
        if overdue.is_empty() {
            return;
        }
        overdue.sort_by_key(|(at, deadline)| (*deadline, *at));
        // Those who have joined would wait for the next step; but the others may never get there without them.
        let helpless = |&(at, _): &(usize, Duration)| {
            let node = self.round.issues[at].node;
            !self.workers.active().any(|(id, _)| self.round.can_help(id, node))
        };
        if joining && overdue.iter().any(helpless) {
            self.admit(actions);
        }
        let mut any = false;
        for &(at, _) in &overdue {
            let node = self.round.issues[at].node;
            let in_time = |(other, issue): (usize, &Issue)| {
                issue.node == node && issue.is_pending() && overdue.iter().all(|(late, _)| *late != other)
            };
            if self.round.issues.iter().enumerate().any(in_time) {
                continue;
            }
            // The fastest; one that has sent rubbish in this step only if there is nobody else.
            let worth = |id: WorkerId| {
                let speed = self.workers.get(id).and_then(|worker| self.workers.speed(worker));
                (!self.round.has_offended(id), speed.unwrap_or(0.0))
            };
            let idle = self
                .workers
                .active()
                .map(|(id, _)| id)
                .filter(|&id| self.round.can_help(id, node))
                .max_by(|&a, &b| worth(a).partial_cmp(&worth(b)).unwrap_or(Ordering::Equal));
            let Some(idle) = idle else { continue };
            self.issue_nodes(now, idle, &[node], actions);
            any = true;
        }
        if any {
            self.round.attempts += 1;
        }
    }

    /// Until when nothing will happen by itself: the time of the next [`Event::Tick`](super::Event::Tick) that could
    /// change something. It may be in the past, while an overdue node waits for an idle worker: then a tick changes
    /// nothing until another event does.
    #[must_use]
    pub fn next_tick(&self) -> Option<Duration> {
        if self.outcome.is_some() {
            return None;
        }
        let silence = self.cluster.silence + Duration::from_millis(1);
        let silent = self.workers.iter().map(|(_, worker)| worker.last_heard.saturating_add(silence));
        let overdue = self.deadlines().into_iter().map(|(_, deadline)| deadline);
        let given_up = self.round.paused.zip(self.cluster.wait_timeout);
        let given_up = given_up.map(|(since, timeout)| since.saturating_add(timeout));
        let stalled = self.stalls().into_iter().map(|(.., until)| until);
        silent.chain(overdue).chain(given_up).chain(stalled).min().map(|time| self.clock.shown(time))
    }
}
