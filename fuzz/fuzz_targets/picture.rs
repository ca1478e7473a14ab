//! Fuzzes PNG and JPEG of any size, as `nn predict` reads them: an accepted picture gives one number from 0 to 1 for each
//! input of the network.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use nn::picture::{Field, Invert, from_bytes};

fuzz_target!(
    init: nn_fuzz::plant("picture", &nn_fuzz::pictures()),
    |bytes: &[u8]| {
        let (Some(&how), picture) = (bytes.first(), bytes.get(1..).unwrap_or_default()) else { return };
        let invert = [Invert::Auto, Invert::Yes, Invert::No][usize::from(how % 3)];
        let (height, width) = [(28, 28), (8, 8), (1, 1), (5, 40)][usize::from(how / 3 % 4)];
        // A few bytes can claim to be a picture so large that decoding it takes seconds.
        if nn_fuzz::claims(picture).is_some_and(|pixels| pixels > 1 << 20 && pixels <= 64_000_000) {
            return;
        }
        match from_bytes(picture, Path::new("x"), Field::new(height, width), invert) {
            Err(error) => assert!(error.to_string().len() <= 4096, "{error}"),
            Ok(picture) => {
                let ink = picture.pixels;
                assert_eq!(ink.len(), height * width);
                assert!(ink.iter().all(|x| (0.0..=1.0).contains(x)), "{ink:?}");
            }
        }
    }
);
