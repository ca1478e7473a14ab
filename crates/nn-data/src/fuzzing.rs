//! Properties that must hold for every file, however hostile. Only the fuzz targets in `fuzz/` and the property tests
//! beside this module build it. Each check reads bytes as the program would, and panics if a property is violated:
//! accepted input survives being written and read again, and refused input gets a short, printable message.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use nn_core::Features;

use crate::columns::{Decimal, Preparation};
use crate::container::{Container, Form};
use crate::error::DataError;
use crate::npy::Array;
use crate::raw::{Answers, Values};
use crate::source::{Header, LoadOptions, Prepare, Source, Standardize, Validation};
use crate::table::Table;
use crate::{Silent, Task, bytes, idx, load_inputs};

/// The size limit of a file, member or stream. It is small, so that exceeding it shows.
pub const LIMIT: u64 = 1 << 16;

/// The longest permitted message: a hostile file must not fill the terminal or the log.
const LONGEST_MESSAGE: usize = 16 << 10;

/// A Parquet file of eleven rows, made by `tests/cases/make_parquet.py`.
const PARQUET: &[u8] = include_bytes!("../tests/cases/flowers.parquet");

/// Checks the message of an error.
fn check_message(error: &DataError) {
    let text = error.to_string();
    assert!(!text.is_empty() && text.len() <= LONGEST_MESSAGE, "a message of {} bytes", text.len());
    assert!(!text.chars().any(char::is_control), "control characters in {text:?}");
}

/// IDX images and labels: writing accepted input reproduces it byte for byte.
pub fn check_idx(bytes: &[u8]) {
    let plain = || bytes::gunzip(bytes.to_vec(), "x", LIMIT + 1024);
    // Only files of unsigned bytes can be written again as they were.
    let unsigned = plain().is_ok_and(|bytes| bytes.get(2) == Some(&0x08));
    match idx::images(bytes, "x", LIMIT) {
        Err(error) => check_message(&error),
        Ok(images) if !unsigned => assert!(images.samples > 0 && images.width > 0),
        Ok(images) => {
            let Values::Bytes(data) = &images.values else { panic!("unsigned bytes are bytes") };
            assert_eq!(data.len(), images.samples * images.width);
            let dimensions = match images.image {
                Some((height, width)) => vec![images.samples, height, width],
                None => vec![images.samples, images.width],
            };
            assert_eq!(write_idx(&dimensions, data), plain().expect("gunzip succeeded before"));
        }
    }
    match idx::labels(bytes, "y", LIMIT) {
        Err(error) => check_message(&error),
        Ok((labels, note)) => {
            let Answers::Numbers { data, width } = labels.answers else { panic!("numbers") };
            if !unsigned || width != 1 || note.is_some() {
                return;
            }
            let data: Vec<u8> = data.iter().map(|&label| label as u8).collect();
            assert_eq!(write_idx(&[data.len()], &data), plain().expect("gunzip succeeded before"));
        }
    }
}

/// NPY: accepted input survives being written as little-endian `f32` in C order and read again.
pub fn check_npy(bytes: &[u8]) {
    let array = match Array::parse(bytes, "x", LIMIT) {
        Ok(array) => array,
        Err(error) => return check_message(&error),
    };
    match array.inputs() {
        Err(error) => check_message(&error),
        Ok(inputs) => {
            let shape = match inputs.image {
                Some((height, width)) => format!("({}, {height}, {width})", inputs.samples),
                None => format!("({}, {})", inputs.samples, inputs.width),
            };
            let (samples, width, values) = (inputs.samples, inputs.width, inputs.values.into_floats());
            assert_eq!(values.len(), samples * width);
            let data: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            let again = write_npy("<f4", &shape, &data);
            let again = Array::parse(&again, "x", 16 * LIMIT).and_then(|array| array.inputs());
            let again = again.expect("our own output is valid");
            assert_eq!((again.samples, again.width, again.image), (samples, width, inputs.image));
            assert_eq!(again.values.into_floats(), values);
        }
    }
    match array.labels(&LoadOptions::default()) {
        Err(error) => check_message(&error),
        Ok(labels) => assert!(labels.answers.len() as u64 <= LIMIT),
    }
}

/// CSV: accepted input survives being written and read again. The first byte selects the header and label options.
pub fn check_csv(bytes: &[u8]) {
    let Some((&how, bytes)) = bytes.split_first() else { return };
    let header = [Header::Auto, Header::Yes, Header::No][usize::from(how % 3)];
    let wanted = match how / 3 % 4 {
        0 => Some("-1"),
        1 => Some("y"),
        _ => None,
    };
    let read = || -> Result<_, DataError> {
        let options = LoadOptions { header, ..LoadOptions::default() };
        let table = Table::open(bytes.to_vec(), "x", &options, None)?;
        let label = if how & 0x80 == 0 { table.label_columns(wanted)?.0.first().copied() } else { None };
        let (inputs, labels) = table.read(label, &[])?;
        Ok((label, inputs, labels))
    };
    let (label, inputs, labels) = match read() {
        Ok(read) => read,
        Err(error) => return check_message(&error),
    };
    let width = inputs.width;
    let (samples, values) = (inputs.samples, inputs.values.into_floats());
    assert_eq!(values.len(), samples * width);
    let answers = labels.map(|labels| labels.answers);
    let text = |sample: usize| match answers.as_ref() {
        Some(Answers::Text(texts)) => texts[sample].clone(),
        Some(Answers::Numbers { data, .. }) => data[sample].to_string(),
        None => String::new(),
    };
    if samples == 0 || width == 0 {
        return;
    }
    // Starts with a byte order mark, because the first label may begin with one.
    let mut again = b"\xef\xbb\xbf".to_vec();
    for sample in 0..samples {
        let mut row: Vec<String> = values[sample * width..][..width].iter().map(f32::to_string).collect();
        if let Some(label) = label {
            row.insert(label, format!("\"{}\"", text(sample).replace('"', "\"\"")));
        }
        again.extend(row.join(",").bytes());
        again.push(b'\n');
    }
    let plain = LoadOptions { header: Header::No, delimiter: Some(b','), ..LoadOptions::default() };
    let plain = LoadOptions { decimal: Some(Decimal::Point), ..plain };
    let table = Table::open(again, "x", &plain, None).expect("our own output is valid");
    let (inputs, labels) = table.read(label, &[]).expect("our own output is valid");
    assert_eq!((inputs.samples, inputs.width, inputs.values.into_floats()), (samples, width, values));
    assert_eq!(labels.map(|labels| labels.answers), answers);
}

/// Tables of any kind, prepared: CSV in any encoding, and Parquet. The first byte selects the options. The inputs are finite, the
/// preparation survives being stored, and applied to the same file it gives the same samples. The check writes one file to
/// `folder`, a temporary folder of the caller.
pub fn check_table(bytes: &[u8], folder: &Path) {
    let Some((&how, bytes)) = bytes.split_first() else { return };
    let path = folder.join("x");
    std::fs::write(&path, bytes).expect("a temporary folder is writable");
    let options = LoadOptions {
        header: [Header::Auto, Header::Yes, Header::No][usize::from(how % 3)],
        standardize: if how & 0x40 == 0 { Standardize::Auto } else { Standardize::No },
        validation: if how & 0x20 == 0 { Validation::None } else { Validation::Fraction(0.3) },
        max_bytes: LIMIT,
        ..LoadOptions::default()
    };
    let source = Source::Path(path);
    let splits = match crate::load(&source, &options, &Silent) {
        Ok(splits) => splits,
        Err(error) => return check_message(&error),
    };
    for note in &splits.notes {
        assert!(!note.chars().any(char::is_control), "control characters in {note:?}");
    }
    let Some(preparation) = &splits.preparation else { return };
    assert!(preparation.is_consistent(splits.train.input_width()), "{preparation:?}");
    assert_eq!(preparation.input_names().len(), splits.train.input_width());
    let stored = serde_json::to_string(&**preparation).expect("plain values");
    let again: Preparation = serde_json::from_str(&stored).expect("our own output is valid");
    assert_eq!((again.sha256(), &again), (preparation.sha256(), &**preparation));
    let model = LoadOptions {
        prepare: Prepare::With(again.into()),
        class_names: splits.classes.clone(),
        task: splits.classes.is_none().then_some(Task::Regression),
        ..options
    };
    let same = crate::load(&source, &model, &Silent).expect("the same file fits its own preparation");
    assert_eq!((same.sha256, same.train, same.test), (splits.sha256, splits.train, splits.test));
}

/// Files of any format, including zip, tar and gzip archives. The first byte selects how the rest is written to disk: as it
/// is, compressed by gzip, or as the members of an archive, which must then return the same contents. The check writes one
/// file to `folder`, a temporary folder of the caller, and no other file may appear in it.
pub fn check_archive(bytes: &[u8], folder: &Path) {
    let Some((&how, rest)) = bytes.split_first() else { return };
    let members = members(rest);
    let (name, file) = match how % 6 {
        0 => ("x", rest.to_vec()),
        1 => ("x", gzip(rest)),
        2 => ("x.npz", rest.to_vec()),
        3 => ("x.zip", zip(&members)),
        4 => ("x.tar", tar(&members)),
        _ => ("x.tgz", gzip(&tar(&members))),
    };
    let path = folder.join(name);
    std::fs::write(&path, &file).expect("the caller's folder can be written to");
    let form = match how % 6 {
        3 => Some(Form::Zip),
        4 | 5 => Some(Form::Tar),
        _ => None,
    };
    if let Some(form) = form {
        let opened = bytes::Opened::new(&path, LIMIT).expect("the file exists");
        check_members(&Container::new(&opened, form, LIMIT), &members);
    }
    let test_fraction = (how & 0x80 != 0).then_some(0.5);
    let options = LoadOptions { max_bytes: LIMIT, test_fraction, ..LoadOptions::default() };
    match crate::load(&Source::Path(path.clone()), &options, &Silent) {
        Err(error) => check_message(&error),
        Ok(splits) => {
            assert!(!splits.train.is_empty() && !splits.test.is_empty());
            assert_eq!(splits.train.input_width(), splits.test.input_width());
            assert_eq!(splits.train.output_width(), splits.test.output_width());
            if let Some(classes) = &splits.classes {
                assert_eq!(classes.len(), splits.train.output_width());
            }
            if splits.picture_files {
                let (height, width) = splits.train.image().expect("pictures have a height and a width");
                assert_eq!(height * width, splits.train.input_width());
                assert!(matches!(splits.train.features(), Features::U8 { scale: 255.0, .. }));
            }
        }
    }
    match load_inputs(&path, 2, &options) {
        Err(error) => check_message(&error),
        Ok(inputs) => assert_eq!(inputs.width, 2),
    }
    let files = std::fs::read_dir(folder).expect("the folder exists").count();
    std::fs::remove_file(&path).expect("the file exists");
    assert_eq!(files, 1, "another file was written beside the archive");
}

/// Checks that an archive returns the members that it was made from, as far as it can hold them.
fn check_members(container: &Container, members: &[(String, Vec<u8>)]) {
    let files = match container.files() {
        Ok(files) => files,
        // The limit applies to a tar stream as a whole.
        Err(error) => return check_message(&error),
    };
    for (name, content) in members {
        let twice = members.iter().filter(|(other, _)| other == name).count() > 1;
        let known = files.contains(name);
        if !known || twice || content.len() as u64 > LIMIT {
            continue;
        }
        match container.read(&[name]) {
            Ok(read) => assert_eq!(&read[0], content, "{name:?}"),
            Err(error) => check_message(&error),
        }
    }
}

/// Parses names and contents: a length, a name, two bytes of length, a content. A length beyond the end of the input
/// stands for twice as many zeros, which compress well.
fn members(mut bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut members = Vec::new();
    while let Some((&length, rest)) = bytes.split_first() {
        let (name, rest) = rest.split_at(rest.len().min(usize::from(length % 64)));
        let Some((&[low, high], rest)) = rest.split_first_chunk::<2>() else { break };
        let length = usize::from(u16::from_le_bytes([low, high]));
        let bomb = length > rest.len();
        let (content, rest) = rest.split_at(if bomb { 0 } else { length });
        let content = if bomb { vec![0; length * 2] } else { content.to_vec() };
        // The writers below take non-empty text without NUL.
        let name = String::from_utf8_lossy(name).replace('\0', "_");
        if !name.is_empty() && members.len() < 16 {
            members.push((name, content));
        }
        bytes = rest;
    }
    members
}

/// Packs members as [`check_archive`] takes them, after the byte `how` that selects the archive.
pub fn pack(how: u8, members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![how];
    for (name, content) in members {
        bytes.push(name.len() as u8);
        bytes.extend(name.bytes());
        bytes.extend((content.len() as u16).to_le_bytes());
        bytes.extend(*content);
    }
    bytes
}

fn write_idx(dimensions: &[usize], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
    dimensions.iter().for_each(|&d| bytes.extend((d as u32).to_be_bytes()));
    bytes.extend(data);
    bytes
}

fn write_npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(data);
    bytes
}

/// The same bytes declared to be in Fortran order. The header keeps its length.
fn fortran(npy: &[u8]) -> Vec<u8> {
    let at = npy.windows(6).position(|word| word == b"False,").expect("written by us");
    [&npy[..at], b"True, ", &npy[at + 6..]].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn zip(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let method = zip::CompressionMethod::Deflated;
    for (name, bytes) in members {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        // The writer refuses duplicate names.
        if zip.start_file(name.as_str(), options).is_ok() {
            zip.write_all(bytes).expect("memory");
        }
    }
    zip.finish().expect("memory").into_inner()
}

fn tar(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // Written by hand, because the library refuses names that lead out of the folder.
        let most = name.len().min(99);
        header.as_mut_bytes()[..most].copy_from_slice(&name.as_bytes()[..most]);
        header.set_cksum();
        tar.append(&header, &bytes[..]).expect("memory");
    }
    tar.into_inner().expect("memory")
}

/// Small valid files for the check of the given name: the initial corpus of the fuzzer, and input for tests to damage.
pub fn seeds(check: &str) -> Vec<Vec<u8>> {
    let images = write_idx(&[3, 2, 2], &[0, 50, 255, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    let labels = write_idx(&[3], &[1, 0, 1]);
    let x: Vec<u8> = [0.5_f32, 1.0, -2.0, 3e9, 0.0, 7.5].iter().flat_map(|x| x.to_le_bytes()).collect();
    let x_npy = write_npy("<f4", "(3, 2)", &x);
    let y_npy = write_npy("|u1", "(3,)", &[1, 0, 1]);
    let csv = "a,b,y\n1,2,cat\n3,4.5,dog\n-5,6e3,cat\n";
    let mut big = x.clone();
    big.chunks_exact_mut(4).for_each(<[u8]>::reverse);
    match check {
        "idx" => vec![write_idx(&[3, 4], &[9; 12]), gzip(&images), gzip(&labels), images, labels],
        "npy" => vec![
            write_npy("|u1", "(2, 2, 3)", &[1; 12]),
            write_npy("<i8", "(2, 1)", &[7; 16]),
            write_npy(">f4", "(1, 2, 3, 1)", &big),
            write_npy("<f2", "(2, 3)", &[0x3c; 12]),
            write_npy("<f8", "(2, 1)", &[0x40; 16]),
            fortran(&x_npy),
            x_npy,
            y_npy,
        ],
        "csv" => {
            let texts = [
                csv.to_owned(),
                csv.replace(',', ";"),
                csv.replace(',', "\t"),
                format!("\u{feff}{csv}"),
                csv.replace("cat", "\"a \"\"cat\"\",\nor two\""),
                "1,2,3\r\n4,5,6\r\n\r\n7,8,9".to_owned(),
            ];
            let with = |how: u8| texts.iter().map(move |text| [&[how], text.as_bytes()].concat());
            with(0).chain(with(7)).chain(with(0x82)).collect()
        }
        "table" => {
            let people: String = (0..30)
                .map(|i| {
                    let (town, age) = (["Rome", "Oslo", "NA"][i % 3], if i % 7 == 0 { "?" } else { "41" });
                    format!(
                        "{i},{town},{age},2024-0{}-11,{}.5,{}\n",
                        1 + i % 9,
                        i * 37 % 50,
                        ["yes", "no"][i % 2]
                    )
                })
                .collect();
            let people = format!("id,town,age,since,size,answer\n{people}");
            let comma = people.replace(',', ";").replace(".5", ",5");
            let utf16: Vec<u8> =
                format!("\u{feff}{people}").encode_utf16().flat_map(u16::to_le_bytes).collect();
            let texts =
                [people.clone().into_bytes(), comma.into_bytes(), utf16, csv.into(), PARQUET.to_vec()];
            let with =
                |how: u8| texts.iter().map(move |text| [&[how][..], text].concat()).collect::<Vec<_>>();
            [with(0), with(0x40), with(0x21)].concat()
        }
        "archive" => {
            let four: [(&str, &[u8]); 4] = [
                ("a/train-images-idx3-ubyte", &images),
                ("a/train-labels-idx1-ubyte", &labels),
                ("./t10k-images-idx3-ubyte", &images),
                ("../t10k-labels-idx1-ubyte.gz", &gzip(&labels)),
            ];
            let arrays: [(&str, &[u8]); 3] =
                [("x.npy", &x_npy), ("y.npy", &y_npy), ("/etc/../../x_test.npy", &x_npy)];
            let tables: [(&str, &[u8]); 2] = [("train.csv", csv.as_bytes()), ("test.csv", csv.as_bytes())];
            let owned: Vec<(String, Vec<u8>)> =
                arrays.iter().map(|(name, bytes)| (name.to_string(), bytes.to_vec())).collect();
            let mut seeds = vec![
                [&[0], csv.as_bytes()].concat(),
                [&[1], csv.as_bytes()].concat(),
                [&[0], &zip(&owned)[..]].concat(),
                [&[2], &zip(&owned)[..]].concat(),
                [&[0], &tar(&owned[..1])[..]].concat(),
                [&[1], &tar(&owned[..1])[..]].concat(),
            ];
            for how in 3..6 {
                seeds.push(pack(how, &four));
                seeds.push(pack(how, &arrays));
                seeds.push(pack(how | 0x80, &tables));
            }
            seeds
        }
        "pictures" => {
            let [dark, light, wide] = [png(2, 3, 10), png(2, 3, 200), png(2, 4, 200)];
            let classes: [(&str, &[u8]); 4] =
                [("a/1.png", &dark), ("a/2.PNG", &light), ("b/1.png", &light), ("b/2.png", &dark)];
            let parts: [(&str, &[u8]); 4] = [
                ("x/train/a/1.png", &dark),
                ("x/train/../b/1.png", &light),
                ("x/test/a/1.png", &light),
                ("x/test/b/1.png", &dark),
            ];
            let sizes: [(&str, &[u8]); 3] = [("a/1.png", &dark), ("b/1.png", &wide), ("2.png", &wide)];
            let packed = |how| [pack(how, &classes), pack(how, &parts), pack(how | 0x80, &sizes)];
            (3..6).flat_map(packed).collect()
        }
        _ => Vec::new(),
    }
}

/// A grey PNG of one level.
fn png(height: u32, width: u32, level: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Grayscale);
    let data = vec![level; (height * width) as usize];
    encoder.write_header().and_then(|mut writer| writer.write_image_data(&data)).expect("memory");
    bytes
}

#[cfg(test)]
mod tests;
