//! Fuzzes models and checkpoints: an accepted file survives being written and read again, and a run can resume from it.
//!
//! A file contains SHA-256 hashes of itself, which no fuzzer guesses. The input therefore consists of parts from which the
//! file is assembled with correct hashes, unless the first byte says that the rest is a whole file.
#![no_main]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use nn::store::ModelFile;
use nn_core::{Isa, Threads};
use nn_engine::{Compute, Engine, Manifest};

fuzz_target!(
    init: nn_fuzz::plant("model_file", &nn_fuzz::models()),
    |bytes: &[u8]| {
        let Some((&how, bytes)) = bytes.split_first() else { return };
        let file = if how & 1 == 0 { nn_fuzz::sealed(bytes) } else { bytes.to_vec() };
        let file = match ModelFile::from_bytes(&file, Path::new("x")) {
            Ok(file) => file,
            Err(error) => return assert!(error.to_string().len() <= 16 << 10, "{error}"),
        };
        let written = file.to_bytes().expect("an accepted file can be written");
        let again = ModelFile::from_bytes(&written, Path::new("x")).expect("our own output is valid");
        assert_eq!(again.to_bytes().expect("an accepted file can be written"), written);
        let Ok(manifest) = Manifest::new(file.run.manifest.clone()) else { return };
        let moments = file.moments.iter().map(Vec::len).sum::<usize>();
        if manifest.model().parameters() > 1 << 12 || manifest.parts().train_samples > 1 << 16 || moments == 0 {
            return;
        }
        let compute = Compute { isa: Isa::best(), threads: Arc::new(Threads::new(1).expect("a thread")) };
        let mut engine = Engine::new(manifest, compute, Duration::ZERO);
        if engine.restore(file.snapshot()).is_ok() {
            assert!(engine.params().iter().all(|x| x.is_finite()));
        }
    }
);
