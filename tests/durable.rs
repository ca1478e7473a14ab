//! Nothing lost: checkpoints, what damages them, disks without room, processes that are killed, and runs that move from
//! one machine to several and back. The oracle is always the same: the run that nothing happened to.

#![cfg(unix)] // processes are stopped and killed by signals
#![allow(clippy::print_stdout)] // says what is skipped, and which seed was taken
#![allow(clippy::disallowed_methods)] // every wait here is bounded by a clock

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{Place, Ran, linear_csv, noise};
use nn::store::{ModelFile, WeightsHash};
use serde_json::Value;

/// More than anything here takes on a machine that is busy with other things too.
const PATIENCE: Duration = Duration::from_secs(120);

fn checkpoint(out: &str, step: u64) -> String {
    format!("{out}/checkpoints/step-{step:012}.safetensors")
}

/// The steps of the checkpoints in `out`, in order.
fn checkpoints(place: &Place, out: &str) -> Vec<u64> {
    let entries = fs::read_dir(place.at(out).join("checkpoints")).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let step = |name: String| name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok();
    let mut steps: Vec<u64> = entries.filter_map(|entry| step(name(entry))).collect();
    steps.sort_unstable();
    steps
}

fn copy(place: &Place, from: &str, to: &str) {
    let _ = fs::remove_dir_all(place.at(to));
    assert!(Command::new("cp").arg("-r").args([place.at(from), place.at(to)]).status().unwrap().success());
}

/// Fails unless two runs came to the same weights, by the same way.
#[track_caller]
fn same(place: &Place, run: &str, calm: &str) {
    assert_eq!(place.hash(run), place.hash(calm));
    let (mine, theirs) = (place.steps(run), place.steps(calm));
    assert!(mine == theirs, "{} and {} steps are logged", mine.len(), theirs.len());
    let hashes = |out: &str| -> Vec<(Value, Value)> {
        place.metrics(out).iter().map(|line| (line["epoch"].clone(), line["params_sha256"].clone())).collect()
    };
    assert_eq!(hashes(run), hashes(calm));
}

/// Fails unless two runs have the same best checkpoint.
#[track_caller]
fn same_best(place: &Place, run: &str, calm: &str) {
    let [run, calm] = [run, calm].map(|out| {
        let path = place.at(out).join("checkpoints/best.safetensors");
        let file = ModelFile::read_checkpoint(&path).unwrap();
        (file.run.step, file.run.validation, file.params, file.moments)
    });
    assert_eq!((run.0, run.1), (calm.0, calm.1));
    assert!((run.2, run.3) == (calm.2, calm.3));
}

/// Waits for something, but not for ever.
#[track_caller]
fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let from = Instant::now();
    while !ready() {
        assert!(from.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A process that is killed should the test fail.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn nn(place: &Place, arguments: &str) -> Self {
        let mut command = place.command(arguments.split_whitespace());
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn other(place: &Place, program: &str, arguments: &str) -> Self {
        let mut command = Command::new(program);
        command.current_dir(place.path()).args(arguments.split_whitespace()).stdin(Stdio::null());
        common::plain(&mut command)
            .env("NN_CACHE_DIR", place.at("cache"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        let _ = self.0.wait().unwrap();
    }

    #[track_caller]
    fn ended(&mut self) -> ExitStatus {
        until("the end", || self.0.try_wait().unwrap().is_some());
        self.0.wait().unwrap()
    }
}

#[test]
fn any_checkpoint_can_be_evaluated_and_the_newest_few_and_the_best_stay() {
    let place = Place::new();
    let arguments =
        "--batch-size 1 --epochs 8 --checkpoint-steps 100 --keep-checkpoints 4 --checkpoint-seconds 0";
    let _ = place.nn(&format!("train --quiet --out run {arguments}")).ok();
    let summary = place.summary("run");
    let steps = checkpoints(&place, "run");
    assert!(steps.len() <= 4 && steps.last() == Some(&(8 * 1438)), "{steps:?}");
    assert!(steps.iter().rev().skip(1).all(|step| step % 100 == 0), "{steps:?}");
    let accuracy = |model: &str| {
        let json = place.nn(&format!("eval --model {model} --data digits --json")).ok().json();
        json["classification"]["accuracy"].clone()
    };
    for step in &steps {
        assert!(accuracy(&checkpoint("run", *step)).as_f64().unwrap() > 0.8, "{step}");
    }
    assert_eq!(accuracy(&checkpoint("run", 8 * 1438)), summary["test_accuracy"]);
    assert_eq!(accuracy("run/checkpoints/best.safetensors"), summary["best_test_accuracy"]);
    let best = ModelFile::read_checkpoint(&place.at("run/checkpoints/best.safetensors")).unwrap();
    assert_eq!(best.run.validation.unwrap().epoch, summary["best_epoch"].as_u64().unwrap());
    // What the metadata say is what the log says.
    let logged = place.steps("run");
    for step in steps {
        let file = ModelFile::read_checkpoint(&place.at(checkpoint("run", step))).unwrap();
        assert_eq!((file.run.step, file.run.generation), (step, Some(0)));
        assert_eq!(logged[step as usize - 1], (step, WeightsHash::of(&file.params).to_string()));
    }
    place.no_halves();
}

#[test]
fn the_best_survives_a_resumption() {
    let place = Place::new();
    // With so large a rate the last epoch is hardly ever the best.
    let arguments = "--learning-rate 20 --optimizer momentum --momentum 0.3";
    let _ = place.nn(&format!("train --quiet --out calm --epochs 12 {arguments}")).ok();
    for epochs in [1, 2, 3, 5, 8, 12] {
        let _ = place.nn(&format!("train --quiet --out run --epochs {epochs} --resume {arguments}")).ok();
        let (best, summary) = (place.at("run/checkpoints/best.safetensors"), place.summary("run"));
        let best = ModelFile::read_checkpoint(&best).unwrap().run.validation.unwrap();
        assert_eq!(best.epoch, summary["best_epoch"].as_u64().unwrap(), "{summary:#}");
        let accuracy = best.correct as f64 / best.samples as f64;
        assert_eq!(accuracy, summary["best_test_accuracy"].as_f64().unwrap());
    }
    same(&place, "run", "calm");
    same_best(&place, "run", "calm");
    // The exported model does not tell that the run was interrupted.
    let model = |out: &str| fs::read(place.at(out).join("model.safetensors")).unwrap();
    assert!(model("run") == model("calm"));
    // A damaged one is said to be so, and the next evaluation takes its place.
    let _ = place.file("run/checkpoints/best.safetensors", "no checkpoint");
    let ran = place.nn(&format!("train --out run --epochs 14 --resume {arguments}")).ok();
    assert!(ran.stderr.contains("warning: the best checkpoint cannot be used"), "{ran:#?}");
    let _ = ModelFile::read_checkpoint(&place.at("run/checkpoints/best.safetensors")).unwrap();
}

#[test]
fn the_weights_after_every_step_are_in_the_log() {
    let place = Place::new();
    let _ = place.nn("train --quiet --epochs 3 --out run").ok();
    let steps = place.steps("run");
    assert!(steps.iter().map(|(step, _)| *step).eq(1..=3 * 144));
    let model = ModelFile::read(&place.at("run/model.safetensors")).unwrap();
    assert_eq!(steps.last().unwrap().1, WeightsHash::of(&model.params).to_string());
    assert_eq!(place.log("run").len(), 3 * 145, "nothing else is in it");
    assert_eq!(place.log("run").last().unwrap()["kind"], "epoch", "an epoch comes after its steps");
    let _ = place.nn("train --quiet --epochs 3 --out some --log-steps 50").ok();
    let some: Vec<(u64, String)> = steps.into_iter().filter(|(step, _)| step % 50 == 0).collect();
    assert_eq!(place.steps("some"), some);
    let _ = place.nn("train --quiet --epochs 3 --out none --log-steps 0").ok();
    assert_eq!(place.log("none").len(), 3);
}

/// A run `long` of 8 epochs, which has checkpoints after 3 and 8, and its copy `run`.
fn two_checkpoints(arguments: &str) -> Place {
    let place = Place::new();
    for epochs in [3, 8] {
        let arguments = format!("--quiet --out long --epochs {epochs} --resume {arguments}");
        let _ = place.nn(&format!("train {arguments}")).ok();
    }
    assert_eq!(checkpoints(&place, "long"), [432, 1152]);
    copy(&place, "long", "run");
    place
}

#[test]
fn steps_that_are_done_again_are_held_against_the_log() {
    let place = two_checkpoints("");
    let resume = "train --out run --epochs 8 --resume";
    fs::remove_file(place.at(checkpoint("run", 1152))).unwrap();
    let log = fs::read_to_string(place.at("run/metrics.jsonl")).unwrap();
    let step = |step: u64| {
        let line = log.lines().find(|line| line.contains(&format!("\"step\":{step},"))).unwrap();
        line.rsplit('"').nth(1).unwrap().to_owned()
    };
    let before = place.files();
    // The hash of a later step is changed, then that of an epoch.
    let wrong = log.replace(&step(1000), &step(999));
    let _ = place.file("run/metrics.jsonl", wrong);
    let ran = place.nn(resume);
    let says =
        ["THE SAME STEP HAS GIVEN OTHER WEIGHTS", "after step 1000", &step(1000), &step(999), "help: "];
    ran.refused(1, &says);
    assert_eq!(checkpoints(&place, "run"), [432], "nothing is kept of it: {before:?}");
    let _ = place.nn(resume).ok();
    same(&place, "run", "long");
    copy(&place, "long", "run");
    fs::remove_file(place.at(checkpoint("run", 1152))).unwrap();
    let epoch = place.metrics("run")[5]["params_sha256"].as_str().unwrap().to_owned();
    let _ = place.file("run/metrics.jsonl", log.replace(&epoch, &epoch.replace('a', "b")));
    place.nn(resume).refused(1, &["THE SAME STEP", "after step 864"]);
    // A log that misses lines, or ends within one, is gone on with.
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
    assert_eq!(steps.len(), 1152 - 11, "10 and 100 to 109 stay lost");
    place.no_halves();
}

#[test]
fn every_kind_of_damage_is_passed_over() {
    let place = two_checkpoints("--optimizer adam");
    let train = "train --out run --epochs 8 --optimizer adam --resume";
    let newest = checkpoint("run", 1152);
    let good = fs::read(place.at(&newest)).unwrap();
    let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let mut damaged: Vec<(String, Vec<u8>)> = Vec::new();
    let lengths = [0, 1, 7, 8, 9, header / 2, header - 1, header, header + 1, good.len() / 2, good.len() - 1];
    damaged.extend(lengths.map(|length| (format!("{length} bytes"), good[..length].to_vec())));
    // In the length, the metadata, the weights, both moments; all the positions of a small file are tried elsewhere.
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
    // A valid model, but without the optimizer's state.
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
            println!("skipped: to this user, {what} is readable");
            continue;
        }
        passed_over(&place, train, what);
    }
    // With nothing left, the run begins anew.
    copy(&place, "long", "run");
    for name in [&newest, &checkpoint("run", 432), "run/checkpoints/best.safetensors"] {
        let _ = place.file(name, &good[..good.len() / 2]);
    }
    let ran = place.nn(train).ok();
    assert_eq!(ran.stderr.lines().count(), 3, "{ran:#?}");
    assert!(ran.stdout.contains("there is no checkpoint in run: starting at the beginning"), "{ran:#?}");
    same(&place, "run", "long");
}

/// The newest of two checkpoints is passed over, and the run ends as if nothing had happened.
#[track_caller]
fn passed_over(place: &Place, train: &str, what: &str) {
    let ran = place.nn(train).ok();
    assert_eq!(ran.stderr.lines().count(), 1, "{what}: {ran:#?}");
    assert!(ran.stderr.starts_with("warning: a checkpoint is passed over: "), "{what}: {ran:#?}");
    assert!(ran.stderr.contains("step-000000001152.safetensors"), "{what}: {ran:#?}");
    assert!(ran.stdout.contains("going on after step 432"), "{what}: {ran:#?}");
    same(place, "run", "long");
    let aside = place.at(checkpoint("run", 1152) + ".damaged");
    assert!(fs::symlink_metadata(aside).is_ok(), "{what}: it is set aside");
    assert_eq!(checkpoints(place, "run"), [432, 1152], "{what}: and a good one is there again");
}

/// The limit on the size of files stands in for a disk without room: larger than the model and the log, smaller than the
/// checkpoints, which have the optimizer's state too.
#[test]
fn without_room_for_checkpoints_the_training_goes_on() {
    let place = Place::new();
    let arguments = "--quiet --optimizer adam --hidden 200 --log-steps 0 --checkpoint-steps 10";
    let _ = place.nn(&format!("train --out run --epochs 1 {arguments}")).ok();
    let folder = |place: &Place| -> Vec<(String, Vec<u8>)> {
        let names = place.files().into_iter().filter(|name| name.starts_with("run/checkpoints/"));
        names.map(|name| (name.clone(), fs::read(place.at(name)).unwrap())).collect()
    };
    let before = folder(&place);
    let script = format!("ulimit -f 256; exec \"$NN\" train --out run --epochs 5 --resume {arguments}");
    let ran: Ran = place.shell(&script).output().unwrap().into();
    let ran = ran.ok();
    for part in [
        "warning: cannot write a checkpoint to run: ",
        "the training goes on",
        "older checkpoints are intact",
    ] {
        assert!(ran.stderr.contains(part), "{ran:#?}");
    }
    assert_eq!(ran.stderr.lines().count(), 2, "once for each sort, not each time: {ran:#?}");
    assert!(folder(&place) == before, "{:?}", place.files());
    let _ = place.nn(&format!("train --out calm --epochs 5 {arguments}")).ok();
    same(&place, "run", "calm");
    place.no_halves();
    // What is not on the disk can be computed again.
    let ran = place.nn(&format!("train --out run --epochs 5 --resume {arguments}")).ok();
    assert!(ran.stderr.is_empty(), "{ran:#?}");
    same(&place, "run", "calm");
    assert_eq!(checkpoints(&place, "run").last(), Some(&720));
}

#[test]
fn a_run_that_is_stopped_without_room_for_its_checkpoint_says_so() {
    let place = Place::new();
    let train = |epochs: u32| {
        format!("train --quiet --out run --optimizer adam --hidden 200 --log-steps 0 --epochs {epochs}")
    };
    let _ = place.nn(&train(1)).ok();
    let script = format!("ulimit -f 256; exec \"$NN\" {} --resume --checkpoint-steps 10", train(1_000_000));
    let mut child = Running(place.shell(&script).stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("warning: cannot write a checkpoint")), "there is room");
    assert!(Command::new("kill").arg(child.0.id().to_string()).status().unwrap().success());
    let rest: Vec<String> = lines.collect();
    assert!(rest.iter().any(|line| line.contains("older checkpoints are intact")), "{rest:?}");
    assert_eq!(child.ended().code(), Some(130));
    assert_eq!(checkpoints(&place, "run"), [144]);
    // As if nothing had happened.
    let _ = place.nn(&format!("{} --resume", train(4))).ok();
    let _ = place.nn(&train(4).replacen("run", "calm", 1)).ok();
    assert_eq!(place.hash("run"), place.hash("calm"));
    place.no_halves();
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_up_and_has_room_again() {
    let place = Place::new();
    fs::create_dir(place.at("disk")).unwrap();
    // In a name space of its own, so that nothing stays mounted; not everybody may make one.
    let script = "mount -t tmpfs -o size=2m none disk || exit 77
        train=\"$NN train --quiet --optimizer adam --hidden 200 --log-steps 1 --checkpoint-steps 100 --out\"
        $train disk/run --epochs 2; echo code $?
        md5sum disk/run/checkpoints/* > before
        cat /dev/zero > disk/filler 2> /dev/null; truncate -s -16K disk/filler
        $train disk/run --epochs 9 --resume; echo code $?
        md5sum --check --status before; echo intact $?
        rm disk/filler
        $train disk/run --epochs 9 --resume; echo code $?
        cp -r disk/run run";
    let mut inside = place.shell(&format!("exec unshare --user --map-root-user --mount sh -c '{script}'"));
    let ran: Ran = inside.output().unwrap().into();
    if !ran.stdout.contains("code ") {
        println!("skipped: no file system can be mounted here: {}", ran.stderr);
        return;
    }
    assert_eq!(ran.stdout, "code 0\ncode 1\nintact 0\ncode 0\n", "{ran:#?}");
    for part in
        ["cannot write a checkpoint", "metrics.jsonl: No space left", "cannot write the model", "make room"]
    {
        assert!(ran.stderr.contains(part), "{part}: {ran:#?}");
    }
    let arguments = "--optimizer adam --hidden 200 --epochs 9";
    let _ = place.nn(&format!("train --quiet --out calm {arguments}")).ok();
    same(&place, "run", "calm");
    place.no_halves();
}

#[cfg(target_os = "linux")]
#[test]
fn lines_that_there_is_no_room_for_are_written_once_there_is() {
    let place = Place::new();
    let arguments = "train --quiet --out run --epochs 1000000";
    let script = format!("ulimit -S -f 64; exec \"$NN\" {arguments}");
    let mut child = Running(place.shell(&script).stderr(Stdio::piped()).spawn().unwrap());
    let mut warnings = BufReader::new(child.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let log = warnings.find(|line| line.contains("cannot write to run/metrics.jsonl")).unwrap();
    assert!(log.contains("the training goes on"), "{log}");
    assert!(fs::metadata(place.at("run/metrics.jsonl")).unwrap().len() <= 64 * 512);
    let lift =
        Command::new("prlimit").args(["--pid", &child.0.id().to_string(), "--fsize=unlimited"]).status();
    if !lift.is_ok_and(|status| status.success()) {
        println!("skipped: no limit can be lifted here");
        return;
    }
    let again = warnings.find(|line| line.contains("wrote to run/metrics.jsonl again"));
    assert!(again.is_some(), "it does not notice that there is room");
    assert!(Command::new("kill").arg(child.0.id().to_string()).status().unwrap().success());
    assert_eq!(child.ended().code(), Some(0));
    let done = place.summary("run")["steps"].as_u64().unwrap();
    assert!(place.steps("run").iter().map(|(step, _)| *step).eq(1..=done), "all steps, and none twice");
    let epochs = place.metrics("run");
    assert!(epochs.iter().map(|line| line["epoch"].as_u64().unwrap()).eq(1..=done / 144));
}

#[test]
fn killed_again_and_again() {
    let place = Place::new();
    let seed = std::env::var("NN_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_123);
    println!("NN_TEST_SEED={seed}");
    let arguments =
        "--batch-size 1 --epochs 60 --optimizer momentum --learning-rate 0.3 --checkpoint-steps 300";
    let calm = Instant::now();
    let _ = place.nn(&format!("train --quiet --out calm {arguments}")).ok();
    let calm = calm.elapsed().as_secs_f64();
    let mut killed = 0;
    for attempt in 0..30 {
        let delay = Duration::from_secs_f64(calm * noise(seed + attempt) * 0.3);
        let mut running = Running::nn(&place, &format!("train --out run {arguments} --resume"));
        thread::sleep(delay);
        if let Some(status) = running.0.try_wait().unwrap() {
            assert!(status.success(), "attempt {attempt}: {status}");
            break;
        }
        running.kill();
        killed += 1;
    }
    println!("killed {killed} times; at {:?} of {} steps", checkpoints(&place, "run"), 60 * 1438);
    let ran = place.nn(&format!("train --out run {arguments} --resume")).ok();
    assert!(ran.stderr.is_empty(), "{ran:#?}");
    same(&place, "run", "calm");
    same_best(&place, "run", "calm");
    assert_eq!(digits12(&place.summary("run")), digits12(&place.summary("calm")));
    place.no_halves();
}

/// The figures of a summary that are the same however often a run was stopped; those that went through decimal text to
/// twelve digits.
fn digits12(summary: &Value) -> Vec<String> {
    let names =
        ["train_loss", "train_accuracy", "test_loss", "test_accuracy", "best_test_accuracy", "best_epoch"];
    names.map(|name| format!("{:.11e}", summary[name].as_f64().unwrap())).into()
}

#[test]
fn a_run_moves_to_a_cluster_and_back() {
    let place = Place::new();
    let arguments = "--out run --epochs 4000 --batch-size 128 --shard-size 16 --hidden 48,32 --eval-every 10 \
                     --optimizer nesterov --learning-rate 0.01 --checkpoint-steps 40";
    let newest = || checkpoints(&place, "run").last().copied().unwrap_or(0);
    let alone = Running::nn(&place, &format!("train {arguments}"));
    until("a checkpoint", || newest() > 0);
    alone.kill();
    assert!(!place.at("run/summary.json").exists(), "it was killed too late");
    let from = newest();
    let coord = format!("--listen 127.0.0.1:0 --min-workers 2 {arguments} --resume");
    let mut coord = Running::other(&place, env!("CARGO_BIN_EXE_nn-coord"), &coord);
    let mut lines = BufReader::new(coord.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("going on after step")), "it begins anew");
    let line = lines.find(|line| line.contains("listening on")).unwrap();
    let url = line.rsplit(' ').next().unwrap();
    let worker = format!("--coordinator {url} --threads 1 --quiet");
    let workers = [(); 2].map(|()| Running::other(&place, env!("CARGO_BIN_EXE_nn-worker"), &worker));
    until("a checkpoint of the cluster", || newest() >= from + 120);
    coord.kill();
    workers.into_iter().for_each(Running::kill);
    assert!(!place.at("run/summary.json").exists(), "it was killed too late");
    let middle = newest();
    let ran = place.nn(&format!("train {arguments} --resume")).ok();
    assert!(ran.stdout.contains(&format!("going on after step {middle}")), "{ran:#?}");
    assert!(ran.stderr.is_empty(), "{ran:#?}");
    let _ = place.nn(&format!("train --quiet {}", arguments.replacen("run", "calm", 1))).ok();
    same(&place, "run", "calm");
    let last = ModelFile::read_checkpoint(&place.at(checkpoint("run", 4000 * 12))).unwrap();
    assert_eq!(last.run.generation, Some(2), "it was taken up twice");
    place.no_halves();
}

#[test]
fn a_second_run_in_the_same_folder_is_refused() {
    let place = Place::new();
    let mut first = Running::nn(&place, "train --epochs 1000000 --out run");
    until("the log", || place.at("run/metrics.jsonl").exists());
    for resume in ["", "--resume"] {
        place
            .nn(&format!("train --out run {resume}"))
            .refused(2, &["another run is writing to --out run", "help: "]);
    }
    assert!(first.0.try_wait().unwrap().is_none());
    first.kill();
    let _ = place.nn("train --quiet --epochs 1 --out run").ok();
}

fn change(path: &Path, change: impl FnOnce(&mut ModelFile)) {
    let mut file = ModelFile::read(path).unwrap();
    change(&mut file);
    file.write(path).unwrap();
}

#[test]
fn a_replay_agrees_with_the_log_or_says_where_not() {
    let place = two_checkpoints("--optimizer adam");
    let early = checkpoint("run", 432);
    let replay = |arguments: &str| place.nn(&format!("replay --checkpoint {early} {arguments}"));
    let ran = replay("").ok();
    assert!(ran.stdout.contains("from step 432 to 1152 agree") && ran.stderr.is_empty(), "{ran:#?}");
    let json = replay("--json --until 600 --data digits --threads 3").ok().json();
    assert_eq!((&json["agrees"], &json["from"], &json["until"]), (&true.into(), &432.into(), &600.into()));
    // 432 to 600, and the ends of two epochs.
    assert_eq!((&json["compared"], &json["first_difference"]), (&(169 + 2).into(), &Value::Null));
    assert_eq!(replay("--until 432").ok().stdout.matches("all 2 hashes").count(), 1);
    let best = place.nn("replay --checkpoint run/checkpoints/best.safetensors --log run/metrics.jsonl").ok();
    assert!(best.stdout.contains("agree"), "{best:#?}");
    replay("--until 431").refused(2, &["--until 431 is before", "step 432", "help: "]);
    replay("--log nowhere").refused(3, &["cannot read the log nowhere", "--log"]);
    let _ = place.file("line.csv", linear_csv(400));
    replay("--data line.csv").refused(3, &[]);
    replay("--test-fraction 0.3")
        .refused(3, &["is not what the run was trained on", "fingerprint", "help: "]);
    let model = place.nn("replay --checkpoint run/model.safetensors");
    model.refused(
        3,
        &["lacks the state of the optimizer", "help: give one of the files in <out>/checkpoints"],
    );

    // A changed line of the log: of a step, and of an epoch.
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

    // Lines that are missing, and one that is damaged.
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

    // Valid checkpoints with other weights or another state: it is told at once, or with the first step.
    let path = place.at(&early);
    let good = fs::read(&path).unwrap();
    change(&path, |file| file.params[7] += 0.125);
    replay("").refused(1, &["step-000000000432.safetensors is not what the log has of step 432"]);
    let _ = place.file(&early, &good);
    change(&path, |file| file.moments[0][7] += 0.125);
    replay("").refused(1, &["step 433 is the first that differs"]);
    let _ = place.file(&early, &good);
    change(&path, |file| file.run.manifest.recipe.learning_rate *= 2.0);
    replay("").refused(1, &["step 433 is the first that differs"]);
}

#[test]
fn a_replay_of_other_data() {
    let place = Place::new();
    let _ = place.file("line.csv", linear_csv(300));
    let train = "train --quiet --data line.csv --test-fraction 0.25 --learning-rate 0.02 --out run";
    for epochs in [2, 5] {
        let _ = place.nn(&format!("{train} --epochs {epochs} --resume")).ok();
    }
    let first = checkpoint("run", 46);
    let replay = format!("replay --checkpoint {first}");
    place.nn(&replay).refused(2, &["trained on line.csv", "--data"]);
    // The run was made longer after that checkpoint.
    let ran = place.nn(&format!("{replay} --data line.csv --test-fraction 0.25")).ok();
    assert!(ran.stdout.contains("from step 46 to 115 agree"), "{ran:#?}");
    place.nn(&format!("{replay} --data line.csv")).refused(3, &["fingerprint"]);
    let fruit: String =
        (0..60).map(|i| format!("{},{},{}\n", i % 7, i % 3, ["pear", "fig", "plum"][i % 3])).collect();
    let _ = place.file("fruit.csv", format!("a,b,fruit\n{fruit}"));
    let _ = place.nn("train --quiet --data fruit.csv --epochs 4 --out fruit").ok();
    // Plain descent has no state: the exported model will do, and has nothing left to compute.
    let ran = place.nn("replay --checkpoint fruit/model.safetensors --data fruit.csv").ok();
    assert!(ran.stdout.contains("all 2 hashes"), "{ran:#?}");
    let best = "replay --checkpoint fruit/checkpoints/best.safetensors --data fruit.csv";
    let _ = place.nn(best).ok();
}
