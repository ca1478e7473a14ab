//! Fuzzes CSV; see `check_csv`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nn_data::fuzzing::{check_csv, seeds};

fuzz_target!(
    init: nn_fuzz::plant("csv", &seeds("csv")),
    |bytes: &[u8]| check_csv(bytes)
);
