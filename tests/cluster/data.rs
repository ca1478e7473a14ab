//! How workers get the training samples.

use std::fs;
use std::path::Path;

use crate::common::{NAMES, Place, four};
use crate::process::{Coord, alone, worker};

/// Writes a data set, after `change` has changed its files.
fn set(place: &Place, folder: &str, change: impl Fn(&mut [Vec<u8>; 4])) {
    let mut files = four();
    change(&mut files);
    for (name, bytes) in NAMES.into_iter().zip(files) {
        place.file(Path::new(folder).join(name), bytes);
    }
}

/// The number of training sets that were sent and are kept in the cache.
fn kept(place: &Place) -> usize {
    fs::read_dir(place.at("cache")).map_or(0, |entries| {
        entries
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "train"))
            .count()
    })
}

#[test]
fn a_worker_uses_its_own_copy_of_the_data() {
    let place = Place::new();
    set(&place, "theirs", |_| ());
    set(&place, "copy", |_| ());
    // One with a changed training sample, and one with a changed test sample, which workers do not use.
    set(&place, "other", |files| files[0][20] ^= 1);
    set(&place, "other-test", |files| files[2][20] ^= 1);
    let arguments = "--data theirs --epochs 3";
    let coord = Coord::start(&place, &format!("--min-workers 2 {arguments}"));
    let mut stranger = coord.worker(&place, "--data other");
    stranger.ended().refused(3, &["own data", "content hash", "without --data"]);
    let mut absent = coord.worker(&place, "--data no-such-folder");
    absent.ended().refused(2, &["no-such-folder"]);
    let mut workers = ["copy", "other-test"].map(|data| coord.worker(&place, &format!("--data {data}")));
    assert_eq!(coord.hash(&place), alone(&place, arguments));
    for worker in &mut workers {
        let ran = worker.ends_well();
        assert!(ran.stderr.contains("at hand") && !ran.stderr.contains("receiving"), "{}", worker.story());
    }
    assert_eq!(kept(&place), 0, "nothing may be sent");
}

#[test]
fn a_workers_copy_must_be_read_with_the_same_options() {
    let place = Place::new();
    let row = |i: usize| {
        format!("{},{},{}\n", i * 37 % 101, i * 53 % 97, if i.is_multiple_of(3) { "no" } else { "yes" })
    };
    let csv: String = (0..60).map(row).collect();
    place.file("table.csv", &csv);
    place.file("copy.csv", &csv);
    let reading = "--label-column 2 --header no --test-fraction 0.25";
    let arguments = format!("--data table.csv {reading} --epochs 2");
    let coord = Coord::start(&place, &arguments);
    // Other samples are held out, so the training sets differ.
    let mut stranger = worker(&place, &[], &coord.url(), "--data copy.csv --label-column 2 --header no");
    stranger.ended().refused(3, &["own data"]);
    let mut same = worker(&place, &[], &coord.url(), &format!("--data copy.csv {reading}"));
    assert_eq!(coord.hash(&place), alone(&place, &arguments));
    assert!(same.ends_well().stderr.contains("at hand"), "{}", same.story());
    // Without data of its own there is nothing to read.
    let mut idle = worker(&place, &[], "127.0.0.1", "--label-column 2");
    idle.ended().refused(2, &["--label-column", "--data"]);
}

#[test]
fn samples_are_sent_once_and_cached() {
    let place = Place::new();
    let arguments = "--epochs 1 --batch-size 200";
    for words in ["receiving the training samples", "at hand"] {
        let coord = Coord::start(&place, &format!("{arguments} --overwrite"));
        let mut worker = coord.worker(&place, "--cache-dir kept");
        assert_eq!(coord.hash(&place), alone(&place, arguments));
        assert!(worker.ends_well().stderr.contains(words), "{}", worker.story());
    }
    assert_eq!(fs::read_dir(place.at("kept")).unwrap().count(), 1);
}
