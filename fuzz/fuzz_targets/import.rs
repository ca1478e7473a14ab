//! Fuzzes networks of other programs: an accepted one has finite weights, and its model file survives being written and read.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use nn::exchange::{Said, from_bytes};
use nn::store::ModelFile;

fuzz_target!(
    init: nn_fuzz::plant("import", &nn_fuzz::networks()),
    |bytes: &[u8]| {
        let Some((&how, bytes)) = bytes.split_first() else { return };
        let activation = (how & 1 == 1).then_some(nn_core::Activation::Relu);
        let said = Said { activation, ..Said::default() };
        let external = |_: &str, _: u64, length: u64| match length {
            0..=4096 => Ok(vec![0; length as usize]),
            _ => Err("is too long".to_owned()),
        };
        let model = match from_bytes(bytes.to_vec(), Path::new("x"), &said, &external) {
            Ok(import) => import.model,
            Err(error) => return assert!(error.to_string().len() <= 16 << 10, "{error}"),
        };
        assert!(model.params.iter().all(|x| x.is_finite()));
        let written = model.to_bytes().expect("an accepted network can be written");
        assert_eq!(ModelFile::from_bytes(&written, Path::new("x")).expect("our own output is valid"), model);
    }
);
