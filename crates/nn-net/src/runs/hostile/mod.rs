//! The messages of a sweep, from hostile peers: see [`check`].
//!
//! Sessions, fetching and checks are the real ones. The sockets are missing, and what a sweep and a worker provide: the desk
//! here remembers what it gave out, and the runner here trains nothing.

mod coordinator;
mod worker;

use prost::Message;
use tonic::Status;

use super::piece::pieces;
use crate::fuzzing::fixture::runtime;
use crate::fuzzing::script::Script;
use crate::proto as pb;

/// The most operations of a script.
const OPERATIONS: usize = 60;

/// The names of files that a script may choose by number.
const FILES: [&str; 4] =
    ["metrics.jsonl", "checkpoints/best.safetensors", "checkpoints/step-000000000001.safetensors", "../x"];

/// A hostile peer follows the script, after the first byte that says which side it is on.
///
/// Of a coordinator: whatever a worker says, the desk hears only of runs that the worker has, in checked pieces, and in the end
/// the worker has no run: each has ended or was given back, once.
///
/// Of a worker: whatever a coordinator says, the worker ends with a short sentence, never has more runs than threads, and trains
/// only orders within limits, on the samples that were offered.
pub fn check(script: &[u8]) {
    let Some((&side, script)) = script.split_first() else { return };
    match side & 1 {
        0 => runtime(coordinator::check(Script(script))),
        _ => runtime(worker::check(Script(script))),
    };
}

/// The number of runs that end in a script.
#[cfg(test)]
pub(crate) fn ended(script: &[u8]) -> usize {
    match script[0] & 1 {
        0 => runtime(coordinator::check(Script(&script[1..]))),
        _ => runtime(worker::check(Script(&script[1..]))),
    }
}

/// Scripts in which both sides come far.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let of = |side: u8, seeds: Vec<Vec<u8>>| seeds.into_iter().map(move |seed| [&[side], &seed[..]].concat());
    of(0, coordinator::seeds().into()).chain(of(1, worker::seeds().into())).collect()
}

/// A message in raw bytes, as the library reads it.
fn read<M: Message + Default>(bytes: &[u8]) -> Result<M, Status> {
    M::decode(bytes).map_err(|error| Status::internal(error.to_string()))
}

/// A piece of a file of a run, with the flaws that the script gives it.
fn piece(run: u64, script: &mut Script<'_>) -> pb::RunPiece {
    let how = script.byte();
    let name = match how & 7 {
        7 => script.text(),
        known => FILES[usize::from(known) % FILES.len()].to_owned(),
    };
    let offset = if how & 8 == 0 { 0 } else { u64::from(script.word()) << (how >> 4) };
    let mut piece = pieces(run, &name, offset, script.bytes()).next().unwrap_or_default();
    if how & 16 != 0 {
        piece.crc32 ^= 1;
    }
    piece.complete = how & 32 == 0;
    piece
}
