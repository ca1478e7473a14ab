//! Fuzzes gRPC frames in both directions; see `check_stream`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nn_net::fuzzing::{check_stream, seeds};

fuzz_target!(
    init: nn_fuzz::plant("stream", &seeds("stream")),
    |bytes: &[u8]| check_stream(bytes)
);
