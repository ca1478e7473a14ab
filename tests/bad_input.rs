//! Unusable input is refused with one clear sentence and the exit code of the contract, and nothing is left behind. The
//! tests run the real program, as a user does. Wrong flags and keys are in `cli_usage.rs`.

#![allow(clippy::print_stdout)] // tests that are skipped say why

mod common;

use std::fs;

use common::{NAMES, Place, four, idx, linear_csv, npy, npy_f32, png};

/// A folder with a good table, a model trained on it, and a model trained on the digits.
fn prepared() -> Place {
    let place = Place::new();
    let _ = place.file("line.csv", linear_csv(60));
    let _ = place.nn("train --quiet --epochs 1 --data line.csv --out line").ok();
    let _ = place.nn("train --quiet --epochs 1 --out digits").ok();
    place
}

/// The four files of a small data set in the folder `pictures`, with file number `at` replaced by `bytes`.
fn pictures_with(at: usize, bytes: &[u8]) -> Place {
    let place = Place::new();
    let mut files = four();
    files[at] = bytes.to_vec();
    for (name, bytes) in NAMES.iter().zip(files) {
        let _ = place.file(format!("pictures/{name}"), bytes);
    }
    place
}

/// Fails unless a training is refused and leaves nothing behind.
#[track_caller]
fn train_refused(place: &Place, arguments: &str, code: i32, parts: &[&str]) {
    let before = place.files();
    let ran = place.nn(&format!("train --epochs 1 --out run/of/mine {arguments}"));
    ran.refused(code, parts);
    assert!(ran.stdout.is_empty(), "{ran:#?}");
    assert_eq!(place.files(), before, "something was left behind");
    assert!(!place.at("run").exists(), "the folders of a run that never began were left behind");
}

#[test]
fn data_that_does_not_exist_or_is_not_data_is_refused() {
    let place = Place::new();
    let noise: Vec<u8> = (0..1000).map(|i| (i * 89 % 251) as u8).collect();
    let _ = place.file("empty.csv", "");
    let _ = place.file("noise.dat", noise);
    let _ = place.file("photo.jpg", [0xff, 0xd8, 0xff, 0, 0, 1]);
    let _ = place.file("text.npz", "this is no archive at all");
    let _ = place.file("lone", &four()[0]);
    fs::create_dir(place.at("hollow")).unwrap();
    for (data, code, parts) in [
        ("nowhere.csv", 3, &["nowhere.csv does not exist"][..]),
        ("no/such/folder", 3, &["no/such/folder does not exist"]),
        ("minst", 2, &["`minst`", "did you mean mnist?"]),
        ("empty.csv", 3, &["empty.csv is empty"]),
        ("noise.dat", 3, &["noise.dat is neither IDX, CSV"]),
        ("photo.jpg", 3, &["photo.jpg is a JPEG picture", "nn predict", "IDX, CSV, NPY or NPZ"]),
        ("text.npz", 3, &["text.npz is a damaged zip"]),
        ("lone", 3, &["lone is a single IDX file", "labels"]),
        ("hollow", 3, &["hollow contains no data set"]),
    ] {
        train_refused(&place, &format!("--data {data}"), code, parts);
    }
}

#[test]
fn a_data_set_with_one_bad_file_is_refused() {
    let [images, labels, ..] = four();
    for (at, bytes, parts) in [
        (0, images[..100].to_vec(), &["is truncated", "promises 2560 bytes", "84"][..]),
        (2, [images.clone(), vec![0]].concat(), &["continues after the 2560 bytes"]),
        (1, images.clone(), &["are the two files swapped?"]),
        (0, labels, &["are the two files swapped?"]),
        (0, idx(&[u32::MAX as usize, 28, 28], &[0; 50]), &["4294967295 × 28 × 28"]),
        (3, b"hello, world".to_vec(), &["68 65 6c 6c"]),
        (3, Vec::new(), &["is empty"]),
        (1, idx(&[7], &[1; 7]), &["40 samples", "7 labels", "do not belong together"]),
        (2, idx(&[20, 4, 4], &[1; 320]), &["64 numbers", "16", "must have the same shape"]),
    ] {
        let place = pictures_with(at, &bytes);
        let parts = [parts, &[NAMES[at]]].concat();
        train_refused(&place, "--data pictures", 3, &parts);
    }
    for missing in NAMES {
        let place = pictures_with(0, &images);
        fs::remove_file(place.at(format!("pictures/{missing}"))).unwrap();
        train_refused(&place, "--data pictures", 3, &["pictures lacks", missing]);
    }
}

#[test]
fn tables_with_mistakes_are_refused() {
    for (text, parts) in [
        ("a,b,y\n1,2,0\n3,4\n", &["t.csv, line 3", "2 cells, but line 1 has 3"][..]),
        ("a,b,y\n1,2,0\n3,4,1,5\n", &["t.csv, line 3", "4 cells"]),
        ("a,b,y\n1,2,0\n3,1e999,1\n", &["t.csv, line 3, column 1 (`b`)", "not finite"]),
        ("a,b,y\n1,2,0.5\n3,4,inf\n", &["t.csv, line 3", "not finite"]),
        ("a,b,y\n", &["t.csv has a header (line 1) but no rows"]),
        ("1\n2\n3\n", &["t.csv has only one column"]),
        ("1,2\n", &["only 1 sample;", "at least 2"]),
        ("\n\n\n", &["t.csv"]),
    ] {
        let place = Place::new();
        let _ = place.file("t.csv", text);
        train_refused(&place, "--data t.csv", 3, parts);
    }
    let place = Place::new();
    let _ = place.file("t.csv", b"a,b,y\n1,2,0\n3,4,\xff\xfe\n");
    train_refused(&place, "--data t.csv", 3, &["t.csv, line 3", "not UTF-8"]);
}

#[test]
fn labels_that_do_not_fit_the_task_are_refused() {
    let place = Place::new();
    let _ = place.file("t.csv", "a,b,y\n1,2,0\n3,4,1\n5,6,7\n");
    let _ = place.file("half.csv", "a,b,y\n1,2,0\n3,4,1.5\n5,6,7\n");
    let _ = place.file("text.csv", "a,b,y\n1,2,red\n3,4,blue\n5,6,red\n");
    for (arguments, code, parts) in [
        ("--data t.csv --classes 5", 3, &["t.csv, line 4", "the label 7", "5 classes", "--classes"][..]),
        ("--data half.csv --task classification", 3, &["half.csv, line 3", "1.5", "--task regression"]),
        ("--data text.csv --task regression", 3, &["text.csv", "`red`", "--task classification"]),
        ("--data t.csv --label-column z", 2, &["t.csv has no column `z`", "a, b, y"]),
        ("--data t.csv --label-column 9", 2, &["t.csv has no column `9`"]),
        ("--data digits --task regression", 2, &["--task", "regression does not fit"]),
        ("--data half.csv --cost cross-entropy", 2, &["cross-entropy"]),
    ] {
        train_refused(&place, arguments, code, parts);
    }
    let place = pictures_with(1, &idx(&[40], &[77; 40]));
    train_refused(&place, "--data pictures --classes 10", 3, &[NAMES[1], "sample 0", "the label 77"]);
}

#[test]
fn arrays_with_mistakes_are_refused() {
    let labels = npy("|u1", "(3,)", &[0, 1, 0]);
    let whole = npy_f32("(3, 2)", &[1.0; 6]);
    for (x, y, parts) in [
        (
            npy_f32("(3, 2)", &[1.0, 1.0, 1.0, f32::NAN, 1.0, 1.0]),
            &labels,
            &["x.npy, sample 1, feature 1"][..],
        ),
        (npy_f32("(3, 2)", &[f32::INFINITY; 6]), &labels, &["x.npy, sample 0, feature 0", "not finite"]),
        (npy_f32("(4, 2)", &[1.0; 8]), &labels, &["x.npy has 4 samples", "y.npy has 3 labels"]),
        (npy_f32("(3, 2)", &[1.0; 5]), &labels, &["x.npy is truncated", "24 bytes"]),
        (npy_f32("(99999999999, 784)", &[1.0]), &labels, &["x.npy would take more than"]),
        (npy("<c8", "(3, 1)", &[0; 24]), &labels, &["x.npy", "type <c8"]),
        (whole[..20].to_vec(), &labels, &["x.npy is a damaged NPY"]),
        (b"\x93NUMPY\x01\x00\xff\xff".to_vec(), &labels, &["x.npy is a damaged NPY"]),
        (whole.clone(), &npy_f32("(3,)", &[0.0, f32::NAN, 1.0]), &["y.npy, sample 1", "not finite"]),
    ] {
        let place = Place::new();
        let _ = (place.file("x.npy", x), place.file("y.npy", y));
        train_refused(&place, "--data x.npy", 3, parts);
    }
    let place = Place::new();
    let _ = place.file("x.npy", whole);
    train_refused(&place, "--data x.npy", 3, &["x.npy lacks", "y.npy"]);
}

#[test]
fn a_folder_that_cannot_be_written_to_is_refused() {
    let place = Place::new();
    let _ = place.file("file", "mine");
    for (out, part) in
        [("file", "--out file"), ("file/below", "--out file/below"), ("/proc/nn", "--out /proc/nn")]
    {
        let ran = place.nn(&format!("train --epochs 1 --out {out}"));
        ran.refused(2, &["cannot write to", part, "help: choose a folder"]);
        assert!(ran.stdout.is_empty(), "{ran:#?}");
        assert_eq!(place.files(), ["file"]);
    }
    assert_eq!(fs::read(place.at("file")).unwrap(), b"mine");
}

/// A limit on the size of files stands in for a full disk: the same writes fail, and it needs no privileges.
#[cfg(unix)]
#[test]
fn a_full_disk_is_explained() {
    let place = Place::new();
    let run = |blocks: u32, arguments: &str| -> common::Ran {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$NN\" train --out run {arguments}");
        place.shell(&script).output().unwrap().into()
    };
    // No room even for the first block.
    run(0, "").refused(1, &["cannot write to --out run", "help: ", "room"]);
    assert!(!place.at("run").exists(), "{:?}", place.files());
    // Room for the log, but not for the model, which takes 4 MB.
    let ran = run(512, "--recipe book --hidden 14000 --epochs 1 --threads 2");
    ran.refused(1, &["cannot write the model to run", "help: ", "room"]);
    assert!(ran.stderr.contains("warning: cannot write a checkpoint to run"), "{ran:#?}");
    assert_eq!(place.files(), ["run/metrics.jsonl", "run/run.toml"]);
    // Room for the model, but not for the whole log. Once there is room, the run resumes.
    let ran = run(64, "--hidden none --epochs 300 --log-steps 0 --quiet");
    ran.refused(1, &["cannot write to run", "help: make room"]);
    assert!(ran.stderr.contains("warning: ") && ran.stderr.contains("training continues"), "{ran:#?}");
    assert_eq!(place.summary("run")["epochs"], 300);
    place.no_halves();
    let _ = place.nn("train --out run --hidden none --epochs 300 --quiet --resume").ok();
    let _ = place.nn("train --out other --hidden none --epochs 300 --quiet").ok();
    assert_eq!(place.hash("run"), place.hash("other"));
    // The lines of epochs that did not fit were kept in the checkpoint.
    assert_eq!(place.metrics("run").len(), 300);
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_really_full_is_explained() {
    let place = Place::new();
    fs::create_dir(place.at("disk")).unwrap();
    // The mount namespace ends with the process, so nothing stays mounted. Not every user may create one.
    let script = "mount -t tmpfs -o size=64k none disk || exit 77
        \"$NN\" train --out disk/run --recipe book --hidden 1000 --epochs 1; code=$?
        find disk -type f | sort; exit $code";
    let inside = place.shell(&format!("exec unshare --user --map-root-user --mount sh -c '{script}'"));
    let mut inside = inside;
    let output = inside.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if !matches!(output.status.code(), Some(0..=4)) || stderr.contains("unshare") {
        println!("skipped: cannot mount a file system here: {stderr}");
        return;
    }
    let ran = common::Ran::from(output);
    ran.refused(1, &["cannot write the model to disk/run: No space left on device", "help: make room"]);
    let files: Vec<&str> = ran.stdout.lines().filter(|line| line.starts_with("disk/")).collect();
    assert_eq!(files, ["disk/run/metrics.jsonl", "disk/run/run.toml"], "{ran:#?}");
}

#[test]
fn files_that_are_not_models_are_refused() {
    let place = prepared();
    let model = fs::read(place.at("digits/model.safetensors")).unwrap();
    let _ = place.file("cut", &model[..model.len() - 100]);
    let _ = place.file("stump", &model[..5]);
    let _ = place.file("empty", "");
    let _ = place.file("text", "weights, mostly");
    let mut flipped = model.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let _ = place.file("flipped", flipped);
    let mut huge = model.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let _ = place.file("huge", huge);
    let foreign = br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let _ = place.file(
        "foreign",
        [&(foreign.len() as u64).to_le_bytes()[..], &foreign[..], &1f32.to_le_bytes()].concat(),
    );
    for (file, parts) in [
        ("nowhere", &["the model nowhere", "help: "][..]),
        ("digits", &["digits is a folder", "digits/model.safetensors"]),
        ("cut", &["cut is", "damaged"]),
        ("stump", &["stump is", "damaged"]),
        ("empty", &["empty is", "damaged"]),
        ("text", &["text is not a safetensors file"]),
        ("flipped", &["flipped is damaged", "SHA-256"]),
        ("huge", &["huge is", "damaged"]),
        ("foreign", &["foreign was not written by nn"]),
        ("line.csv", &["line.csv is not a safetensors file"]),
    ] {
        for command in ["eval --data digits", "predict --data digits", "predict line.csv"] {
            let ran = place.nn(&format!("{command} --model {file}"));
            ran.refused(3, parts);
            assert!(ran.stdout.is_empty(), "{ran:#?}");
        }
    }
}

#[test]
fn models_that_do_not_fit_the_data_are_refused() {
    let place = prepared();
    let _ = place.file("two.csv", "1,2\n3,4\n");
    let _ = place.file("seven.csv", "1,2,3,4,5,6,7\n1,2,3,4,5,6,7\n");
    let _ = place.file("text.csv", "4,5,6\n1,2,three\n");
    let _ = place.file("nan.npy", npy_f32("(1, 3)", &[1.0, f32::NAN, 1.0]));
    let _ = place.file("wide.npy", npy_f32("(2, 4)", &[1.0; 8]));
    let _ = place.file("big", idx(&[1, 28, 28], &[7; 784]));
    let _ = place.file("cut.npy", &npy_f32("(2, 3)", &[1.0; 6])[..70]);
    let _ = place.file("digit.png", png(8, 8, &[[0; 32], [255; 32]].concat()));
    let _ = place.file("blank.png", png(20, 20, &[255; 400]));
    let whole = png(20, 20, &(0..400).map(|i| if i % 20 < 10 { 0 } else { 255 }).collect::<Vec<u8>>());
    let _ = place.file("cut.png", &whole[..whole.len() - 30]);
    let _ = place.file("empty.png", "");
    let _ = place.file("wide.png", png(60_000, 1, &[0; 60_000]));
    let _ = place.file("moving.gif", b"GIF89a\x01\x00\x01\x00\x00\x00\x00");
    for (arguments, parts) in [
        ("eval --model line/model.safetensors --data digits", &["digits", "3", "64"][..]),
        ("eval --model digits/model.safetensors --data line.csv", &["line.csv"]),
        ("predict --model line/model.safetensors --data digits", &["digits", "3", "64"]),
        ("predict --model line/model.safetensors two.csv", &["two.csv has 2 columns", "3 without it"]),
        ("predict --model line/model.safetensors seven.csv", &["seven.csv lacks the columns `a`, `b`, `c`"]),
        ("predict --model line/model.safetensors nan.npy", &["nan.npy, sample 0, feature 1"]),
        ("predict --model line/model.safetensors wide.npy", &["wide.npy have 4 features"]),
        ("predict --model line/model.safetensors cut.npy", &["cut.npy"]),
        ("predict --model line/model.safetensors nowhere.npy", &["nowhere.npy does not exist"]),
        (
            "predict --model line/model.safetensors digit.png",
            &["digit.png is a picture", "not trained on pictures"],
        ),
        ("predict --model digits/model.safetensors big", &["big have 784 features", "takes 64"]),
        ("predict --model digits/model.safetensors blank.png", &["blank.png is blank"]),
        ("predict --model digits/model.safetensors cut.png", &["cut.png is damaged or truncated"]),
        ("predict --model digits/model.safetensors empty.png", &["empty.png is empty"]),
        (
            "predict --model digits/model.safetensors wide.png",
            &["wide.png has 60000×1 pixels", "scale it down"],
        ),
        ("predict --model digits/model.safetensors moving.gif", &["moving.gif"]),
        ("predict --model digits/model.safetensors nowhere.png", &["nowhere.png", "check the path"]),
    ] {
        let before = place.files();
        let ran = place.nn(arguments);
        ran.refused(3, parts);
        assert!(ran.stdout.is_empty(), "half an answer: {ran:#?}");
        assert_eq!(place.files(), before);
    }
}

#[test]
fn absurd_networks_and_learning_rates_are_refused() {
    let place = Place::new();
    // A million inputs of each of a million neurons: 4 TB.
    train_refused(&place, "--hidden 1000000,1000000", 2, &["parameters"]);
    train_refused(
        &place,
        "--learning-rate 1e30",
        2,
        &["--learning-rate must be a number above 0 and at most"],
    );
}

#[test]
fn an_unknown_instruction_set_is_refused() {
    let place = Place::new();
    let output = place.command(["train", "--out", "run"]).env("NN_ISA", "mmx").output().unwrap();
    common::Ran::from(output).refused(2, &["NN_ISA is `mmx`", "portable"]);
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn a_refused_run_leaves_the_files_of_an_earlier_one_alone() {
    let place = prepared();
    let before: Vec<(String, Vec<u8>)> =
        place.files().into_iter().map(|name| (name.clone(), fs::read(place.at(name)).unwrap())).collect();
    for arguments in [
        "--overwrite --data nowhere.csv",
        "--overwrite --data line.csv --classes 1",
        "--resume --seed 5",
        "--resume --hidden 31",
        "--resume --data line.csv",
        "--overwrite --hidden 1000000,1000000",
        "--seed 1",
    ] {
        let ran = place.nn(&format!("train --out digits {arguments}"));
        assert!(matches!(ran.code, Some(2 | 3)), "{arguments}: {ran:#?}");
        for (name, bytes) in &before {
            assert!(fs::read(place.at(name)).unwrap() == *bytes, "{arguments} changed {name}");
        }
        assert_eq!(place.files().len(), before.len(), "{arguments}");
    }
}

#[test]
fn regularization_that_does_not_suit_the_data_is_refused() {
    let place = Place::new();
    let _ = place.file("line.csv", linear_csv(60));
    for (options, says) in [
        ("--data line.csv --augment affine", "--augment distorts pictures"),
        ("--data line.csv --label-smoothing 0.1", "--label-smoothing is for classes"),
        ("--augment wobble", "affine, rotation, scale, shear, shift, elastic or flip"),
        ("--augment rotation=181", "from 0 to 180 degrees"),
        ("--augment scale=x", "is not a number"),
        ("--dropout 1", "at least 0 and below 1"),
        ("--input-dropout -0.1", "at least 0 and below 1"),
        ("--clip-samples nan", "--clip-samples"),
        ("--clip-norm 0", "--clip-norm"),
        ("--max-norm 0", "--max-norm"),
        (
            "--max-norm 3 --hidden none",
            "--max-norm bounds the weights into hidden units, but the network has none",
        ),
        ("--ema 1", "--ema"),
        ("--schedule one-cycle --one-cycle-rise 0", "--one-cycle-rise"),
        (
            "--schedule plateau",
            "--schedule plateau lowers the rate by the loss on validation samples, but there are none",
        ),
        (
            "--schedule plateau --validation-fraction 0.1 --rounds auto",
            "--schedule plateau does not go with --rounds",
        ),
        ("--schedule plateau --validation-fraction 0.1 --plateau-factor 1", "--plateau-factor"),
        ("--schedule plateau --validation-fraction 0.1 --plateau-evaluations 0", "--plateau-evaluations"),
        ("--schedule one-cycle --warmup-steps 9", "--warmup-steps does not go with --schedule one-cycle"),
        ("--cost huber", "is for linear outputs"),
        ("--normalization layer --hidden 20,1", "layer 2 has one unit"),
        ("--normalization batch", "none, layer"),
    ] {
        place.nn(&format!("train --out run {options}")).refused(2, &[says]);
    }
}
