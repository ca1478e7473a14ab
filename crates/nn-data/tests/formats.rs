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

fn case(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name)
}

/// Three classes of 20 samples of four features, written by numpy.
#[test]
fn arrays_of_numpy_in_every_type_of_label() {
    for (file, names) in [
        ("npz_f16.npz", ["0", "1", "2"]),
        ("npz_ustr.npz", ["cl0é", "cl1é", "cl2é"]),
        ("npz_bstr.npz", ["cl0", "cl1", "cl2"]),
        ("npz_positional.npz", ["0", "1", "2"]),
    ] {
        let splits = load(&case(file)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(splits.classes.as_ref().unwrap(), &names, "{file}");
        assert_eq!(
            (splits.train.len(), splits.test.len(), splits.train.input_width()),
            (48, 12, 4),
            "{file}"
        );
        assert_eq!(load_inputs(&case(file), 4, &LoadOptions::default()).unwrap().samples, 60);
        let told =
            splits.notes.iter().any(|note| note.contains("arr_0 is read as the inputs x, arr_1 as the"));
        assert_eq!(told, file == "npz_positional.npz", "{:?}", splits.notes);
    }
    // The same features in half precision are near those in double precision, and their labels are the same.
    let [half, double] = ["npz_f16.npz", "npz_positional.npz"].map(|file| load(&case(file)).unwrap().train);
    let (Features::F32(half_x), Features::F32(double_x)) = (half.features(), double.features()) else {
        panic!("not bytes")
    };
    assert!(half_x.iter().zip(double_x).all(|(a, b)| (a - b).abs() <= b.abs() * 1e-3 + 1e-3));
    assert_eq!(half.targets(), double.targets());
}

fn with_labels(descr: &str, labels: &[u8], count: usize) -> Vec<u8> {
    let x: Vec<u8> = (0..count).flat_map(|i| (i as f32 + 0.5).to_le_bytes()).collect();
    let x = npy("<f4", false, &format!("({count}, 1)"), &x);
    let y = npy(descr, false, &format!("({count},)"), labels);
    zip(&[("x.npy".into(), x), ("y.npy".into(), y)])
}

fn utf32(texts: &[&str], width: usize, big_endian: bool) -> Vec<u8> {
    let code = |c: char| if big_endian { (c as u32).to_be_bytes() } else { (c as u32).to_le_bytes() };
    let padded = |text: &str| text.chars().chain(std::iter::repeat('\0')).take(width).collect::<Vec<_>>();
    texts.iter().flat_map(|text| padded(text)).flat_map(code).collect()
}

#[test]
fn labels_never_pass_through_a_float() {
    let ids = [9_007_199_254_740_993_i64, 9_007_199_254_740_992, -9_007_199_254_740_995, 7];
    let of = |ids: &[i64]| ids.iter().cycle().take(8).flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>();
    let (_folder, path) = file("ids.npz", &with_labels("<i8", &of(&ids), 8));
    let names = load(&path).unwrap().classes.unwrap();
    assert_eq!(names, ["-9007199254740995", "7", "9007199254740992", "9007199254740993"]);
    // A trained model finds its classes by those names.
    let known = LoadOptions { class_names: Some(names.clone()), ..Default::default() };
    let again = load_with(&path, &known).unwrap();
    assert_eq!((again.classes, again.sha256), (Some(names), load(&path).unwrap().sha256));
    let (_folder, path) = file(
        "ids.npz",
        &with_labels(">u8", &[[0xff; 8], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]].concat(), 2),
    );
    assert_eq!(load(&path).unwrap().classes.unwrap(), [u64::MAX - 1, u64::MAX].map(|id| id.to_string()));
    // Numbers to predict are numbers, however large.
    let regression = LoadOptions { task: Some(Task::Regression), ..Default::default() };
    assert_eq!(load_with(&path, &regression).unwrap().classes, None);
    let times: Vec<u8> =
        (0..300).flat_map(|i| (1_700_000_000_000_000_000_i64 + i * 1_000_003).to_le_bytes()).collect();
    let (_folder, path) = file("times.npz", &with_labels("<i8", &times, 300));
    assert_eq!(load(&path).unwrap().classes, None, "300 different numbers are a quantity");
}

#[test]
fn texts_that_are_numbers_are_the_same_as_in_a_csv() {
    for (descr, labels) in [
        ("<U2", utf32(&["10", "2", "0", "2"], 2, false)),
        (">U2", utf32(&["10", "2", "0", "2"], 2, true)),
        ("|S2", b"102\x000\x002\x00".to_vec()),
    ] {
        let (_folder, path) = file("t.npz", &with_labels(descr, &labels, 4));
        let splits = load(&path).unwrap();
        let (_folder, path) = file("t.csv", b"0.5,10\n1.5,2\n2.5,0\n3.5,2\n");
        assert_eq!(splits.classes.unwrap(), ["0", "2", "10"], "{descr}");
        assert_eq!(splits.sha256, load(&path).unwrap().sha256, "{descr}");
    }
    let ids = ["9007199254740992", "9007199254740993"];
    let (_folder, path) = file("t.npz", &with_labels("<U16", &utf32(&ids, 16, false), 2));
    assert_eq!(load(&path).unwrap().classes.unwrap(), ids);
}

#[test]
fn qmnist_is_read_by_its_first_column() {
    let splits = load(&case("idx_qmnist")).unwrap();
    assert_eq!((splits.train.len(), splits.test.len(), splits.train.image()), (200, 60, Some((8, 8))));
    let labels: Vec<_> = (0..6).map(|sample| splits.test.label(sample).unwrap()).collect();
    assert_eq!(labels, [1, 5, 0, 9, 5, 2], "as Python reads column 0");
    assert_eq!(splits.classes.unwrap().len(), 10);
    assert!(splits.notes.iter().any(|note| note.contains("column 0 of the 8 columns")), "{:?}", splits.notes);
}

/// The four files with images of another element type.
fn four_of(code: u8, element: impl Fn(u8) -> Vec<u8>) -> Vec<(String, Vec<u8>)> {
    let mut files = named();
    for (at, samples) in [(0, TRAIN), (2, TEST)] {
        files[at].1 =
            idx(&[samples, SIDE, SIDE], &pixels(samples).into_iter().flat_map(&element).collect::<Vec<_>>());
        files[at].1[2] = code;
    }
    files
}

#[test]
fn idx_of_wider_numbers() {
    let folder = temp();
    write_all(folder.path(), &named());
    let expected = load(folder.path()).unwrap();
    for (code, files) in [
        (0x0b, four_of(0x0b, |x| i16::from(x).to_be_bytes().to_vec())),
        (0x0c, four_of(0x0c, |x| i32::from(x).to_be_bytes().to_vec())),
        (0x0d, four_of(0x0d, |x| f32::from(x).to_be_bytes().to_vec())),
        (0x0e, four_of(0x0e, |x| f64::from(x).to_be_bytes().to_vec())),
    ] {
        let folder = temp();
        write_all(folder.path(), &files);
        assert_eq!(load(folder.path()).unwrap().sha256, expected.sha256, "type {code:02x}");
    }
    let folder = temp();
    write_all(folder.path(), &four_of(0x0d, |x| (f32::from(x) / 255.0).to_be_bytes().to_vec()));
    let floats = load(folder.path()).unwrap();
    assert_eq!(floats.train.image(), Some((8, 8)));
    let Features::F32(values) = floats.train.features() else { panic!("fractions are not bytes") };
    assert_eq!(values[1], 37.0 / 255.0);
    let inputs = load_inputs(&folder.path().join(NAMES[2]), 64, &LoadOptions::default()).unwrap();
    assert_eq!((inputs.samples, inputs.image), (TEST, Some((8, 8))));
}

#[test]
fn one_of_several_idx_sets_is_chosen() {
    let prefixed = |prefix: &str, files: Vec<(String, Vec<u8>)>| -> Vec<(String, Vec<u8>)> {
        files.into_iter().map(|(name, bytes)| (format!("{prefix}{name}"), bytes)).collect()
    };
    let mut other = named();
    other[1].1 = idx(&[TRAIN], &[3; TRAIN]);
    let [digits, letters] = [prefixed("emnist-digits-", named()), prefixed("emnist-letters-", other.clone())];
    let both: Vec<_> = digits.iter().chain(&letters).cloned().collect();
    let folder = temp();
    write_all(folder.path(), &both);
    let (_zips, zipped) = file("sets.zip", &zip(&both));
    let chosen = |set: &str| LoadOptions { idx_set: Some(set.into()), ..Default::default() };
    let alone = temp();
    write_all(alone.path(), &letters);
    let expected = load(alone.path()).unwrap().sha256;
    for path in [folder.path(), &zipped] {
        let error = load(path).unwrap_err().to_string();
        assert!(error.contains("several data sets: emnist-digits, emnist-letters;"), "{error}");
        assert!(error.contains("--idx-set") && error.contains("the path of one of its files"), "{error}");
        for set in ["emnist-letters", "letters", "Letters"] {
            assert_eq!(load_with(path, &chosen(set)).unwrap().sha256, expected, "{set}");
        }
        for wrong in ["numbers", "emnist"] {
            let error = load_with(path, &chosen(wrong)).unwrap_err();
            assert_eq!(error.kind(), nn_data::Kind::Usage);
            assert!(error.to_string().contains("it has emnist-digits, emnist-letters"), "{error}");
        }
    }
    for (name, _) in &letters {
        assert_eq!(load(&folder.path().join(name)).unwrap().sha256, expected, "{name}");
    }
    // Sets in folders, of which one is the current folder of the other.
    let folder = temp();
    write_all(folder.path(), &prefixed("a/", named()));
    write_all(folder.path(), &prefixed("b/", other));
    assert!(load(folder.path()).unwrap_err().to_string().contains("several data sets: a, b;"));
    assert_eq!(load_with(folder.path(), &chosen("b")).unwrap().sha256, expected);
    let table = temp();
    write_all(table.path(), &[("t.csv".into(), b"a,y\n1,0\n2,1\n".to_vec())]);
    assert!(load_with(table.path(), &chosen("b")).unwrap_err().to_string().contains("leave --idx-set out"));
}

#[test]
fn pictures_stored_by_columns_are_transposed() {
    let columns = |samples: usize| -> Vec<u8> {
        let side = SIDE * SIDE;
        let turn =
            |picture: &[u8]| (0..side).map(|at| picture[at % SIDE * SIDE + at / SIDE]).collect::<Vec<_>>();
        pixels(samples).chunks(side).flat_map(turn).collect()
    };
    let turned = LoadOptions { transpose: true, ..Default::default() };
    let upright = temp();
    write_all(upright.path(), &named());
    let expected = load(upright.path()).unwrap();
    let mut files = named();
    files[0].1 = idx(&[TRAIN, SIDE, SIDE], &columns(TRAIN));
    files[2].1 = idx(&[TEST, SIDE, SIDE], &columns(TEST));
    let folder = temp();
    write_all(folder.path(), &files);
    assert_ne!(load(folder.path()).unwrap().sha256, expected.sha256);
    assert_eq!(load_with(folder.path(), &turned).unwrap().sha256, expected.sha256);
    let [straight, other] = [(upright.path(), LoadOptions::default()), (folder.path(), turned.clone())]
        .map(|(folder, options)| load_inputs(&folder.join(NAMES[2]), 64, &options).unwrap());
    assert_eq!(straight, other);
    // A table of pixels has no shape but the square.
    let (_folder, path) = file("t.csv", csv(TRAIN, true).as_bytes());
    let once = load_with(&path, &turned).unwrap();
    assert_ne!(once.sha256, load(&path).unwrap().sha256);
    // Rows become columns: 2 × 3 becomes 3 × 2.
    let images = npy("|u1", false, "(2, 2, 3)", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    let (_folder, path) = file("x.npy", &images);
    let inputs = load_inputs(&path, 6, &turned).unwrap();
    let expected = [1, 4, 2, 5, 3, 6, 7, 10, 8, 11, 9, 12].map(|x: u8| f32::from(x)).to_vec();
    assert_eq!((inputs.features, inputs.image), (Features::F32(expected), Some((3, 2))));
    let (_folder, path) = file("t.csv", b"1,2,0\n3,4,1\n5,6,0\n");
    assert!(load_with(&path, &turned).unwrap_err().to_string().contains("leave --transpose out"));
    assert!(nn_data::load(&Source::Digits, &turned, &nn_data::Silent).is_err());
}

#[cfg(unix)]
#[test]
fn a_pipe_is_read_once() {
    let plain = named();
    let npz = [
        ("x.npy".to_string(), npy("|u1", false, "(40, 8, 8)", &pixels(TRAIN))),
        ("y.npy".to_string(), npy("|u1", false, "(40,)", &labels(TRAIN))),
    ];
    for (name, bytes) in [
        ("t.csv", csv(TRAIN, true).into_bytes()),
        ("t.csv.gz", gz(csv(TRAIN, true).as_bytes())),
        ("d.zip", zip(&plain)),
        ("d.npz", zip(&npz)),
        ("d.tar", tar(&plain)),
        ("d.tgz", gz(&tar(&plain))),
    ] {
        let (folder, path) = file(name, &bytes);
        let pipe = folder.path().join("p");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let feed = |bytes: Vec<u8>, pipe: std::path::PathBuf| {
            std::thread::spawn(move || fs::write(pipe, bytes).unwrap())
        };
        let writer = feed(bytes.clone(), pipe.clone());
        let piped = load(&pipe).unwrap_or_else(|error| panic!("{name}: {error}"));
        writer.join().unwrap();
        assert_eq!(piped.sha256, load(&path).unwrap().sha256, "{name}");
        if name.contains("csv") || name.contains("npz") {
            let writer = feed(bytes, pipe.clone());
            let inputs = load_inputs(&pipe, 64, &LoadOptions::default()).unwrap();
            writer.join().unwrap();
            assert_eq!(inputs, load_inputs(&path, 64, &LoadOptions::default()).unwrap(), "{name}");
        }
    }
}
