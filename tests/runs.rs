//! Whole runs: what they write and print, how they stop and resume, and how their models are used. The tests run the real
//! program, as a user does.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{NAMES, Place, Ran, four, idx, linear_csv, npy, npy_f32, png};
use safetensors::SafeTensors;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The SHA-256 of the little-endian numbers in a model file, layer by layer, weights before biases.
fn hash_of_tensors(bytes: &[u8], layers: usize) -> String {
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    let mut sha = Sha256::new();
    for layer in 0..layers {
        for name in ["weight", "bias"] {
            sha.update(tensors.tensor(&format!("layers.{layer}.{name}")).unwrap().data());
        }
    }
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_hash(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[test]
fn a_run_writes_the_files_and_fields_of_the_contract() {
    let place = Place::new();
    let ran = place.nn("train --epochs 4 --hidden 20,15 --out deep/er/run").ok();
    assert!(ran.stderr.is_empty(), "{ran:#?}");
    let epochs: Vec<&str> = ran.stdout.lines().filter(|line| line.starts_with("epoch ")).collect();
    assert_eq!(epochs.len(), 4, "{ran:#?}");
    assert!(epochs[3].starts_with("epoch 4/4  train loss 0."), "{ran:#?}");
    assert!(epochs[3].contains("test accuracy") && epochs[3].contains("samples/s"), "{ran:#?}");
    assert!(
        !ran.stdout.contains('\u{1b}') && !ran.stdout.contains('\r'),
        "there must be no colours without a terminal: {ran:#?}"
    );
    assert!(ran.stdout.contains("look closer: nn eval --model deep/er/run/model.safetensors\n"), "{ran:#?}");

    let summary = place.summary("deep/er/run");
    for name in ["params_sha256", "config_hash", "data_sha256", "arithmetic_fingerprint"] {
        assert!(is_hash(&summary[name]), "{name} in {summary:#}");
    }
    assert_eq!(summary["steps"], 4 * 144);
    assert_eq!(summary["epochs"], 4);
    assert_eq!(summary["outcome"], "complete");
    assert_eq!(summary["layers"], serde_json::json!([64, 20, 15, 10]));
    assert_eq!(summary["parameters"], 64 * 20 + 20 + 20 * 15 + 15 + 15 * 10 + 10);
    let number = |name: &str| summary[name].as_f64().unwrap_or_else(|| panic!("{name} in {summary:#}"));
    assert!(number("train_loss") > 0.0 && number("train_loss") < 0.5, "{summary:#}");
    assert!(number("test_accuracy") > 0.5 && number("test_accuracy") <= 1.0, "a fraction: {summary:#}");
    // Nothing is chosen, so nothing is best.
    for name in ["best_test_accuracy", "best_epoch", "best_validation_loss", "validation_loss"] {
        assert!(summary.get(name).is_none(), "{name} in {summary:#}");
    }
    assert!(number("samples_per_second") > 100.0, "{summary:#}");
    assert!(number("wall_seconds") > 0.0 && number("wall_seconds") < 600.0, "{summary:#}");

    let metrics = place.metrics("deep/er/run");
    assert_eq!(metrics.len(), 4);
    for (line, epoch) in metrics.iter().zip(1u64..) {
        assert_eq!((&line["epoch"], &line["steps"]), (&epoch.into(), &(epoch * 144).into()));
        assert!(is_hash(&line["params_sha256"]), "{line}");
    }
    for name in ["train_loss", "test_loss", "test_accuracy", "params_sha256"] {
        assert_eq!(metrics[3][name], summary[name], "{name}");
    }

    let bytes = fs::read(place.at("deep/er/run/model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut shapes: Vec<(String, Vec<usize>)> =
        tensors.iter().map(|(name, view)| (name.to_owned(), view.shape().to_vec())).collect();
    shapes.sort_unstable();
    let want = [
        ("layers.0.bias", vec![20]),
        ("layers.0.weight", vec![20, 64]),
        ("layers.1.bias", vec![15]),
        ("layers.1.weight", vec![15, 20]),
        ("layers.2.bias", vec![10]),
        ("layers.2.weight", vec![10, 15]),
    ];
    assert_eq!(shapes, want.map(|(name, shape)| (name.to_owned(), shape)));
    assert_eq!(hash_of_tensors(&bytes, 3), summary["params_sha256"].as_str().unwrap());
    place.no_halves();
}

#[test]
fn quiet_prints_nothing_and_eval_every_skips_evaluations() {
    let place = Place::new();
    let ran = place.nn("train --quiet --epochs 5 --eval-every 2 --out run").ok();
    assert!(ran.stdout.is_empty() && ran.stderr.is_empty(), "{ran:#?}");
    let tested: Vec<bool> = place.metrics("run").iter().map(|line| !line["test_loss"].is_null()).collect();
    assert_eq!(tested, [false, true, false, true, true], "every second epoch is evaluated, and the last");
}

#[test]
fn without_out_the_run_is_named_after_its_data() {
    let place = Place::new();
    let _ = place.file("my data.csv", linear_csv(30));
    let _ = place.command(["train", "--quiet", "--epochs", "1", "--data", "my data.csv"]).output().unwrap();
    assert!(place.at("runs/my data/summary.json").exists(), "{:?}", place.files());
}

#[test]
fn a_new_run_replaces_the_old_one_if_told_to() {
    let place = Place::new();
    let _ = place.nn("train --quiet --epochs 3 --out run").ok();
    let _ = place.file("run/notes.txt", "mine");
    let _ = place.nn("train --quiet --epochs 2 --seed 9 --out run --overwrite").ok();
    assert_eq!(place.metrics("run").len(), 2);
    let files = [
        "checkpoints/step-000000000288.safetensors",
        "metrics.jsonl",
        "model.safetensors",
        "notes.txt",
        "run.toml",
    ];
    let want: Vec<String> = files.iter().chain(&["summary.json"]).map(|name| format!("run/{name}")).collect();
    assert_eq!(place.files(), want, "the old run's files are removed, the user's own are kept");
}

/// A child process that is killed if the test fails.
struct Running {
    child: Child,
    lines: Box<dyn Iterator<Item = std::io::Result<String>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(place: &Place, arguments: &str) -> Self {
        let mut command = place.command(arguments.split_whitespace());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = Box::new(BufReader::new(child.stdout.take().unwrap()).lines());
        Self { child, lines }
    }

    /// Waits until it has printed the line of an epoch.
    #[track_caller]
    fn epoch(&mut self, epoch: u32) {
        let word = format!("{epoch}/");
        let done = self.lines.by_ref().map_while(Result::ok).any(|line| line.contains(&word));
        assert!(done, "it ended before epoch {epoch}: {:?}", self.child.wait());
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// Waits until it ends.
    fn end(mut self) -> Ran {
        let stdout = self.lines.by_ref().map_while(Result::ok).collect::<Vec<_>>().join("\n");
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        Ran { code: self.child.wait().unwrap().code(), stdout, stderr }
    }
}

/// The figures of a run that must not depend on how often it was stopped. A resumed run reads those that are not hashes
/// from decimal text, so only twelve digits of them are compared.
fn figures(place: &Place, out: &str) -> Vec<[String; 5]> {
    let names = ["epoch", "params_sha256", "train_loss", "test_loss", "test_accuracy"];
    place.metrics(out).iter().map(|line| names.map(|name| digits12(&line[name]))).collect()
}

fn digits12(value: &Value) -> String {
    value.as_f64().map_or_else(|| value.to_string(), |number| format!("{number:.11e}"))
}

#[cfg(unix)]
#[test]
fn a_stopped_run_resumes_as_if_nothing_had_happened() {
    for (arguments, signals) in [
        ("--batch-size 1 --epochs 60", ["TERM", "INT"]),
        ("--batch-size 3 --optimizer momentum --l2 1 --epochs 120 --schedule step", ["INT", "TERM"]),
        (
            "--batch-size 1 --optimizer adam --epochs 60 --schedule cosine --warmup-steps 900",
            ["TERM", "TERM"],
        ),
    ] {
        let place = Place::new();
        let _ = place.nn(&format!("train --quiet --out calm {arguments}")).ok();
        let train = format!("train --out run {arguments}");
        let mut within_an_epoch = false;
        for (signal, (epoch, resume)) in signals.into_iter().zip([(3, ""), (20, "--resume")]) {
            let mut running = Running::start(&place, &format!("{train} {resume}"));
            running.epoch(epoch);
            running.signal(signal);
            let ran = running.end().ok();
            assert!(ran.stderr.is_empty(), "{ran:#?}");
            let says = "to resume: nn train --resume --out run\n";
            assert!(ran.stdout.contains("stopped after step") && ran.stdout.contains(says), "{ran:#?}");
            let summary = place.summary("run");
            assert_eq!(summary["outcome"], "stopped");
            let steps = summary["steps"].as_u64().unwrap();
            let checkpoint = format!("run/checkpoints/step-{steps:012}.safetensors");
            assert!(place.at(checkpoint).exists(), "{:?}", place.files());
            within_an_epoch |= place.metrics("run").last().unwrap()["steps"] != steps;
            // The model of a stopped run can be used.
            let model = place.nn("eval --model run/model.safetensors --data digits --json").ok().json();
            assert_eq!(model["classification"]["accuracy"], summary["test_accuracy"]);
        }
        assert!(within_an_epoch, "both signals came exactly between two epochs, which is all but impossible");
        let ran = place.nn(&format!("{train} --resume")).ok();
        assert!(ran.stdout.contains("resuming after step"), "{ran:#?}");
        assert_eq!(place.hash("run"), place.hash("calm"), "{arguments}");
        assert_eq!(figures(&place, "run"), figures(&place, "calm"), "{arguments}");
        let (run, calm) = (place.summary("run"), place.summary("calm"));
        for name in ["config_hash", "steps", "epochs", "train_loss", "test_accuracy", "best_epoch"] {
            assert_eq!(digits12(&run[name]), digits12(&calm[name]), "{name} of {arguments}");
        }
        place.no_halves();
    }
}

#[cfg(unix)]
#[test]
fn a_killed_run_resumes_from_its_last_checkpoint() {
    let place = Place::new();
    let arguments = "--batch-size 1 --epochs 250 --checkpoint-seconds 1";
    let mut running = Running::start(&place, &format!("train --out run {arguments}"));
    while fs::read_dir(place.at("run/checkpoints")).map_or(0, |entries| entries.count()) == 0 {
        assert!(running.child.try_wait().unwrap().is_none(), "it ended before its first checkpoint");
        std::thread::sleep(Duration::from_millis(20));
    }
    running.epoch(1);
    running.signal("KILL");
    assert_eq!(running.end().code, None);
    assert!(!place.at("run/summary.json").exists(), "it was killed too late");
    // Make it look as if it was killed while writing a line and a checkpoint.
    let metrics = fs::read_to_string(place.at("run/metrics.jsonl")).unwrap();
    let _ = place.file("run/metrics.jsonl", metrics + "{\"epoch\":250,\"learni");
    let _ = place.file("run/checkpoints/.nn-abc123.part", "half a checkpoint");
    let _ = place.nn(&format!("train --quiet --out run {arguments} --resume")).ok();
    let _ = place.nn(&format!("train --quiet --out calm {arguments}")).ok();
    assert_eq!(place.hash("run"), place.hash("calm"));
    assert_eq!(figures(&place, "run"), figures(&place, "calm"));
    place.no_halves();
}

/// The run waits for data that never comes, so it cannot end between the two signals.
#[cfg(unix)]
#[test]
fn the_second_signal_ends_a_run_at_once() {
    let place = Place::new();
    assert!(place.shell("mkfifo data.csv").status().unwrap().success());
    let mut running = Running::start(&place, "train --data data.csv --out run");
    while !place.at("run").exists() {
        assert!(running.child.try_wait().unwrap().is_none(), "it ended early");
        std::thread::sleep(Duration::from_millis(5));
    }
    running.signal("INT");
    // The wait for a pipe ends by the first signal; anything else would end by the second. If the first was handled late, the first two count as one, and another is needed.
    while running.child.try_wait().unwrap().is_none() {
        running.signal("INT");
        std::thread::sleep(Duration::from_millis(50));
    }
    let ran = running.end();
    assert_eq!(ran.code, Some(130), "{ran:#?}");
    assert!(!ran.stderr.contains("panicked"), "{ran:#?}");
}

#[test]
fn a_run_can_be_extended_and_repeats_nothing() {
    let place = Place::new();
    let ran = place.nn("train --out run --epochs 3 --resume").ok();
    assert!(ran.stdout.contains("there is no checkpoint in run: starting from the beginning"), "{ran:#?}");
    let _ = place.nn("train --quiet --out run --epochs 7 --resume").ok();
    let _ = place.nn("train --quiet --out calm --epochs 7").ok();
    assert_eq!(place.hash("run"), place.hash("calm"));
    assert_eq!(figures(&place, "run"), figures(&place, "calm"));
    // With nothing left to do, the summary keeps its figures.
    let _ = place.nn("train --quiet --out run --epochs 7 --resume").ok();
    let (run, calm) = (place.summary("run"), place.summary("calm"));
    for name in
        ["params_sha256", "steps", "epochs", "train_loss", "train_accuracy", "test_accuracy", "best_epoch"]
    {
        assert_eq!(digits12(&run[name]), digits12(&calm[name]), "{name}");
    }
    assert_eq!(figures(&place, "run"), figures(&place, "calm"));
    // A run cannot resume with fewer epochs than it has done.
    place.nn("train --out run --epochs 2 --resume").refused(2, &["step 1008", "288 steps", "--epochs"]);
    assert_eq!(place.hash("run"), place.hash("calm"));
}

#[test]
fn a_run_does_not_resume_from_the_checkpoint_of_another() {
    let place = Place::new();
    let _ = place.nn("train --quiet --out run --epochs 2").ok();
    for (arguments, parts) in [
        ("--learning-rate 1", &["learning-rate is 1.0, was 3.0"][..]),
        ("--seed 2 --l2 0.5", &["seed is 2, was 1", "l2 is 0.5, was 0.0"]),
        ("--batch-size 20", &["batch-size is 20, was 10"]),
        ("--hidden 40", &["layers is 64-40-10, was 64-30-10"]),
        ("--cost cross-entropy", &["cost is cross", "was mse"]),
        ("--schedule cosine", &["schedule is", "cosine", "constant"]),
        (
            "--schedule one-cycle",
            &["schedule is one-cycle, was constant", "one-cycle-rise is 0.3, was not used"],
        ),
        ("--test-fraction 0.3", &["data is"]),
    ] {
        let ran = place.nn(&format!("train --out run --epochs 2 --resume {arguments}"));
        ran.refused(
            2,
            &[parts, &["is a checkpoint of another run", "help: resume with the options"]].concat(),
        );
    }
}

#[test]
fn a_damaged_checkpoint_is_skipped() {
    let place = Place::new();
    for epochs in [2, 4, 6] {
        let _ = place.nn(&format!("train --quiet --out run --epochs {epochs} --resume")).ok();
    }
    let checkpoint = |step: u64| place.at(format!("run/checkpoints/step-{step:012}.safetensors"));
    let bytes = fs::read(checkpoint(864)).unwrap();
    fs::write(checkpoint(864), &bytes[..bytes.len() / 2]).unwrap();
    let mut flipped = fs::read(checkpoint(576)).unwrap();
    *flipped.last_mut().unwrap() ^= 4;
    fs::write(checkpoint(576), flipped).unwrap();
    let ran = place.nn("train --out run --epochs 6 --resume").ok();
    let warnings: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(warnings.len(), 2, "{ran:#?}");
    for (warning, name) in warnings.iter().zip(["step-000000000864", "step-000000000576"]) {
        assert!(warning.starts_with("warning: skipped a checkpoint: "), "{warning}");
        assert!(warning.contains(name) && warning.contains("damaged"), "{warning}");
    }
    assert!(ran.stdout.contains("resuming after step 288"), "{ran:#?}");
    let _ = place.nn("train --quiet --out calm --epochs 6").ok();
    assert_eq!(place.hash("run"), place.hash("calm"));
    assert_eq!(figures(&place, "run"), figures(&place, "calm"));
}

#[test]
fn regression_learns_and_is_reported() {
    let place = Place::new();
    let _ = place.file("line.csv", linear_csv(400));
    let arguments = "--data line.csv --recipe book --standardize no --activation tanh --learning-rate 0.05 --epochs 60 --out run";
    let ran = place.nn(&format!("train {arguments}")).ok();
    assert!(!ran.stdout.contains("accuracy"), "{ran:#?}");
    let metrics = place.metrics("run");
    let loss = |line: &Value| line["test_loss"].as_f64().unwrap();
    assert!(loss(&metrics[59]) < loss(&metrics[0]) / 10.0, "{} to {}", metrics[0], metrics[59]);
    assert!(place.summary("run")["test_accuracy"].is_null());
    let text = place.nn("eval --model run/model.safetensors --data line.csv").ok().stdout;
    for part in ["80 test samples of line.csv", "RMSE", "MAE", "R²"] {
        assert!(text.contains(part), "{text}");
    }
    let json = place.nn("eval --model run/model.safetensors --data line.csv --json").ok().json();
    let output = &json["regression"]["outputs"][0];
    assert!(output["r2"].as_f64().unwrap() > 0.95, "{json}");
    assert!((output["rmse"].as_f64().unwrap().powi(2) - 2.0 * loss(&metrics[59])).abs() < 1e-6, "{json}");
    assert_eq!(json["loss"], metrics[59]["test_loss"]);
    // A table without answers, a table with them, and an array.
    let _ = place.file("two.csv", "a,b,c\n0.1,0.2,0.3\n0,0,0\n");
    let _ = place.file("with.csv", "a,b,c,y\n0.1,0.2,0.3,0\n0,0,0,1\n");
    let _ = place.file("two.npy", npy_f32("(2, 3)", &[0.1, 0.2, 0.3, 0.0, 0.0, 0.0]));
    let answers: Vec<String> = ["two.csv", "with.csv", "two.npy"]
        .map(|file| place.nn(&format!("predict --model run/model.safetensors {file}")).ok().stdout)
        .into();
    assert!(answers[0].starts_with("sample 0: ") && answers[0].lines().count() == 2, "{answers:?}");
    assert!(answers[0] == answers[1] && answers[0] == answers[2], "{answers:?}");
    let json = place.nn("predict --model run/model.safetensors --json two.csv").ok().json();
    let value = json["predictions"][1]["outputs"][0].as_f64().unwrap();
    assert!((value - 0.25).abs() < 0.15, "the function is 0.25 at the origin: {json}");
}

#[test]
fn a_diverging_run_says_so_and_writes_no_model() {
    let place = Place::new();
    let _ = place.file("line.csv", linear_csv(100));
    let arguments = "--data line.csv --recipe book --standardize no --activation relu --learning-rate 3000 --epochs 9 --out run";
    for again in ["", "--resume"] {
        let ran = place.nn(&format!("train {arguments} {again}"));
        ran.refused(1, &["NaN or infinite in epoch 1, step ", "help: ", "--learning-rate 300", "too high"]);
        assert!(!place.files().iter().any(|name| name.ends_with(".safetensors")), "{:?}", place.files());
        assert_eq!(place.summary("run")["outcome"], "diverged");
    }
    place.no_halves();
    // Data that overflows in the first step.
    let _ = place.file("far.csv", "a,b,y\n1e30,1e30,0.5\n-1e30,2e30,1.5\n1e30,3e30,2.5\n3e30,1e30,7.5\n");
    let ran = place
        .nn("train --data far.csv --recipe book --standardize no --activation relu --epochs 2 --out far");
    ran.refused(1, &["epoch 1, step 1", "inputs far from 0 to 1"]);
}

/// A place with a run on the digits in `run`.
fn digits() -> Place {
    let place = Place::new();
    let _ = place.nn("train --quiet --epochs 12 --out run").ok();
    place
}

#[test]
fn an_evaluation_agrees_with_the_summary() {
    let place = digits();
    let summary = place.summary("run");
    let accuracy = summary["test_accuracy"].as_f64().unwrap();
    let eval = "eval --model run/model.safetensors --data digits";
    let text = place.nn(eval).ok();
    assert!(text.stderr.is_empty(), "{text:#?}");
    for part in [
        &format!("{:.2} % of 359 test samples are correct", accuracy * 100.0)[..],
        "precision",
        "recall",
        "predicted",
        "The most confidently wrong predictions:",
        "✗ is ",
    ] {
        assert!(text.stdout.contains(part), "{part:?} is not in {}", text.stdout);
    }
    assert!(!text.stdout.contains('\u{1b}'), "there must be no colours without a terminal");
    assert_eq!(place.nn(&format!("{eval} --threads 3")).ok().stdout, text.stdout);
    assert!(!place.nn(&format!("{eval} --wrong 0")).ok().stdout.contains("confidently"));
    let json = place.nn(&format!("{eval} --json --wrong 2")).ok().json();
    let report = &json["classification"];
    assert_eq!(report["accuracy"], summary["test_accuracy"]);
    assert_eq!(report["samples"], 359);
    assert_eq!(json["confidently_wrong"].as_array().unwrap().len(), 2);
    assert_eq!(json["classes"].as_array().unwrap().len(), 10);
    let confusion = report["confusion"].as_array().unwrap();
    let diagonal: u64 = (0..10).map(|c| confusion[c][c].as_u64().unwrap()).sum();
    assert_eq!(diagonal, report["correct"].as_u64().unwrap());
    // An evaluation writes no files.
    assert_eq!(place.files().len(), 5, "{:?}", place.files());
}

#[test]
fn a_reader_that_closes_the_pipe_is_no_error() {
    let place = digits();
    for command in [
        "eval --model run/model.safetensors --data digits",
        "eval --model run/model.safetensors --data digits --json",
        "predict --model run/model.safetensors --data digits --count 300",
        "train --epochs 40 --out other",
    ] {
        let script = format!("{{ \"$NN\" {command}; echo \"code $?\" >&2; }} | head -1");
        let ran: Ran = place.shell(&script).output().unwrap().into();
        assert_eq!(ran.stderr, "code 0\n", "{command}");
        assert_eq!(ran.stdout.lines().count(), 1, "{command}");
    }
    assert_eq!(place.summary("other")["epochs"], 40, "training must continue to its end");
}

#[test]
fn predict_answers_for_test_digits() {
    let place = digits();
    let predict = "predict --model run/model.safetensors --data digits --count 12";
    let text = place.nn(predict).ok().stdout;
    assert_eq!(text.matches("Digit ").count(), 12, "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let json = place.nn(&format!("{predict} --json")).ok().json();
    let predictions = json["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 12);
    let right = predictions.iter().filter(|p| p["class"] == p["truth"]).count();
    assert!(right >= 9, "{right} of 12 are right");
    for prediction in predictions {
        let outputs = prediction["outputs"].as_array().unwrap();
        let class: usize = prediction["class"].as_str().unwrap().parse().unwrap();
        assert_eq!(outputs.len(), 10);
        assert_eq!(outputs[class], prediction["probability"], "{prediction}");
    }
}

/// A zero with pixels from 0 to 16, like those of the digits.
const ZERO: [u8; 64] = [
    0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0, 0, 3, 15, 2, 0, 11, 8, 0, 0, 4, 12, 0, 0, 8, 8,
    0, //
    0, 5, 8, 0, 0, 9, 8, 0, 0, 4, 11, 0, 1, 12, 7, 0, 0, 2, 14, 5, 10, 12, 0, 0, 0, 0, 6, 13, 10, 0, 0, 0,
];

#[test]
fn the_same_digit_gets_the_same_answer_in_every_format() {
    let place = digits();
    let text = |pixels: &[u8]| pixels.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
    let _ = place.file("zero.csv", text(&ZERO) + "\n");
    let _ = place.file("labelled.csv", text(&ZERO) + ",0\n");
    let _ = place.file("zero.npy", npy("|u1", "(1, 8, 8)", &ZERO));
    let _ = place.file("zero.idx", idx(&[1, 8, 8], &ZERO));
    let numbers: Vec<f32> = ZERO.iter().map(|&x| f32::from(x) / 16.0).collect();
    let _ = place.file("floats.npy", npy_f32("(1, 64)", &numbers));
    let light: Vec<u8> = ZERO.iter().map(|&x| (u16::from(x) * 255 / 16) as u8).collect();
    let dark: Vec<u8> = light.iter().map(|&x| 255 - x).collect();
    let _ = place.file("light.png", png(8, 8, &light));
    let _ = place.file("dark.png", png(8, 8, &dark));
    let answer = |file: &str| {
        let json = place.nn(&format!("predict --model run/model.safetensors --json {file}")).ok().json();
        let predictions = json["predictions"].as_array().unwrap().clone();
        assert_eq!(predictions.len(), 1, "{json}");
        assert_eq!(predictions[0]["source"], file.split(' ').next().unwrap());
        assert_eq!(predictions[0]["class"], "0", "{file}");
        predictions[0]["probability"].as_f64().unwrap()
    };
    let sure = answer("zero.csv");
    assert!(sure > 0.8, "{sure}");
    for file in ["labelled.csv --label-column -1", "zero.npy", "zero.idx", "floats.npy"] {
        assert!(answer(file) == sure, "{file}");
    }
    // Their pixels are rounded to 255ths.
    for file in ["light.png", "dark.png"] {
        assert!((answer(file) - sure).abs() < 0.01, "{file}");
    }
    let all = "zero.csv zero.npy zero.idx light.png dark.png";
    let text = place.nn(&format!("predict --model run/model.safetensors {all}")).ok().stdout;
    for file in all.split(' ') {
        assert!(text.lines().any(|line| line == file), "{file} is not in {text}");
    }
    let one = place.nn("predict --model run/model.safetensors dark.png").ok().stdout;
    assert!(one.contains("Digit 0") && one.contains('%'), "{one}");
    // A large picture of it, dark on light.
    let large: Vec<u8> =
        (0..200 * 200).map(|i| dark[(i / 200).clamp(20, 179) / 20 % 8 * 8 + (i % 200) / 25]).collect();
    let _ = place.file("large.png", png(200, 200, &large));
    let _ = place.nn("predict --model run/model.safetensors large.png").ok();
}

#[test]
fn classes_may_have_names() {
    let place = Place::new();
    let mut text = String::from("size,weight,fruit\n");
    for i in 0..90 {
        let x = f64::from(i) / 90.0;
        text += &match i % 3 {
            0 => format!("{:.3},0.9,Melone\n", 0.8 + x * 0.1),
            1 => format!("{:.3},0.2,apple\n", 0.3 + x * 0.1),
            _ => format!("{:.3},0.05,桜桃\n", 0.05 + x * 0.1),
        };
    }
    let _ = place.file("fruit.csv", text);
    let train = "train --data fruit.csv --cost cross-entropy --output softmax --epochs 60 --out run --quiet";
    let _ = place.nn(train).ok();
    assert_eq!(place.summary("run")["test_accuracy"], 1.0);
    let _ = place.file("new.csv", "0.85,0.9\n0.1,0.05\n");
    let answers = place.nn("predict --model run/model.safetensors new.csv").ok().stdout;
    assert!(answers.contains("sample 0: Melone (") && answers.contains("sample 1: 桜桃 ("), "{answers}");
    let report = place.nn("eval --model run/model.safetensors --data fruit.csv").ok().stdout;
    assert!(report.contains("100.00 % of 18 test samples are correct (0 wrong)"), "{report}");
    // A label that the model was not trained on.
    let _ = place.file("more.csv", "size,weight,fruit\n0.85,0.9,Melone\n0.3,0.2,pear\n0.3,0.2,apple\n");
    let ran = place.nn("eval --model run/model.safetensors --data more.csv");
    ran.refused(3, &["more.csv, line 3", "pear", "Melone, apple, 桜桃"]);
}

#[test]
fn a_folder_with_four_idx_files_is_a_data_set() {
    let place = Place::new();
    for (name, bytes) in NAMES.iter().zip(four()) {
        let _ = place.file(format!("pictures/{name}"), bytes);
    }
    let _ = place.nn("train --data pictures --epochs 2 --quiet").ok();
    let summary = place.summary("runs/pictures");
    assert_eq!((&summary["steps"], &summary["data"]), (&8.into(), &"pictures".into()));
    let json = place.nn("eval --model runs/pictures/model.safetensors --data pictures --json").ok().json();
    assert_eq!(json["classification"]["samples"], 20);
}
