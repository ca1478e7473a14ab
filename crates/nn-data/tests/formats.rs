//! The same samples have the same fingerprint in every format, and labels and pixels are interpreted correctly.

mod common;

use std::fs;
use std::path::Path;

use common::*;
use nn_core::{Features, Targets};
use nn_data::{DataError, LoadOptions, Source, Task, load_inputs};

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = temp();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn csv(samples: usize, header: bool) -> String {
    let mut text = String::new();
    if header {
        text.push_str("label");
        (0..SIDE * SIDE).for_each(|i| text.push_str(&format!(",p{i}")));
        text.push('\n');
    }
    for (label, row) in labels(samples).iter().zip(pixels(samples).chunks(SIDE * SIDE)) {
        text.push_str(&label.to_string());
        row.iter().for_each(|p| text.push_str(&format!(",{p}")));
        text.push('\n');
    }
    text
}

fn wide(values: &[u8]) -> Vec<u8> {
    values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect()
}

#[test]
fn one_fingerprint_in_every_container() {
    let plain = named();
    let packed: Vec<_> = plain.iter().map(|(n, b)| (format!("{n}.gz"), gz(b))).collect();
    let deep: Vec<_> = plain.iter().map(|(n, b)| (format!("some/where/{n}"), b.clone())).collect();
    let other: Vec<_> = plain
        .iter()
        .map(|(n, b)| (n.replace("-idx", ".idx").replace("t10k", "test"), b.clone()))
        .chain([("__MACOSX/._train-images-idx3-ubyte".into(), vec![1]), ("README".into(), vec![2])])
        .collect();
    let tricks: Vec<_> = plain.iter().map(|(n, b)| (format!("../../{n}"), b.clone())).collect();
    let npz = vec![
        ("x_train.npy".into(), npy("|u1", false, "(40, 8, 8)", &pixels(TRAIN))),
        ("y_train.npy".into(), npy("|u1", false, "(40,)", &labels(TRAIN))),
        ("x_test.npy".into(), npy("<f8", false, "(20, 64)", &wide(&pixels(TEST)))),
        ("y_test.npy".into(), npy("|u1", false, "(20, 1)", &labels(TEST))),
    ];
    // Arrays that give the shape of images in only one of the two sets would not fit together.
    let npz: Vec<_> = npz
        .into_iter()
        .map(|(n, b)| match n == "x_test.npy" {
            true => (n, npy("<f8", false, "(20, 8, 8, 1)", &wide(&pixels(TEST)))),
            false => (n, b),
        })
        .collect();
    let tables = vec![
        ("mnist_train.csv".to_string(), csv(TRAIN, true).into_bytes()),
        ("mnist_test.csv".to_string(), csv(TEST, false).into_bytes()),
    ];

    let folder = temp();
    write_all(folder.path(), &plain);
    let expected = load(folder.path()).unwrap();
    assert_eq!((expected.train.len(), expected.test.len()), (TRAIN, TEST));
    assert_eq!((expected.train.image(), expected.train.output_width()), (Some((8, 8)), 10));
    assert_eq!(expected.classes.as_ref().unwrap()[9], "9");
    assert!(matches!(expected.train.features(), Features::U8 { scale: 255.0, .. }));

    let mut others = Vec::new();
    for (at, files) in [&packed, &deep, &other, &npz, &tables].into_iter().enumerate() {
        let folder = temp();
        write_all(folder.path(), files);
        others.push((format!("folder {at}"), load(folder.path()).unwrap()));
    }
    for (at, files) in [&plain, &packed, &deep, &other, &tricks, &npz, &tables].into_iter().enumerate() {
        for (name, bytes) in [
            ("d.zip", zip(files)),
            ("d.tar", tar(files)),
            ("d.tar.gz", gz(&tar(files))),
            ("d.tgz", gz(&tar(files))),
            ("d-without-extension", gz(&tar(files))),
        ] {
            let (folder, path) = file(name, &bytes);
            others.push((format!("{at} {name}"), load(&path).unwrap()));
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "an archive was unpacked");
        }
    }
    let (_folder, path) = file("d.npz", &zip(&npz));
    others.push(("npz".into(), load(&path).unwrap()));
    for (what, splits) in others {
        assert_eq!(splits.sha256, expected.sha256, "{what}");
        assert_eq!((&splits.train, &splits.test), (&expected.train, &expected.test), "{what}");
        assert_eq!(splits.classes, expected.classes, "{what}");
    }
}

#[test]
fn one_csv_is_split() {
    let (_folder, path) = file("t.csv", csv(TRAIN, true).as_bytes());
    let splits = load(&path).unwrap();
    assert_eq!((splits.train.len(), splits.test.len(), splits.name.as_str()), (30, 10, "t.csv"));
    assert!(splits.notes[0].contains("column 0 (`label`)"), "{:?}", splits.notes);
    let (_folder, packed) = file("t.csv.gz", &gz(csv(TRAIN, true).as_bytes()));
    assert_eq!(load(&packed).unwrap().sha256, splits.sha256);
    let half = LoadOptions { test_fraction: Some(0.5), seed: 3, ..Default::default() };
    let halves = load_with(&path, &half).unwrap();
    assert_eq!((halves.train.len(), halves.test.len()), (20, 20));
    assert_ne!(load_with(&path, &LoadOptions { seed: 4, ..half }).unwrap().sha256, halves.sha256);
}

#[test]
fn text_labels_and_regression() {
    let flowers = "w,h,kind\n1.5,2,setosa\n3,4,virginica\n1,2,setosa\n5,6,virginica\n";
    let (_folder, path) = file("f.csv", flowers.as_bytes());
    let splits = load(&path).unwrap();
    assert_eq!(splits.classes.unwrap(), ["setosa", "virginica"]);
    assert!(matches!(splits.train.features(), Features::F32(_)));

    let houses = "rooms;price\n1;100.5\n2;200\n3;300\n4;400\n5;500\n";
    let (_folder, path) = file("h.csv", houses.as_bytes());
    let splits = load(&path).unwrap();
    assert_eq!((splits.train.output_width(), splits.classes, splits.test.len()), (1, None, 1));
    assert!(matches!(splits.train.targets(), Targets::Values { width: 1, .. }));

    let by_position = LoadOptions { label_column: Some("0".into()), ..Default::default() };
    assert_eq!(load_with(&path, &by_position).unwrap().classes.unwrap(), ["1", "2", "3", "4", "5"]);
    let numbers = LoadOptions {
        label_column: Some("rooms".into()),
        task: Some(Task::Regression),
        ..Default::default()
    };
    assert_eq!(load_with(&path, &numbers).unwrap().classes, None);
}

#[test]
fn arrays_beside_each_other() {
    let folder = temp();
    let x: Vec<u8> = (0..12).flat_map(|i| (i as f32 / 2.0).to_be_bytes()).collect();
    let y: Vec<u8> = (0..6).flat_map(|i| (f64::from(i) / 4.0).to_le_bytes()).collect();
    write_all(
        folder.path(),
        &[("x.npy".into(), npy(">f4", true, "(6, 2)", &x)), ("y.npy".into(), npy("<f8", false, "(6,)", &y))],
    );
    let splits = load(folder.path()).unwrap();
    assert_eq!((splits.train.len() + splits.test.len(), splits.train.input_width()), (6, 2));
    assert_eq!(load(&folder.path().join("x.npy")).unwrap().sha256, splits.sha256);
    assert_eq!(load(&folder.path().join("y.npy")).unwrap().sha256, splits.sha256);
    let all = splits.train.len();
    assert!(matches!(splits.train.targets(), Targets::Values { data, width: 1 } if data.len() == all));
}

#[test]
fn inputs_without_labels() {
    let plain = LoadOptions::default();
    let known = |scale| LoadOptions { scale: Some(scale), ..Default::default() };
    let images = idx(&[TEST, SIDE, SIDE], &pixels(TEST));
    for bytes in [images.clone(), gz(&images)] {
        let (_folder, path) = file("images", &bytes);
        let inputs = load_inputs(&path, 64, &plain).unwrap();
        assert_eq!((inputs.samples, inputs.image), (TEST, Some((8, 8))));
        assert!(matches!(inputs.features, Features::U8 { scale: 255.0, .. }));
        let error = load_inputs(&path, 784, &plain).unwrap_err();
        assert!(matches!(error, DataError::WrongWidth { found: 64, expected: 784, .. }), "{error}");
    }
    let (_folder, path) = file("t.csv", csv(TEST, true).as_bytes());
    let inputs = load_inputs(&path, 64, &known(16.0)).unwrap();
    assert_eq!(inputs.features, Features::U8 { data: pixels(TEST), scale: 16.0 });
    assert_eq!(inputs.labels.unwrap()[1], "7");
    let (_folder, path) = file("t.csv", b"0.5,1\n2,3\n");
    let inputs = load_inputs(&path, 2, &known(255.0)).unwrap();
    assert_eq!((inputs.features, inputs.labels), (Features::F32(vec![0.5, 1.0, 2.0, 3.0]), None));
    assert!(matches!(load_inputs(&path, 5, &plain), Err(DataError::WrongWidth { .. })));
    let array = npy("<i8", false, "(1, 2)", &[[3, 0, 0, 0, 0, 0, 0, 0], [4, 0, 0, 0, 0, 0, 0, 0]].concat());
    let (_folder, path) = file("x.npy", &array);
    assert_eq!(load_inputs(&path, 2, &plain).unwrap().features, Features::F32(vec![3.0, 4.0]));
    let (_folder, path) = file("x.npz", &zip(&[("samples.npy".into(), array)]));
    assert_eq!(load_inputs(&path, 2, &plain).unwrap().samples, 1);
}

#[test]
fn the_embedded_digits() {
    let splits = nn_data::load(&Source::Digits, &LoadOptions::default(), &nn_data::Silent).unwrap();
    assert_eq!((splits.train.len() + splits.test.len(), splits.name.as_str()), (1797, "digits"));
}

/// MNIST itself, if it lies beside the project. No other test needs it.
#[test]
fn real_mnist() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/mnist");
    if !folder.exists() {
        println!("skipped: MNIST is not beside the project");
        return;
    }
    let splits = load(&folder).unwrap();
    assert_eq!((splits.train.len(), splits.test.len()), (60_000, 10_000));
    assert_eq!((splits.train.image(), splits.train.output_width()), (Some((28, 28)), 10));
    assert_eq!(splits.train.label(0), Some(5));
    assert_eq!(splits.sha256, "baa6a32446bdae5a5c7a389b7621439f4be5e7f9548256d131b4ee31931eb031");
}
