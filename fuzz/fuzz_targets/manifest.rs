//! Fuzzes run manifests; see `check_manifest`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nn_net::fuzzing::{check_manifest, seeds};

fuzz_target!(
    init: nn_fuzz::plant("manifest", &seeds("manifest")),
    |bytes: &[u8]| check_manifest(bytes)
);
