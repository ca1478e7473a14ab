//! What a message says to do works: each refusal is followed by the file that its remedy makes.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::*;
use nn_data::{DataError, Kind, LoadOptions, load_inputs};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The error for a file, whether it is to be trained with or predicted for.
    fn refused(&self, name: &str, bytes: &[u8], parts: &[&str]) {
        let path = self.file(name, bytes);
        let errors = [load(&path).unwrap_err(), load_inputs(&path, 4, &LoadOptions::default()).unwrap_err()];
        for error in errors {
            assert_eq!(error.kind(), Kind::Data);
            let text = error.to_string();
            assert!(text.contains(name), "{text} does not name {name}");
            parts.iter().for_each(|part| assert!(text.contains(part), "{text:?} does not say {part:?}"));
            assert!(!text.contains("damaged") && !text.contains("again as IDX"), "{text}");
        }
    }
}

fn case(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name)).unwrap()
}

#[test]
fn archives_packed_otherwise_are_not_damaged() {
    let place = Place::new();
    for (name, method) in [("npz_bzip2.npz", "bzip2"), ("npz_lzma.npz", "lzma")] {
        let says = [method, "not supported", "numpy.savez or numpy.savez_compressed"];
        place.refused(name, &case(name), &says);
    }
    // numpy.savez stores, numpy.savez_compressed deflates.
    let arrays = [
        ("x.npy".to_string(), npy("<f4", false, "(4, 4)", &[0; 64])),
        ("y.npy".to_string(), npy("|u1", false, "(4,)", &[0, 1, 0, 1])),
    ];
    let deflated = place.file("deflated.npz", &zip(&arrays));
    load(&deflated).unwrap();
    // Other archives are to be packed with deflate or extracted.
    let mut table = zip(&[("t.csv".into(), b"a,y\n1,0\n2,1\n".to_vec())]);
    for at in 0..table.len() - 4 {
        // The methods in the local and in the central header.
        match &table[at..at + 4] {
            b"PK\x03\x04" => table[at + 8] = 9,
            b"PK\x01\x02" => table[at + 10] = 9,
            _ => {}
        }
    }
    let error = load(&place.file("t.zip", &table)).unwrap_err().to_string();
    assert!(error.contains("deflate64") && error.contains("extract it and give the folder"), "{error}");
    write_all(&place.0.path().join("t"), &[("t.csv".into(), b"a,y\n1,0\n2,1\n".to_vec())]);
    load(&place.0.path().join("t")).unwrap();
}

#[test]
fn element_types_that_hold_no_numbers() {
    let place = Place::new();
    let _ = place.file("y.npy", &npy("|u1", false, "(2,)", &[0, 1]));
    let refused = |descr: &str, parts: &[&str]| {
        place.refused("x.npy", &npy(descr, false, "(2, 4)", &[0; 64]), parts);
    };
    refused("|O", &["type |O", ".astype(numpy.float32)", ".astype(str)"]);
    refused("<c8", &["type <c8", ".real"]);
    refused("<c16", &["numpy.concatenate([x.real, x.imag], axis=-1)"]);
    refused("<M8[ns]", &[".astype(numpy.int64)"]);
    refused("|V2", &[".astype(numpy.float32)"]);
    refused("<f16", &[".astype(numpy.float32)"]);
    refused("|U0", &["empty texts"]);
    // What .astype(numpy.float32), .astype(numpy.int64) and .real of complex128 make.
    for (descr, size) in [("<f4", 4), ("<i8", 8), ("<f8", 8)] {
        let path = place.file("x.npy", &npy(descr, false, "(2, 4)", &vec![0; 8 * size]));
        load(&path).unwrap();
    }
    // What .astype(str) makes of labels; and texts as inputs, which are to be numbers.
    let path = place.file("y.npy", &npy("<U1", false, "(2,)", b"a\0\0\0b\0\0\0"));
    assert_eq!(load(&path).unwrap().classes.unwrap(), ["a", "b"]);
    place.refused(
        "x.npy",
        &npy("<U1", false, "(2, 4)", &[b'1', 0, 0, 0].repeat(8)),
        &["inputs need numbers"],
    );
    let structured = "[('a', '<f4'), ('b', '<f4')]";
    let header = format!("{{'descr': {structured}, 'fortran_order': False, 'shape': (2,), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes().chain([0; 16]));
    place.refused("x.npy", &bytes, &["structured_to_unstructured"]);
}

#[test]
fn labels_of_text_that_say_nothing() {
    let place = Place::new();
    let x = place.file("x.npy", &npy("<f4", false, "(2, 1)", &[0; 8]));
    let says = |y: &[u8], parts: &[&str]| {
        let _ = place.file("y.npy", y);
        let error = load(&x).unwrap_err().to_string();
        for part in ["y.npy, sample 1: the label"].iter().chain(parts) {
            assert!(error.contains(part), "{error}");
        }
    };
    says(&npy("|S1", false, "(2,)", b"a\0"), &["is empty", "leave it out"]);
    says(&npy("|S1", false, "(2,)", b"a\xe9"), &["is not UTF-8", "numpy.char.decode"]);
    says(&npy("<U1", false, "(2,)", b"a\0\0\0\0\0\x11\0"), &["is not valid Unicode"]);
    // What numpy.char.decode(y, "latin-1") makes.
    let _ = place.file("y.npy", &npy("<U1", false, "(2,)", b"a\0\0\0\xe9\0\0\0"));
    assert_eq!(load(&x).unwrap().classes.unwrap(), ["a", "é"]);
    let _ = place.file("y.npy", &npy("<U1", false, "(2, 2)", &[b'a', 0, 0, 0].repeat(4)));
    assert!(load(&x).unwrap_err().to_string().contains("labels of text need [samples]"));
    let _ = place.file("y.npy", &npy("<U1", false, "(2, 1)", b"a\0\0\0b\0\0\0"));
    load(&x).unwrap();
}

#[test]
fn arrays_without_names_or_siblings() {
    let place = Place::new();
    let [x, y] = [npy("<f4", false, "(2, 1)", &[0; 8]), npy("|u1", false, "(2,)", &[0, 1])];
    let of = |names: &[&str]| {
        let arrays: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(at, name)| (format!("{name}.npy"), if at % 2 == 0 { x.clone() } else { y.clone() }))
            .collect();
        load(&place.file("a.npz", &zip(&arrays)))
    };
    for names in [&["arr_0", "arr_1", "arr_2", "arr_3"][..], &["a", "b"], &["x", "b"], &["arr_0"]] {
        let error = of(names).unwrap_err();
        assert!(matches!(error, DataError::MissingArray { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("name the inputs x and the labels y, or x_train, y_train, x_test and y_test"));
    }
    of(&["x", "y"]).unwrap();
    of(&["x_train", "y_train", "x_test", "y_test"]).unwrap();
    let error = load(&place.file("x.npy", &x)).unwrap_err().to_string();
    assert!(error.contains("such as x.npy and y.npy"), "{error}");
    let _ = place.file("y.npy", &y);
    load(&place.file("x.npy", &x)).unwrap();
}

#[test]
fn files_of_other_programs_are_named() {
    let place = Place::new();
    let pictures = ["nn predict takes pictures as PNG or JPEG", "IDX, CSV, NPY or NPZ"];
    let bmp = [b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".as_slice(), &[0; 40]].concat();
    for (bytes, what) in [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(), "a PNG picture"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "a JPEG picture"),
        (b"GIF89a\x1c\0\x1c\0", "a GIF picture"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "a WebP picture"),
        (&bmp, "a BMP picture"),
        (b"II*\0\x08\0\0\0", "a TIFF picture"),
        (b"MM\0*\0\0\0\x08", "a TIFF picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC picture"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "an AVIF picture"),
    ] {
        place.refused("f", bytes, &[what, pictures[0], pictures[1]]);
        place.refused("f.csv", bytes, &[what]);
    }
    for (bytes, what, remedy) in [
        (b"\x89HDF\r\n\x1a\n\0\0".as_slice(), "HDF5", "numpy.savez"),
        (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "MATLAB", "numpy.savez"),
        (b"\x80\x04\x95\x0f\0\0\0\0\0\0\0", "a Python pickle", "numpy.savez"),
        (b"ARROW1\0\0\xff\xff", "Arrow or Feather", "to_csv"),
        (b"FEA1\0\0", "Arrow or Feather", "to_csv"),
        (b"SQLite format 3\0\x10\0", "an SQLite database", "to_csv"),
        (b"{\"a\": [1, 2]}\n", "JSON", "to_csv"),
        (b"[\n  {\"a\": 1}\n]", "JSON", "to_csv"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "an old Excel workbook", "save the sheet as CSV"),
        (b"BZh91AY&SY\0\0", "bzip2", "zip, tar or gzip"),
        (b"\xfd7zXZ\0\0\x04", "xz", "zip, tar or gzip"),
        (b"\x28\xb5\x2f\xfd\0\0", "zstd", "zip, tar or gzip"),
        (b"7z\xbc\xaf\x27\x1c\0\x04", "7z", "zip, tar or gzip"),
        (b"Rar!\x1a\x07\x01\0", "RAR", "zip, tar or gzip"),
        (b"%PDF-1.7\n", "a PDF", "CSV or PNG"),
        (b"\x40\0\0\0\0\0\0\0{\"__metadata__\"", "a model in safetensors", "--model"),
    ] {
        place.refused("f.dat", bytes, &[what, remedy]);
    }
    let workbook = [("[Content_Types].xml".to_string(), vec![1]), ("xl/workbook.xml".to_string(), vec![2])];
    place.refused("b.xlsx", &zip(&workbook), &["an Excel workbook", "save the sheet as CSV"]);
    let torch = [("m/data.pkl".to_string(), vec![1]), ("m/version".to_string(), vec![2])];
    place.refused("b.pt", &zip(&torch), &["a PyTorch file", "numpy.savez"]);
}

#[test]
fn a_lone_idx_file_and_the_folder_that_it_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let files = named();
    write_all(folder.path(), &files[..1]);
    let path = folder.path().join(NAMES[0]);
    let error = load(&path).unwrap_err();
    assert!(matches!(error, DataError::LoneIdx { .. }), "{error}");
    write_all(folder.path(), &files);
    assert_eq!(load(&path).unwrap().sha256, load(folder.path()).unwrap().sha256);
    fs::remove_file(folder.path().join(NAMES[3])).unwrap();
    assert!(load(&path).unwrap_err().to_string().contains("lacks t10k-labels"));
}

#[test]
fn a_file_of_several_candidates_is_given_by_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let tables = [("a.csv", b"a,y\n1,0\n2,1\n"), ("b.csv", b"a,y\n3,0\n4,1\n")];
    let tables = tables.map(|(name, bytes)| (name.to_string(), bytes.to_vec()));
    write_all(folder.path(), &tables);
    let archive = folder.path().join("t.zip");
    fs::write(&archive, zip(&tables)).unwrap();
    for path in [folder.path(), &archive] {
        let error = load(path).unwrap_err().to_string();
        assert!(error.contains("a.csv, b.csv") && error.contains("after extracting it"), "{error}");
    }
    load(&folder.path().join("b.csv")).unwrap();
}
