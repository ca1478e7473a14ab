//! The engine's thread: it takes in commands and carries out the engine's actions in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nn_core::Node;
use nn_engine::local::{Observer, WorkerChange};
use nn_engine::{
    Action, Assignment, Contribution, Engine, Event, Join, MAX_WORKERS, Member, Outcome, Part, Release, Step,
    WorkerId, params_sha256,
};
use tokio::sync::{mpsc, oneshot, watch};
use tonic::Status;

use super::facts::Facts;
use super::own::{NAME, OWN, Own};
use super::peer::{Meter, Peer, reject};
use super::times::{Stopwatch, Times};
use crate::proto as pb;
use crate::wire::convert::{self, Place};
use crate::wire::outbox::{Framed, Kind};
use crate::wire::stream::frame;
use crate::wire::tensor::{Direction, Payload, Spares};
use pb::coordinator_message::Body;

/// What sessions, services and the ticker tell the driver.
#[derive(Debug)]
pub(super) enum Command {
    /// A worker was admitted. It does not have the training set yet.
    Connected(Box<Peer>),
    /// It has the training set.
    Ready(WorkerId),
    /// Its stream is over.
    Gone(WorkerId),
    /// Its stream was ended because of a malformed or corrupted message.
    Garbled(WorkerId),
    /// A part of a node.
    Gradient(Box<Contribution>),
    /// Another event for the engine.
    Event(Event),
    /// Time has passed: deadlines may be due.
    Tick,
    /// A caller asks for the status: renew it, and say when that is done.
    Tell(oneshot::Sender<()>),
    /// The thread of the worker in this process has failed, for this reason.
    OwnFailed(String),
    /// The operator wants the run to end.
    Stop,
}

/// Commands that may wait for the driver: enough to keep it busy while sessions have work for it.
pub(super) const COMMANDS: usize = 64;

/// A finished run.
#[derive(Debug)]
pub struct Finished<O> {
    /// The engine, with the final parameters.
    pub engine: Engine,
    /// The observer given to [`Coordinator::start`](super::Coordinator::start).
    pub observer: O,
    /// How the run ended.
    pub outcome: Outcome,
    /// How the time was spent.
    pub times: Times,
    /// Why the worker in this process failed, if it did. The run was stopped because of that.
    pub own_failure: Option<String>,
}

pub(super) struct Driver<O> {
    pub(super) engine: Engine,
    observer: O,
    pub(super) facts: Arc<Facts>,
    pub(super) peers: BTreeMap<WorkerId, (Peer, Meter)>,
    /// The worker in this process, if there is one.
    pub(super) own: Option<Own>,
    own_failure: Option<String>,
    /// The names of all workers that are, or were, connected.
    pub(super) names: BTreeMap<WorkerId, String>,
    /// What the observer has not heard of yet.
    changes: Vec<(WorkerId, WorkerChange)>,
    /// Weights as messages, for the steps that a worker may still need.
    encoded: Vec<(Step, Part, bool, Framed)>,
    spares: Spares,
    status: watch::Sender<Arc<pb::RunStatus>>,
    over: watch::Sender<bool>,
    pub(super) loss: Option<f64>,
    pub(super) outcome: Option<Outcome>,
    /// When the status was last published.
    told: Duration,
    pub(super) samples: u64,
    /// When rates were last computed.
    pub(super) rated: Duration,
    /// How many samples had been computed by then.
    pub(super) samples_rated: u64,
    pub(super) samples_per_second: f64,
    pub(super) started: Duration,
    watch: Stopwatch,
}

/// How many workers' names are remembered: those of all connected ones, and of many that have left.
const NAMES: usize = 4 * MAX_WORKERS;

/// How often the status is published unasked.
const STATUS: Duration = Duration::from_millis(250);

/// How soon the status is renewed on request, or when workers come and go.
const ASKED: Duration = Duration::from_millis(10);

impl<O: Observer> Driver<O> {
    pub(super) fn new(
        (engine, own): (Engine, Option<Own>),
        mut observer: O,
        facts: Arc<Facts>,
        status: watch::Sender<Arc<pb::RunStatus>>,
        over: watch::Sender<bool>,
    ) -> Self {
        let started = observer.now();
        let mut driver = Self {
            engine,
            observer,
            facts,
            peers: BTreeMap::new(),
            names: own.iter().map(|_| (OWN, NAME.to_owned())).collect(),
            own,
            changes: Vec::new(),
            own_failure: None,
            encoded: Vec::new(),
            spares: Spares::default(),
            status,
            over,
            loss: None,
            outcome: None,
            told: started,
            samples: 0,
            rated: started,
            samples_rated: 0,
            samples_per_second: 0.0,
            started,
            watch: Stopwatch::start(started),
        };
        // Before anyone can ask.
        driver.publish(started);
        driver
    }

    /// Runs until the run is over, or all senders of commands are gone.
    pub(super) fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Finished<O> {
        let mut actions = Vec::new();
        if let Some(own) = &self.own {
            let joined = Event::Joined(own.join());
            let now = self.observer.now();
            self.handle(now, joined, &mut actions);
        }
        let outcome = loop {
            if let Some(outcome) = self.outcome {
                break outcome;
            }
            let command = commands.blocking_recv().unwrap_or(Command::Stop);
            self.obey(command, &mut actions);
        };
        self.close(outcome);
        let now = self.observer.now();
        self.publish(now);
        let _ = self.over.send(true);
        while let Some((&worker, _)) = self.peers.first_key_value() {
            self.forget(worker);
        }
        let Self { engine, observer, watch, own_failure, .. } = self;
        Finished { engine, observer, outcome, times: watch.total, own_failure }
    }

    /// Carries out a command. It must not be called once the run has an outcome.
    pub(super) fn obey(&mut self, command: Command, actions: &mut Vec<Action>) {
        let now = self.observer.now();
        // The status shows at once which workers are connected.
        let changed = matches!(
            command,
            Command::Connected(_) | Command::Ready(_) | Command::Gone(_) | Command::Garbled(_)
        );
        let event = match command {
            Command::Connected(peer) => {
                if self.names.len() == NAMES {
                    let oldest = self.names.keys().find(|&&worker| worker != OWN).copied();
                    oldest.and_then(|oldest| self.names.remove(&oldest));
                }
                self.names.insert(peer.worker, peer.name().to_owned());
                self.peers.insert(peer.worker, (*peer, Meter::default()));
                None
            }
            Command::Ready(worker) => self.peers.get(&worker).map(|(peer, _)| {
                self.changes.push((worker, WorkerChange::Joined));
                Event::Joined(Join {
                    worker,
                    member: Member(peer.hello.member),
                    incarnation: peer.hello.incarnation,
                    threads: peer.hello.threads,
                })
            }),
            Command::Gone(worker) => self.forget(worker).map(|_| {
                self.changes.push((worker, WorkerChange::Left));
                Event::Left(worker)
            }),
            Command::Garbled(worker) => self.forget(worker).map(|_| {
                let why = "what it sent was malformed or damaged".to_owned();
                self.changes.push((worker, WorkerChange::Removed(why)));
                Event::Garbled(worker)
            }),
            Command::Gradient(contribution) => {
                if contribution.step.0 == self.engine.steps_done() {
                    self.watch.computed(contribution.worker, contribution.compute);
                }
                Some(Event::Contribution(*contribution))
            }
            Command::Event(event) => Some(event),
            Command::Tick => Some(Event::Tick),
            Command::Tell(done) => {
                // However many callers ask, this delays steps no more often.
                if now.saturating_sub(self.told) >= ASKED {
                    self.publish(now);
                }
                let _ = done.send(());
                None
            }
            Command::OwnFailed(why) => {
                self.own = None;
                self.own_failure = Some(why);
                Some(Event::StopRequested)
            }
            Command::Stop => Some(Event::StopRequested),
        };
        if let Some(event) = event {
            self.handle(now, event, actions);
        }
        for (worker, change) in std::mem::take(&mut self.changes) {
            self.observer.worker(self.names.get(&worker).map_or("", String::as_str), &change);
        }
        if self.outcome.is_some() {
            return;
        }
        let since = now.saturating_sub(self.told);
        if since >= STATUS || changed && since >= ASKED {
            self.publish(now);
        }
    }

    /// Removes a worker, and adds its traffic to the totals.
    fn forget(&mut self, worker: WorkerId) -> Option<Peer> {
        let (peer, _) = self.peers.remove(&worker)?;
        let times = &mut self.watch.total;
        times.bytes_sent += peer.outbox.figures().1;
        times.bytes_received += peer.received.load(Ordering::Relaxed);
        Some(peer)
    }

    /// Publishes the status.
    fn publish(&mut self, now: Duration) {
        self.told = now;
        let status = self.snapshot_status(now);
        self.status.send_replace(Arc::new(status));
    }

    /// Handles an event and its consequences: first the actions that workers wait for, then the observer's reports.
    fn handle(&mut self, mut begun: Duration, event: Event, actions: &mut Vec<Action>) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            self.engine.handle(begun, event, actions);
            let (mut step_done, mut assigned) = (false, false);
            let mut reports = Vec::new();
            let mut rest = actions.drain(..).peekable();
            while let Some(action) = rest.next() {
                match action {
                    Action::Assign(first) => {
                        // Consecutive nodes of one worker share a message.
                        let mut nodes = vec![first.node];
                        while let Some(Action::Assign(next)) = rest
                            .next_if(|a| matches!(a, Action::Assign(a) if Assignment { node: first.node, ..*a } == first))
                        {
                            nodes.push(next.node);
                        }
                        self.assign(&first, nodes);
                        assigned = true;
                    }
                    Action::Send { worker, step, part } => self.send(worker, step, part),
                    Action::Broadcast { step, part } => self.broadcast(step, part),
                    Action::Reject { worker, reason } => self.refuse(worker, reason),
                    Action::Release { worker, reason } => self.release(worker, &reason),
                    Action::StepDone(report) => {
                        self.loss = Some(report.loss);
                        self.samples += report.samples as u64;
                        // The weights of finished steps are not needed any more.
                        self.encoded.retain(|(step, ..)| *step > report.step);
                        (step_done, assigned) = (true, false);
                        reports.push(Action::StepDone(report));
                    }
                    report @ (Action::EpochDone(_) | Action::WriteSnapshot) => reports.push(report),
                    Action::Finish(outcome) => self.outcome = Some(outcome),
                    Action::Recycle(buffer) => {
                        if let Some(own) = &self.own {
                            own.recycle(buffer);
                        }
                    }
                    // Counts are for logs.
                    _ => {}
                }
            }
            drop(rest);
            let sent = self.observer.now();
            if assigned && !step_done {
                self.watch.assigned(sent);
            }
            self.watch.handled(sent.saturating_sub(begun));
            if step_done {
                self.watch.step_done(sent, assigned);
            }
            begun = sent;
            if !reports.is_empty() {
                self.report(reports, &mut events);
                begun = self.observer.now();
                self.watch.observed(begun.saturating_sub(sent));
            }
        }
    }

    /// Calls the observer while workers already compute the next step. Meanwhile no contribution is handled, so the engine
    /// stays as it was when it reported.
    fn report(&mut self, reports: Vec<Action>, events: &mut VecDeque<Event>) {
        for report in reports {
            match report {
                Action::StepDone(report) => {
                    self.observer.weights(&report, self.engine.params());
                    if self.observer.step(&report).is_break() {
                        events.push_back(Event::StopRequested);
                    }
                }
                Action::EpochDone(report) => {
                    if self.engine.average().is_some() {
                        self.observer.trained(&report, self.engine.params());
                    }
                    self.observer.epoch(&report, self.engine.model_params());
                    if let Some(loss) = self.observer.validation_loss() {
                        self.engine.evaluated(loss);
                    }
                    if self.observer.keeps() {
                        self.observer.snapshot(self.engine.snapshot());
                    }
                    if self.observer.ends() {
                        events.push_back(Event::StopRequested);
                    }
                }
                Action::WriteSnapshot => {
                    let snapshot = self.engine.snapshot();
                    events.push_front(Event::SnapshotWritten(Step(snapshot.step)));
                    self.observer.snapshot(snapshot);
                }
                _ => unreachable!("only these are reports"),
            }
        }
    }

    fn assign(&mut self, first: &Assignment, nodes: Vec<Node>) {
        let place = Place { generation: first.generation.0, step: first.step.0, attempt: first.attempt.0 };
        let tree = self.facts.manifest.tree(place.step);
        let samples = nodes.iter().map(|&node| tree.samples_of(node).len() as u64).sum::<u64>();
        if first.worker == OWN {
            if let Some(own) = &mut self.own {
                own.meter.samples += samples;
                own.assign(place, nodes, self.engine.shared_params());
            }
            return;
        }
        if let Some((_, meter)) = self.peers.get_mut(&first.worker) {
            meter.samples += samples;
        }
        let nodes = nodes.into_iter().map(pb::Node::from).collect();
        let body = Body::Assignment(pb::Assignment { nodes });
        self.push(first.worker, Kind::Assignment { step: place.step }, frame(&place.to_worker(body)));
    }

    fn send(&mut self, worker: WorkerId, step: Step, part: Part) {
        if worker == OWN {
            return;
        }
        if let (Part::All, Step(0), Some((peer, _))) = (part, step, self.peers.get(&worker))
            && peer.hello.makes_initial_weights
            // Those of a model only the coordinator has.
            && self.facts.manifest.recipe().initial_sha256.is_none()
        {
            let place = Place { generation: self.facts.generation, ..Place::default() };
            peer.replace(0, frame(&place.to_worker(Body::InitialWeights(pb::InitialWeights {}))).into());
            return;
        }
        let compact = self.peers.get(&worker).is_some_and(|(peer, _)| self.reads_compact(peer));
        let Some(framed) = self.weights(step, part, compact) else { return };
        if part == Part::All {
            if let Some((peer, _)) = self.peers.get(&worker) {
                peer.replace(step.0, framed);
            }
        } else {
            self.push(worker, self.kind(step), framed);
        }
    }

    fn broadcast(&mut self, step: Step, part: Part) {
        for compact in [true, false] {
            // For nobody there is nothing to encode.
            if self.readers(compact).next().is_none() {
                continue;
            }
            let Some(framed) = self.weights(step, part, compact) else { return };
            for peer in self.readers(compact) {
                peer.push(self.kind(step), framed.clone());
            }
        }
    }

    /// The workers that get broadcasts, of those that read compact chunks, or of those that do not.
    fn readers(&self, compact: bool) -> impl Iterator<Item = &Peer> {
        self.peers.iter().filter_map(move |(&worker, (peer, _))| {
            (self.reads_compact(peer) == compact && self.engine.is_synced(worker)).then_some(peer)
        })
    }

    /// Whether a worker reads compact chunks of what this run sends: differences, or weights of which it needs only bf16.
    fn reads_compact(&self, peer: &Peer) -> bool {
        if self.facts.shapes.has_rounded() { peer.hello.reads_bf16 } else { peer.hello.reads_compact }
    }

    /// What parts of the weights are, for the queue.
    fn kind(&self, step: Step) -> Kind {
        if self.facts.shapes.has_updates() { Kind::Update } else { Kind::Weights { step: step.0 } }
    }

    /// Weights as messages, which are encoded once for all workers that read the same form. None if the engine does not have
    /// them; it never asks for such.
    fn weights(&mut self, step: Step, part: Part, compact: bool) -> Option<Framed> {
        let updates = self.facts.shapes.has_updates() && part != Part::All;
        let rounded = self.facts.shapes.has_rounded();
        let compact = compact && (updates || rounded);
        let known = self.encoded.iter().find(|(s, p, c, _)| (*s, *p, *c) == (step, part, compact));
        if let Some((.., framed)) = known {
            return Some(framed.clone());
        }
        let place = Place { generation: self.facts.generation, step: step.0, attempt: 0 };
        let shapes = &self.facts.shapes;
        let encoding = shapes.encoding(Direction::Down, part);
        let payload = if updates {
            let payload = if compact { Payload::compacted } else { Payload::encoded };
            payload(encoding, shapes.range(part)?.len(), &self.engine.update(step, part)?)
        } else if compact {
            Payload::rounded(self.engine.weights(step, part)?, &shapes.rounded(part))
        } else {
            Payload::copied(encoding, self.engine.weights(step, part)?, &mut self.spares)
        };
        let framed = payload.messages(place, part, |tensor| convert::weights_header(place, tensor));
        self.encoded.push((step, part, compact, framed.clone()));
        Some(framed)
    }

    fn refuse(&mut self, worker: WorkerId, reason: nn_engine::Rejection) {
        let refusal =
            pb::Refusal { reason: convert::refusal_reason(reason).into(), message: reason.to_string() };
        let place = Place { generation: self.facts.generation, step: self.engine.steps_done(), attempt: 0 };
        self.push(worker, Kind::Message, frame(&place.to_worker(Body::Refusal(refusal))));
    }

    fn release(&mut self, worker: WorkerId, reason: &Release) {
        // At the end of the run, `close` tells all workers.
        if matches!(reason, Release::Over(_)) {
            return;
        }
        let message = reason.to_string();
        if worker == OWN {
            // Two others agree that it computes wrongly: they go on without it.
            self.own = None;
            self.changes.push((worker, WorkerChange::Removed(message)));
            return;
        }
        if let Some(peer) = self.forget(worker) {
            self.changes.push((worker, WorkerChange::Removed(message.clone())));
            reject(&peer.outbox, self.facts.generation, convert::release_reason(reason), &message);
        }
    }

    /// Tells all workers that the run is over, including those that have not joined yet.
    fn close(&self, outcome: Outcome) {
        let over = pb::RunOver {
            outcome: convert::outcome(outcome).into(),
            steps: self.engine.steps_done(),
            params_sha256: params_sha256(self.engine.model_params()),
        };
        let place = Place { generation: self.facts.generation, step: over.steps, attempt: 0 };
        let message = frame(&place.to_worker(Body::RunOver(over)));
        for (peer, _) in self.peers.values() {
            peer.push(Kind::Message, message.clone());
            peer.outbox.finish(Some(Status::ok("")));
        }
    }

    fn push(&self, worker: WorkerId, kind: Kind, framed: impl Into<Framed>) {
        if let Some((peer, _)) = self.peers.get(&worker) {
            peer.push(kind, framed);
        }
    }
}
