//! The law: placement never changes the result. The weights are the same, bit for bit, for any number of threads and any
//! instruction set. The tests run the real program, as a user does.

#![allow(clippy::print_stdout)] // tests that are skipped say why

mod common;

use std::path::Path;
#[cfg(target_os = "linux")]
use std::process::Command;

use common::{Place, linear_csv, noise};
use nn::store::ModelFile;
use nn_core::reference::{self, Hyperparameters};
use nn_core::{Activation, Cost, Init, Model, Output, Regularization, initial_parameters};
use nn_data::{LoadOptions, Silent};
use nn_engine::params_sha256;

/// Fewer threads than most machines have and more, even and odd.
const THREADS: [usize; 5] = [1, 2, 3, 5, 8];

/// Fewer for the portable code, which is thirty times slower and divides work among threads as the others do.
const THREADS_OF_PORTABLE: [usize; 2] = [1, 3];

/// AVX2 with a matrix unit in plain code, which only bf16 uses.
const EMULATED: &str = "avx2-tiles";

/// The results of a run: the hashes of the weights and the bits of the losses after each epoch, and the final hash.
#[derive(Debug, PartialEq)]
struct Trace {
    hashes: Vec<String>,
    losses: Vec<(u64, u64)>,
    last: String,
}

fn trace(place: &Place, arguments: &str, isa: &str, threads: usize) -> Trace {
    let fixed = format!("train --quiet --out run --overwrite --threads {threads} {arguments}");
    let output = place.command(fixed.split_whitespace()).env("NN_ISA", isa).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{fixed} on {isa}: {output:?}");
    let summary = place.summary("run");
    assert_eq!((&summary["isa"], &summary["threads"]), (&isa.into(), &threads.into()));
    let metrics = place.metrics("run");
    let bits = |x: &serde_json::Value| x.as_f64().expect("a loss").to_bits();
    Trace {
        hashes: metrics.iter().map(|line| line["params_sha256"].as_str().unwrap().to_owned()).collect(),
        losses: metrics.iter().map(|line| (bits(&line["train_loss"]), bits(&line["test_loss"]))).collect(),
        last: place.hash("run"),
    }
}

/// The instruction sets of this processor, slowest first.
fn isas() -> Vec<&'static str> {
    let place = Place::new();
    let has = |isa: &&str| {
        let arguments = ["train", "--quiet", "--epochs", "1", "--out", "try", "--overwrite"];
        let output = place.command(arguments).env("NN_ISA", isa).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) => true,
            Some(2) if stderr.contains("NN_ISA") => false,
            _ => panic!("{isa}: {output:?}"),
        }
    };
    let isas: Vec<&str> = ["portable", EMULATED, "avx2", "avx512", "amx"].into_iter().filter(has).collect();
    assert!(isas.contains(&"portable"), "portable code runs everywhere");
    isas
}

/// Fails unless all numbers of threads and all of `isas` give the same results for each configuration.
fn holds(place: &Place, configurations: &[&str], isas: &[&str]) {
    for arguments in configurations {
        let best = isas[isas.len() - 1];
        let want = trace(place, arguments, best, 1);
        assert!(!want.hashes.is_empty() && want.hashes.last() == Some(&want.last), "{arguments}");
        for isa in isas.iter().filter(|&&isa| isa != EMULATED || arguments.contains("bf16")) {
            let threads = if *isa == "portable" { &THREADS_OF_PORTABLE[..] } else { &THREADS };
            for &threads in threads {
                let got = trace(place, arguments, isa, threads);
                assert_eq!(got, want, "{arguments}: {isa} on {threads} threads, {best} on 1");
            }
        }
    }
}

#[test]
fn the_law_holds_for_activations_costs_and_outputs() {
    let configurations = [
        "--epochs 2",
        "--epochs 2 --cost cross-entropy",
        "--epochs 2 --activation relu",
        "--epochs 2 --activation relu --cost cross-entropy",
        "--epochs 2 --activation tanh",
        "--epochs 2 --activation tanh --cost cross-entropy --output sigmoid",
        "--epochs 2 --cost cross-entropy --output softmax",
        "--epochs 2 --output softmax",
        "--epochs 2 --output linear --learning-rate 0.01",
        "--epochs 2 --hidden none --cost cross-entropy --output softmax",
        "--epochs 2 --hidden 17,1,23 --activation tanh --init normal",
        "--epochs 2 --hidden 33,31 --activation relu --init xavier",
    ];
    holds(&Place::new(), &configurations, &isas());
}

#[test]
fn the_law_holds_for_optimizers_penalties_and_schedules() {
    let configurations = [
        "--epochs 3 --l2 5",
        "--epochs 3 --optimizer momentum",
        "--epochs 3 --optimizer momentum --momentum 0.5 --l2 1 --batch-size 37",
        "--epochs 3 --optimizer nesterov --cost cross-entropy",
        "--epochs 3 --optimizer adam --batch-size 32",
        "--epochs 3 --optimizer adam --l2 2 --beta1 0.8 --beta2 0.99 --epsilon 1e-5 --batch-size 37",
        "--epochs 3 --optimizer adamw --weight-decay 0.1 --activation relu --cost cross-entropy",
        "--epochs 3 --schedule step --step-epochs 1 --step-factor 0.5 --warmup-steps 100",
        "--epochs 3 --schedule cosine --warmup-steps 200 --optimizer adam",
        "--epochs 3 --schedule cosine --cosine-floor 0.1 --optimizer nesterov",
        "--epochs 6 --schedule plateau --plateau-evaluations 1 --validation-fraction 0.1 --learning-rate 8",
        "--epochs 3 --schedule one-cycle --one-cycle-divisor 10 --optimizer momentum",
        "--epochs 3 --clip-norm 0.2 --batch-size 37 --l2 1",
        "--epochs 3 --max-norm 1 --batch-size 37 --ema 0.9",
        "--epochs 2 --max-norm 0.8 --clip-norm 0.5 --optimizer adamw --hidden 1100,515 --batch-size 97",
        "--epochs 3 --ema 0.99 --optimizer momentum --validation-fraction 0.1",
        "--epochs 2 --clip-norm 0.5 --ema 0.9 --optimizer adamw --hidden 515,257 --batch-size 97",
    ];
    holds(&Place::new(), &configurations, &isas());
}

#[test]
fn the_law_holds_for_regularization() {
    let configurations = [
        "--epochs 3 --dropout 0.3 --hidden 33,31 --activation relu --cost cross-entropy",
        "--epochs 3 --input-dropout 0.2 --label-smoothing 0.1 --batch-size 37",
        "--epochs 3 --activation gelu --cost cross-entropy --optimizer adamw --clip-samples 0.5",
        "--epochs 3 --activation silu --hidden 20,10 --dropout 0.1 --precision bf16 --batch-size 37",
        "--epochs 3 --activation leaky-relu --cost huber --output linear",
        "--epochs 3 --augment affine,elastic --hidden 20",
        "--epochs 3 --augment affine --hidden 20 --standardize yes --input-dropout 0.1",
        "--epochs 2 --hidden 20 --standardize yes --precision bf16 --rounds 4 --replicas 4",
        "--epochs 2 --dp-noise 1.3 --dp-clip 0.5 --seed 90210 --optimizer adam --batch-size 37 --hidden 70,60",
        "--epochs 2 --dp-noise 0.7 --dp-clip 2 --seed 90210 --hidden 515,257 --batch-size 97 --ema 0.9",
        "--epochs 3 --augment rotation=30,flip --precision bf16 --batch-size 37 --dropout 0.2",
        "--epochs 3 --augment elastic,shift=3 --rounds 3 --replicas 8 --input-dropout 0.1",
        "--epochs 2 --activation gelu --dropout 0.2 --input-dropout 0.1 --label-smoothing 0.2 --clip-samples 1 \
         --rounds 5 --replicas 4 --batch-size 16",
    ];
    holds(&Place::new(), &configurations, &isas());
}

#[test]
fn the_law_holds_for_layer_normalisation() {
    let configurations = [
        "--epochs 3 --normalization layer",
        "--epochs 3 --normalization layer --hidden 33,31,2 --activation relu --cost cross-entropy --optimizer adamw \
         --weight-decay 0.1 --batch-size 37 --shard-size 7",
        "--epochs 2 --normalization layer --hidden 20,10 --activation silu --precision bf16 --dropout 0.2 --clip-samples 0.5",
        "--epochs 2 --normalization layer --hidden 40,30 --activation gelu --augment affine --clip-norm 0.3 --ema 0.9 --l2 2",
        "--epochs 2 --normalization layer --rounds 5 --replicas 4 --delta-bits 4 --batch-size 16 --activation relu \
         --cost cross-entropy",
        "--epochs 1 --normalization layer --hidden 515,257 --batch-size 97 --precision bf16",
    ];
    holds(&Place::new(), &configurations, &isas());
}

#[test]
fn the_law_holds_for_rounds() {
    let configurations = [
        "--epochs 3 --rounds auto",
        "--epochs 3 --rounds 5 --replicas 2 --batch-size 37 --shard-size 5",
        "--epochs 3 --rounds 3 --replicas 8 --delta-bits 4 --activation relu --cost cross-entropy --hidden 33,31",
        "--epochs 3 --rounds 16 --replicas 4 --delta-bits 32 --optimizer adam --schedule cosine",
        "--epochs 3 --rounds 5 --replicas 2 --schedule one-cycle --one-cycle-rise 0.5",
        "--epochs 3 --rounds 3 --replicas 4 --max-norm 0.9 --batch-size 37 --hidden 70,60",
        "--epochs 3 --rounds 3 --replicas 4 --clip-norm 0.2 --ema 0.98 --batch-size 37 --hidden 70,60",
        "--epochs 3 --rounds auto --replicas 16 --optimizer momentum --l2 2 --outer-momentum 0.9 \
         --outer-learning-rate 0.7 --wsd-decay 0.5 --learning-rate 0.1",
    ];
    holds(&Place::new(), &configurations, &isas());
}

#[test]
fn the_law_holds_for_batches_and_shards_that_do_not_divide() {
    let configurations = [
        "--epochs 2 --batch-size 1",
        "--epochs 2 --batch-size 37",
        "--epochs 2 --batch-size 37 --shard-size 1",
        "--epochs 2 --batch-size 37 --shard-size 7",
        "--epochs 2 --batch-size 37 --shard-size 36",
        "--epochs 2 --batch-size 37 --shard-size 37",
        "--epochs 2 --batch-size 100 --shard-size 3",
        "--epochs 2 --batch-size 256 --shard-size 5 --hidden 64,32",
        "--epochs 2 --batch-size 1437",
        "--epochs 2 --batch-size 5000 --shard-size 13",
    ];
    holds(&Place::new(), &configurations, &isas());
}

/// The networks above are so small that one thread is the fastest; these are not.
#[test]
fn the_law_holds_for_networks_that_need_threads() {
    let configurations = [
        "--epochs 1 --hidden 256,128 --batch-size 256 --activation relu --cost cross-entropy",
        "--epochs 1 --hidden 300 --batch-size 500 --shard-size 125 --optimizer adam",
        "--epochs 1 --hidden 515,257 --batch-size 97 --shard-size 97",
    ];
    holds(&Place::new(), &configurations, &isas());
}

#[test]
fn the_law_holds_for_bf16() {
    let configurations = [
        "--precision bf16 --epochs 2",
        "--precision bf16 --epochs 2 --activation relu --cost cross-entropy --batch-size 64",
        "--precision bf16 --epochs 2 --activation tanh --optimizer adam --batch-size 37 --shard-size 7",
        "--precision bf16 --epochs 1 --hidden 256,128 --batch-size 256 --activation relu --cost cross-entropy",
        "--precision bf16 --epochs 3 --rounds auto --activation relu --cost cross-entropy --batch-size 32",
    ];
    holds(&Place::new(), &configurations, &isas());
}

#[test]
fn the_law_holds_for_regression() {
    let place = Place::new();
    let _ = place.file("line.csv", linear_csv(301));
    let configurations = [
        "--data line.csv --epochs 3",
        "--data line.csv --epochs 3 --activation tanh --hidden 20,10 --batch-size 37 --optimizer adam",
    ];
    holds(&place, &configurations, &isas());
}

#[test]
fn the_law_holds_for_mnist() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/mnist");
    if !data.is_dir() {
        println!("skipped: there is no MNIST in {}", data.display());
        return;
    }
    // Portable code takes half a minute for this, and the digits above have covered it.
    let isas: Vec<&str> = isas().into_iter().filter(|isa| *isa != "portable").collect();
    if isas.is_empty() {
        println!("skipped: only portable code runs on this processor, and it is too slow for MNIST");
        return;
    }
    let arguments = format!("--epochs 1 --hidden 100 --batch-size 128 --data {}", data.display());
    holds(&Place::new(), &[&arguments], &isas);
}

/// The hash of the weights of the default run. If it changes, the arithmetic has changed: old checkpoints resume to
/// different weights, and old and new workers cannot work together. That is a decision, and belongs in the changelog.
const DEFAULT_RUN: &str = "7d5da3fdd5c6d68d6ccb0c81f0ddea5026ba5f225e29de45953970ea498a9fb8";

#[test]
fn the_default_run_has_the_pinned_weights() {
    let place = Place::new();
    let _ = place.nn("train --out run").ok();
    assert_eq!(place.hash("run"), DEFAULT_RUN);
}

/// The weights that the seed gives, as a model to begin with: it makes no difference where they come from.
#[test]
fn a_model_with_the_weights_of_the_seed_leads_to_the_weights_of_the_default_run() {
    let place = Place::new();
    let _ = place.nn("train --quiet --epochs 1 --out base").ok();
    let path = place.at("base/model.safetensors");
    let mut model = ModelFile::read(&path).unwrap();
    model.params = initial_parameters(&model.model, Init::Scaled, 1);
    model.write(&path).unwrap();
    let _ = place.nn("train --quiet --from base/model.safetensors --out run").ok();
    assert_eq!(place.hash("run"), DEFAULT_RUN);
    assert_eq!(place.summary("run")["initial_sha256"], params_sha256(&model.params));
    for rest in ["--rounds 4", "--optimizer adam --ema 0.9 --precision bf16"] {
        for (out, from) in [("drawn", ""), ("brought", "--from base/model.safetensors")] {
            let _ = place.nn(&format!("train --quiet --epochs 2 --out {out} --overwrite {rest} {from}")).ok();
        }
        assert_eq!(place.hash("drawn"), place.hash("brought"), "{rest}");
        assert_ne!(place.summary("drawn")["config_hash"], place.summary("brought")["config_hash"]);
    }
}

#[test]
fn the_law_holds_for_runs_that_begin_with_a_model() {
    let place = Place::new();
    let _ = place.nn("train --quiet --epochs 2 --hidden 20,10 --activation tanh --out base").ok();
    let configurations = [
        "--from base/model.safetensors --epochs 1 --optimizer adamw --ema 0.9 --dropout 0.2 --batch-size 37",
        "--from base/model.safetensors --epochs 1 --rounds 4 --replicas 4 --precision bf16",
    ];
    holds(&place, &configurations, &isas());
}

/// A library that is loaded before the program sets the floating-point mode of the first thread, which all others inherit. It
/// proves in a file that it worked.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
const MODE_SETTER: &str = r#"
#include <stdio.h>
#include <stdlib.h>
__attribute__((constructor)) static void set_mode(void) {
    const char *proof = getenv("PROOF_OF_MODE");
    if (!proof) return;
#ifdef __x86_64__
    unsigned mode = MODE_X86;
    __asm__ volatile("ldmxcsr %0" : : "m"(mode));
#else
    unsigned long mode = MODE_ARM;
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#endif
    volatile float tiny = 1e-20f, less = 1e-22f, large = 1e30f, one = 1.0f;
    FILE *file = fopen(proof, "w");
    fprintf(file, "%d %d", tiny * less * large > 0, one + tiny > one);
    fclose(file);
}
"#;

/// The numbers are so small that Adam's second moments are below the normal ones.
#[test]
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn a_library_that_changes_the_floating_point_mode_changes_no_weight() {
    let place = Place::new();
    if Command::new("cc").arg("--version").output().is_err() {
        println!("skipped: there is no C compiler");
        return;
    }
    let mut table = String::from("a,b,label\n");
    for row in 0..60 {
        let [a, b] = [0, 1].map(|column| (noise(2 * row + column) + 0.2) * 7e-19);
        table += &format!("{a:e},{b:e},{}\n", u8::from(a > b));
    }
    let _ = place.file("tiny.csv", table);
    let _ = place.file("mode.c", MODE_SETTER);
    let run = "--data tiny.csv --recipe book --standardize no --optimizer adam --epsilon 1e-30 --epochs 3 --threads 2";
    let _ = place.nn(&format!("train --quiet --out calm {run}")).ok();
    let mut proofs = Vec::new();
    // Flush to zero with denormals as zeros, and rounding upwards.
    for (name, x86, arm) in [("flush", "0x9fc0", "1ul << 24"), ("up", "0x5f80", "1ul << 22")] {
        let library = place.at(format!("{name}.so"));
        let mut compiler = Command::new("cc");
        let _ = compiler.args([
            "-shared",
            "-fPIC",
            &format!("-DMODE_X86={x86}"),
            &format!("-DMODE_ARM={arm}"),
            "-o",
        ]);
        let compiled = compiler.arg(&library).arg(place.at("mode.c")).output().unwrap();
        assert!(compiled.status.success(), "{compiled:?}");
        let arguments = format!("train --quiet --out {name} {run}");
        let output = place
            .command(arguments.split_whitespace())
            .env("LD_PRELOAD", &library)
            .env("PROOF_OF_MODE", place.at(name.to_owned() + ".proof"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        proofs.push(std::fs::read_to_string(place.at(name.to_owned() + ".proof")).unwrap());
        assert_eq!(place.hash(name), place.hash("calm"), "{name}");
    }
    assert_eq!(proofs, ["0 0", "1 1"], "the library did not set the modes");
}

#[test]
fn the_reference_gives_the_weights_of_the_default_run() {
    let data = nn_data::load(&"digits".parse().unwrap(), &LoadOptions::default(), &Silent).unwrap().train;
    let model = Model::new(vec![64, 30, 10], Activation::Sigmoid, Output::Sigmoid, Cost::Mse).unwrap();
    let params = reference::train(
        &model,
        &data,
        &Hyperparameters {
            init: Init::Scaled,
            seed: 1,
            epochs: 30,
            batch_size: 10,
            shard_size: 2,
            learning_rate: 3.0,
            l2: 0.0,
            regularization: Regularization::default(),
            clip_norm: None,
            max_norm: None,
            ema: None,
        },
    );
    assert_eq!(params_sha256(&params), DEFAULT_RUN);
}

#[test]
fn options_that_describe_the_run_change_the_weights_and_others_do_not() {
    let place = Place::new();
    let hash = |arguments: &str| {
        let _ = place.nn(&format!("train --quiet --epochs 2 --out run --overwrite {arguments}")).ok();
        let summary = place.summary("run");
        let text = |name: &str| summary[name].as_str().unwrap().to_owned();
        (text("params_sha256"), text("config_hash"))
    };
    let base = hash("");
    for same in [
        "--eval-every 2",
        "--checkpoint-seconds 0",
        "--checkpoint-steps 7 --keep-checkpoints 1 --log-steps 3",
        "--threads 7",
        "--batch-size 10",
        "--seed 1",
    ] {
        assert_eq!(hash(same), base, "{same}");
    }
    for other in [
        "--seed 2",
        "--shard-size 3",
        "--batch-size 11",
        "--learning-rate 2.9999998",
        "--l2 0.001",
        "--dropout 0.1",
        "--input-dropout 0.1",
        "--label-smoothing 0.1",
        "--clip-samples 0.01",
        "--activation leaky-relu",
        "--augment shift=1",
        "--normalization layer",
        "--clip-norm 0.1",
        "--max-norm 0.9",
        "--ema 0.99",
        "--init normal",
        "--hidden 31",
        "--optimizer adam",
        "--warmup-steps 1000",
        "--schedule one-cycle",
        "--test-fraction 0.25",
    ] {
        let (params, config) = hash(other);
        assert!(params != base.0 && config != base.1, "{other} changes nothing");
    }
}
