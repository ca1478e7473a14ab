//! What the programs are given: pipes, files of other programs, one of several data sets, and more than fits in memory.
#![cfg(unix)]

mod common;

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::*;

/// A shell of the system with process substitution.
fn bash(place: &Place, script: &str) -> Ran {
    let mut bash = Command::new("bash");
    plain(bash.current_dir(place.path()).stdin(Stdio::null()));
    bash.args(["-c", script]).env("NN", env!("CARGO_BIN_EXE_nn")).output().unwrap().into()
}

#[test]
fn a_pipe_is_as_good_as_a_file() {
    let place = Place::new();
    let _ = place.file("t.csv", linear_csv(60));
    let train = "\"$NN\" train --quiet --epochs 2";
    let _ = bash(&place, &format!("{train} --out file --data t.csv")).ok();
    let _ = bash(&place, &format!("{train} --out stdin --data /dev/stdin < t.csv")).ok();
    let _ = bash(&place, &format!("cat t.csv | {train} --out cat --data /dev/stdin")).ok();
    let _ = bash(&place, &format!("{train} --out substituted --data <(cat t.csv)")).ok();
    let _ = bash(&place, &format!("mkfifo p; cat t.csv > p & {train} --out fifo --data p; wait")).ok();
    for out in ["stdin", "cat", "substituted", "fifo"] {
        assert_eq!(place.hash(out), place.hash("file"), "{out}");
        assert_eq!(place.summary(out)["data_sha256"], place.summary("file")["data_sha256"], "{out}");
    }
    let model = "--model file/model.safetensors";
    for (direct, piped) in [
        (format!("eval --json {model} --data t.csv"), format!("eval --json {model} --data /dev/stdin")),
        (
            "replay --json --checkpoint file/checkpoints/step-000000000004.safetensors --data t.csv"
                .to_owned(),
            "replay --json --checkpoint file/checkpoints/step-000000000004.safetensors --data /dev/stdin"
                .to_owned(),
        ),
    ] {
        let direct = bash(&place, &format!("\"$NN\" {direct}")).ok();
        let piped = bash(&place, &format!("cat t.csv | \"$NN\" {piped}")).ok();
        let timeless = |ran: &Ran| {
            let mut json = ran.json();
            json.as_object_mut().unwrap().retain(|key, _| !key.contains("second"));
            json
        };
        assert_eq!(timeless(&direct), timeless(&piped));
    }
    let direct = bash(&place, &format!("\"$NN\" predict --json {model} t.csv")).ok().json();
    let piped = bash(&place, &format!("cat t.csv | \"$NN\" predict --json {model} /dev/stdin")).ok().json();
    let outputs = |json: &serde_json::Value| -> Vec<serde_json::Value> {
        json["predictions"].as_array().unwrap().iter().map(|one| one["outputs"].clone()).collect()
    };
    assert_eq!(outputs(&direct), outputs(&piped));
    // A picture is decoded from its file.
    let _ = place.file("p.png", png(8, 8, &[255; 64]));
    let ran = bash(&place, &format!("cat p.png | \"$NN\" predict {model} /dev/stdin"));
    ran.refused(3, &["/dev/stdin is a PNG picture", "as a file, not through a pipe"]);
    bash(&place, "\"$NN\" train --data /dev/null --out o").refused(3, &["/dev/null is empty"]);
}

#[test]
fn a_pipe_that_nobody_writes_to_can_be_interrupted() {
    let place = Place::new();
    assert!(Command::new("mkfifo").arg(place.at("p")).status().unwrap().success());
    for command in ["train --out run/of/mine --data p", "eval --model no --data p"] {
        let mut command = place.command(command.split_whitespace());
        let mut running = Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
        let mut attempts = 0;
        let status = loop {
            // Handlers may not be installed yet, and then the signal ends the process as well.
            let kill = format!("kill -INT {} 2> /dev/null", running.0.id());
            std::thread::sleep(Duration::from_millis(300));
            let _ = Command::new("sh").args(["-c", &kill]).status().unwrap();
            std::thread::sleep(Duration::from_millis(300));
            if let Some(status) = running.0.try_wait().unwrap() {
                break status;
            }
            attempts += 1;
            assert!(attempts < 100, "SIGINT does not end it");
        };
        let mut stderr = String::new();
        let _ = running.0.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        if status.code() == Some(130) && !stderr.is_empty() {
            assert!(stderr.contains("error: interrupted while reading the pipe p"), "{stderr}");
        }
    }
    assert!(!place.at("run").exists(), "the folders of a run that never began were left behind");
}

#[test]
fn more_memory_than_there_is_is_refused_before_it_is_taken() {
    let place = Place::new();
    let limited = |limit: u32, arguments: &str| -> Ran {
        let script = format!("ulimit -v {limit}; exec \"$NN\" {arguments}");
        place.shell(&script).output().unwrap().into()
    };
    let ran = limited(1_000_000, "train --threads 2 --recipe book --hidden 20000,20000 --out run/of/mine");
    let says = [
        "the run needs about 6.29 GiB of memory",
        "401,520,010 parameters with 2.99 GiB for weights and gradient",
        "(ulimit -v)",
        "help: make --hidden smaller",
    ];
    ran.refused(1, &says);
    assert!(!place.at("run").exists(), "the folders of a run that never began were left behind");
    // The remedies work.
    limited(1_000_000, "train --quiet --epochs 1 --threads 2 --recipe book --hidden 200,200 --out small")
        .ok();
    // The limits leave room for the addresses that the allocator reserves for threads, which vary by 128 MiB.
    let adam =
        "train --quiet --epochs 1 --threads 2 --batch-size 480 --recipe book --hidden 12000,1000 --out adam";
    limited(635_000, &format!("{adam} --optimizer adam")).refused(1, &["or choose --optimizer sgd"]);
    limited(635_000, adam).ok();
    let large = "train --quiet --epochs 1 --threads 2 --recipe book --hidden 20000 --out large --batch-size";
    limited(480_000, &format!("{large} 1400")).refused(1, &["help: make --batch-size smaller"]);
    limited(480_000, &format!("{large} 100")).ok();
    // A run within the limit that takes much says how much.
    let ran = place
        .nn("train --epochs 1 --threads 2 --batch-size 1500 --recipe book --hidden 6000,2000 --out much")
        .ok();
    assert!(
        ran.stdout.contains("the run takes about") && ran.stdout.contains("for a checkpoint"),
        "{ran:#?}"
    );
}

#[test]
fn memory_that_the_system_refuses_ends_with_exit_code_1() {
    let place = Place::new();
    place.nn("train --quiet --epochs 1 --threads 2 --batch-size 1000 --recipe book --hidden 4000,2000 --out run").ok();
    let mut refused = 0;
    for limit in (60_000..300_000).step_by(20_000) {
        let eval = "eval --threads 2 --model run/model.safetensors --data digits --json";
        let script = format!("ulimit -v {limit}; unset RUST_BACKTRACE; exec \"$NN\" {eval}");
        let ran: Ran = place.shell(&script).output().unwrap().into();
        // Where the failure can be told, as when a file is read, it is; elsewhere the standard library tells it.
        assert!(matches!(ran.code, Some(0 | 1 | 3)), "{limit}: {ran:#?}");
        refused += usize::from(ran.code == Some(1) && ran.stderr.starts_with("memory allocation of "));
    }
    assert!(refused > 0, "no limit was in the way");
}

#[test]
fn pictures_of_other_formats_are_told_what_to_become() {
    let place = Place::new();
    let _ = place.file("a.gif", b"GIF89a\x08\0\x08\0\0\0\0;");
    place.nn("train --quiet --epochs 1 --out run").ok();
    let model = "--model run/model.safetensors";
    place.nn(&format!("predict {model} a.gif")).refused(3, &["a.gif is a GIF picture", "PNG or JPEG"]);
    place.nn("train --data a.gif --out o").refused(3, &["a.gif is a GIF picture", "IDX, CSV, NPY or NPZ"]);
}

/// The small data set twice, the second time with its pictures stored by columns.
#[test]
fn one_of_two_sets_by_name_with_its_pictures_turned() {
    let place = Place::new();
    let turned = |file: &[u8]| -> Vec<u8> {
        let (header, pixels) = file.split_at(16);
        let turn = |picture: &[u8]| (0..64).map(|at| picture[at % 8 * 8 + at / 8]).collect::<Vec<u8>>();
        header.iter().copied().chain(pixels.chunks(64).flat_map(turn)).collect()
    };
    for (name, bytes) in NAMES.iter().zip(four()) {
        let _ = place.file(format!("alone/{name}"), &bytes);
        let _ = place.file(format!("both/upright-{name}"), &bytes);
        let bytes = if name.contains("images") { turned(&bytes) } else { bytes };
        let _ = place.file(format!("both/columns-{name}"), bytes);
    }
    let train = "train --quiet --epochs 1 --data";
    place.nn(&format!("{train} alone --out alone.run")).ok();
    place.nn(&format!("{train} both --out o")).refused(3, &["columns, upright", "--idx-set NAME"]);
    place.nn(&format!("{train} both --idx-set wide --out o")).refused(2, &["`wide`", "columns, upright"]);
    place.nn("train --transpose --out o").refused(2, &["--transpose"]);
    place.nn(&format!("{train} both --idx-set upright --out a")).ok();
    place.nn(&format!("{train} both/upright-{} --out b", NAMES[1])).ok();
    place.nn(&format!("{train} both --idx-set columns --transpose --out c")).ok();
    let _ = place.file("run.toml", "data = \"both\"\nidx-set = \"columns\"\ntranspose = true\n");
    place.nn("train --quiet --epochs 1 --config run.toml --out d").ok();
    for out in ["a", "b", "c", "d"] {
        assert_eq!(place.hash(out), place.hash("alone.run"), "{out}");
    }
    place.nn(&format!("{train} both --idx-set columns --out e")).ok();
    assert_ne!(place.hash("e"), place.hash("alone.run"));
    // The commands that read a model take the same options.
    let eval = |data: &str| {
        place.nn(&format!("eval --json --model alone.run/model.safetensors --data {data}")).ok().json()
    };
    assert_eq!(eval("alone"), eval("both --idx-set columns --transpose"));
    let samples = format!("both/columns-{}", NAMES[2]);
    let predict = |what: &str| -> Vec<serde_json::Value> {
        let ran = place.nn(&format!("predict --json --model alone.run/model.safetensors {what}")).ok().json();
        ran["predictions"].as_array().unwrap().iter().map(|one| one["outputs"].clone()).collect()
    };
    assert_eq!(predict(&format!("alone/{}", NAMES[2])), predict(&format!("{samples} --transpose")));
}
