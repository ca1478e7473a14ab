//! Full disks.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::common::{Place, Ran};
use crate::{Running, checkpoints, same};

/// The limit on the size of files stands in for a full disk. It is larger than the model and the log, and smaller than
/// checkpoints, which also have the optimizer's state.
#[test]
fn training_continues_if_checkpoints_cannot_be_written() {
    let place = Place::new();
    let arguments = "--quiet --recipe book --optimizer adam --hidden 200 --log-steps 0 --checkpoint-steps 10 \
                     --validation-fraction 0.1";
    let _ = place.nn(&format!("train --out run --epochs 1 {arguments}")).ok();
    let folder = |place: &Place| -> Vec<(String, Vec<u8>)> {
        let names = place.files().into_iter().filter(|name| name.starts_with("run/checkpoints/"));
        names.map(|name| (name.clone(), fs::read(place.at(name)).unwrap())).collect()
    };
    let before = folder(&place);
    let script = format!("ulimit -f 256; exec \"$NN\" train --out run --epochs 5 --resume {arguments}");
    let ran: Ran = place.shell(&script).output().unwrap().into();
    let ran = ran.ok();
    for part in
        ["warning: cannot write a checkpoint to run: ", "training continues", "older checkpoints are intact"]
    {
        assert!(ran.stderr.contains(part), "{ran:#?}");
    }
    assert_eq!(ran.stderr.lines().count(), 2, "one warning for each kind of checkpoint: {ran:#?}");
    assert!(folder(&place) == before, "{:?}", place.files());
    let _ = place.nn(&format!("train --out calm --epochs 5 {arguments}")).ok();
    same(&place, "run", "calm");
    place.no_halves();
    // The steps that no checkpoint has can be computed again.
    let ran = place.nn(&format!("train --out run --epochs 5 --resume {arguments}")).ok();
    assert!(ran.stderr.is_empty(), "{ran:#?}");
    same(&place, "run", "calm");
    assert_eq!(checkpoints(&place, "run").last(), Some(&650));
}

#[test]
fn a_stopped_run_that_cannot_write_its_checkpoint_exits_with_130() {
    let place = Place::new();
    let train = |epochs: u32| {
        format!(
            "train --quiet --out run --recipe book --optimizer adam --hidden 200 --log-steps 0 --epochs {epochs}"
        )
    };
    let _ = place.nn(&train(1)).ok();
    let script = format!("ulimit -f 256; exec \"$NN\" {} --resume --checkpoint-steps 10", train(1_000_000));
    let mut child = Running(place.shell(&script).stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("warning: cannot write a checkpoint")), "the disk is not full");
    assert!(Command::new("kill").arg(child.0.id().to_string()).status().unwrap().success());
    let rest: Vec<String> = lines.collect();
    assert!(rest.iter().any(|line| line.contains("older checkpoints are intact")), "{rest:?}");
    assert_eq!(child.ended().code(), Some(130));
    assert_eq!(checkpoints(&place, "run"), [144]);
    // The run resumes as if nothing had happened.
    let _ = place.nn(&format!("{} --resume", train(4))).ok();
    let _ = place.nn(&train(4).replacen("run", "calm", 1)).ok();
    assert_eq!(place.hash("run"), place.hash("calm"));
    place.no_halves();
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_resumes_after_its_disk_was_full() {
    let place = Place::new();
    fs::create_dir(place.at("disk")).unwrap();
    // The mount namespace ends with the process, so nothing stays mounted. Not every user may create one.
    let script = "mount -t tmpfs -o size=2m none disk || exit 77
        train=\"$NN train --quiet --recipe book --optimizer adam --hidden 200 --log-steps 1 --checkpoint-steps 100 --out\"
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
        println!("skipped: cannot mount a file system here: {}", ran.stderr);
        return;
    }
    assert_eq!(ran.stdout, "code 0\ncode 1\nintact 0\ncode 0\n", "{ran:#?}");
    for part in
        ["cannot write a checkpoint", "metrics.jsonl: No space left", "cannot write the model", "make room"]
    {
        assert!(ran.stderr.contains(part), "{part}: {ran:#?}");
    }
    let arguments = "--recipe book --optimizer adam --hidden 200 --epochs 9";
    let _ = place.nn(&format!("train --quiet --out calm {arguments}")).ok();
    same(&place, "run", "calm");
    place.no_halves();
}

#[cfg(target_os = "linux")]
#[test]
fn log_lines_are_kept_until_the_disk_has_room() {
    let place = Place::new();
    let arguments = "train --quiet --out run --epochs 1000000";
    let script = format!("ulimit -S -f 64; exec \"$NN\" {arguments}");
    let mut child = Running(place.shell(&script).stderr(Stdio::piped()).spawn().unwrap());
    let mut warnings = BufReader::new(child.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let log = warnings.find(|line| line.contains("cannot write to run/metrics.jsonl")).unwrap();
    assert!(log.contains("training continues"), "{log}");
    assert!(fs::metadata(place.at("run/metrics.jsonl")).unwrap().len() <= 64 * 512);
    let lift =
        Command::new("prlimit").args(["--pid", &child.0.id().to_string(), "--fsize=unlimited"]).status();
    if !lift.is_ok_and(|status| status.success()) {
        println!("skipped: cannot lift the limit here");
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
