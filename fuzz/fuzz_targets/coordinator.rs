//! Fuzzes messages to a coordinator; see `check_coordinator`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nn_net::fuzzing::{check_coordinator, seeds};

fuzz_target!(
    init: nn_fuzz::plant("coordinator", &seeds("coordinator")),
    |bytes: &[u8]| check_coordinator(bytes)
);
