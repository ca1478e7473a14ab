//! Sealing JSON: the first field of an object is the SHA-256 of its other fields.

use sha2::{Digest, Sha256};

/// The start of a sealed object, up to the hash.
const SEAL: &str = "{\"metadata_sha256\":\"";

/// Adds the hash of a JSON object in front of its fields.
pub(super) fn sealed(object: &str) -> String {
    format!("{SEAL}{}\",{}", text_sha256(object), &object[1..])
}

/// The object without the hash; `None` if the hash is missing or wrong.
pub(super) fn unsealed(text: &str) -> Option<String> {
    let (hash, rest) = text.strip_prefix(SEAL)?.split_at_checked(64)?;
    let object = format!("{{{}", rest.strip_prefix("\",")?);
    (text_sha256(&object) == hash).then_some(object)
}

fn text_sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}
