//! Checkpoints of older versions still work: those in `tests/golden`, which the script there made with an older version,
//! can be read, describe the same run, and resume to the older version's final weights.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::Place;
use nn::store::ModelFile;
use nn_engine::Manifest;

/// A run of 3 epochs on the digits; its checkpoint after step 96 is in `tests/golden`.
struct Golden {
    name: &'static str,
    config_hash: &'static str,
    /// The hash of the final parameters.
    params: &'static str,
    options: &'static str,
}

const GOLDENS: [Golden; 5] = [
    Golden {
        name: "default",
        config_hash: "56f9ce0bdb526bcfd244fbe382bf86def48c5f5a183d7f4f3daea2f567e0712b",
        params: "2fc4ce39d04e7c1b14f633e9b4a8645af1a9be09822d8dba614d6db20de7cb4c",
        options: "--seed 1",
    },
    Golden {
        name: "momentum",
        config_hash: "ac51c5645aad6a18de06fecb12e2f6210a4495d0b530825daad0e0c00a69d4fe",
        params: "b7e2a650afa305442b9164e82164d9bcf8bfb398bd2bca45d19f52397909af47",
        options: "--hidden 12 --optimizer momentum --momentum 0.8 --schedule step --step-epochs 1 --step-factor 0.3 \
                  --warmup-steps 7",
    },
    Golden {
        name: "adamw",
        config_hash: "01799897e91e5e6f5d1882ba5cc72c772de502ef6139f69031678aac7810f864",
        params: "4f3ebcb9f16e687349ec3f0e368f2019aba2815fb3c6cb49edc6706a2df2f4ee",
        options: "--hidden 9,7 --activation relu --cost cross-entropy --optimizer adamw --weight-decay 0.02 \
                  --schedule cosine --cosine-floor 0.05",
    },
    Golden {
        name: "nesterov",
        config_hash: "a2b1d1edf80358f48284993411c75ecfdf86e8694e86139b39a0d621c8273198",
        params: "df1a5f60324ef43aaa15cb417d085023c01d72b6b1fc2e619c6db912c0d8ee85",
        options: "--hidden none --output softmax --cost cross-entropy --optimizer nesterov --batch-size 32 \
                  --shard-size 5 --seed 99",
    },
    Golden {
        name: "adam",
        config_hash: "ef4218708272e4923f2aa303770e06381b857cd7631a7c27c6a458e14f6afe63",
        params: "3db442c67bfe7cb902603a384644eb65edbf8833607a9b420fe867d38c1b6f1a",
        options: "--hidden 8 --activation tanh --init xavier --optimizer adam --epsilon 1e-7 --beta1 0.85 --l2 0.25 \
                  --learning-rate 0.003",
    },
];

fn path_of(golden: &Golden) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{}.safetensors", golden.name))
}

#[test]
fn an_old_checkpoint_describes_the_same_run_in_the_same_bytes() {
    for golden in &GOLDENS {
        let path = path_of(golden);
        let file = ModelFile::read_checkpoint(&path).unwrap();
        let manifest = Manifest::new(file.run.manifest.clone()).unwrap();
        assert_eq!((manifest.hash().as_str(), file.run.step), (golden.config_hash, 96), "{}", golden.name);
        assert_eq!(file.run.config_hash, golden.config_hash, "{}", golden.name);
        let written = file.to_bytes().unwrap();
        assert_eq!(ModelFile::from_bytes(&written, &path).unwrap(), file, "{}", golden.name);
        // Writing the file again gives the same bytes, except for the name `adam-w`, which is now `adamw`.
        let same = written == fs::read(&path).unwrap();
        assert_eq!(same, golden.name != "adamw", "{} is not written as before", golden.name);
    }
}

#[test]
fn an_old_checkpoint_resumes_to_the_old_weights() {
    for golden in &GOLDENS {
        let place = Place::new();
        let bytes = fs::read(path_of(golden)).unwrap();
        place.file("run/checkpoints/step-000000000096.safetensors", bytes);
        let ran = place.nn(&format!("train --resume --epochs 3 --out run {}", golden.options)).ok();
        assert!(ran.stdout.contains("step 96") || ran.stderr.contains("step 96"), "{ran:#?}");
        assert_eq!(place.hash("run"), golden.params, "{}", golden.name);
        assert_eq!(place.summary("run")["config_hash"], golden.config_hash, "{}", golden.name);
    }
}
