//! Writers of valid files, for tests to use and to damage.
#![allow(dead_code)] // each test binary uses only some of them

use std::io::{Cursor, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use nn_data::{DataError, LoadOptions, Silent, Source, Splits};

/// The names of MNIST's four files.
pub(crate) const NAMES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// Training samples of the small data set.
pub(crate) const TRAIN: usize = 40;
/// Test samples of the small data set.
pub(crate) const TEST: usize = 20;
/// Side of its square images, in pixels.
pub(crate) const SIDE: usize = 8;

/// Pixels of a number of samples, up to 255.
pub(crate) fn pixels(samples: usize) -> Vec<u8> {
    (0..samples * SIDE * SIDE).map(|i| (i * 37 % 256) as u8).collect()
}

/// Labels from 0 to 9.
pub(crate) fn labels(samples: usize) -> Vec<u8> {
    (0..samples).map(|i| (i * 7 % 10) as u8).collect()
}

/// An IDX file of unsigned bytes.
pub(crate) fn idx(dimensions: &[usize], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
    dimensions.iter().for_each(|&d| bytes.extend((d as u32).to_be_bytes()));
    bytes.extend(data);
    bytes
}

/// The small data set as four IDX files, in the order of [`NAMES`].
pub(crate) fn four() -> [Vec<u8>; 4] {
    [
        idx(&[TRAIN, SIDE, SIDE], &pixels(TRAIN)),
        idx(&[TRAIN], &labels(TRAIN)),
        idx(&[TEST, SIDE, SIDE], &pixels(TEST)),
        idx(&[TEST], &labels(TEST)),
    ]
}

/// The small data set as names with contents.
pub(crate) fn named() -> Vec<(String, Vec<u8>)> {
    NAMES.iter().map(|name| name.to_string()).zip(four()).collect()
}

/// Bytes compressed with gzip.
pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A zip archive.
pub(crate) fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        let options =
            zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        zip.start_file(name.as_str(), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A tar archive, whose names may be hostile.
pub(crate) fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, &bytes[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

/// An NPY file.
pub(crate) fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(data);
    bytes
}

/// Loads a path with the default options.
pub(crate) fn load(path: &Path) -> Result<Splits, DataError> {
    load_with(path, &LoadOptions::default())
}

/// Loads a path with the given options.
pub(crate) fn load_with(path: &Path, options: &LoadOptions) -> Result<Splits, DataError> {
    nn_data::load(&Source::Path(path.to_path_buf()), options, &Silent)
}

/// Writes files into a folder, creating subfolders.
pub(crate) fn write_all(folder: &Path, files: &[(String, Vec<u8>)]) {
    for (name, bytes) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}
