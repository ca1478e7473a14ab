//! Fuzzes NPY; see `check_npy`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nn_data::fuzzing::{check_npy, seeds};

fuzz_target!(
    init: nn_fuzz::plant("npy", &seeds("npy")),
    |bytes: &[u8]| check_npy(bytes)
);
