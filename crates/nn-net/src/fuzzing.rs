//! Promises about all input from the network or a worker's cache, however hostile: for the fuzz targets in `fuzz/` and the
//! property tests beside this module. It is built for nothing else.
//!
//! Each check panics if a promise is broken. Three of them run the real code on a script, which is the fuzzer's bytes read as
//! operations: [`check_coordinator`] has hostile clients connect to a coordinator with one honest worker,
//! [`check_worker`] has a worker join a hostile coordinator, and [`check_runs`] does both for the whole runs of a sweep.

pub(crate) mod fixture;
pub(crate) mod script;
#[cfg(test)]
mod tests;
pub(crate) mod text;

use std::path::Path;

use bytes::Bytes;
use nn_engine::{Manifest, ManifestParts};
use prost::Message;
use sha2::{Digest, Sha256};
use tonic::body::Body;

pub use crate::client::hostile::check as check_worker;
pub use crate::runs::hostile::check as check_runs;
pub use crate::server::hostile::check as check_coordinator;
use fixture::{Fed, poll_once};
use text::{LONGEST_TEXT, is_plain};

use crate::data::{self, TrainingSet};
use crate::proto as pb;
use crate::wire::convert::{FromCoordinator, FromWorker, Place};
use crate::wire::error::WireError;
use crate::wire::hex;
use crate::wire::stream::{Messages, frame};

/// gRPC's frames in both directions: however the bytes are cut, they give the same messages and then the same error; every
/// message can be written and read again.
pub fn check_stream(bytes: &[u8]) {
    let Some((&how, bytes)) = bytes.split_first() else { return };
    let cuts = [usize::MAX, usize::from(how >> 1).max(1), 1];
    if how & 1 == 0 {
        let read = cuts.map(|cut| read_all::<pb::WorkerMessage>(bytes, cut));
        let converted = |m: pb::WorkerMessage| -> Result<(Place, FromWorker), WireError> { m.try_into() };
        same(&read, |message| converted(message).err());
    } else {
        let read = cuts.map(|cut| read_all::<pb::CoordinatorMessage>(bytes, cut));
        let converted =
            |m: pb::CoordinatorMessage| -> Result<(Place, FromCoordinator), WireError> { m.try_into() };
        same(&read, |message| converted(message).err());
    }
}

type Read<M> = (Vec<M>, Option<(tonic::Code, String)>);

fn same<M: Message + Default + Clone + PartialEq>(
    read: &[Read<M>; 3],
    convert: impl Fn(M) -> Option<WireError>,
) {
    assert!(read[0] == read[1] && read[0] == read[2], "the result depends on how the bytes are cut");
    for message in &read[0].0 {
        let again = read_all::<M>(&frame(message), usize::MAX);
        // Compared as bytes, because messages may hold NaN.
        assert_eq!(again.0.len(), 1);
        assert_eq!(again.0[0].encode_to_vec(), message.encode_to_vec());
        if let Some(error) = convert(message.clone()) {
            assert!(is_plain(&error.to_string()), "{error}");
        }
    }
    if let Some((_, text)) = &read[0].1 {
        assert!(text.len() <= LONGEST_TEXT, "{text}");
    }
}

fn read_all<M: Message + Default>(bytes: &[u8], cut: usize) -> Read<M> {
    let (feed, fed) = Fed::new();
    for piece in bytes.chunks(cut.min(bytes.len().max(1))) {
        feed.send(Bytes::copy_from_slice(piece)).expect("the receiver exists");
    }
    drop(feed);
    let mut messages = Messages::<M>::new(Body::new(fed));
    let mut read = Vec::new();
    loop {
        let next = poll_once(messages.message()).expect("all bytes have arrived");
        match next {
            Ok(Some(message)) => read.push(message),
            Ok(None) => return (read, None),
            Err(status) => return (read, Some((status.code(), status.message().to_owned()))),
        }
    }
}

/// A run's manifest as JSON: an accepted manifest answers all questions, and survives being written and read again.
pub fn check_manifest(bytes: &[u8]) {
    let parts: ManifestParts = match serde_json::from_slice(bytes) {
        Ok(parts) => parts,
        Err(_) => return,
    };
    let manifest = match Manifest::new(parts) {
        Ok(manifest) => manifest,
        Err(error) => return assert!(is_plain(&error.to_string())),
    };
    let total = manifest.total_steps();
    assert!(total > 0);
    for step in [0, total / 2, total - 1] {
        let tree = manifest.tree(step);
        assert_eq!(tree.samples(), manifest.samples_in(step));
        let rate = manifest.learning_rate(step);
        assert!(!rate.is_nan(), "a learning rate of {rate}");
    }
    let text = serde_json::to_string(&manifest).expect("it can be written");
    let again: ManifestParts = serde_json::from_str(&text).expect("we wrote it");
    let again = Manifest::new(again).expect("it was accepted");
    assert_eq!((again.hash(), again.differences(&manifest).len()), (manifest.hash(), 0));
    assert!(data::most_bytes(&manifest) > 0);
}

/// A training set in a worker's cache, `folder`: an accepted file is, byte for byte, what a coordinator would send, and any
/// other is removed. The first byte decides whether the file's name matches its content.
pub fn check_training_set(bytes: &[u8], folder: &Path) {
    let Some((&how, bytes)) = bytes.split_first() else { return };
    let manifest = &fixture::training_manifests()[usize::from(how >> 1) % 3];
    let mut hash = hex(&Sha256::digest(bytes));
    if how & 1 != 0 {
        hash = hex(&Sha256::digest(how.to_le_bytes()));
    }
    let path = folder.join(format!("{hash}.train"));
    std::fs::write(&path, bytes).expect("the caller's folder can be written to");
    let kept = crate::client::load_kept(folder, manifest, &hash);
    assert_eq!(path.exists(), kept.is_some(), "a bad file is removed");
    if let Some(dataset) = kept {
        assert_eq!(how & 1, 0);
        let set = TrainingSet::new(std::sync::Arc::new(dataset));
        // Further bytes in the file would change its hash.
        assert_eq!((set.sha256(), set.bytes()), (hash.as_str(), bytes.len() as u64));
        std::fs::remove_file(&path).expect("it exists");
    }
}

/// The inputs that a fuzzer starts from and that tests corrupt, for each check by name.
pub fn seeds(check: &str) -> Vec<Vec<u8>> {
    match check {
        "stream" => fixture::streams(),
        "manifest" => fixture::manifests(),
        "training_set" => fixture::training_sets(),
        "coordinator" => crate::server::hostile::seeds(),
        "worker" => crate::client::hostile::seeds(),
        "runs" => crate::runs::hostile::seeds(),
        _ => Vec::new(),
    }
}
