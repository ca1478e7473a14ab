//! The run that a coordinator describes; or why this worker cannot take it.

use nn_engine::{Manifest, ManifestParts};
use serde_json::Value;
use thiserror::Error;

use crate::proto as pb;
use crate::wire::BUILD;
use crate::wire::convert::plain;

/// Why a worker cannot take a run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum ManifestError {
    #[error(
        "its manifest has {what}, which this worker ({BUILD}) does not know; the coordinator is {build}: use the same \
         version of nn on both sides"
    )]
    Unknown { what: String, build: String },
    #[error(
        "this machine's arithmetic is another: it reads {theirs} in the manifest ({name}) as {mine}, so its gradients \
         would have other bits; a library that changes how the processor rounds may be loaded (LD_PRELOAD); nn doctor \
         checks this machine"
    )]
    Arithmetic { name: String, theirs: String, mine: String },
    #[error(
        "its manifest does not match its hash, although this worker understands all of it: it was changed on its way; \
         look for a proxy that changes messages"
    )]
    Corrupted,
    #[error(
        "its manifest does not match its hash; the coordinator is {build}, this worker {BUILD}: use the same version of nn"
    )]
    OtherVersion { build: String },
    #[error("its manifest describes no run: {why}")]
    Impossible { why: String },
}

/// Reads the manifest of a Welcome.
pub(super) fn read(welcome: &pb::Welcome) -> Result<Manifest, ManifestError> {
    let json = &welcome.manifest_json;
    let build = plain(&welcome.build);
    let parts: ManifestParts = serde_json::from_str(json).map_err(|error| {
        let why = plain(&error.to_string());
        if error.is_data() && build != BUILD {
            ManifestError::Unknown { what: format!("something ({why})"), build: build.clone() }
        } else {
            ManifestError::Impossible { why }
        }
    })?;
    let manifest =
        Manifest::new(parts).map_err(|error| ManifestError::Impossible { why: plain(&error.to_string()) })?;
    if manifest.hash() == welcome.manifest_hash {
        return Ok(manifest);
    }
    let theirs: Value = serde_json::from_str(json).unwrap_or_default();
    let mine = serde_json::to_value(&manifest).unwrap_or_default();
    Err(match first_difference("", &theirs, &mine) {
        Some(Difference::Unknown(name)) => ManifestError::Unknown { what: format!("{name:?}"), build },
        Some(Difference::Number { name, theirs, mine }) => ManifestError::Arithmetic { name, theirs, mine },
        None if build != BUILD => ManifestError::OtherVersion { build },
        None => ManifestError::Corrupted,
    })
}

/// What this worker does not take from a manifest as it is written.
enum Difference {
    /// A field that it ignores.
    Unknown(String),
    /// A number that becomes another one.
    Number { name: String, theirs: String, mine: String },
}

/// The first difference between a manifest as it was received and as it was understood.
fn first_difference(name: &str, theirs: &Value, mine: &Value) -> Option<Difference> {
    match (theirs, mine) {
        (Value::Object(theirs), Value::Object(mine)) => theirs.iter().find_map(|(key, value)| {
            let name = if name.is_empty() { plain(key) } else { format!("{name}.{}", plain(key)) };
            match mine.get(key) {
                None => Some(Difference::Unknown(name)),
                Some(known) => first_difference(&name, value, known),
            }
        }),
        (Value::Array(theirs), Value::Array(mine)) => {
            theirs.iter().zip(mine).find_map(|(theirs, mine)| first_difference(name, theirs, mine))
        }
        (Value::Number(theirs), Value::Number(mine)) if !is_same(theirs, mine) => {
            let (name, theirs, mine) = (name.to_owned(), theirs.to_string(), mine.to_string());
            Some(Difference::Number { name, theirs, mine })
        }
        _ => None,
    }
}

/// Whether two numbers are written alike, or mean the same as single precision's shortest form does.
fn is_same(a: &serde_json::Number, b: &serde_json::Number) -> bool {
    a == b || a.to_string() == b.to_string() || a.as_f64() == b.as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::fixture::FIXTURE;

    /// A Welcome whose manifest is changed after it was hashed.
    fn welcome(build: &str, change: impl Fn(String) -> String) -> pb::Welcome {
        let manifest = &FIXTURE.manifest;
        pb::Welcome {
            manifest_json: change(serde_json::to_string(manifest).unwrap()),
            manifest_hash: manifest.hash(),
            build: build.to_owned(),
            ..pb::Welcome::default()
        }
    }

    #[track_caller]
    fn says(build: &str, change: impl Fn(String) -> String, parts: &[&str]) {
        // Whatever the coordinator hashed is more, or other, than what this worker understands.
        let welcome = pb::Welcome { manifest_hash: "00".repeat(32), ..welcome(build, change) };
        let text = read(&welcome).unwrap_err().to_string();
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
    }

    #[test]
    fn a_manifest_that_arrives_as_it_was_is_taken() {
        assert_eq!(read(&welcome("nn 9.9.9", |json| json)).unwrap().hash(), FIXTURE.manifest.hash());
    }

    #[test]
    fn the_reason_is_told_from_others() {
        let seed = |json: String| {
            let at = json.find("\"seed\":").unwrap() + 7;
            format!("{}{}", &json[..at], json[at..].replacen(|c: char| c.is_ascii_digit(), "8", 1))
        };
        says(BUILD, seed, &["does not match its hash", "changed on its way"]);
        says("nn 9.9.9", seed, &["the coordinator is nn 9.9.9", "the same version"]);
        let newer = |json: String| json.replacen('{', "{\"relays\":{\"hops\":4},", 1);
        says("nn 9.9.9", newer, &["has \"relays\"", "does not know", "nn 9.9.9", "the same version"]);
        let activation = |json: String| json.replacen("\"sigmoid\"", "\"mish\"", 1);
        says("nn 9.9.9", activation, &["mish", "does not know", "nn 9.9.9"]);
        says(BUILD, activation, &["describes no run", "mish"]);
        // As if this machine's arithmetic were another: a number that single precision cannot hold.
        let number = |json: String| {
            let at = json.find("\"learning_rate\":").unwrap() + 16;
            let end = at + json[at..].find([',', '}']).unwrap();
            format!("{}0.30000000000000004{}", &json[..at], &json[end..])
        };
        says(BUILD, number, &["arithmetic is another", "learning_rate", "0.30000000000000004", "nn doctor"]);
        says(BUILD, |_| "no JSON".to_owned(), &["describes no run"]);
    }
}
