//! Fuzzes configuration files: an accepted one survives being printed and parsed again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nn::config::{file, print, validate};

fuzz_target!(
    init: nn_fuzz::plant("config", &nn_fuzz::configurations()),
    |bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let short = |error: nn::failure::Failure| assert!(error.to_string().len() <= 16 << 10, "{error}");
        let (options, origins) = match file::parse("run.toml", text) {
            Ok(parsed) => parsed,
            Err(error) => return short(error),
        };
        match validate(&options, &origins) {
            Err(error) => short(error),
            Ok(settings) => {
                let printed = print(&settings).expect("a parsed file contains only text");
                let (again, origins) = file::parse("run.toml", &printed).expect("our own output is valid");
                let again = validate(&again, &origins).expect("the configuration was accepted");
                assert_eq!(again.options, settings.options);
            }
        }
    }
);
