//! Fuzzes the training sets in a worker's cache; see `check_training_set`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nn_net::fuzzing::{check_training_set, seeds};
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a temporary folder"));

fuzz_target!(
    init: nn_fuzz::plant("training_set", &seeds("training_set")),
    |bytes: &[u8]| check_training_set(bytes, FOLDER.path())
);
