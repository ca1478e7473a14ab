//! `nn replay`.

use std::fs;

use nn::store::{ModelFile, WeightsHash};
use nn_engine::params_sha256;
use serde_json::Value;

use crate::common::{Place, linear_csv};
use crate::{Running, change, checkpoint, checkpoints, same, same_best, two_checkpoints, until};

#[test]
fn a_replay_agrees_with_the_log_or_shows_the_first_difference() {
    let place = two_checkpoints("--optimizer adam");
    let early = checkpoint("run", 432);
    let replay = |arguments: &str| place.nn(&format!("replay --checkpoint {early} {arguments}"));
    let ran = replay("").ok();
    assert!(ran.stdout.contains("from step 432 to 1152 agree") && ran.stderr.is_empty(), "{ran:#?}");
    let json = replay("--json --until 600 --data digits --threads 3").ok().json();
    assert_eq!((&json["agrees"], &json["from"], &json["until"]), (&true.into(), &432.into(), &600.into()));
    // Steps 432 to 600, and the ends of two epochs.
    assert_eq!((&json["compared"], &json["first_difference"]), (&(169 + 2).into(), &Value::Null));
    assert_eq!(replay("--until 432").ok().stdout.matches("all 2 hashes").count(), 1);
    let _ = place.nn("train --quiet --epochs 3 --validation-fraction 0.1 --out chosen").ok();
    let best =
        place.nn("replay --checkpoint chosen/checkpoints/best.safetensors --log chosen/metrics.jsonl").ok();
    assert!(best.stdout.contains("agree"), "{best:#?}");
    replay("--until 431").refused(2, &["--until 431 is before", "step 432", "help: "]);
    replay("--log nowhere").refused(3, &["cannot read the log nowhere", "--log"]);
    let _ = place.file("line.csv", linear_csv(400));
    replay("--data line.csv").refused(3, &[]);
    replay("--test-fraction 0.3").refused(3, &["the run was not trained on", "fingerprint", "help: "]);
    let model = place.nn("replay --checkpoint run/model.safetensors");
    model.refused(
        3,
        &["lacks the state of the optimizer", "help: give one of the files in <out>/checkpoints"],
    );

    // A log with a changed line of a step, and one with a changed line of an epoch.
    let log = fs::read_to_string(place.at("run/metrics.jsonl")).unwrap();
    let steps = place.steps("run");
    let _ = place.file("run/metrics.jsonl", log.replace(&steps[699].1, &"0".repeat(32)));
    let ran = replay("");
    ran.refused(1, &["step 700 is the first that differs", &steps[699].1, &"0".repeat(32), "help: "]);
    let ran = replay("--json");
    assert_eq!((ran.code, &ran.json()["first_difference"]["step"]), (Some(1), &700.into()));
    let _ = replay("--until 699").ok();
    let epoch = place.metrics("long")[4]["params_sha256"].as_str().unwrap().to_owned();
    let _ = place.file("run/metrics.jsonl", log.replace(&epoch, &"0".repeat(64)));
    replay("").refused(1, &["step 720 is the first that differs"]);
    let _ = place.file("run/metrics.jsonl", format!("{log}{{\"step\":700,\"weights\":\"{:032}\"}}\n", 7));
    replay("").refused(3, &["line 1162 of run/metrics.jsonl contradicts another line"]);

    // A log that lacks lines and has damaged ones.
    let gone =
        |line: &&str| ![500, 501, 502, 900].iter().any(|step| line.contains(&format!("\"step\":{step},")));
    let some: Vec<&str> = log.lines().filter(gone).collect();
    let _ = place.file("run/metrics.jsonl", format!("rubbish\n{}\n{{\"kind\":\"st", some.join("\n")));
    let ran = replay("").ok();
    assert!(ran.stdout.contains("steps 500 to 502, step 900 (4 in all)"), "{ran:#?}");
    assert!(ran.stdout.contains("damaged lines of the log: 1\n"), "{ran:#?}");
    let _ = place.file("run/metrics.jsonl", "");
    replay("--until 500").refused(1, &["nothing could be compared", "help: "]);
    let _ = place.file("run/metrics.jsonl", &log);

    // Valid checkpoints with other weights differ at once; those with another state differ after the first step.
    let path = place.at(&early);
    let good = fs::read(&path).unwrap();
    change(&path, |file| file.params[7] += 0.125);
    replay("").refused(1, &["step-000000000432.safetensors does not match the log at step 432"]);
    let _ = place.file(&early, &good);
    change(&path, |file| file.moments[0][7] += 0.125);
    replay("").refused(1, &["step 433 is the first that differs"]);
    let _ = place.file(&early, &good);
    change(&path, |file| file.run.manifest.recipe.learning_rate *= 2.0);
    replay("").refused(1, &["step 433 is the first that differs"]);
}

#[test]
fn an_average_is_resumed_replayed_and_evaluated() {
    for rounds in ["", "--rounds 6 --replicas 2 --schedule constant --warmup-steps 0"] {
        let arguments =
            format!("--ema 0.98 --clip-norm 0.3 --optimizer momentum --validation-fraction 0.1 {rounds}");
        let place = Place::new();
        for (out, stops) in [("long", &[8][..]), ("run", &[3, 8])] {
            for epochs in stops {
                let _ = place
                    .nn(&format!("train --quiet --out {out} --epochs {epochs} --resume {arguments}"))
                    .ok();
            }
        }
        same(&place, "run", "long");
        same_best(&place, "run", "long");
        let model = |out: &str| fs::read(place.at(out).join("model.safetensors")).unwrap();
        assert!(model("run") == model("long"), "the models differ");
        let (summary, log) = (place.summary("run"), place.metrics("run"));
        for name in ["raw_test_accuracy", "raw_validation_accuracy", "raw_params_sha256", "raw_test_loss"] {
            assert!(!summary[name].is_null(), "{name}");
            assert_eq!(summary[name], place.summary("long")[name], "{name}");
            assert_eq!(summary[name], log[7][name], "{name}");
        }
        assert_ne!(summary["raw_params_sha256"], summary["params_sha256"]);

        // A checkpoint has the trained weights, as the log's lines of steps do, and the average, which is the model.
        let count = if rounds.is_empty() { "steps" } else { "rounds" };
        let after = |epoch: usize| checkpoint("run", log[epoch - 1][count].as_u64().unwrap());
        let last = after(8);
        let file = ModelFile::read_checkpoint(&place.at(&last)).unwrap();
        let lines = place.log("run");
        let step = lines.iter().rfind(|line| line["weights"].is_string()).unwrap();
        assert_eq!(step["weights"], WeightsHash::of(&file.params).to_string());
        assert_eq!(summary["raw_params_sha256"], params_sha256(&file.params).as_str());
        assert_eq!(summary["params_sha256"], params_sha256(&file.average).as_str());
        let accuracy = |model: &str| {
            place.nn(&format!("eval --model {model} --json")).ok().json()["classification"]["accuracy"]
                .clone()
        };
        let best = summary["best_epoch"].as_u64().unwrap() as usize;
        assert_eq!(accuracy(&last), summary["test_accuracy"]);
        assert_eq!(accuracy("run/model.safetensors"), summary["test_accuracy"]);
        assert_eq!(accuracy("run/checkpoints/best.safetensors"), log[best - 1]["test_accuracy"]);
        assert_eq!(log[best - 1]["validation_accuracy"], summary["best_validation_accuracy"]);

        // The replay compares the averages of the epochs, too: one that was altered differs at once or at the next of them.
        let early = after(3);
        let replay = || place.nn(&format!("replay --checkpoint {early}"));
        assert!(replay().ok().stdout.contains("agree"));
        change(&place.at(&early), |file| file.average[7] += 0.125);
        replay().refused(1, &["does not match the log at step"]);
        change(&place.at(&early), |file| file.average.clear());
        replay().refused(3, &["lacks the state"]);
        // Another average is another run.
        place.nn("train --out run --resume --ema 0.9").refused(2, &["ema is 0.9, was 0.98"]);
        place.nn("train --out run --resume --clip-norm 1").refused(2, &["clip-norm is 1.0, was 0.3"]);
        place.nn("train --out run --resume --max-norm 3").refused(2, &["max-norm is 3.0, was not used"]);
    }
}

#[test]
fn early_stopping_chooses_among_averages() {
    let place = Place::new();
    let arguments = "--ema 0.9 --early-stopping 2 --hidden 20 --learning-rate 20 --epochs 60";
    let _ = place.nn(&format!("train --quiet --out calm {arguments}")).ok();
    for epochs in [1, 3, 4, 7, 60] {
        let arguments = arguments.replace("60", &epochs.to_string());
        let _ = place.nn(&format!("train --quiet --out run --resume {arguments}")).ok();
    }
    same(&place, "run", "calm");
    same_best(&place, "run", "calm");
    let (summary, calm) = (place.summary("run"), place.summary("calm"));
    assert_eq!((&summary["outcome"], &calm["outcome"]), (&"early-stopped".into(), &"early-stopped".into()));
    let line = &place.metrics("run")[summary["best_epoch"].as_u64().unwrap() as usize - 1];
    let names =
        ["params_sha256", "test_accuracy", "validation_loss", "raw_params_sha256", "raw_test_accuracy"];
    for name in names.into_iter().chain(["raw_validation_accuracy"]) {
        assert!(!line[name].is_null() && summary[name] == line[name], "{name}: {summary:#}");
        assert_eq!(summary[name], calm[name], "{name}");
    }
}

/// A run that was resumed after three epochs, which ends as `whole`, which was not; is replayed; and has a model that whoever
/// uses it finds as good as the run did.
#[track_caller]
fn resumed_replayed_and_evaluated(arguments: &str) -> Place {
    let place = two_checkpoints(arguments);
    let _ = place.nn(&format!("train --quiet --out whole --epochs 8 {arguments}")).ok();
    assert_eq!(place.hash("whole"), place.hash("run"));
    let ran = place.nn(&format!("replay --checkpoint {}", checkpoint("run", 432))).ok();
    assert!(ran.stdout.contains("from step 432 to 1152 agree"), "{ran:#?}");
    let evaluated = place.nn("eval --model whole/model.safetensors --data digits --json").ok().json();
    let last = place.metrics("whole").pop().unwrap();
    let accuracy = &evaluated["classification"]["accuracy"];
    assert_eq!((accuracy, &evaluated["loss"]), (&last["test_accuracy"], &last["test_loss"]), "{last:#}");
    place
}

#[test]
fn a_run_in_bf16_is_resumed_replayed_evaluated_and_used() {
    let arguments = "--precision bf16 --activation relu --cost cross-entropy --optimizer momentum";
    let place = resumed_replayed_and_evaluated(arguments);
    let f32 = arguments.replace("bf16", "f32");
    let _ = place.nn(&format!("train --quiet --out other --epochs 8 {f32}")).ok();
    assert_ne!(place.hash("whole"), place.hash("other"));
    let _ = place.nn("predict --model whole/model.safetensors --data digits --count 3").ok();
}

#[test]
fn a_run_with_regularization_is_resumed_and_replayed() {
    let arguments = "--augment affine,elastic --dropout 0.2 --input-dropout 0.1 --label-smoothing 0.1 --clip-samples 1 \
                     --max-norm 1 --activation gelu --cost cross-entropy --optimizer momentum";
    let place = resumed_replayed_and_evaluated(arguments);
    // `--resume` takes up every option of the run.
    let _ = place.nn("train --quiet --resume --out whole --epochs 9").ok();
    let _ = place.nn(&format!("train --quiet --out longer --epochs 9 {arguments}")).ok();
    assert_eq!(place.hash("whole"), place.hash("longer"));
}

#[test]
fn a_run_with_layer_normalisation_is_resumed_replayed_evaluated_and_used() {
    let arguments = "--normalization layer --hidden 20,15 --activation relu --cost cross-entropy --optimizer adam \
                     --learning-rate 0.01 --ema 0.9";
    let place = resumed_replayed_and_evaluated(arguments);
    let _ = place.nn("train --quiet --resume --out whole --epochs 9").ok();
    let _ = place.nn(&format!("train --quiet --out longer --epochs 9 {arguments}")).ok();
    assert_eq!(place.hash("whole"), place.hash("longer"));
    let plain = arguments.replace("--normalization layer", "");
    let _ = place.nn(&format!("train --quiet --out other --epochs 9 {plain}")).ok();
    assert_ne!(place.hash("longer"), place.hash("other"));
    let _ = place.nn("predict --model whole/model.safetensors --data digits --count 3").ok();
    // A run goes on as the network that it began with.
    place
        .nn("train --out whole --resume --epochs 10 --normalization none")
        .refused(2, &["normalization is not used, was layer"]);
}

#[test]
fn a_run_of_one_cycle_is_resumed_and_replayed() {
    let place = Place::new();
    let arguments =
        "--epochs 30 --batch-size 4 --schedule one-cycle --one-cycle-rise 0.4 --optimizer momentum";
    let _ = place.nn(&format!("train --quiet --out whole {arguments}")).ok();
    let metrics = place.metrics("whole");
    let rates: Vec<f64> = metrics.iter().map(|line| line["learning_rate"].as_f64().unwrap()).collect();
    // The rate is highest after twelve epochs, and ends at 0.3/25/10,000.
    let (up, down) = rates.split_at(12);
    assert!(up.is_sorted_by(|a, b| a < b) && down.is_sorted_by(|a, b| a > b), "{rates:?}");
    assert!((up[11] - 0.3).abs() < 1e-3 && (rates[29] - 1.2e-6).abs() < 1e-9, "{rates:?}");

    let more = "--checkpoint-steps 300 --keep-checkpoints 99";
    let running = Running::nn(&place, &format!("train --out run {more} {arguments}"));
    until("a checkpoint", || !checkpoints(&place, "run").is_empty());
    running.kill();
    let early = checkpoints(&place, "run")[0];
    let _ = place.nn("train --quiet --resume --out run").ok();
    same(&place, "run", "whole");
    let ran = place.nn(&format!("replay --checkpoint {}", checkpoint("run", early))).ok();
    assert!(ran.stdout.contains(&format!("from step {early} to 10800 agree")), "{ran:#?}");
    // The rates follow from the number of epochs.
    place.nn("train --resume --out run --epochs 31").refused(2, &["epochs is 31, was 30"]);
}

#[test]
fn a_replay_needs_the_data_of_the_run() {
    let place = Place::new();
    let _ = place.file("line.csv", linear_csv(300));
    let train = "train --quiet --data line.csv --test-fraction 0.25 --recipe book --out run";
    for epochs in [2, 5] {
        let _ = place.nn(&format!("{train} --epochs {epochs} --resume")).ok();
    }
    let first = checkpoint("run", 46);
    let replay = format!("replay --checkpoint {first}");
    // The run's file tells the data, and how to read it.
    let ran = place.nn(&replay).ok();
    assert!(ran.stdout.starts_with("reading line.csv, as run/run.toml says\n"), "{ran:#?}");
    assert!(ran.stdout.contains("from step 46 to 115 agree"), "{ran:#?}");
    let ran = place.nn(&format!("{replay} --json")).ok();
    assert!(ran.json()["agrees"] == true && ran.stderr.contains("as run/run.toml says"), "{ran:#?}");
    place.nn(&format!("{replay} --test-fraction 0.5")).refused(3, &["fingerprint"]);
    fs::remove_file(place.at("run/run.toml")).unwrap();
    place.nn(&replay).refused(2, &["trained on line.csv", "no run.toml", "--data"]);
    // The run was extended after that checkpoint.
    let ran = place.nn(&format!("{replay} --data line.csv --test-fraction 0.25")).ok();
    assert!(ran.stdout.contains("from step 46 to 115 agree"), "{ran:#?}");
    place.nn(&format!("{replay} --data line.csv")).refused(3, &["fingerprint"]);
    let fruit: String =
        (0..60).map(|i| format!("{},{},{}\n", i % 7, i % 3, ["pear", "fig", "plum"][i % 3])).collect();
    let _ = place.file("fruit.csv", format!("a,b,fruit\n{fruit}"));
    let _ = place
        .nn("train --quiet --data fruit.csv --recipe book --epochs 4 --out fruit --validation-fraction 0.1")
        .ok();
    // Plain SGD has no state, so the exported model will do. It has no steps left to compute.
    let ran = place.nn("replay --checkpoint fruit/model.safetensors --data fruit.csv").ok();
    assert!(ran.stdout.contains("all 2 hashes"), "{ran:#?}");
    let best =
        "replay --checkpoint fruit/checkpoints/best.safetensors --data fruit.csv --validation-fraction 0.1";
    let _ = place.nn(best).ok();
}
