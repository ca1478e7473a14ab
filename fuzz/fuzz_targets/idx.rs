//! Fuzzes IDX; see `check_idx`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nn_data::fuzzing::{check_idx, seeds};

fuzz_target!(
    init: nn_fuzz::plant("idx", &seeds("idx")),
    |bytes: &[u8]| check_idx(bytes)
);
