//! A coordinator without sockets, its streams, and an honest worker.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use nn_core::{Isa, Node};
use nn_engine::local::Observer;
use nn_engine::{EpochReport, Outcome, Part, Received, Snapshot, StepReport, Values, arithmetic_fingerprint};
use tokio::sync::{mpsc, watch};
use tonic::body::Body;

use crate::fuzzing::fixture::{FIXTURE, Fed, Fixture, GENERATION, IN_ROUNDS, poll_once};
use crate::fuzzing::script::Script;
use crate::fuzzing::text::is_plain;
use crate::proto as pb;
use crate::server::coordinator::CoordinatorHandle;
use crate::server::cuts::Cuts;
use crate::server::door::{DoorLimits, Lobby, Rate};
use crate::server::driver::{COMMANDS, Command, Driver};
use crate::server::facts::Facts;
use crate::server::options::CoordinatorOptions;
use crate::server::session;
use crate::wire::convert::{FromCoordinator, Place, gradient_header};
use crate::wire::error::WireError;
use crate::wire::outbox::Outbox;
use crate::wire::stream::{Messages, frame};
use crate::wire::tensor::{Direction, Payload, Shapes, Spares};
use pb::worker_message::Body as Say;

/// How often the honest worker may return as a new member: strangers can have it rejected by claiming to be it.
const LIVES: u64 = 64;

/// The base of the honest worker's member numbers. A real worker draws its own.
pub(super) const MEMBER: u64 = 0x5eed_0000_0000_0000;

const UNLIMITED: Rate = Rate { burst: 1e9, second: 1e9 };

pub(super) struct Clock(Arc<AtomicU64>);

impl Observer for Clock {
    fn now(&mut self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
    fn step(&mut self, _: &StepReport) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn epoch(&mut self, _: &EpochReport, _: &[f32]) {}
    fn snapshot(&mut self, _: Snapshot) {}
}

/// One worker's stream, from the worker's side.
pub(super) struct Stream {
    /// None once the worker has ended its side.
    pub(super) feed: Option<mpsc::UnboundedSender<Bytes>>,
    heard: Messages<pb::CoordinatorMessage>,
    /// The assigned nodes that it has not answered.
    pub(super) told: Vec<(Place, Node)>,
    over: bool,
}

impl Stream {
    pub(super) fn say(&self, bytes: Bytes) {
        if let Some(feed) = &self.feed {
            // If the session has ended, nobody receives it.
            let _ = feed.send(bytes);
        }
    }

    pub(super) fn tell(&self, place: Place, body: Say) {
        self.say(frame(&place.to_coordinator(body)));
    }
}

/// A coordinator and its workers, honest and hostile.
pub(super) struct World {
    pub(super) fixture: &'static Fixture,
    pub(super) driver: Driver<Clock>,
    received: mpsc::Receiver<Command>,
    pub(super) handle: CoordinatorHandle,
    kill: watch::Sender<bool>,
    now: Arc<AtomicU64>,
    /// The first one is the honest worker's.
    pub(super) streams: Vec<Stream>,
    pub(super) lives: u64,
    /// Nodes that the honest worker has answered.
    pub(super) answered: u64,
    /// Nodes assigned to strangers.
    pub(super) given: usize,
}

/// The place of a message that names the run's generation and nothing else.
pub(super) fn home() -> Place {
    Place { generation: GENERATION, ..Place::default() }
}

impl World {
    pub(super) fn new(script: &mut Script<'_>) -> Self {
        let kind = usize::from(script.byte());
        let fixture: &'static Fixture = if kind / 3 % 2 == 0 { &FIXTURE } else { &IN_ROUNDS };
        let audit = [0.0, 0.5, 1.0][kind % 3];
        let engine = fixture.engine(audit);
        let facts = Arc::new(Facts {
            manifest_json: serde_json::to_string(&fixture.manifest).expect("it can be written"),
            manifest_hash: fixture.manifest.hash(),
            arithmetic: arithmetic_fingerprint(fixture.compute.isa),
            generation: engine.generation().0,
            training_set: fixture.set.clone(),
            shapes: Shapes::new(&fixture.manifest),
            manifest: fixture.manifest.clone(),
            // The door is not tested here.
            lobby: Lobby::new(DoorLimits {
                each: UNLIMITED,
                all: UNLIMITED,
                guests: 1000,
                ..DoorLimits::default()
            }),
            options: CoordinatorOptions::default(),
            cuts: Cuts::default(),
        });
        let (commands, received) = mpsc::channel(COMMANDS);
        let (status_sender, status) = watch::channel(Arc::default());
        let (over_sender, over) = watch::channel(false);
        let (kill, _) = watch::channel(false);
        let now = Arc::new(AtomicU64::new(0));
        let driver =
            Driver::new((engine, None), Clock(now.clone()), facts.clone(), status_sender, over_sender);
        let handle = CoordinatorHandle {
            facts,
            commands,
            status,
            over,
            next_worker: Arc::new(AtomicU64::new(1)),
            connected: Arc::default(),
        };
        Self {
            fixture,
            driver,
            received,
            handle,
            kill,
            now,
            streams: Vec::new(),
            lives: 0,
            answered: 0,
            given: 0,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.driver.outcome.is_some()
    }

    /// Opens a stream with its own session.
    pub(super) fn open(&self) -> Stream {
        let (feed, fed) = Fed::new();
        let (outbox, outgoing) = Outbox::new(1 << 20);
        let (handle, killed) = (self.handle.clone(), self.kill.subscribe());
        let messages = Messages::new(Body::new(fed));
        let visitor = self.handle.facts.lobby.anybody().expect("the lobby admits everybody");
        tokio::spawn(session::run(handle, messages, outbox, visitor, killed));
        let heard = Messages::new(Body::new(outgoing));
        Stream { feed: Some(feed), heard, told: Vec::new(), over: false }
    }

    /// The honest worker joins, or joins again.
    pub(super) async fn join(&mut self) {
        self.lives += 1;
        assert!(self.lives <= LIVES, "the honest worker was rejected too often");
        let stream = self.open();
        let hello = self.hello(MEMBER + self.lives, 1);
        stream.tell(Place::default(), Say::Hello(hello));
        stream.tell(home(), Say::Ready(pb::Ready { data_sha256: self.fixture.set.sha256().to_owned() }));
        match self.streams.first_mut() {
            Some(honest) => *honest = stream,
            None => self.streams.push(stream),
        }
        self.pump().await;
    }

    pub(super) fn hello(&self, member: u64, incarnation: u64) -> pb::Hello {
        pb::Hello {
            protocol: pb::PROTOCOL,
            build: "nn".to_owned(),
            member,
            incarnation,
            threads: 1,
            instructions: String::new(),
            arithmetic: self.handle.facts.arithmetic.clone(),
            data_held: Vec::new(),
            data_fixed: false,
            name: "box".to_owned(),
            makes_initial_weights: false,
            reads_compact: member & 1 == 1,
            reads_bf16: member & 2 == 2,
        }
    }

    /// Runs sessions, the driver and the workers' ends of streams until nothing more happens without time or input.
    pub(super) async fn pump(&mut self) {
        let mut actions = Vec::new();
        let mut quiet = 0;
        while quiet < 3 {
            tokio::task::yield_now().await;
            quiet += 1;
            while let Ok(command) = self.received.try_recv() {
                quiet = 0;
                if !self.is_over() {
                    self.driver.obey(self.correct(command), &mut actions);
                }
            }
            for at in 0..self.streams.len() {
                while let Some(message) = poll_once(self.streams[at].heard.message()) {
                    let Ok(Some(message)) = message else {
                        // A peer's library also ends its side when the answer has ended.
                        (self.streams[at].over, self.streams[at].feed) = (true, None);
                        break;
                    };
                    quiet = 0;
                    self.hear(at, message);
                }
            }
        }
    }

    /// A worker receives a message.
    fn hear(&mut self, at: usize, message: pb::CoordinatorMessage) {
        let converted: Result<(Place, FromCoordinator), WireError> = message.try_into();
        match converted.expect("a coordinator sends valid messages") {
            (place, FromCoordinator::Assignment(nodes)) => {
                self.given += if at > 0 { nodes.len() } else { 0 };
                self.streams[at].told.extend(nodes.into_iter().map(|node| (place, node)));
            }
            (_, FromCoordinator::Reject { message, .. } | FromCoordinator::Refusal { message, .. }) => {
                assert!(is_plain(&message), "{message:?}");
            }
            _ => {}
        }
    }

    /// Corrects the numbers of a contribution that is otherwise as it should be: see [`check`](super::check).
    fn correct(&self, command: Command) -> Command {
        let Command::Gradient(mut c) = command else { return command };
        let truth = self.fixture.truth(c.step.0, c.node);
        let range = self.handle.facts.shapes.range(c.part);
        let (Some((gradient, stats)), Some(range), Values::Received(received)) = (truth, range, &c.values)
        else {
            return Command::Gradient(c);
        };
        let encoding = received.encoding();
        let bytes: Vec<u8> = received.pieces().iter().flatten().copied().collect();
        if bytes.len() == encoding.bytes_for(range.len())
            && encoding.all_finite(Isa::best(), &bytes) == c.finite
        {
            let mut right = vec![0; bytes.len()];
            encoding.encode(&gradient[range], &mut right);
            c.values = Values::Received(Received::new(encoding, vec![right.into()]));
        }
        // An audit then finds them equal. An infinite loss ends the run as an infinite gradient does.
        if let Some(said) = &mut c.stats
            && (said.loss.is_finite() || !c.finite)
        {
            said.loss = stats.loss;
            if said.correct <= stats.samples {
                said.correct = stats.correct;
            }
        }
        Command::Gradient(c)
    }

    /// Time passes.
    pub(super) fn pass(&mut self, millis: u64) {
        // A driver ticks often; a longer time without events would not count.
        for _ in 0..millis.div_ceil(100) {
            self.now.fetch_add(100, Ordering::Relaxed);
            if !self.is_over() {
                self.driver.obey(Command::Tick, &mut Vec::new());
            }
        }
    }

    /// The honest worker answers all of its assignments, and sends a heartbeat.
    pub(super) async fn work(&mut self, whole: bool) {
        if self.streams[0].over {
            self.join().await;
        }
        let stream = &mut self.streams[0];
        stream.tell(home(), Say::Heartbeat(pb::Heartbeat::default()));
        for (place, node) in std::mem::take(&mut stream.told) {
            let (gradient, stats) =
                self.fixture.truth(place.step, node).expect("only nodes of the tree are assigned");
            let stats = pb::NodeStats {
                samples: stats.samples as u64,
                loss: stats.loss,
                correct: stats.correct as u64,
                compute_micros: 10,
            };
            let parts: &[Part] = match (whole, self.handle.facts.shapes.layers()) {
                (true, _) => &[Part::All],
                (false, 1) => &[Part::Layer(0)],
                (false, _) => &[Part::Layer(1), Part::Layer(0)],
            };
            for (at, &part) in parts.iter().enumerate() {
                let range = self.handle.facts.shapes.range(part).expect("there is such a layer");
                let encoding = self.handle.facts.shapes.encoding(Direction::Up, part);
                let payload = Payload::copied(encoding, &gradient[range], &mut Spares::default());
                let last = (at + 1 == parts.len()).then_some(stats);
                let wrap = |tensor| gradient_header(place, node, true, last, tensor);
                payload.messages(place, part, wrap).0.into_iter().for_each(|piece| stream.say(piece));
            }
            self.answered += 1;
        }
        self.pump().await;
    }

    /// Strangers fall silent, and the honest worker finishes the run.
    pub(super) async fn finish(mut self) {
        for round in 0.. {
            if self.is_over() {
                break;
            }
            assert!(round < 3000, "the run does not end: {:?}", self.driver.engine.status(Duration::ZERO));
            self.work(true).await;
            self.pass(100);
            self.pump().await;
        }
        assert_eq!(self.driver.outcome, Some(Outcome::Complete));
        let params = self.driver.engine.params();
        let right = self.fixture.weights.last().expect("there are steps");
        assert!(params.iter().map(|x| x.to_bits()).eq(right.iter().map(|x| x.to_bits())), "other bits");
        // So that sessions do not outlive the world.
        let _ = self.kill.send(true);
        drop(self.streams);
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }
}
