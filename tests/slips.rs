//! No run is lost by a slip: a folder that holds a run is not written over, a run resumes with `--resume --out` alone, and
//! the commands that are printed work as they are. The tests run the real program, as a user does.

#![cfg(unix)] // processes are killed by signals, and commands pasted into `sh`
#![allow(clippy::disallowed_methods)] // every wait here is bounded by a clock

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{Place, Ran, Running, linear_csv};

/// A limit on every wait, generous for a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// All files below the folder with their contents.
fn contents(place: &Place) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| (name.clone(), fs::read(place.at(name)).unwrap());
    place.files().into_iter().map(read).collect()
}

/// Runs a command as a user who pastes it into a shell.
fn pasted(place: &Place, command: &str) -> Ran {
    let programs = Path::new(env!("CARGO_BIN_EXE_nn")).parent().unwrap().display();
    place.shell(&format!("PATH=\"{programs}:$PATH\"; {command}")).output().unwrap().into()
}

/// What stands behind `mark` in a line of the output.
#[track_caller]
fn behind<'a>(ran: &'a Ran, mark: &str) -> &'a str {
    let line = ran.stdout.lines().find_map(|line| line.split_once(mark));
    line.unwrap_or_else(|| panic!("{mark:?} is not in {ran:#?}")).1
}

/// Starts a run in `run`, waits until it has a checkpoint, and kills it.
#[track_caller]
fn killed(place: &Place, words: &[String]) {
    let mut command = place.command(words);
    let mut child = Running(command.stdout(Stdio::null()).spawn().unwrap());
    let checkpoint = |entry: std::io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with("step-")))
    };
    until(|| fs::read_dir(place.at("run/checkpoints")).into_iter().flatten().any(checkpoint));
    child.0.kill().unwrap();
    let killed = !child.0.wait().unwrap().success();
    assert!(killed && !place.at("run/summary.json").exists(), "it was killed too late");
}

/// Waits until `ready` returns true, at most [`PATIENCE`].
#[track_caller]
fn until(mut ready: impl FnMut() -> bool) {
    let from = Instant::now();
    while !ready() {
        assert!(from.elapsed() < PATIENCE, "waited in vain");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_folder_that_holds_a_run_is_not_written_over() {
    let place = Place::new();
    let _ = place.nn("train --quiet --epochs 2 --out run").ok();
    let before = contents(&place);
    let says =
        ["--out run holds a finished run of 2 epochs (test accuracy ", "--resume", "--overwrite", "--out"];
    for arguments in ["", "--seed 7", "--data nowhere.csv", "--epochs 2 --quiet"] {
        place.nn(&format!("train --out run {arguments}")).refused(2, &says);
        assert!(contents(&place) == before, "{arguments}");
    }
    // Before the new run really begins, the old one is not touched.
    for (arguments, code) in
        [("--data nowhere.csv", 3), ("--hidden 1000000,1000000", 2), ("--test-fraction 2", 2)]
    {
        place.nn(&format!("train --out run --overwrite {arguments}")).refused(code, &[]);
        assert!(contents(&place) == before, "{arguments}");
    }
    place.nn("train --out run --overwrite --resume").refused(2, &["--resume and --overwrite contradict"]);
    let output =
        place.command(["train", "--quiet", "--out", "run", "--epochs", "1", "--seed", "3", "--overwrite"]);
    // A flag overrides the variable of a service that always resumes.
    let mut output = output;
    let ran: Ran = output.env("NN_RESUME", "1").output().unwrap().into();
    let _ = ran.ok();
    assert_eq!(place.summary("run")["epochs"], 1);
    // A model alone is work too.
    let _ = place.file("alone/model.safetensors", fs::read(place.at("run/model.safetensors")).unwrap());
    let ran = place.nn("train --out alone");
    ran.refused(2, &["--out alone holds a trained model", "--overwrite"]);
    assert!(!ran.stderr.contains("--resume"), "there is nothing to resume: {ran:#?}");
    // With --resume, it would be replaced by a shorter run, or another.
    place.nn("train --out alone --resume --epochs 2 --seed 9").refused(2, &["seed is 9, was 3"]);
}

#[test]
fn what_is_not_a_run_is_not_written_over_either() {
    let place = Place::new();
    let _ = place.file("mine/run.toml", "epochs = 1\n");
    let _ = place.file("logs/metrics.jsonl", "loss\n0.5\n");
    let _ = place.file("sums/summary.json", "{\"total\": 3}");
    let _ = place.nn("train --quiet --epochs 1 --out run").ok();
    let before = contents(&place);
    for (out, part) in [
        ("mine", "--out mine has a run.toml that no run wrote"),
        ("logs", "--out logs holds a file metrics.jsonl of another program"),
        ("sums", "--out sums holds a file summary.json of another program"),
        ("run/checkpoints", "--out run/checkpoints is among the checkpoints of the run in "),
        ("run/checkpoints/deep/er", "is among the checkpoints of the run in "),
        ("run/model.safetensors", "cannot write to --out run/model.safetensors"),
    ] {
        place.nn(&format!("train --epochs 1 --out {out}")).refused(2, &[part, "help: "]);
        assert!(contents(&place) == before, "{out}");
    }
    // The user's own configuration, read from the folder of the run, stays where it is.
    place.nn("train --config mine/run.toml --out mine").refused(2, &["move it elsewhere"]);
}

#[test]
fn a_run_that_led_to_nothing_is_no_run() {
    let place = Place::new();
    let _ = place.file("line.csv", linear_csv(100));
    let bad = "train --data line.csv --recipe book --standardize no --activation relu --learning-rate 3000 --out run";
    place.nn(bad).refused(1, &["NaN or infinite in epoch 1"]);
    // The remedy works as it is said.
    let _ = place
        .nn("train --quiet --data line.csv --activation relu --learning-rate 0.01 --epochs 2 --out run")
        .ok();
    let before = contents(&place);
    // A coordinator without workers makes no step, so it destroys nothing.
    let mut coord = Command::new(env!("CARGO_BIN_EXE_nn-coord"));
    common::plain(coord.current_dir(place.path()));
    let arguments = "--listen 127.0.0.1:0 --wait-timeout 1 --data line.csv --out run --overwrite";
    let ran: Ran = coord.args(arguments.split_whitespace()).output().unwrap().into();
    ran.refused(4, &["after step 0, and the older run is untouched", "run the same command again"]);
    assert!(contents(&place) == before);
}

#[test]
fn the_default_folder_gets_a_number() {
    let place = Place::new();
    let said = |ran: &Ran| ran.stdout.contains("because there are earlier runs");
    let first = place.nn("train --epochs 1").ok();
    assert!(!said(&first), "{first:#?}");
    for number in [2, 3] {
        let ran = place.nn(&format!("train --epochs 1 --seed {number}")).ok();
        let line =
            format!("this run is in runs/digits-{number}, because there are earlier runs in runs/digits\n");
        assert!(ran.stdout.contains(&line), "{ran:#?}");
        assert!(ran.stdout.contains(&format!("runs/digits-{number}/model.safetensors")), "{ran:#?}");
    }
    // The newest is resumed, and said; its own seed is taken up.
    let ran = place.nn("train --resume --epochs 2").ok();
    assert!(ran.stdout.contains("the newest run is the one in runs/digits-3\n"), "{ran:#?}");
    assert!(ran.stdout.contains("resuming after step 144 from runs/digits-3/"), "{ran:#?}");
    let _ = place.nn("train --quiet --epochs 2 --seed 3 --out calm").ok();
    assert_eq!(place.hash("runs/digits-3"), place.hash("calm"));
    assert_eq!(place.summary("runs/digits")["epochs"], 1);
    // A refused run takes no number, and a gap is not filled: the greatest number stays the newest.
    place.nn("train --epochs 1 --hidden 1000000,1000000").refused(2, &[]);
    fs::remove_dir_all(place.at("runs/digits-2")).unwrap();
    let _ = place.nn("train --quiet --epochs 1").ok();
    assert!(place.at("runs/digits-4/summary.json").exists(), "{:?}", place.files());
    // What has no option to print is a warning: a script would read the wrong results.
    let ran = place.nn("train --quiet --epochs 1").ok();
    assert!(
        ran.stdout.is_empty() && ran.stderr.starts_with("warning: this run is in runs/digits-5"),
        "{ran:#?}"
    );
    // As --resume, --overwrite means the newest.
    let ran = place.nn("train --epochs 2 --overwrite").ok();
    assert!(ran.stdout.contains("replacing a finished run of 1 epoch ("), "{ran:#?}");
    assert_eq!(place.summary("runs/digits-5")["epochs"], 2);
    assert!(!place.at("runs/digits-6").exists());
}

#[test]
fn runs_that_start_at_the_same_time_get_a_folder_each() {
    let place = Place::new();
    let start = |seed: u32| {
        let arguments =
            ["train".into(), "--quiet".into(), "--epochs".into(), "2".into(), format!("--seed={seed}")];
        Running(place.command(arguments).spawn().unwrap())
    };
    let mut children: Vec<Running> = (1..=5).map(start).collect();
    for child in &mut children {
        assert!(child.0.wait().unwrap().success());
    }
    let outs = ["", "-2", "-3", "-4", "-5"].map(|number| format!("runs/digits{number}"));
    let mut hashes: Vec<String> = outs.iter().map(|out| place.hash(out)).collect();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), 5, "every run is there, and none twice");
    assert!(!place.at("runs/digits-6").exists());
}

#[test]
fn a_killed_run_resumes_with_its_folder_alone() {
    let place = Place::new();
    let _ = place.file("some data/table.csv", linear_csv(400).replace("a,b,c,y", "y,a,b,c"));
    fs::create_dir(place.at("elsewhere")).unwrap();
    let options = "--label-column y --header yes --test-fraction 0.25 --hidden 200,150 --activation tanh \
                   --optimizer adamw --weight-decay 0.02 --schedule cosine --cosine-floor 0.05 --batch-size 3 \
                   --learning-rate 0.003 --l2 0.1 --warmup-steps 7 --seed 18446744073709551615";
    let words = |out: &str, epochs: u32| -> Vec<String> {
        let fixed = ["train", "--data", "some data/table.csv", "--out", out].map(str::to_owned);
        let options = format!("{options} --epochs {epochs} --checkpoint-steps 50 --eval-every 10");
        fixed.into_iter().chain(options.split_whitespace().map(str::to_owned)).collect()
    };
    let calm: Ran = place.command(words("calm", 60)).output().unwrap().into();
    let _ = calm.ok();
    killed(&place, &words("run", 60));
    place
        .nn("train --out run")
        .refused(2, &["--out run holds an interrupted run, with a checkpoint after step"]);
    for name in ["copy", "moved"] {
        let copied = Command::new("cp").arg("-r").args([place.at("run"), place.at(name)]).status().unwrap();
        assert!(copied.success());
    }
    let ran = place.nn("train --resume --out run").ok();
    assert!(ran.stdout.contains("resuming after step") && ran.stderr.is_empty(), "{ran:#?}");
    assert_eq!(place.hash("run"), place.hash("calm"));
    // From another folder, which does not have the data.
    let ran = pasted(&place, "cd elsewhere && nn train --resume --out ../copy").ok();
    let there = place.path().canonicalize().unwrap().join("some data/table.csv");
    let line = format!("data is read from {}, where the run began\n", there.display());
    assert!(ran.stdout.contains(&line), "{ran:#?}");
    assert_eq!(place.hash("copy"), place.hash("calm"));
    // Only what may change may be given; the rest is compared with the checkpoint.
    let resume = "train --resume --out moved";
    for (options, part) in [
        ("--seed 5", "seed is 5, was 18446744073709551615"),
        ("--optimizer sgd", "optimizer is sgd, was adamw"),
        ("--hidden 3", "layers is 3-3-1, was 3-200-150-1"),
        ("--epochs 61", "epochs is 61, was 60"), // the cosine ends with the last epoch
        ("--test-fraction 0.5", "data is"),
    ] {
        place
            .nn(&format!("{resume} {options}"))
            .refused(2, &[part, "is a checkpoint of another run", "help: "]);
    }
    let _ = place
        .nn(&format!("{resume} --quiet --threads 2 --eval-every 7 --keep-checkpoints 1 --log-steps 2"))
        .ok();
    assert_eq!(place.hash("moved"), place.hash("calm"));
    // The file is a configuration for a new run, which gets a folder of its own.
    let _ = place.nn("train --quiet --config run/run.toml").ok();
    assert_eq!(place.hash("runs/table"), place.hash("calm"));
    place.no_halves();
}

#[test]
fn a_folder_without_the_options_says_so() {
    let place = Place::new();
    let options = "--epochs 3 --hidden 12 --l2 0.5";
    let _ = place.nn(&format!("train --quiet --out run {options}")).ok();
    let _ = place.nn("train --quiet --resume --out run --epochs 4").ok();
    assert_eq!(place.summary("run")["layers"], serde_json::json!([64, 12, 10]));
    // The run's file has what changed.
    assert!(fs::read_to_string(place.at("run/run.toml")).unwrap().contains("\nepochs = 4\n"));
    fs::remove_file(place.at("run/run.toml")).unwrap();
    place.nn("train --resume --out run --epochs 5").refused(2, &["l2 is 0.0, was 0.5", "it has no run.toml"]);
    place.nn("eval --model run/model.safetensors").refused(2, &["--data is missing", "run.toml", "help: "]);
    let _ = place.nn("train --quiet --resume --out run --epochs 5 --hidden 12 --l2 0.5").ok();
    let _ = place.nn("train --quiet --resume --out run --epochs 6").ok();
    assert_eq!(place.summary("run")["epochs"], 6);
    // A line that was changed by hand is an option like any other, and is named.
    let text = fs::read_to_string(place.at("run/run.toml")).unwrap();
    let _ = place.file("run/run.toml", text.replace("\nl2 = 0.5", "\nl2 = many"));
    place.nn("train --resume --out run").refused(2, &["run/run.toml:", "not TOML"]);
    let _ = place.file("run/run.toml", text.replace("\nl2 = 0.5", "\nl2 = 0.25"));
    place.nn("train --resume --out run").refused(2, &["l2 is 0.25, was 0.5"]);
}

#[test]
fn a_printed_command_can_be_pasted() {
    for out in ["plain", "my run's $HOME", "-dash", "\"quoted\"; ls", "α & *"] {
        let place = Place::new();
        let data = "-it's $data/x y.csv";
        let _ = place.file(data, linear_csv(200).replace("a,b,c,y", "y,a,b,c"));
        let (data, out) = (format!("--data={data}"), format!("--out={out}"));
        let fixed =
            ["train", &data, &out, "--label-column", "y", "--test-fraction", "0.4", "--recipe", "book"];
        let ran: Ran = place.command(fixed).args(["--epochs", "3"]).output().unwrap().into();
        let ran = ran.ok();
        let summary = place.summary(&out["--out=".len()..]);
        let eval = pasted(&place, behind(&ran, "look closer: ")).ok();
        assert!(eval.stdout.starts_with("reading -it's $data/x y.csv, as "), "{eval:#?}");
        assert!(eval.stdout.contains("\n80 test samples of x y.csv, loss "), "{eval:#?}");
        assert!(eval.stderr.is_empty() && summary["outcome"] == "complete", "{eval:#?}");
        // A run that is stopped.
        let stopped =
            place.command(fixed).args(["--epochs", "1000000", "--overwrite"]).stdout(Stdio::piped()).spawn();
        let mut child = Running(stopped.unwrap());
        let log = place.at(&out["--out=".len()..]).join("metrics.jsonl");
        until(|| fs::read_to_string(&log).is_ok_and(|text| text.matches("\"kind\":\"epoch\"").count() > 3));
        assert!(Command::new("kill").arg(child.0.id().to_string()).status().unwrap().success());
        let mut text = String::new();
        std::io::Read::read_to_string(child.0.stdout.as_mut().unwrap(), &mut text).unwrap();
        let status = child.0.wait().unwrap();
        let ran = Ran { code: status.code(), stdout: text, stderr: String::new() };
        let steps = place.summary(&out["--out=".len()..])["steps"].as_u64().unwrap();
        let resume = behind(&ran, "to resume: ").to_owned();
        // The number of epochs may change, so that the test ends.
        let epochs = steps.div_ceil(12) + 1;
        let resumed = pasted(&place, &format!("{resume} --epochs {epochs}")).ok();
        assert!(resumed.stdout.contains(&format!("resuming after step {steps} from ")), "{resumed:#?}");
    }
}

#[test]
fn a_coordinator_resumes_with_its_folder_alone() {
    let place = Place::new();
    let _ = place.file("line.csv", linear_csv(300).replace("a,b,c,y", "y,a,b,c"));
    let options =
        "--data line.csv --recipe book --label-column y --hidden 300,300 --checkpoint-steps 20 --epochs 40";
    let _ = place.nn(&format!("train --quiet --out calm {options}")).ok();
    let words = format!("train --out run {options}");
    killed(&place, &words.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let coord = "nn-coord --listen 127.0.0.1:0 --spawn 1 --min-workers 1 --resume --out run";
    let ran = pasted(&place, coord).ok();
    assert!(ran.stdout.contains("resuming after step"), "{ran:#?}");
    assert_eq!(place.hash("run"), place.hash("calm"));
    // Without --resume a coordinator refuses the folder too.
    let again = pasted(&place, "nn-coord --listen 127.0.0.1:0 --out run");
    again.refused(2, &["holds a finished run of 40 epochs"]);
    // The command that a stopped coordinator prints has what it needs to run again.
    let endless = options.replace("--epochs 40", "--epochs 1000000");
    let script = format!(
        "nn-coord --listen 127.0.0.1:0 --spawn 1 --out 'a run' {endless} > said & \
         while ! ls 'a run'/checkpoints/step-* > /dev/null 2>&1; do sleep 0.05; done; kill $!; wait $!"
    );
    let _ = pasted(&place, &script).ok();
    let said =
        Ran { code: None, stdout: fs::read_to_string(place.at("said")).unwrap(), stderr: String::new() };
    let resume = behind(&said, "to resume: ");
    assert_eq!(resume, "nn-coord --listen 127.0.0.1:0 --spawn 1 --resume --out 'a run'");
    let steps = place.summary("a run")["steps"].as_u64().unwrap();
    let ran = pasted(&place, &format!("{resume} --epochs {}", steps.div_ceil(24) + 1)).ok();
    assert!(ran.stdout.contains(&format!("resuming after step {steps} from a run/")), "{ran:#?}");
}
