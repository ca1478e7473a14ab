//! `nn replay`.

use std::fs;

use serde_json::Value;

use crate::common::{Place, linear_csv};
use crate::{change, checkpoint, two_checkpoints};

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
    replay("").refused(3, &["line 1161 of run/metrics.jsonl contradicts another line"]);

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
fn a_run_in_bf16_is_resumed_replayed_evaluated_and_used() {
    let arguments = "--precision bf16 --activation relu --cost cross-entropy --optimizer momentum";
    let place = two_checkpoints(arguments);
    // It was resumed after three epochs, and ends as if it had not been.
    let _ = place.nn(&format!("train --quiet --out whole --epochs 8 {arguments}")).ok();
    assert_eq!(place.hash("whole"), place.hash("run"));
    let f32 = arguments.replace("bf16", "f32");
    let _ = place.nn(&format!("train --quiet --out other --epochs 8 {f32}")).ok();
    assert_ne!(place.hash("whole"), place.hash("other"));
    let ran = place.nn(&format!("replay --checkpoint {}", checkpoint("run", 432))).ok();
    assert!(ran.stdout.contains("from step 432 to 1152 agree"), "{ran:#?}");
    // The model file has the precision, so that whoever uses it gets the accuracy of the training run.
    let evaluated = place.nn("eval --model whole/model.safetensors --data digits --json").ok().json();
    let last = place.metrics("whole").pop().unwrap();
    let accuracy = &evaluated["classification"]["accuracy"];
    assert_eq!((accuracy, &evaluated["loss"]), (&last["test_accuracy"], &last["test_loss"]), "{last:#}");
    let _ = place.nn("predict --model whole/model.safetensors --data digits --count 3").ok();
}

#[test]
fn a_run_with_regularization_is_resumed_and_replayed() {
    let arguments = "--augment affine,elastic --dropout 0.2 --input-dropout 0.1 --label-smoothing 0.1 --clip-samples 1 \
                     --activation gelu --cost cross-entropy --optimizer momentum";
    let place = two_checkpoints(arguments);
    let _ = place.nn(&format!("train --quiet --out whole --epochs 8 {arguments}")).ok();
    assert_eq!(place.hash("whole"), place.hash("run"));
    let ran = place.nn(&format!("replay --checkpoint {}", checkpoint("run", 432))).ok();
    assert!(ran.stdout.contains("from step 432 to 1152 agree"), "{ran:#?}");
    // Whoever evaluates knows nothing of it.
    let evaluated = place.nn("eval --model whole/model.safetensors --data digits --json").ok().json();
    let last = place.metrics("whole").pop().unwrap();
    let accuracy = &evaluated["classification"]["accuracy"];
    assert_eq!((accuracy, &evaluated["loss"]), (&last["test_accuracy"], &last["test_loss"]), "{last:#}");
    // `--resume` takes up every option of the run.
    let _ = place.nn("train --quiet --resume --out whole --epochs 9").ok();
    let _ = place.nn(&format!("train --quiet --out longer --epochs 9 {arguments}")).ok();
    assert_eq!(place.hash("whole"), place.hash("longer"));
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
