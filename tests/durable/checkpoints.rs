//! Checkpoints, the log, and damage to them.

use std::fs;

use nn::store::{ModelFile, WeightsHash};

use crate::common::{Place, noise};
use crate::{checkpoint, checkpoints, copy, same, same_best, two_checkpoints};

#[test]
fn the_newest_checkpoints_and_the_best_are_kept_and_can_be_evaluated() {
    let place = Place::new();
    let arguments = "--batch-size 1 --epochs 8 --checkpoint-steps 100 --keep-checkpoints 4 --checkpoint-seconds 0 \
         --validation-fraction 0.1";
    let _ = place.nn(&format!("train --quiet --out run {arguments}")).ok();
    let summary = place.summary("run");
    let steps = checkpoints(&place, "run");
    assert!(steps.len() <= 4 && steps.last() == Some(&(8 * 1293)), "{steps:?}");
    assert!(steps.iter().rev().skip(1).all(|step| step % 100 == 0), "{steps:?}");
    let accuracy = |model: &str| {
        let json = place.nn(&format!("eval --model {model} --data digits --json")).ok().json();
        json["classification"]["accuracy"].clone()
    };
    for step in &steps {
        assert!(accuracy(&checkpoint("run", *step)).as_f64().unwrap() > 0.8, "{step}");
    }
    assert_eq!(accuracy(&checkpoint("run", 8 * 1293)), summary["test_accuracy"]);
    let best = ModelFile::read_checkpoint(&place.at("run/checkpoints/best.safetensors")).unwrap();
    let result = best.run.validation.unwrap();
    let line = &place.metrics("run")[result.epoch as usize - 1];
    assert_eq!(accuracy("run/checkpoints/best.safetensors"), line["test_accuracy"]);
    assert_eq!(line["validation_accuracy"], summary["best_validation_accuracy"]);
    assert_eq!((result.samples, result.epoch), (145, summary["best_epoch"].as_u64().unwrap()));
    // The checkpoints agree with the log.
    let logged = place.steps("run");
    for step in steps {
        let file = ModelFile::read_checkpoint(&place.at(checkpoint("run", step))).unwrap();
        assert_eq!((file.run.step, file.run.generation), (step, Some(0)));
        assert_eq!(logged[step as usize - 1], (step, WeightsHash::of(&file.params).to_string()));
    }
    place.no_halves();
}

#[test]
fn the_best_checkpoint_survives_resumption() {
    let place = Place::new();
    // With such a large learning rate the last epoch is hardly ever the best.
    let arguments = "--learning-rate 20 --optimizer momentum --momentum 0.3 --validation-fraction 0.1";
    let _ = place.nn(&format!("train --quiet --out calm --epochs 12 {arguments}")).ok();
    for epochs in [1, 2, 3, 5, 8, 12] {
        let _ = place.nn(&format!("train --quiet --out run --epochs {epochs} --resume {arguments}")).ok();
        let (best, summary) = (place.at("run/checkpoints/best.safetensors"), place.summary("run"));
        let best = ModelFile::read_checkpoint(&best).unwrap().run.validation.unwrap();
        assert_eq!(best.epoch, summary["best_epoch"].as_u64().unwrap(), "{summary:#}");
        let accuracy = best.correct as f64 / best.samples as f64;
        assert_eq!(accuracy, summary["best_validation_accuracy"].as_f64().unwrap());
    }
    same(&place, "run", "calm");
    same_best(&place, "run", "calm");
    // The exported model has no trace of the interruptions.
    let model = |out: &str| fs::read(place.at(out).join("model.safetensors")).unwrap();
    assert!(model("run") == model("calm"));
    // A damaged best checkpoint is reported, and the next evaluation replaces it.
    let _ = place.file("run/checkpoints/best.safetensors", "no checkpoint");
    let ran = place.nn(&format!("train --out run --epochs 14 --resume {arguments}")).ok();
    assert!(ran.stderr.contains("warning: the best checkpoint cannot be used"), "{ran:#?}");
    let _ = ModelFile::read_checkpoint(&place.at("run/checkpoints/best.safetensors")).unwrap();
}

#[test]
fn the_log_has_the_hash_of_the_weights_after_every_step() {
    let place = Place::new();
    let _ = place.nn("train --quiet --epochs 3 --out run").ok();
    let steps = place.steps("run");
    assert!(steps.iter().map(|(step, _)| *step).eq(1..=3 * 144));
    let model = ModelFile::read(&place.at("run/model.safetensors")).unwrap();
    assert_eq!(steps.last().unwrap().1, WeightsHash::of(&model.params).to_string());
    assert_eq!(place.log("run").len(), 3 * 145, "the log has lines of steps and epochs only");
    assert_eq!(place.log("run").last().unwrap()["kind"], "epoch", "an epoch comes after its steps");
    let _ = place.nn("train --quiet --epochs 3 --out some --log-steps 50").ok();
    let some: Vec<(u64, String)> = steps.into_iter().filter(|(step, _)| step % 50 == 0).collect();
    assert_eq!(place.steps("some"), some);
    let _ = place.nn("train --quiet --epochs 3 --out none --log-steps 0").ok();
    assert_eq!(place.log("none").len(), 3);
}

#[test]
fn repeated_steps_are_compared_with_the_log() {
    let place = two_checkpoints("");
    let resume = "train --out run --epochs 8 --resume";
    fs::remove_file(place.at(checkpoint("run", 1152))).unwrap();
    let log = fs::read_to_string(place.at("run/metrics.jsonl")).unwrap();
    let step = |step: u64| {
        let line = log.lines().find(|line| line.contains(&format!("\"step\":{step},"))).unwrap();
        line.rsplit('"').nth(1).unwrap().to_owned()
    };
    let before = place.files();
    // Change the hash of a later step, and below that of an epoch.
    let wrong = log.replace(&step(1000), &step(999));
    let _ = place.file("run/metrics.jsonl", wrong);
    let ran = place.nn(resume);
    let says = ["THE SAME STEP GAVE DIFFERENT WEIGHTS", "after step 1000", &step(1000), &step(999), "help: "];
    ran.refused(1, &says);
    assert_eq!(checkpoints(&place, "run"), [432], "no checkpoint is written: {before:?}");
    let _ = place.nn(resume).ok();
    same(&place, "run", "long");
    copy(&place, "long", "run");
    fs::remove_file(place.at(checkpoint("run", 1152))).unwrap();
    let epoch = place.metrics("run")[5]["params_sha256"].as_str().unwrap().to_owned();
    let _ = place.file("run/metrics.jsonl", log.replace(&epoch, &epoch.replace('a', "b")));
    place.nn(resume).refused(1, &["THE SAME STEP", "after step 864"]);
    // A run resumes even if its log lacks lines or ends within one.
    copy(&place, "long", "run");
    fs::remove_file(place.at(checkpoint("run", 1152))).unwrap();
    let some: Vec<&str> = log.lines().filter(|line| !line.contains("\"step\":10")).collect();
    let some = some.join("\n") + "\n";
    let _ = place.file("run/metrics.jsonl", &some[..some.len() - 40]);
    let ran = place.nn(resume).ok();
    assert!(ran.stderr.is_empty(), "{ran:#?}");
    assert_eq!(place.hash("run"), place.hash("long"));
    let steps = place.steps("run");
    assert!(steps.iter().filter(|(step, _)| *step > 432).eq(place.steps("long").iter().skip(432)));
    assert_eq!(steps.len(), 1152 - 11, "steps 10 and 100 to 109 stay lost");
    place.no_halves();
}

#[test]
fn a_checkpoint_with_any_kind_of_damage_is_skipped() {
    let place = two_checkpoints("--optimizer adam");
    let train = "train --out run --epochs 8 --optimizer adam --resume";
    let newest = checkpoint("run", 1152);
    let good = fs::read(place.at(&newest)).unwrap();
    let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let mut damaged: Vec<(String, Vec<u8>)> = Vec::new();
    let lengths = [0, 1, 7, 8, 9, header / 2, header - 1, header, header + 1, good.len() / 2, good.len() - 1];
    damaged.extend(lengths.map(|length| (format!("{length} bytes"), good[..length].to_vec())));
    // In the header's length, the metadata, the weights and both moments. Unit tests try every position of a small file.
    let data = good.len() - header;
    let positions = [0, 7, 8, 60, 200, header / 3, header - 2, header, header + data / 2, good.len() - 1];
    let random = (0..10).map(|i| (noise(i) * good.len() as f64) as usize);
    for at in positions.into_iter().chain(random) {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        damaged.push((format!("bit {} of byte {at}", at % 8), bytes));
    }
    let mut torn = good.clone();
    torn[good.len() / 2..].fill(0);
    damaged.push(("a torn write".to_owned(), torn));
    let entry = br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let foreign = [&(entry.len() as u64).to_le_bytes()[..], entry, &[0; 4]].concat();
    damaged.push(("another program's".to_owned(), foreign));
    damaged.push(("text".to_owned(), b"not a checkpoint, but text of some length".to_vec()));
    // A valid model, but it lacks the optimizer's state.
    damaged.push(("a model".to_owned(), fs::read(place.at("run/model.safetensors")).unwrap()));
    for (what, bytes) in damaged {
        copy(&place, "long", "run");
        let _ = place.file(&newest, bytes);
        passed_over(&place, train, &what);
    }
    copy(&place, "long", "run");
    fs::remove_file(place.at(&newest)).unwrap();
    fs::create_dir(place.at(&newest)).unwrap();
    passed_over(&place, train, "a folder");
    for (what, script) in [
        ("a pipe", format!("rm {newest} && mkfifo {newest}")),
        ("a link to nowhere", format!("rm {newest} && ln -s nowhere {newest}")),
        ("an unreadable file", format!("chmod 000 {newest}")),
    ] {
        copy(&place, "long", "run");
        assert!(place.shell(&script).status().unwrap().success());
        if what == "an unreadable file" && fs::read(place.at(&newest)).is_ok() {
            println!("skipped: this user can read {what}");
            continue;
        }
        passed_over(&place, train, what);
    }
    // If no checkpoint is left, the run starts from the beginning.
    copy(&place, "long", "run");
    for name in [&newest, &checkpoint("run", 432)] {
        let _ = place.file(name, &good[..good.len() / 2]);
    }
    let ran = place.nn(train).ok();
    assert_eq!(ran.stderr.lines().count(), 2, "{ran:#?}");
    assert!(ran.stdout.contains("there is no checkpoint in run: starting from the beginning"), "{ran:#?}");
    same(&place, "run", "long");
}

/// Fails unless the newer of two checkpoints is skipped and the run ends as if nothing had happened.
#[track_caller]
fn passed_over(place: &Place, train: &str, what: &str) {
    let ran = place.nn(train).ok();
    assert_eq!(ran.stderr.lines().count(), 1, "{what}: {ran:#?}");
    assert!(ran.stderr.starts_with("warning: skipped a checkpoint: "), "{what}: {ran:#?}");
    assert!(ran.stderr.contains("step-000000001152.safetensors"), "{what}: {ran:#?}");
    assert!(ran.stdout.contains("resuming after step 432"), "{what}: {ran:#?}");
    same(place, "run", "long");
    let aside = place.at(checkpoint("run", 1152) + ".damaged");
    assert!(fs::symlink_metadata(aside).is_ok(), "{what}: it is not set aside");
    assert_eq!(checkpoints(place, "run"), [432, 1152], "{what}: it is not replaced by a good one");
}
