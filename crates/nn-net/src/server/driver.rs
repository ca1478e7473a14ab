//! The engine's thread: commands in, the engine's actions carried out in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nn_core::Node;
use nn_engine::local::Observer;
use nn_engine::{
    Action, Assignment, Contribution, Engine, Event, Join, Member, Outcome, Part, Release, Step, WorkerId,
    params_sha256,
};
use tokio::sync::{mpsc, oneshot, watch};
use tonic::Status;

use super::times::Stopwatch;
use super::{Facts, Finished};
use crate::proto as pb;
use crate::wire::convert::{self, Hello, Place};
use crate::wire::outbox::{Framed, Kind, Outbox, Overflow};
use crate::wire::stream::frame;
use crate::wire::tensor::{Payload, Spares};
use pb::coordinator_message::Body;

/// What sessions and the ticker tell the driver.
#[derive(Debug)]
pub(super) enum Command {
    /// A worker was let in. It has not got the data yet.
    Connected(Box<Peer>),
    /// It has them.
    Ready(WorkerId),
    /// Its stream is over.
    Gone(WorkerId),
    /// Its stream was ended because what came was no message, or damaged.
    Garbled(WorkerId),
    /// A part of a node.
    Gradient(Box<Contribution>),
    /// Something for the engine.
    Event(Event),
    /// Look at the clock.
    Tick,
    /// Somebody asks for the status: make it anew, and say when that is done.
    Tell(oneshot::Sender<()>),
    /// The operator wants the run to end.
    Stop,
}

/// A worker, as the driver knows it.
pub(super) struct Peer {
    pub(super) worker: WorkerId,
    pub(super) hello: Hello,
    pub(super) address: String,
    /// The name in its certificate; empty if none was asked for.
    pub(super) certificate: String,
    pub(super) outbox: Outbox,
    /// Payload bytes that its session has read.
    pub(super) received: Arc<AtomicU64>,
}

impl Peer {
    /// What people call it.
    fn name(&self) -> &str {
        if self.hello.name.is_empty() { &self.address } else { &self.hello.name }
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("worker", &self.worker).field("address", &self.address).finish()
    }
}

/// What a peer has been sent and given to do, and how much of it there was when rates were last computed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Meter {
    pub(super) bytes: u64,
    pub(super) per_second: f64,
    /// Samples that it was given since then.
    pub(super) samples: u64,
    /// Its part of all that were.
    pub(super) share: f64,
}

pub(super) struct Driver<O> {
    pub(super) engine: Engine,
    observer: O,
    pub(super) facts: Arc<Facts>,
    pub(super) peers: BTreeMap<WorkerId, (Peer, Meter)>,
    /// What to call those who are, or were, connected.
    pub(super) names: BTreeMap<WorkerId, String>,
    /// Weights as messages: those of the steps that somebody may still need.
    encoded: Vec<(Step, Part, Framed)>,
    spares: Spares,
    status: watch::Sender<Arc<pb::RunStatus>>,
    over: watch::Sender<bool>,
    pub(super) loss: Option<f64>,
    pub(super) outcome: Option<Outcome>,
    /// When status was last told.
    told: Duration,
    pub(super) samples: u64,
    /// When rates were last computed, and how many samples had been computed then.
    pub(super) rated: Duration,
    pub(super) samples_rated: u64,
    pub(super) samples_per_second: f64,
    pub(super) started: Duration,
    watch: Stopwatch,
}

/// How many connections' names are remembered: more than can be connected.
const NAMES: usize = 4096;

/// How often status is told unasked.
const STATUS: Duration = Duration::from_millis(250);

/// How often it is made anew for those who ask, and when workers come and go.
const ASKED: Duration = Duration::from_millis(10);

impl<O: Observer> Driver<O> {
    pub(super) fn new(
        engine: Engine,
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
            names: BTreeMap::new(),
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
        driver.tell(started);
        driver
    }

    /// Until the run is over, or nobody is left who could tell anything.
    pub(super) fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Finished<O> {
        let mut actions = Vec::new();
        let outcome = loop {
            let command = commands.blocking_recv().unwrap_or(Command::Stop);
            self.obey(command, &mut actions);
            if let Some(outcome) = self.outcome {
                break outcome;
            }
        };
        self.close(outcome);
        let now = self.observer.now();
        self.tell(now);
        let _ = self.over.send(true);
        while let Some((&worker, _)) = self.peers.first_key_value() {
            self.forget(worker);
        }
        Finished { engine: self.engine, observer: self.observer, outcome, times: self.watch.total }
    }

    /// Does what a command asks for. Once the run has an outcome, there is nothing more to ask.
    pub(super) fn obey(&mut self, command: Command, actions: &mut Vec<Action>) {
        let now = self.observer.now();
        // Who is there is told at once.
        let changed = matches!(
            command,
            Command::Connected(_) | Command::Ready(_) | Command::Gone(_) | Command::Garbled(_)
        );
        let event = match command {
            Command::Connected(peer) => {
                if self.names.len() == NAMES {
                    self.names.pop_first();
                }
                self.names.insert(peer.worker, peer.name().to_owned());
                self.peers.insert(peer.worker, (*peer, Meter::default()));
                None
            }
            Command::Ready(worker) => self.peers.get(&worker).map(|(peer, _)| {
                Event::Joined(Join {
                    worker,
                    member: Member(peer.hello.member),
                    incarnation: peer.hello.incarnation,
                    threads: peer.hello.threads,
                })
            }),
            Command::Gone(worker) => self.forget(worker).map(|_| Event::Left(worker)),
            Command::Garbled(worker) => self.forget(worker).map(|_| Event::Garbled(worker)),
            Command::Gradient(contribution) => {
                if contribution.step.0 == self.engine.steps_done() {
                    self.watch.computed(contribution.worker, contribution.compute);
                }
                Some(Event::Contribution(*contribution))
            }
            Command::Event(event) => Some(event),
            Command::Tick => Some(Event::Tick),
            Command::Tell(done) => {
                // However many ask, a step is not delayed by more than this.
                if now.saturating_sub(self.told) >= ASKED {
                    self.tell(now);
                }
                let _ = done.send(());
                None
            }
            Command::Stop => Some(Event::StopRequested),
        };
        if let Some(event) = event {
            self.handle(now, event, actions);
        }
        if self.outcome.is_some() {
            return;
        }
        let since = now.saturating_sub(self.told);
        if since >= STATUS || changed && since >= ASKED {
            self.tell(now);
        }
    }

    /// A worker is gone; what was carried for it is not.
    fn forget(&mut self, worker: WorkerId) -> Option<Peer> {
        let (peer, _) = self.peers.remove(&worker)?;
        let times = &mut self.watch.total;
        times.bytes_sent += peer.outbox.figures().1;
        times.bytes_received += peer.received.load(Ordering::Relaxed);
        Some(peer)
    }

    fn tell(&mut self, now: Duration) {
        self.told = now;
        let status = self.snapshot_status(now);
        self.status.send_replace(Arc::new(status));
    }

    /// An event, and what follows from it: first what workers wait for, then what people want to know.
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
                        // Nodes that are given to one worker in a row go into one message.
                        let mut nodes = vec![first.node.into()];
                        while let Some(Action::Assign(next)) = rest
                            .next_if(|a| matches!(a, Action::Assign(a) if Assignment { node: first.node, ..*a } == first))
                        {
                            nodes.push(next.node.into());
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
                        // Nobody needs the weights of steps that are over.
                        self.encoded.retain(|(step, ..)| *step > report.step);
                        (step_done, assigned) = (true, false);
                        reports.push(Action::StepDone(report));
                    }
                    report @ (Action::EpochDone(_) | Action::WriteSnapshot) => reports.push(report),
                    Action::Finish(outcome) => self.outcome = Some(outcome),
                    // Counts are for logs, and the driver has no buffers that could come back.
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

    /// Tells the observer, while workers compute already. The engine stands where it stood when it reported: nothing that
    /// they send is handled meanwhile.
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
                    self.observer.epoch(&report, self.engine.params());
                    if self.observer.keeps() {
                        self.observer.snapshot(self.engine.snapshot());
                    }
                }
                Action::WriteSnapshot => {
                    let snapshot = self.engine.snapshot();
                    events.push_front(Event::SnapshotWritten(Step(snapshot.step)));
                    self.observer.snapshot(snapshot);
                }
                _ => unreachable!("only these are kept for the observer"),
            }
        }
    }

    fn assign(&mut self, first: &Assignment, nodes: Vec<pb::Node>) {
        if let Some((_, meter)) = self.peers.get_mut(&first.worker) {
            let tree = self.facts.manifest.tree(first.step.0);
            let samples =
                |node: &pb::Node| tree.samples_of(Node { level: node.level, index: node.index }).len() as u64;
            meter.samples += nodes.iter().map(samples).sum::<u64>();
        }
        let place = Place { generation: first.generation.0, step: first.step.0, attempt: first.attempt.0 };
        let body = Body::Assignment(pb::Assignment { nodes });
        self.push(first.worker, Kind::Assignment { step: place.step }, frame(&place.to_worker(body)));
    }

    fn send(&mut self, worker: WorkerId, step: Step, part: Part) {
        let Some(framed) = self.weights(step, part) else { return };
        if part == Part::All {
            if let Some((peer, _)) = self.peers.get(&worker) {
                check(peer, peer.outbox.replace(step.0, framed));
            }
        } else {
            self.push(worker, Kind::Weights { step: step.0 }, framed);
        }
    }

    fn broadcast(&mut self, step: Step, part: Part) {
        let Some(framed) = self.weights(step, part) else { return };
        for (&worker, (peer, _)) in &self.peers {
            if self.engine.is_synced(worker) {
                check(peer, peer.outbox.push(Kind::Weights { step: step.0 }, framed.clone()));
            }
        }
    }

    /// Weights as messages: made once, whoever they go to. None if the engine has not got them, which it does not ask for.
    fn weights(&mut self, step: Step, part: Part) -> Option<Framed> {
        if let Some((.., framed)) = self.encoded.iter().find(|(s, p, _)| *s == step && *p == part) {
            return Some(framed.clone());
        }
        let place = Place { generation: self.facts.generation, step: step.0, attempt: 0 };
        let values = self.engine.weights(step, part)?;
        let payload = Payload::copied(values, &mut self.spares);
        let framed = payload.messages(place, part, |tensor| convert::weights_header(place, tensor));
        self.encoded.push((step, part, framed.clone()));
        Some(framed)
    }

    fn refuse(&mut self, worker: WorkerId, reason: nn_engine::Rejection) {
        let refusal =
            pb::Refusal { reason: convert::refusal_reason(reason).into(), message: reason.to_string() };
        let place = Place { generation: self.facts.generation, step: self.engine.steps_done(), attempt: 0 };
        self.push(worker, Kind::Message, frame(&place.to_worker(Body::Refusal(refusal))));
    }

    fn release(&mut self, worker: WorkerId, reason: &Release) {
        // At the end of the run all are told at once.
        if matches!(reason, Release::Over(_)) {
            return;
        }
        if let Some(peer) = self.forget(worker) {
            let message = reason.to_string();
            reject(&peer.outbox, self.facts.generation, convert::release_reason(reason), &message);
        }
    }

    /// Tells all workers that the run is over, those that have not joined too.
    fn close(&self, outcome: Outcome) {
        let over = pb::RunOver {
            outcome: convert::outcome(outcome).into(),
            steps: self.engine.steps_done(),
            params_sha256: params_sha256(self.engine.params()),
        };
        let place = Place { generation: self.facts.generation, step: over.steps, attempt: 0 };
        let message = frame(&place.to_worker(Body::RunOver(over)));
        for (peer, _) in self.peers.values() {
            check(peer, peer.outbox.push(Kind::Message, message.clone()));
            peer.outbox.finish(Some(Status::ok("")));
        }
    }

    fn push(&self, worker: WorkerId, kind: Kind, framed: impl Into<Framed>) {
        if let Some((peer, _)) = self.peers.get(&worker) {
            check(peer, peer.outbox.push(kind, framed));
        }
    }
}

/// Cuts off a worker that does not read. Its session notices, and tells the driver.
fn check(peer: &Peer, pushed: Result<(), Overflow>) {
    if pushed.is_err() {
        peer.outbox.abort(Status::unavailable("the worker does not read what it is sent"));
    }
}

/// Tells a worker why it may not take part (any longer), and ends its stream.
pub(super) fn reject(outbox: &Outbox, generation: u64, reason: pb::RejectReason, message: &str) {
    let place = Place { generation, ..Place::default() };
    let body = pb::Reject { reason: reason.into(), message: message.to_owned() };
    // Whether or not there is room for it, the stream ends.
    let _ = outbox.push(Kind::Message, frame(&place.to_worker(Body::Reject(body))));
    outbox.finish(Some(match reason {
        pb::RejectReason::Message | pb::RejectReason::Tensor => Status::invalid_argument(message),
        pb::RejectReason::Full => Status::resource_exhausted(message),
        pb::RejectReason::Over | pb::RejectReason::Silent => Status::unavailable(message),
        _ => Status::failed_precondition(message),
    }));
}
