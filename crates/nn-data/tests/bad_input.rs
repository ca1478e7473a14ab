//! Each kind of bad file gives a distinct error that names the file, and none causes a panic.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::*;
use nn_data::{DataError, Kind, LoadOptions, Source, load_inputs};
use proptest::prelude::*;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// The error of a folder in which some of the four files are replaced.
fn folder_error(replace: &[(usize, Vec<u8>)]) -> DataError {
    let place = Place::new();
    let mut files = named();
    for (at, bytes) in replace {
        files[*at].1 = bytes.clone();
    }
    write_all(place.path(), &files);
    let error = load(place.path()).unwrap_err();
    assert_eq!(error.kind(), Kind::Data);
    error
}

fn file_error(name: &str, bytes: &[u8]) -> String {
    let place = Place::new();
    let error = load(&place.file(name, bytes)).unwrap_err();
    assert_eq!(error.kind(), Kind::Data);
    let text = error.to_string();
    assert!(text.contains(name), "{text} does not name {name}");
    text
}

fn assert_says(text: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(text.contains(part), "{text:?} does not say {part:?}"));
}

#[test]
fn missing_and_empty() {
    let place = Place::new();
    let error = load(&place.path().join("nowhere.csv")).unwrap_err();
    assert!(matches!(&error, DataError::Missing { file } if file.contains("nowhere.csv")), "{error}");
    assert_eq!(error.kind(), Kind::Data);
    assert!(matches!(
        load_inputs(&place.path().join("no"), 3, &LoadOptions::default()),
        Err(DataError::Missing { .. })
    ));
    assert!(matches!(load(place.path()), Err(DataError::NothingInside { .. })));
    for name in ["e.csv", "e.zip", "e.npy", "e.tar.gz", "e"] {
        assert_says(&file_error(name, b""), &["is empty"]);
    }
    assert_says(&folder_error(&[(1, vec![])]).to_string(), &["train-labels-idx1-ubyte is empty"]);
}

#[test]
fn one_of_the_four_is_bad() {
    let [images, labels, ..] = four();
    for (at, bytes, says) in [
        (0, images[..100].to_vec(), "promises 2560 bytes of data, but it has 84"),
        (2, [images.clone(), vec![0]].concat(), "continues after the 2560 bytes"),
        (1, images.clone(), "It holds images: are the two files swapped?"),
        (0, labels.clone(), "It holds labels: are the two files swapped?"),
        (0, idx(&[u32::MAX as usize, 28, 28], &[0; 50]), "claims 4294967295 × 28 × 28"),
        (3, b"hello, world".to_vec(), "starts with bytes 68 65 6c 6c"),
        (0, gz(&images)[..200].to_vec(), "damaged gzip file: it is truncated"),
        (1, idx(&[7], &[1; 7]), "has 40 samples, but"),
        (2, idx(&[20, 4, 4], &[1; 320]), "have 64 numbers, but samples of"),
    ] {
        let error = folder_error(&[(at, bytes)]).to_string();
        assert_says(&error, &[says, NAMES[at]]);
    }
    let error = folder_error(&[(1, idx(&[7], &[1; 7]))]);
    assert!(matches!(error, DataError::CountMismatch { image_count: 40, label_count: 7, .. }));
}

#[test]
fn a_label_out_of_range() {
    let place = Place::new();
    write_all(place.path(), &named());
    let five = LoadOptions { classes: Some(5), ..Default::default() };
    let error = load_with(place.path(), &five).unwrap_err();
    assert_eq!(error.kind(), Kind::Data);
    assert_says(&error.to_string(), &["train-labels-idx1-ubyte, sample 1: the label 7", "5 classes"]);
    let table = place.file("t.csv", b"a,y\n1,0\n2,5\n");
    assert_says(&load_with(&table, &five).unwrap_err().to_string(), &["t.csv, line 3: the label 5"]);
}

#[test]
fn one_of_the_four_is_missing() {
    for (absent, name) in NAMES.iter().enumerate() {
        let mut files = named();
        files.remove(absent);
        let place = Place::new();
        let archives = [("d.zip", zip(&files)), ("d.tar", tar(&files)), ("d.tgz", gz(&tar(&files)))]
            .map(|(n, b)| place.file(n, &b));
        write_all(&place.path().join("d"), &files);
        for path in archives.into_iter().chain([place.path().join("d")]) {
            let error = load(&path).unwrap_err();
            assert!(
                matches!(&error, DataError::MissingMembers { missing, .. } if missing == name),
                "{error}"
            );
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
    }
    let place = Place::new();
    write_all(place.path(), &named()[..2]);
    assert_says(
        &load(place.path()).unwrap_err().to_string(),
        &["t10k-images", " and t10k-labels", "--test-fraction"],
    );
    let split = LoadOptions { test_fraction: Some(0.25), ..Default::default() };
    assert_eq!(load_with(place.path(), &split).unwrap().test.len(), 10);
}

#[test]
fn two_of_a_kind() {
    let place = Place::new();
    let mut files = named();
    files.push(("digits-train-images-idx3-ubyte".into(), files[0].1.clone()));
    write_all(place.path(), &files);
    let error = load(place.path()).unwrap_err();
    assert!(matches!(error, DataError::SeveralSets { .. }), "{error}");
    assert_says(&error.to_string(), &["one without a name, digits", "the path of one of its files"]);
    load(&place.path().join(NAMES[0])).unwrap();
    let place = Place::new();
    write_all(place.path(), &[("a.csv".into(), b"1,2\n".to_vec()), ("b.csv".into(), b"1,2\n".to_vec())]);
    assert_says(&load(place.path()).unwrap_err().to_string(), &["a.csv, b.csv"]);
    let place = Place::new();
    let (train, test) = (b"a,b,y\n1,2,0\n3,4,1\n".to_vec(), b"c,b,y\n1,2,1\n".to_vec());
    write_all(place.path(), &[("train.csv".into(), train), ("test.csv".into(), test)]);
    assert_says(
        &load(place.path()).unwrap_err().to_string(),
        &["test.csv lacks the column `a`", "the model was trained on"],
    );
}

#[test]
fn damaged_archives() {
    let (zipped, tarred) = (zip(&named()), tar(&named()));
    assert_says(&file_error("cut.zip", &zipped[..zipped.len() / 2]), &["damaged zip archive"]);
    assert_says(&file_error("text.zip", b"this is no archive at all"), &["damaged zip archive"]);
    let mut flipped = zipped.clone();
    (100..200).for_each(|at| flipped[at] ^= 0x55);
    assert_says(&file_error("flipped.zip", &flipped), &["damaged zip archive"]);
    let packed = gz(&tarred);
    assert_says(&file_error("cut.tar.gz", &packed[..packed.len() / 2]), &["damaged tar archive"]);
    assert_says(&file_error("text.tar.gz", b"this is no archive at all"), &["damaged tar archive"]);
    assert_says(&file_error("cut.tar", &tarred[..1000]), &["damaged tar archive"]);
    assert_says(
        &file_error("x.npz", &zip(&[("q.npy".into(), npy("|u1", false, "(1, 1)", &[1]))])),
        &["lacks the array"],
    );
    assert_says(&file_error("x.csv.gz", &gz(b"a,y\n1,2\n")[..12]), &["damaged gzip"]);
}

#[test]
fn bombs() {
    let small = LoadOptions { max_bytes: 1 << 20, ..Default::default() };
    let zeros = vec![0; 8 << 20];
    let mut files = named();
    files[0].1 = idx(&[2048, 64, 64], &zeros);
    let nested: Vec<_> = files.iter().map(|(n, b)| (format!("{n}.gz"), gz(b))).collect();
    let mut filler = named();
    filler.insert(0, ("filler".into(), zeros.clone()));
    let place = Place::new();
    for (name, bytes) in [
        ("bomb.zip", zip(&files)),
        ("bomb.tar.gz", gz(&tar(&files))),
        ("nested.zip", zip(&nested)),
        ("filler.tar.gz", gz(&tar(&filler))),
        ("bomb.csv.gz", gz(&b"1,2\n".repeat(1 << 19))),
    ] {
        assert!(bytes.len() < 1 << 20, "{name}");
        let error = load_with(&place.file(name, &bytes), &small).unwrap_err();
        assert!(matches!(error, DataError::TooLarge { .. }), "{name}: {error}");
    }
    let big = place.file("big.csv", &b"1,2\n".repeat(1 << 19));
    assert!(matches!(load_with(&big, &small), Err(DataError::TooLarge { .. })));
    let array = place.file("x.npy", &npy("<f8", false, "(4294967296, 784)", &[]));
    let _ = place.file("y.npy", &[]);
    assert!(matches!(load(&array), Err(DataError::TooLarge { .. })));
}

#[test]
fn other_files() {
    assert_says(&file_error("images", &four()[0]), &["a single IDX file", "folder"]);
    assert_says(&file_error("photo.jpg", &[0xff, 0xd8, 0, 0, 1, 2, 3]), &["neither IDX"]);
    assert_says(&file_error("t.csv", b"a,b\n"), &["t.csv has a header (line 1) but no rows"]);
    assert_says(&file_error("t.csv", b"a,b\n1,2\n1,2,3\n"), &["t.csv, line 3: 3 cells"]);
    assert_says(&file_error("t.csv", b"a,b\n1,2\ninf,3\n"), &["t.csv, line 3, column 0 (`a`)", "not finite"]);
    assert_says(&file_error("t.csv", b"1,2\n"), &["only 1 sample;"]);
    assert_says(&file_error("x.npy", &npy("<f4", false, "(1, 1)", &[0; 4])), &["lacks its sibling", "y.npy"]);
    let place = Place::new();
    let _ = place.file("y.npy", &npy("<f4", false, "(1,)", &f32::NAN.to_le_bytes()));
    let x = place.file("x.npy", &npy("<f4", false, "(1, 1)", &f32::INFINITY.to_le_bytes()));
    assert_says(&load(&x).unwrap_err().to_string(), &["x.npy, sample 0, feature 0", "not finite"]);
    let _ = place.file("x.npy", &npy("<f4", false, "(1, 1)", &[0; 4]));
    assert_says(&load(&x).unwrap_err().to_string(), &["y.npy, sample 0", "not finite"]);
    let _ = place.file("x.npy", &npy("<c8", false, "(1, 1)", &[0; 8]));
    assert_says(&load(&x).unwrap_err().to_string(), &["type <c8"]);
}

#[test]
fn usage() {
    let place = Place::new();
    let path = place.file("t.csv", b"a,b\n1,2\n3,4\n");
    let wrong = LoadOptions { label_column: Some("c".into()), ..Default::default() };
    let error = load_with(&path, &wrong).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert_says(&error.to_string(), &["no column `c`", "2 columns (a, b)"]);
    let wrong = LoadOptions { test_fraction: Some(1.5), ..Default::default() };
    assert_eq!(load_with(&path, &wrong).unwrap_err().kind(), Kind::Usage);
    assert_eq!("nmist".parse::<Source>().unwrap_err().kind(), Kind::Usage);
}

/// Valid files for the tests to damage.
fn valid(which: usize) -> (&'static str, Vec<u8>) {
    let arrays = [
        ("x.npy".to_string(), npy("<f4", true, "(3, 2)", &[1; 24])),
        ("y.npy".to_string(), npy("|u1", false, "(3,)", &[0, 1, 0])),
    ];
    let small: Vec<_> = NAMES
        .iter()
        .map(|name| name.to_string())
        .zip([idx(&[2, 1, 2], &[1; 4]), idx(&[2], &[0, 1]), idx(&[1, 1, 2], &[1; 2]), idx(&[1], &[1])])
        .collect();
    match which {
        0 => ("v.zip", zip(&small)),
        1 => ("v.tar", tar(&small)),
        2 => ("v.tar.gz", gz(&tar(&small))),
        3 => ("v.npz", zip(&arrays)),
        4 => ("v.csv", b"a,b,y\n1,2,x\n3,4,z\n".to_vec()),
        _ => ("v.npy", arrays[0].1.clone()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_files_never_panic(
        which in 0usize..6,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        keep in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let (name, mut bytes) = valid(which);
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        if let Some(keep) = keep {
            bytes.truncate(keep.index(bytes.len()));
        }
        let place = Place::new();
        let path = place.file(name, &bytes);
        let _ = place.file("y.npy", &npy("|u1", false, "(3,)", &[0, 1, 0]));
        let options = LoadOptions { max_bytes: 1 << 20, ..Default::default() };
        if let Err(error) = load_with(&path, &options) {
            prop_assert!(!error.to_string().is_empty());
        }
        let _ = load_inputs(&path, 2, &options);
    }

    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), name in 0usize..6) {
        let place = Place::new();
        let path = place.file(valid(name).0, &bytes);
        let _ = load(&path);
        let _ = load_inputs(&path, 2, &LoadOptions::default());
    }
}

#[test]
fn the_files_to_damage_are_valid() {
    for which in 0..6 {
        let place = Place::new();
        let (name, bytes) = valid(which);
        let _ = place.file("y.npy", &npy("|u1", false, "(3,)", &[0, 1, 0]));
        let path = place.file(name, &bytes);
        let path = if which == 5 { place.file("x.npy", &bytes) } else { path };
        load(&path).unwrap();
    }
}
