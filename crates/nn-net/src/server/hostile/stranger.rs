//! The operations of a script: strangers say anything, time passes, the honest worker works.

use bytes::Bytes;
use nn_core::Node;
use nn_engine::Part;
use prost::Message;

use super::world::{MEMBER, World, home};
use crate::fuzzing::script::{Script, framed};
use crate::fuzzing::text::is_plain;
use crate::proto as pb;
use crate::server::driver::Command;
use crate::wire::convert::{Place, gradient_header};
use crate::wire::stream::frame;
use crate::wire::tensor::Direction;
use crate::wire::tensor::layer_of;
use pb::worker_message::Body as Say;

/// The most streams that strangers may open, each with its own session.
const STRANGERS: usize = 5;

/// The flaws of a contribution, as bits.
#[derive(Clone, Copy)]
struct Flaws(u16);

impl Flaws {
    fn has(self, bit: u16) -> bool {
        self.0 >> bit & 1 == 1
    }
}

impl World {
    /// Performs the next operation of a script.
    pub(super) async fn operate(&mut self, script: &mut Script<'_>) {
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
                if !self.is_over() {
                    self.driver.obey(Command::Tell(done), &mut Vec::new());
                }
                for worker in &self.handle.status.borrow().workers {
                    assert!(
                        is_plain(&worker.name) && is_plain(&worker.build) && is_plain(&worker.instructions)
                    );
                }
            }
            _ if strangers == 0 => {}
            // Replaces a stream, which breaks it unless it is over.
            0 => self.streams[at] = self.open(),
            4 | 5 => {
                let member = match script.byte() {
                    // A stranger may guess the honest worker's number.
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

    /// The place of a message, which may be slightly off.
    fn place(&self, script: &mut Script<'_>) -> Place {
        let how = script.byte();
        let mut place = Place { step: self.driver.engine.steps_done(), ..home() };
        place.generation =
            place.generation.wrapping_add(u64::from(how & 3)).wrapping_sub(u64::from(how >> 2 & 1));
        place.step = place.step.wrapping_add(u64::from(how >> 3 & 3)).wrapping_sub(u64::from(how >> 5 & 1));
        place.attempt = u32::from(how >> 6);
        place
    }

    /// Sends a contribution to an assigned node, or another one, with any of many flaws.
    fn contribute(&mut self, at: usize, script: &mut Script<'_>) {
        let elsewhere = self.place(script);
        let (flaws, more) = (Flaws(script.word()), script.word());
        let (place, node) = self.target(at, elsewhere, flaws, more, script);
        let (header, chunk) = self.flawed(place, node, flaws, more, script);
        let stream = &self.streams[at];
        if !flaws.has(14) {
            stream.say(frame(&header));
        }
        if flaws.has(15) {
            // In two data frames, the first of which ends within the message.
            let bytes = framed(&chunk.encode_to_vec());
            let half = bytes.len() / 2;
            stream.say(bytes.slice(..half));
            stream.say(bytes.slice(half..));
        } else {
            stream.say(frame(&chunk));
        }
    }

    /// The place and the node of a contribution.
    fn target(
        &mut self,
        at: usize,
        elsewhere: Place,
        flaws: Flaws,
        more: u16,
        script: &mut Script<'_>,
    ) -> (Place, Node) {
        let told = &mut self.streams[at].told;
        let (mut place, mut node) = match told.len() {
            0 => (elsewhere, Node { level: 0, index: 0 }),
            some if flaws.has(0) => told[usize::from(more) % some],
            some => told.swap_remove(usize::from(more) % some),
        };
        if flaws.has(1) {
            place = elsewhere;
        }
        if flaws.has(2) {
            let twist = script.word();
            node.level =
                node.level.wrapping_add(u32::from(twist & 7)).wrapping_sub(u32::from(twist >> 3 & 1));
            node.index ^= u32::from(twist >> 4);
        }
        (place, node)
    }

    /// The header and the chunk of a contribution.
    fn flawed(
        &self,
        place: Place,
        node: Node,
        flaws: Flaws,
        more: u16,
        script: &mut Script<'_>,
    ) -> (pb::WorkerMessage, pb::WorkerMessage) {
        let part = if flaws.has(3) { Part::Layer(u32::from(more >> 8 & 3)) } else { Part::All };
        let shapes = &self.handle.facts.shapes;
        let range = shapes.range(part).unwrap_or(0..5);
        let truth = self.fixture.truth(place.step, node);
        let mut values = truth.map_or_else(|| vec![0.5; range.len()], |(all, _)| all[range.clone()].to_vec());
        if flaws.has(4) {
            values[0] = f32::from_bits(u32::from(script.word()) << 16);
        }
        let encoding = shapes.encoding(Direction::Up, part);
        let mut data = vec![0; encoding.bytes_for(values.len())];
        encoding.encode(&values, &mut data);
        let mut compact = more >> 12 & 1 == 1;
        if compact {
            match encoding.compacted(&data) {
                Some(shorter) => data = shorter,
                // Blocks that are said to be compact are a flaw, too.
                None => compact = more >> 11 & 1 == 1,
            }
        }
        if flaws.has(5) {
            data.pop();
        }
        if flaws.has(6) {
            data.extend([0; 4]);
        }
        let crc32 = crc32fast::hash(&data) ^ u32::from(flaws.has(7));
        let layer = layer_of(part);
        let elements = values.len() as u64 + u64::from(flaws.has(8)) * u64::from(script.word());
        let tensor = pb::TensorHeader { layer, elements, chunks: 1 + u32::from(flaws.has(9)), crc32 };
        let samples = truth.map_or(1, |(_, stats)| stats.samples as u64) + u64::from(flaws.has(10));
        let loss = if more & 1 == 0 { 0.5 } else { f64::from_bits(u64::from(script.word()) << 48) };
        let compute_micros = if more & 2 == 0 { 5 } else { u64::MAX >> (more >> 2 & 63) };
        let correct = u64::from(more >> 13);
        let stats = pb::NodeStats { samples, loss, correct, compute_micros };
        let stats = (!flaws.has(11)).then_some(stats);
        let header = gradient_header(place, node, !flaws.has(12), stats, tensor);
        let index = u32::from(flaws.has(13));
        let chunk = pb::TensorChunk { layer, index, total: 1, crc32, data: data.into(), compact };
        (header, place.to_coordinator(Say::GradientChunk(chunk)))
    }
}

/// Scripts in which strangers get far: they join, answer correctly, answer wrongly, claim to be another member.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let right = [12, 0, 0, 0, 0, 0];
    let mut seeds = Vec::new();
    for audit in 0..6 {
        seeds.push([&[audit, 0, 4, 1, 1, 1, 0][..], &right, &right, &[1, 1], &right, &right].concat());
        // Two strangers that answer by layer, too late, twice, with wrong sums.
        let mut seed = vec![audit, 0, 0, 4, 1, 1, 20, 2, 1, 1, 0];
        for how in [1 << 3, 1 << 4, 1 << 7, 1 << 12, 1 << 2, 1 << 14, 1] {
            seed.extend([12, 0]);
            seed.extend(u16::to_le_bytes(how));
            seed.extend([0, 1]);
            seed.extend([28, 0, 0, 0, 0, 0, 2, 50, 1, 0]);
        }
        seeds.push(seed);
        // One that claims to be the honest worker; then one that only sends heartbeats.
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
