//! Strangers on a running coordinator: see [`check`].
//!
//! Sessions, conversions, the driver and the engine are the real ones; only the sockets are not, and time is a number.
//! Everything happens on one thread, in an order that the script decides.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use nn_core::Node;
use nn_engine::local::Observer;
use nn_engine::{EpochReport, Outcome, Part, Snapshot, StepReport, Values, arithmetic_fingerprint};
use prost::Message;
use tokio::sync::{mpsc, watch};
use tonic::body::Body;

use super::door::{DoorLimits, Lobby, Rate};
use super::driver::{Command, Driver};
use super::{COMMANDS, CoordinatorHandle, CoordinatorOptions, Facts, session};
use crate::fuzzing::script::{Script, framed};
use crate::fuzzing::{FIXTURE, Fed, Fixture, is_plain, runtime};
use crate::proto as pb;
use crate::wire::convert::{FromCoordinator, Place, gradient_header};
use crate::wire::error::WireError;
use crate::wire::outbox::Outbox;
use crate::wire::stream::{Messages, frame};
use crate::wire::tensor::{Payload, Pool, Shapes};
use pb::worker_message::Body as Say;

/// How many streams strangers may open, each with a session of its own.
const STRANGERS: usize = 5;

/// How often the honest worker, once it was sent away, comes again under another name: as often as strangers can have it
/// sent away by claiming to be it.
const LIVES: u64 = 64;

/// The honest worker's number. A real one is drawn.
const MEMBER: u64 = 0x5eed_0000_0000_0000;

/// Operations of a script.
const OPERATIONS: usize = 200;

const ANY: Rate = Rate { burst: 1e9, second: 1e9 };

struct Clock(Arc<AtomicU64>);

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

/// One worker's stream, seen from the worker.
struct Stream {
    /// None once it has ended its side.
    feed: Option<mpsc::UnboundedSender<Bytes>>,
    heard: Messages<pb::CoordinatorMessage>,
    /// What it was told to compute, and has not answered.
    told: Vec<(Place, Node)>,
    over: bool,
}

impl Stream {
    fn say(&self, bytes: Bytes) {
        if let Some(feed) = &self.feed {
            // If the session has ended, nobody hears it.
            let _ = feed.send(bytes);
        }
    }

    fn tell(&self, place: Place, body: Say) {
        self.say(frame(&place.to_coordinator(body)));
    }
}

struct World {
    fixture: &'static Fixture,
    driver: Driver<Clock>,
    received: mpsc::Receiver<Command>,
    handle: CoordinatorHandle,
    kill: watch::Sender<bool>,
    now: Arc<AtomicU64>,
    /// The honest worker's is the first.
    streams: Vec<Stream>,
    lives: u64,
    /// Nodes that the honest worker has answered, and nodes that strangers were given.
    answered: u64,
    given: usize,
}

fn home() -> Place {
    Place { generation: crate::fuzzing::GENERATION, ..Place::default() }
}

/// Strangers say what the script makes them say, over several streams, while an honest worker works; then they fall silent.
/// Whatever they did, the run ends, and with the bits that it has without them.
///
/// One thing a member may do is not in the script, because nothing but an audit could stop it: to answer what it was
/// assigned with other finite numbers than the right ones, or with NaN. Where a contribution is otherwise as it should be,
/// its numbers are put right before the driver sees it.
pub fn check(script: &[u8]) {
    runtime(async {
        let mut world = World::new(&mut Script(script));
        world.join().await;
        let mut script = Script(script.get(1..).unwrap_or_default());
        for _ in 0..OPERATIONS {
            if script.is_over() || world.driver.outcome.is_some() {
                break;
            }
            world.operate(&mut script).await;
            world.pump().await;
        }
        world.finish().await;
    });
}

impl World {
    fn new(script: &mut Script<'_>) -> Self {
        let fixture: &'static Fixture = &FIXTURE;
        let audit = [0.0, 0.5, 1.0][usize::from(script.byte() % 3)];
        let engine = fixture.engine(audit);
        let facts = Arc::new(Facts {
            manifest_json: serde_json::to_string(&fixture.manifest).expect("it can be written"),
            manifest_hash: fixture.manifest.hash(),
            arithmetic: arithmetic_fingerprint(fixture.compute.isa),
            generation: engine.generation().0,
            training_set: fixture.set.clone(),
            shapes: Shapes::new(&fixture.manifest),
            manifest: fixture.manifest.clone(),
            // What is before the door is not tested here.
            lobby: Lobby::new(DoorLimits { each: ANY, all: ANY, guests: 1000, ..DoorLimits::default() }),
            options: CoordinatorOptions::default(),
        });
        let (commands, received) = mpsc::channel(COMMANDS);
        let (status_sender, status) = watch::channel(Arc::default());
        let (over_sender, over) = watch::channel(false);
        let (kill, _) = watch::channel(false);
        let now = Arc::new(AtomicU64::new(0));
        let driver = Driver::new(engine, Clock(now.clone()), facts.clone(), status_sender, over_sender);
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

    fn open(&self) -> Stream {
        let (feed, fed) = Fed::new();
        let (outbox, outgoing) = Outbox::new(1 << 20);
        let (handle, killed) = (self.handle.clone(), self.kill.subscribe());
        let messages = Messages::new(Body::new(fed));
        let visitor = self.handle.facts.lobby.anybody().expect("all are let in");
        tokio::spawn(session::run(handle, messages, outbox, visitor, killed));
        let heard = Messages::new(Body::new(outgoing));
        Stream { feed: Some(feed), heard, told: Vec::new(), over: false }
    }

    /// The honest worker comes, or comes again.
    async fn join(&mut self) {
        self.lives += 1;
        assert!(self.lives <= LIVES, "the honest worker is never left in peace");
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

    fn hello(&self, member: u64, incarnation: u64) -> pb::Hello {
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
        }
    }

    /// Lets sessions, the driver and the streams' other ends do all that they can without more time or input.
    async fn pump(&mut self) {
        let mut actions = Vec::new();
        let mut quiet = 0;
        while quiet < 3 {
            tokio::task::yield_now().await;
            quiet += 1;
            while let Ok(command) = self.received.try_recv() {
                quiet = 0;
                if self.driver.outcome.is_none() {
                    self.driver.obey(self.put_right(command), &mut actions);
                }
            }
            for (at, stream) in self.streams.iter_mut().enumerate() {
                while let Some(message) = crate::fuzzing::poll_once(stream.heard.message()) {
                    let Ok(Some(message)) = message else {
                        // As a peer's library does when the answer has ended.
                        (stream.over, stream.feed) = (true, None);
                        break;
                    };
                    quiet = 0;
                    let converted: Result<(Place, FromCoordinator), WireError> = message.try_into();
                    match converted.expect("a coordinator says nothing impossible") {
                        (place, FromCoordinator::Assignment(nodes)) => {
                            self.given += if at > 0 { nodes.len() } else { 0 };
                            stream.told.extend(nodes.into_iter().map(|node| (place, node)));
                        }
                        (
                            _,
                            FromCoordinator::Reject { message, .. }
                            | FromCoordinator::Refusal { message, .. },
                        ) => assert!(is_plain(&message), "{message:?}"),
                        _ => {}
                    }
                }
            }
        }
    }

    /// See [`check`].
    fn put_right(&self, command: Command) -> Command {
        let Command::Gradient(mut c) = command else { return command };
        let truth = self.fixture.truth(c.step.0, c.node);
        let range = self.handle.facts.shapes.range(c.part);
        let (Some((gradient, stats)), Some(range), Values::Wire(pieces)) = (truth, range, &c.values) else {
            return Command::Gradient(c);
        };
        let bytes: Vec<u8> = pieces.iter().flatten().copied().collect();
        let finite = bytes.as_chunks::<4>().0.iter().all(|x| f32::from_le_bytes(*x).is_finite());
        if bytes.len() == range.len() * 4 && finite == c.finite {
            let right: Vec<u8> = gradient[range].iter().flat_map(|x| x.to_le_bytes()).collect();
            c.values = Values::Wire(vec![right.into()]);
        }
        // So that an audit finds them alike; and a loss of infinity is as good as a gradient of it.
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

    fn pass(&mut self, millis: u64) {
        // A driver ticks often: a longer time without events would not count.
        for _ in 0..millis.div_ceil(100) {
            self.now.fetch_add(100, Ordering::Relaxed);
            if self.driver.outcome.is_none() {
                self.driver.obey(Command::Tick, &mut Vec::new());
            }
        }
    }

    /// The honest worker answers everything that it was told to, and says that it is alive.
    async fn work(&mut self, whole: bool) {
        if self.streams[0].over {
            self.join().await;
        }
        let stream = &mut self.streams[0];
        stream.tell(home(), Say::Heartbeat(pb::Heartbeat::default()));
        for (place, node) in std::mem::take(&mut stream.told) {
            let (gradient, stats) =
                self.fixture.truth(place.step, node).expect("only what there is is assigned");
            let stats = pb::NodeStats {
                samples: stats.samples as u64,
                loss: stats.loss,
                correct: stats.correct as u64,
                compute_micros: 10,
            };
            let parts: &[Part] = if whole { &[Part::All] } else { &[Part::Layer(1), Part::Layer(0)] };
            for (at, &part) in parts.iter().enumerate() {
                let range = self.handle.facts.shapes.range(part).expect("there is such a layer");
                let payload = Payload::shared(Pool::default().seal(gradient[range].to_vec()));
                let last = (at + 1 == parts.len()).then_some(stats);
                let wrap = |tensor| gradient_header(place, node, true, last, tensor);
                payload.messages(place, part, wrap).0.into_iter().for_each(|piece| stream.say(piece));
            }
            self.answered += 1;
        }
        self.pump().await;
    }

    async fn operate(&mut self, script: &mut Script<'_>) {
        let operation = script.byte();
        let strangers = self.streams.len() - 1;
        let at = 1 + usize::from(operation >> 4) % strangers.max(1);
        match operation & 15 {
            0 if strangers < STRANGERS => {
                let stream = self.open();
                self.streams.push(stream);
            }
            1 => self.work(script.byte() & 1 == 0).await,
            2 => self.pass(u64::from(script.byte()) * 20),
            3 => {
                let (done, _) = tokio::sync::oneshot::channel();
                if self.driver.outcome.is_none() {
                    self.driver.obey(Command::Tell(done), &mut Vec::new());
                }
                for worker in &self.handle.status.borrow().workers {
                    assert!(
                        is_plain(&worker.name) && is_plain(&worker.build) && is_plain(&worker.instructions)
                    );
                }
            }
            _ if strangers == 0 => {}
            // Replaces a stream that is over, or breaks one that is not.
            0 => self.streams[at] = self.open(),
            4 | 5 => {
                let member = match script.byte() {
                    // One may guess who the honest worker is.
                    0xff => MEMBER + self.lives,
                    few => u64::from(few % 4),
                };
                let mut hello = self.hello(member, script.byte().into());
                if operation & 1 == 1 {
                    hello.threads = script.word().into();
                    hello.name = script.text();
                    hello.build = script.text();
                    hello.data_held = vec![script.text()];
                }
                self.streams[at].tell(Place::default(), Say::Hello(hello));
                if operation & 1 == 0 {
                    let data_sha256 = self.fixture.set.sha256().to_owned();
                    self.streams[at].tell(home(), Say::Ready(pb::Ready { data_sha256 }));
                }
            }
            6 => {
                let place = self.place(script);
                self.streams[at].tell(place, Say::Heartbeat(pb::Heartbeat::default()));
            }
            7 => {
                let sha256 = match script.byte() {
                    0 => script.text(),
                    _ => self.fixture.set.sha256().to_owned(),
                };
                let from_chunk = script.byte().into();
                let request = pb::DataRequest { sha256: sha256.clone(), from_chunk };
                let ready = pb::Ready { data_sha256: sha256 };
                let say = if from_chunk == 9 { Say::Ready(ready) } else { Say::DataRequest(request) };
                self.streams[at].tell(home(), say);
            }
            8 => self.streams[at].feed = None,
            9 => self.streams[at].say(framed(script.bytes())),
            10 => self.streams[at].say(Bytes::copy_from_slice(script.bytes())),
            11 => self.streams[at].tell(home(), Say::Goodbye(pb::Goodbye { reason: script.text() })),
            _ => self.contribute(at, script),
        }
    }

    fn place(&self, script: &mut Script<'_>) -> Place {
        let how = script.byte();
        let mut place = Place { step: self.driver.engine.steps_done(), ..home() };
        place.generation =
            place.generation.wrapping_add(u64::from(how & 3)).wrapping_sub(u64::from(how >> 2 & 1));
        place.step = place.step.wrapping_add(u64::from(how >> 3 & 3)).wrapping_sub(u64::from(how >> 5 & 1));
        place.attempt = u32::from(how >> 6);
        place
    }

    /// A contribution to something that was assigned, or not, with any of many things wrong about it.
    fn contribute(&mut self, at: usize, script: &mut Script<'_>) {
        let elsewhere = self.place(script);
        let (how, more) = (script.word(), script.word());
        let has = |bit: u16| how >> bit & 1 == 1;
        let told = &mut self.streams[at].told;
        let (mut place, mut node) = match told.len() {
            0 => (elsewhere, Node { level: 0, index: 0 }),
            some if has(0) => told[usize::from(more) % some],
            some => told.swap_remove(usize::from(more) % some),
        };
        if has(1) {
            place = elsewhere;
        }
        if has(2) {
            let twist = script.word();
            node.level =
                node.level.wrapping_add(u32::from(twist & 7)).wrapping_sub(u32::from(twist >> 3 & 1));
            node.index ^= u32::from(twist >> 4);
        }
        let part = if has(3) { Part::Layer(u32::from(more >> 8 & 3)) } else { Part::All };
        let shapes = &self.handle.facts.shapes;
        let range = shapes.range(part).unwrap_or(0..5);
        let truth = self.fixture.truth(place.step, node);
        let mut values = truth.map_or_else(|| vec![0.5; range.len()], |(all, _)| all[range.clone()].to_vec());
        if has(4) {
            values[0] = f32::from_bits(u32::from(script.word()) << 16);
        }
        let mut data: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        if has(5) {
            data.pop();
        }
        if has(6) {
            data.extend([0; 4]);
        }
        let crc32 = crc32fast::hash(&data) ^ u32::from(has(7));
        let layer = crate::wire::tensor::layer_of(part);
        let elements = values.len() as u64 + u64::from(has(8)) * u64::from(script.word());
        let tensor = pb::TensorHeader { layer, elements, chunks: 1 + u32::from(has(9)), crc32 };
        let samples = truth.map_or(1, |(_, stats)| stats.samples as u64) + u64::from(has(10));
        let loss = if more & 1 == 0 { 0.5 } else { f64::from_bits(u64::from(script.word()) << 48) };
        let compute_micros = if more & 2 == 0 { 5 } else { u64::MAX >> (more >> 2 & 63) };
        let correct = u64::from(more >> 13);
        let stats = pb::NodeStats { samples, loss, correct, compute_micros };
        let stats = (!has(11)).then_some(stats);
        let header = gradient_header(place, node, !has(12), stats, tensor);
        let chunk = pb::TensorChunk { layer, index: u32::from(has(13)), total: 1, crc32, data: data.into() };
        let chunk = place.to_coordinator(Say::GradientChunk(chunk));
        let stream = &self.streams[at];
        if !has(14) {
            stream.say(frame(&header));
        }
        if has(15) {
            // In two data frames, the first of which ends within the message.
            let bytes = chunk.encode_to_vec();
            let bytes = framed(&bytes);
            let half = bytes.len() / 2;
            stream.say(bytes.slice(..half));
            stream.say(bytes.slice(half..));
        } else {
            stream.say(frame(&chunk));
        }
    }

    /// Strangers are silent from here on; the honest worker is not.
    async fn finish(mut self) {
        for round in 0.. {
            if self.driver.outcome.is_some() {
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

/// How many nodes the honest worker has answered when a script ends, and how many strangers were given.
#[cfg(test)]
pub(crate) fn answers(script: &[u8]) -> (u64, usize) {
    runtime(async {
        let mut world = World::new(&mut Script(script));
        world.join().await;
        let mut script = Script(&script[1..]);
        while !script.is_over() && world.driver.outcome.is_none() {
            world.operate(&mut script).await;
            world.pump().await;
        }
        let answers = (world.answered, world.given);
        world.finish().await;
        answers
    })
}

/// Scripts in which strangers come far: they are let in, answer rightly, answer wrongly, take another's place.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let right = [12, 0, 0, 0, 0, 0];
    let mut seeds = Vec::new();
    for audit in 0..3 {
        seeds.push([&[audit, 0, 4, 1, 1, 1, 0][..], &right, &right, &[1, 1], &right, &right].concat());
        // Two strangers, who answer in layers, too late, twice, with wrong sums.
        let mut seed = vec![audit, 0, 0, 4, 1, 1, 20, 2, 1, 1, 0];
        for how in [1 << 3, 1 << 4, 1 << 7, 1 << 12, 1 << 2, 1 << 14, 1] {
            seed.extend([12, 0]);
            seed.extend(u16::to_le_bytes(how));
            seed.extend([0, 1]);
            seed.extend([28, 0, 0, 0, 0, 0, 2, 50, 1, 0]);
        }
        seeds.push(seed);
        // In the honest worker's place; then one that only says that it is alive.
        seeds.push(vec![
            audit, 0, 4, 0xff, 9, 1, 0, 12, 0, 2, 0, 0, 0, 12, 0, 2, 0, 0, 0, 0, 20, 1, 1, 22, 0, 2, 9, 22,
            0, 1, 0,
        ]);
        let mut text = vec![audit, 0, 5, 1, 1, 1, 0, 3, 0, 27, 91, 65, 1, 0, 7, 0, 0, 3];
        text.extend([7, 1, 0, 7, 1, 9, 9, 3, 0, 50, 0, 0, 10, 2, 0, 255, 1, 8, 11, 1, 0, 3]);
        seeds.push(text);
    }
    seeds
}
