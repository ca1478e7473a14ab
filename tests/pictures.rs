//! Pictures in files: training from folders of them, and predicting for many at once.

mod common;

use std::fs;
use std::path::Path;

use common::{Place, noise, png};

/// A picture of 12 × 12 with a light bar, upright or lying, at a place that depends on `at`.
fn bar(upright: bool, at: usize) -> Vec<u8> {
    let line = 2 + at * 5 % 8;
    let pixel = |i: usize| {
        let (row, column) = (i / 12, i % 12);
        let lit = if upright { column == line } else { row == line };
        let speck = (noise(at * 144 + i) * 20.0) as u8;
        if lit && (1..11).contains(&if upright { row } else { column }) { 235 + speck } else { speck }
    };
    png(12, 12, &(0..144).map(pixel).collect::<Vec<u8>>())
}

/// A folder `bars` with forty pictures of each of two classes.
fn bars() -> Place {
    let place = Place::new();
    for at in 0..40 {
        let _ = place.file(format!("bars/upright/{at:02}.png"), bar(true, at));
        let _ = place.file(format!("bars/lying/{at:02}.png"), bar(false, at + 100));
    }
    place
}

#[test]
fn a_folder_of_pictures_is_a_data_set() {
    let place = bars();
    let ran = place.nn("train --data bars --out run --seed 3").ok();
    assert!(ran.stdout.contains("12") && ran.stdout.contains("64 training and 16 test samples"), "{ran:#?}");
    let summary = place.summary("run");
    assert!(summary["test_accuracy"].as_f64().unwrap() > 0.9, "{summary}");
    // The same pictures in an archive are the same data.
    assert!(place.shell("cd bars && tar -cf ../bars.tar .").status().unwrap().success());
    let _ = place.nn("train --quiet --data bars.tar --out packed --seed 3").ok();
    assert_eq!(place.hash("packed"), place.hash("run"));

    // A folder, good and bad files together: the good ones are answered, and the exit code tells of the others.
    let _ = place.file("asked/b.png", bar(true, 7));
    let _ = place.file("asked/a.png", bar(false, 9));
    let ran = place.nn("predict --json --model run/model.safetensors asked").ok();
    let classes: Vec<_> =
        ran.json()["predictions"].as_array().unwrap().iter().map(|p| p["class"].clone()).collect();
    assert_eq!(classes, ["lying", "upright"], "by name: {ran:#?}");
    let _ = place.file("asked/c.png", &bar(true, 7)[..60]);
    let ran = place.nn("predict --json --model run/model.safetensors asked/a.png asked/c.png asked/b.png");
    assert_eq!(ran.code, Some(3), "{ran:#?}");
    let json = ran.json();
    let entries = json["predictions"].as_array().unwrap();
    assert_eq!(entries.len(), 3, "{json}");
    assert!(entries[1]["error"].as_str().unwrap().contains("damaged or truncated"), "{json}");
    assert_eq!((&entries[0]["class"], &entries[2]["class"]), (&classes[0].clone(), &classes[1].clone()));
    assert!(ran.stderr.contains("c.png"), "{ran:#?}");
}

#[test]
fn pictures_of_two_sizes_are_refused_by_name() {
    let place = bars();
    let _ = place.file("bars/lying/odd.png", png(9, 12, &[7; 108]));
    place.nn("train --data bars").refused(3, &["odd.png", "9×12", "12×12"]);
}

#[test]
fn formats_that_are_not_read_are_named_with_those_that_are() {
    let place = Place::new();
    let _ = place.nn("train --quiet --epochs 1 --out run").ok();
    for (file, name) in [("seven.webp", "WebP"), ("seven.gif", "GIF"), ("seven.bmp", "BMP")] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/pictures").join(file);
        fs::copy(&from, place.at(file)).unwrap();
        place.nn(&format!("predict --model run/model.safetensors {file}")).refused(3, &[name, "PNG", "JPEG"]);
    }
}
