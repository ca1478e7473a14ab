//! Fuzzes data sets in archives; see `check_archive`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nn_data::fuzzing::{check_archive, seeds};
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a temporary folder"));

fuzz_target!(
    init: nn_fuzz::plant("archive", &seeds("archive")),
    |bytes: &[u8]| check_archive(bytes, FOLDER.path())
);
