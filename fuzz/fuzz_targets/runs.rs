//! Fuzzes the messages of a sweep in both directions; see `check_runs`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nn_net::fuzzing::{check_runs, seeds};

fuzz_target!(
    init: nn_fuzz::plant("runs", &seeds("runs")),
    |bytes: &[u8]| check_runs(bytes)
);
