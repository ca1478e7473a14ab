//! The engine's thread: commands in, the engine's actions carried out in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use nn_engine::local::Observer;
use nn_engine::{
    Action, Assignment, Engine, Event, Join, Member, Outcome, Part, Release, Step, WorkerId, params_sha256,
};
use tokio::sync::{mpsc, watch};
use tonic::Status;

use super::{Facts, Finished};
use crate::proto as pb;
use crate::wire::convert::{self, Hello, Place};
use crate::wire::outbox::{Kind, Outbox, Overflow};
use crate::wire::stream::frame;
use crate::wire::tensor::{Spares, encode_tensor, encoded_len};
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
    /// Something for the engine.
    Event(Event),
    /// Look at the clock.
    Tick,
    /// The operator wants the run to end.
    Stop,
}

/// A worker, as the driver knows it.
pub(super) struct Peer {
    pub(super) worker: WorkerId,
    pub(super) hello: Hello,
    pub(super) address: String,
    pub(super) outbox: Outbox,
    /// Payload bytes that its session has read.
    pub(super) received: Arc<AtomicU64>,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("worker", &self.worker).field("address", &self.address).finish()
    }
}

/// Bytes of a peer when its rate was last computed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Meter {
    pub(super) bytes: u64,
    pub(super) at: Duration,
    pub(super) per_second: f64,
}

pub(super) struct Driver<O> {
    pub(super) engine: Engine,
    observer: O,
    pub(super) facts: Arc<Facts>,
    pub(super) peers: BTreeMap<WorkerId, (Peer, Meter)>,
    /// Weights as messages: those of the steps that somebody may still need.
    encoded: Vec<(Step, Part, Bytes)>,
    spares: Spares,
    status: watch::Sender<Arc<pb::RunStatus>>,
    over: watch::Sender<bool>,
    pub(super) loss: Option<f64>,
    pub(super) outcome: Option<Outcome>,
    /// When status was last told, and how many samples had been computed then.
    pub(super) told: Option<Duration>,
    pub(super) samples: u64,
    pub(super) samples_told: u64,
    pub(super) samples_per_second: f64,
    pub(super) started: Duration,
}

/// Without a tick for so long, the driver was busy with something else.
const AWAY: Duration = Duration::from_secs(1);

/// How often status is told.
const STATUS: Duration = Duration::from_millis(250);

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
            encoded: Vec::new(),
            spares: Spares::default(),
            status,
            over,
            loss: None,
            outcome: None,
            told: None,
            samples: 0,
            samples_told: 0,
            samples_per_second: 0.0,
            started,
        };
        // Before anyone can ask.
        driver.tell(started);
        driver
    }

    /// Until the run is over, or nobody is left who could tell anything.
    pub(super) fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Finished<O> {
        let mut actions = Vec::new();
        let (mut left_off, mut no_ticks_before) = (self.started, self.started);
        let outcome = loop {
            let command = commands.blocking_recv().unwrap_or(Command::Stop);
            let now = self.observer.now();
            if now.saturating_sub(left_off) > AWAY {
                no_ticks_before = now + AWAY;
            }
            let event = match command {
                Command::Connected(peer) => {
                    self.peers.insert(peer.worker, (*peer, Meter { at: now, ..Meter::default() }));
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
                Command::Gone(worker) => self.peers.remove(&worker).map(|_| Event::Left(worker)),
                Command::Event(event) => Some(event),
                // After a long absence (an evaluation, say), what workers have sent meanwhile is heard before anyone is
                // judged by the clock.
                Command::Tick => (now >= no_ticks_before).then_some(Event::Tick),
                Command::Stop => Some(Event::StopRequested),
            };
            if let Some(event) = event {
                self.handle(now, event, &mut actions);
            }
            if let Some(outcome) = self.outcome {
                break outcome;
            }
            left_off = now;
            if self.told.is_none_or(|told| now.saturating_sub(told) >= STATUS) {
                self.tell(now);
            }
        };
        self.close(outcome);
        let now = self.observer.now();
        self.tell(now);
        let _ = self.over.send(true);
        Finished { engine: self.engine, observer: self.observer, outcome }
    }

    fn tell(&mut self, now: Duration) {
        let status = self.snapshot_status(now);
        self.status.send_replace(Arc::new(status));
    }

    /// An event, and what follows from it.
    fn handle(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            self.engine.handle(now, event, actions);
            let mut nodes = Vec::new();
            let mut rest = actions.drain(..).peekable();
            while let Some(action) = rest.next() {
                match action {
                    Action::Assign(first) => {
                        // Nodes that are given to one worker in a row go into one message.
                        nodes.clear();
                        nodes.push(first.node.into());
                        while let Some(Action::Assign(next)) = rest
                            .next_if(|a| matches!(a, Action::Assign(a) if Assignment { node: first.node, ..*a } == first))
                        {
                            nodes.push(next.node.into());
                        }
                        self.assign(&first, &nodes);
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
                        self.observer.weights(self.engine.steps_done(), self.engine.params());
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
                    Action::Finish(outcome) => self.outcome = Some(outcome),
                    // Counts are for logs, and the driver has no buffers that could come back.
                    _ => {}
                }
            }
        }
    }

    fn assign(&self, first: &Assignment, nodes: &[pb::Node]) {
        let place = Place { generation: first.generation.0, step: first.step.0, attempt: first.attempt.0 };
        let body = Body::Assignment(pb::Assignment { nodes: nodes.to_vec() });
        self.push(first.worker, Kind::Assignment { step: place.step }, frame(&place.to_worker(body)));
    }

    fn send(&mut self, worker: WorkerId, step: Step, part: Part) {
        let Some(bytes) = self.weights(step, part) else { return };
        if part == Part::All {
            if let Some((peer, _)) = self.peers.get(&worker) {
                check(peer, peer.outbox.replace(step.0, bytes));
            }
        } else {
            self.push(worker, Kind::Weights { step: step.0 }, bytes);
        }
    }

    fn broadcast(&mut self, step: Step, part: Part) {
        let Some(bytes) = self.weights(step, part) else { return };
        for (&worker, (peer, _)) in &self.peers {
            if self.engine.is_synced(worker) {
                check(peer, peer.outbox.push(Kind::Weights { step: step.0 }, bytes.clone()));
            }
        }
    }

    /// Weights as messages: made once, whoever they go to. None if the engine has not got them, which it does not ask for.
    fn weights(&mut self, step: Step, part: Part) -> Option<Bytes> {
        if let Some((.., bytes)) = self.encoded.iter().find(|(s, p, _)| *s == step && *p == part) {
            return Some(bytes.clone());
        }
        let place = Place { generation: self.facts.generation, step: step.0, attempt: 0 };
        let values = self.engine.weights(step, part)?;
        let mut out = self.spares.take(encoded_len(values.len()));
        encode_tensor(&mut out, place, part, values, |tensor| convert::weights_header(place, tensor));
        let bytes = out.freeze();
        self.spares.keep(&bytes);
        self.encoded.push((step, part, bytes.clone()));
        Some(bytes)
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
        if let Some((peer, _)) = self.peers.remove(&worker) {
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

    fn push(&self, worker: WorkerId, kind: Kind, bytes: Bytes) {
        if let Some((peer, _)) = self.peers.get(&worker) {
            check(peer, peer.outbox.push(kind, bytes));
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
