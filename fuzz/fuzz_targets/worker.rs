//! Fuzzes messages to a worker; see `check_worker`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nn_net::fuzzing::{check_worker, seeds};

fuzz_target!(
    init: nn_fuzz::plant("worker", &seeds("worker")),
    |bytes: &[u8]| check_worker(bytes, None)
);
