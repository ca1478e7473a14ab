//! A hostile coordinator: see [`check`].

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use nn_core::Node;
use nn_engine::{ManifestParts, Part};
use tokio::sync::mpsc;
use tonic::body::Body;

use super::{QUEUE, Session, SessionEnd, Stop, WorkerIdentity};
use crate::client::event::WorkerEvent;
use crate::client::options::WorkerOptions;
use crate::fuzzing::fixture::{FIXTURE, Fed, Fixture, IN_ROUNDS, poll_once, runtime};
use crate::fuzzing::script::{Script, framed};
use crate::fuzzing::text::is_plain;
use crate::proto as pb;
use crate::wire::convert::{FromWorker, Place, weights_header};
use crate::wire::error::WireError;
use crate::wire::hex;
use crate::wire::outbox::Outbox;
use crate::wire::stream::{Messages, frame};
use crate::wire::tensor::{Direction, Payload, Shapes, Spares};
use pb::coordinator_message::Body as Say;

/// The most operations of a script.
const OPERATIONS: usize = 100;

/// A worker joins a coordinator that follows the script and then ends the stream. The worker must end, too, without a panic
/// in its compute thread, and report the reason in a short sentence. `folder` is its cache, if it has one.
pub fn check(script: &[u8], folder: Option<&Path>) {
    hear(script, folder, false);
}

/// The places and nodes of the gradients that the worker sent, and the reason that it ended with. A `patient` coordinator
/// waits for the first gradient before it ends the stream.
pub(crate) fn hear(script: &[u8], folder: Option<&Path>, patient: bool) -> (Vec<(Place, Node)>, String) {
    let mut script = Script(script);
    let kind = script.byte();
    let fixture: &'static Fixture = if kind & 2 == 0 { &FIXTURE } else { &IN_ROUNDS };
    let mut options = WorkerOptions::new(Vec::new(), fixture.compute.threads.clone(), fixture.compute.isa);
    options.cache = folder.map(Path::to_owned);
    let identity = WorkerIdentity { member: 1, incarnation: 1, arithmetic: String::new() };
    if kind & 1 == 0 {
        options.data = Some(fixture.set.clone());
    }
    runtime(async {
        let mut session = Session::new(&options, &identity, "http://192.0.2.1:7654");
        let (outbox, outgoing) = Outbox::new(QUEUE);
        session.outbox = outbox;
        let (feed, fed) = Fed::new();
        let mut computes = false;
        for _ in 0..OPERATIONS {
            if script.is_over() {
                break;
            }
            computes |= operate(fixture, &mut script, &feed);
        }
        let counters = session.counters.clone();
        let ending = tokio::spawn(async move {
            // Gives the compute thread time before the stream ends.
            while patient && counters.nodes.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            for _ in 0..40 {
                tokio::task::yield_now().await;
                if computes && counters.waiting.load(Ordering::Relaxed) > 0 {
                    tokio::time::sleep(Duration::from_micros(100)).await;
                }
            }
            drop(feed);
        });
        let mut partial = None;
        let mut stream = Messages::new(Body::new(fed));
        let mut tell = |_: WorkerEvent<'_>| {};
        let stop = session.talk(&mut stream, &mut partial, &mut tell).await;
        ending.abort();
        let said = match stop {
            Stop::Fail(error) => error.to_string(),
            Stop::End(SessionEnd::NotNow(error)) => error.to_string(),
            Stop::End(SessionEnd::Lost(lost)) => lost.reason,
            Stop::End(SessionEnd::Over(over)) => over.params_sha256,
            Stop::End(SessionEnd::ShutDown) => unreachable!("nobody asked it to"),
        };
        assert!(is_plain(&said), "{said:?}");
        // At the start, before anything that quotes the coordinator.
        assert!(!said.contains("protocol: the compute thread has failed"), "{said}");
        drop(session);
        (sent(Messages::new(Body::new(outgoing))), said)
    })
}

fn sent(mut messages: Messages<pb::WorkerMessage>) -> Vec<(Place, Node)> {
    let mut sent = Vec::new();
    while let Some(Ok(Some(message))) = poll_once(messages.message()) {
        let converted: Result<(Place, FromWorker), WireError> = message.try_into();
        let (place, message) = converted.expect("a worker sends valid messages");
        if let FromWorker::Gradient(head) = message {
            sent.push((place, head.node));
        }
    }
    sent
}

/// Whether a worker needs little memory for the run. A coordinator may rightly have its workers train a large network, so
/// large runs prove nothing.
fn is_small(parts: &ManifestParts) -> bool {
    let widest = parts.model.widths().iter().copied().max().unwrap_or(0);
    let batch = parts.recipe.batch_size.min(parts.train_samples);
    parts.model.parameters() <= 1 << 16 && batch.saturating_mul(widest) <= 1 << 18
}

/// Performs the next operation of the script. True if the worker may have something to compute.
fn operate(fixture: &Fixture, script: &mut Script<'_>, feed: &mpsc::UnboundedSender<Bytes>) -> bool {
    let place = Place { generation: 3, step: u64::from(script.byte() & 7), attempt: 0 };
    let say = |body| drop(feed.send(frame(&place.to_worker(body))));
    let operation = script.byte();
    match operation & 15 {
        0 | 1 => {
            let mut manifest_json = serde_json::to_string(&fixture.manifest).unwrap_or_default();
            if operation & 1 == 1 {
                manifest_json = script.text();
                match serde_json::from_str::<ManifestParts>(&manifest_json) {
                    Ok(parts) if !is_small(&parts) => return false,
                    _ => {}
                }
            }
            let parts: Option<ManifestParts> = serde_json::from_str(&manifest_json).ok();
            let manifest = parts.and_then(|parts| nn_engine::Manifest::new(parts).ok());
            let mut offer = fixture.set.offer();
            offer.bytes = offer.bytes.wrapping_add(u64::from(operation >> 4 & 1) * u64::from(script.word()));
            offer.chunks += u32::from(operation >> 5 & 1);
            if operation >> 6 & 1 == 1 {
                offer.sha256 = script.text();
            }
            say(Say::Welcome(pb::Welcome {
                worker: 1,
                manifest_hash: manifest.map(|manifest| manifest.hash()).unwrap_or_default(),
                manifest_json,
                heartbeat_millis: script.byte().into(),
                data: (operation >> 7 == 0).then_some(offer),
                build: String::new(),
                reads_compact: operation >> 4 & 1 == 1,
            }));
        }
        2 | 3 => {
            let data = if operation & 1 == 0 { fixture.set.serialised() } else { script.bytes().to_vec() };
            let crc32 = crc32fast::hash(&data) ^ u32::from(operation >> 4 & 1);
            let (index, total) = (u32::from(operation >> 5 & 1), 1 + u32::from(operation >> 6 & 1));
            say(Say::DataChunk(pb::DataChunk { index, total, crc32, data: data.into() }));
        }
        4 | 5 => {
            let count = if operation & 1 == 0 { 1 } else { script.word() };
            let (level, index) = (u32::from(script.byte()), u32::from(script.byte()));
            let nodes = vec![pb::Node { level, index }; count.into()];
            say(Say::Assignment(pb::Assignment { nodes }));
            return true;
        }
        6..=8 => {
            let shapes = Shapes::new(&fixture.manifest);
            let part = match operation & 15 {
                6 => Part::All,
                _ => Part::Layer(u32::from(script.byte())),
            };
            let before = place.step.min(3) as usize;
            let range = shapes.range(part).unwrap_or(0..4);
            let encoding = shapes.encoding(Direction::Down, part);
            let values = &fixture.weights[before][range];
            let payload = if place.step & 1 == 1 {
                let mut blocks = vec![0; encoding.bytes_for(values.len())];
                encoding.encode(values, &mut blocks);
                Payload::compacted(encoding, values.len(), &blocks.into())
            } else {
                Payload::copied(encoding, values, &mut Spares::default())
            };
            let framed = payload.messages(place, part, |mut tensor| {
                tensor.crc32 ^= u32::from(operation >> 4 & 1);
                tensor.elements += u64::from(operation >> 5 & 1);
                weights_header(place, tensor)
            });
            let skip = usize::from(operation >> 6);
            framed.0.into_iter().skip(skip).for_each(|piece| drop(feed.send(piece)));
        }
        9 => say(Say::Refusal(pb::Refusal { reason: script.byte().into(), message: script.text() })),
        10 => say(Say::Reject(pb::Reject { reason: script.byte().into(), message: script.text() })),
        11 => {
            let params_sha256 = hex(script.bytes());
            say(Say::RunOver(pb::RunOver { outcome: script.byte().into(), steps: 4, params_sha256 }));
        }
        12 => drop(feed.send(framed(script.bytes()))),
        13 => say(Say::InitialWeights(pb::InitialWeights {})),
        _ => drop(feed.send(Bytes::copy_from_slice(script.bytes()))),
    }
    false
}

/// Scripts that keep a worker busy.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let manifest = serde_json::to_vec(&FIXTURE.manifest).unwrap_or_default();
    let length = (manifest.len() as u16).to_le_bytes();
    let mut seeds = Vec::new();
    for own in 0..4 {
        // Welcome; the training set, if the worker has none; then weights before and after the assignments.
        let mut seed = vec![own, 0, 0, 0, 0, 50];
        if own & 1 == 1 {
            seed.extend([0, 2]);
        }
        let begun = seed.clone();
        seed.extend([0, 6, 0, 4, 2, 0, 1, 7, 1, 1, 7, 0, 1, 4, 0, 0, 1, 4, 0, 1, 2, 4, 1, 0, 2, 6]);
        seeds.push(seed.clone());
        // Two replicas of a round, the update, and the next rounds.
        let rounds = [0, 6, 0, 4, 0, 0, 0, 4, 0, 1, 1, 7, 0, 1, 4, 0, 0, 2, 7, 0, 2, 4, 0, 0];
        seeds.push([&begun[..], &rounds].concat());
        seeds.push([&seed[..], &[0, 11, 2, 0, 1, 2, 1]].concat());
        seeds.push([&begun[..], &[1, 5, 255, 255, 0, 0, 0, 9, 1, 3, 0, 65, 27, 10]].concat());
        seeds.push([&begun[..], &[0, 12, 3, 0, 1, 2, 3, 0, 14, 2, 0, 1, 1]].concat());
        seeds.push([&[own, 0, 1][..], &length, &manifest, &[0, 0, 50, 0, 2, 0, 6, 0, 4, 1, 0]].concat());
        seeds.push(vec![own, 0, 10, 4, 2, 0, 65, 27]);
        // Initial weights, which it makes itself.
        seeds.push([&begun[..], &[0, 13, 0, 4, 0, 0]].concat());
    }
    seeds
}
