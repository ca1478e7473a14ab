//! Fuzzes tables and their preparation; see `check_table`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nn_data::fuzzing::{check_table, seeds};
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a temporary folder"));

fuzz_target!(
    init: nn_fuzz::plant("table", &seeds("table")),
    |bytes: &[u8]| check_table(bytes, FOLDER.path())
);
