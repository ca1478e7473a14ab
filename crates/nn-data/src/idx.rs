//! IDX, the format of MNIST: two zero bytes, the element type, the rank, the dimensions as big-endian `u32`, then the
//! elements. Described at <http://yann.lecun.com/exdb/mnist/>.

use std::io::Read;

use flate2::read::MultiGzDecoder;

use crate::bytes::{decode_error, is_gzip};
use crate::error::DataError;
use crate::raw::{Answers, Inputs, Labels, Pixels, Places, Values};

/// The type of elements, which are big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Unsigned8,
    Signed8,
    Signed16,
    Signed32,
    Float32,
    Float64,
}

impl Element {
    fn of_code(code: u8) -> Option<Self> {
        Some(match code {
            0x08 => Self::Unsigned8,
            0x09 => Self::Signed8,
            0x0b => Self::Signed16,
            0x0c => Self::Signed32,
            0x0d => Self::Float32,
            0x0e => Self::Float64,
            _ => return None,
        })
    }

    /// Its size in bytes.
    fn size(self) -> usize {
        match self {
            Self::Unsigned8 | Self::Signed8 => 1,
            Self::Signed16 => 2,
            Self::Signed32 | Self::Float32 => 4,
            Self::Float64 => 8,
        }
    }

    /// The numbers in these bytes.
    fn numbers(self, data: &[u8]) -> Vec<f64> {
        match self {
            Self::Unsigned8 => data.iter().map(|&x| x.into()).collect(),
            Self::Signed8 => data.iter().map(|&x| x.cast_signed().into()).collect(),
            Self::Signed16 => data.as_chunks().0.iter().map(|&x| i16::from_be_bytes(x).into()).collect(),
            Self::Signed32 => data.as_chunks().0.iter().map(|&x| i32::from_be_bytes(x).into()).collect(),
            Self::Float32 => data.as_chunks().0.iter().map(|&x| f32::from_be_bytes(x).into()).collect(),
            Self::Float64 => data.as_chunks().0.iter().map(|&x| f64::from_be_bytes(x)).collect(),
        }
    }
}

#[derive(Debug)]
struct Array {
    element: Element,
    dimensions: Vec<usize>,
    data: Vec<u8>,
}

impl Array {
    /// The elements as numbers, which must be finite in an `f32`; a row of `width` is a sample.
    fn numbers(&self, file: &str, width: usize) -> Result<Vec<f64>, DataError> {
        let numbers = self.element.numbers(&self.data);
        match numbers.iter().position(|&x| !(x as f32).is_finite()) {
            None => Ok(numbers),
            Some(at) => {
                let place = format!("sample {}, value {}", at / width, at % width);
                Err(DataError::NonFinite { file: file.into(), place })
            }
        }
    }

    fn shape(&self) -> Vec<u64> {
        self.dimensions.iter().map(|&d| d as u64).collect()
    }
}

/// Reads images (rank 3: samples, height, width; or rank 2: samples, features), plain or gzip.
pub(crate) fn images(bytes: &[u8], file: &str, limit: u64) -> Result<Inputs, DataError> {
    let array = read(bytes, file, limit, "IDX images", |rank| match rank {
        2 | 3 => Ok(()),
        1 => Err("It holds labels: are the two files swapped?"),
        _ => Err("Images have rank 3: samples, height and width."),
    })?;
    let (image, width) = match array.dimensions[..] {
        [_, height, width] => (Some((height, width)), height.saturating_mul(width)),
        _ => (None, array.dimensions[1]),
    };
    let samples = array.dimensions[0];
    if samples == 0 || width == 0 {
        return Err(DataError::UnsupportedShape {
            file: file.into(),
            shape: array.shape(),
            wanted: "there must be at least one sample of at least one pixel",
        });
    }
    let (values, pixels) = if array.element == Element::Unsigned8 {
        (Values::Bytes(array.data), Pixels::Always)
    } else {
        let mut values = Values::new();
        array.numbers(file, width)?.iter().for_each(|&x| values.push(x as f32));
        (values, if image.is_some() { Pixels::ByType } else { Pixels::ByWidth })
    };
    Ok(Inputs { file: file.into(), values, samples, width, image, pixels })
}

/// Reads labels, plain or gzip, and a note if a part of them was chosen.
///
/// Labels of rank 1 are one number a sample. Of rank 2, whole numbers that are not one-hot rows describe the sample, as in
/// QMNIST: its class, then its writer and the like. Other rows are one-hot or several numbers to predict.
pub(crate) fn labels(bytes: &[u8], file: &str, limit: u64) -> Result<(Labels, Option<String>), DataError> {
    let array = read(bytes, file, limit, "IDX labels", |rank| match rank {
        1 | 2 => Ok(()),
        3 => Err("It holds images: are the two files swapped?"),
        _ => Err("Labels have rank 1, one number per sample, or rank 2, whose first column is the class."),
    })?;
    let mut width = array.dimensions.get(1).copied().unwrap_or(1);
    if width == 0 {
        let wanted = "labels need at least one column";
        return Err(DataError::UnsupportedShape { file: file.into(), shape: array.shape(), wanted });
    }
    let mut data = array.numbers(file, width)?;
    let mut note = None;
    let one_hot = |row: &[f64]| {
        row.iter().all(|&x| x == 0.0 || x == 1.0) && row.iter().filter(|&&x| x == 1.0).count() == 1
    };
    let whole = data.iter().all(|x| x.fract() == 0.0);
    if width > 1 && whole && !data.chunks_exact(width).all(one_hot) {
        note = Some(format!("the label is column 0 of the {width} columns of {file}"));
        data = data.into_iter().step_by(width).collect();
        width = 1;
    }
    let answers = Answers::Numbers { data, width };
    Ok((Labels { file: file.into(), answers, places: Places::Samples }, note))
}

/// Whether the bytes look like the start of an IDX file.
pub(crate) fn is_idx(bytes: &[u8]) -> bool {
    matches!(bytes, [0, 0, 0x08 | 0x09 | 0x0b..=0x0e, 1..=4, ..])
}

/// Reads a file whose rank passes `check_rank`; `expected` describes such files in errors.
fn read(
    bytes: &[u8],
    file: &str,
    limit: u64,
    expected: &'static str,
    check_rank: impl Fn(u8) -> Result<(), &'static str>,
) -> Result<Array, DataError> {
    let mut stream = Stream::new(bytes, file, limit);
    let (element, rank) = stream.element_and_rank(expected, check_rank)?;
    let (dimensions, size) = stream.dimensions(rank, element)?;
    let data = stream.take(size)?;
    if (data.len() as u64) < size {
        return Err(stream.truncated(size, data.len()));
    }
    if !stream.take(1)?.is_empty() {
        return Err(DataError::TrailingBytes { file: file.into(), expected: size });
    }
    Ok(Array { element, dimensions, data })
}

/// The bytes of a file, decompressed as they are read.
struct Stream<'a> {
    reader: Box<dyn Read + 'a>,
    file: &'a str,
    limit: u64,
}

impl<'a> Stream<'a> {
    fn new(bytes: &'a [u8], file: &'a str, limit: u64) -> Self {
        let reader: Box<dyn Read + 'a> =
            if is_gzip(bytes) { Box::new(MultiGzDecoder::new(bytes)) } else { Box::new(bytes) };
        Self { reader, file, limit }
    }

    /// The next `n` bytes, or fewer at the end of the file.
    fn take(&mut self, n: u64) -> Result<Vec<u8>, DataError> {
        // The buffer grows as it is read: a header must not make us allocate more than the file holds.
        let mut bytes = Vec::new();
        let read = self.reader.as_mut().take(n).read_to_end(&mut bytes);
        read.map_err(|e| decode_error(self.file, "gzip file", self.limit, &e))?;
        Ok(bytes)
    }

    fn truncated(&self, expected: u64, found: usize) -> DataError {
        DataError::Truncated { file: self.file.into(), expected, found: found as u64 }
    }

    /// Reads and checks the first four bytes: two zeros, the type of the elements and the rank.
    fn element_and_rank(
        &mut self,
        expected: &'static str,
        check_rank: impl Fn(u8) -> Result<(), &'static str>,
    ) -> Result<(Element, u8), DataError> {
        let magic = self.take(4)?;
        let &[zero, zero_too, element, rank] = &magic[..] else {
            return Err(match magic.len() {
                0 => DataError::Empty { file: self.file.into() },
                n => self.truncated(4, n),
            });
        };
        let wrong = |hint| DataError::BadMagic {
            file: self.file.into(),
            expected,
            found: format!("bytes {zero:02x} {zero_too:02x} {element:02x} {rank:02x}"),
            hint,
        };
        if (zero, zero_too) != (0, 0) {
            let hint = "An IDX file starts with two zero bytes: is this one damaged, or in another format?";
            return Err(wrong(hint));
        }
        let Some(element) = Element::of_code(element) else {
            return Err(wrong("IDX files of types 08, 09 and 0b to 0e are read: is this one damaged?"));
        };
        check_rank(rank).map_err(wrong)?;
        Ok((element, rank))
    }

    /// Reads the dimensions, and computes the size of the data in bytes.
    fn dimensions(&mut self, rank: u8, element: Element) -> Result<(Vec<usize>, u64), DataError> {
        let header = self.take(4 * u64::from(rank))?;
        if header.len() < 4 * usize::from(rank) {
            return Err(self.truncated(4 * u64::from(rank), header.len()));
        }
        let (words, _) = header.as_chunks::<4>();
        let dimensions: Vec<u32> = words.iter().map(|word| u32::from_be_bytes(*word)).collect();
        let size =
            dimensions.iter().try_fold(element.size() as u64, |size, &d| size.checked_mul(u64::from(d)));
        let size = size.filter(|&size| size <= self.limit).ok_or_else(|| DataError::TooLarge {
            file: self.file.into(),
            claim: format!(": its header claims {}", times(&dimensions)),
            limit: self.limit,
        })?;
        Ok((dimensions.into_iter().map(|d| d as usize).collect(), size))
    }
}

fn times(dimensions: &[u32]) -> String {
    dimensions.iter().map(u32::to_string).collect::<Vec<_>>().join(" × ")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    const LIMIT: u64 = 1 << 20;

    fn idx(dimensions: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
        dimensions.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
        bytes.extend(data);
        bytes
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn error_of(bytes: &[u8]) -> DataError {
        images(bytes, "x.idx", LIMIT).unwrap_err()
    }

    #[test]
    fn plain_and_gzip_are_the_same() {
        let bytes = idx(&[2, 2, 3], &[1; 12]);
        let plain = images(&bytes, "x", LIMIT).unwrap();
        assert_eq!((plain.samples, plain.width, plain.image), (2, 6, Some((2, 3))));
        assert_eq!(images(&gz(&bytes), "x", LIMIT).unwrap(), plain);
        let (two, note) = labels(&idx(&[2], &[7, 9]), "y", LIMIT).unwrap();
        assert_eq!(note, None);
        assert_eq!(two.answers, Answers::Numbers { data: vec![7.0, 9.0], width: 1 });
        assert_eq!(images(&idx(&[2, 3], &[1; 6]), "x", LIMIT).unwrap().image, None);
    }

    fn typed(code: u8, dimensions: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = idx(dimensions, data);
        bytes[2] = code;
        bytes
    }

    #[test]
    fn every_element_type_is_read() {
        let of = |code, bytes: &[u8]| {
            let count = bytes.len() as u32 / Element::of_code(code).unwrap().size() as u32;
            images(&typed(code, &[1, 1, count], bytes), "x", LIMIT).unwrap().values.into_floats()
        };
        assert_eq!(of(0x08, &[0, 255]), [0.0, 255.0]);
        assert_eq!(of(0x09, &[0x80, 127]), [-128.0, 127.0]);
        assert_eq!(of(0x0b, &[0xff, 0xfe, 1, 0]), [-2.0, 256.0]);
        assert_eq!(of(0x0c, &[0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0]), [-1.0, 65536.0]);
        assert_eq!(of(0x0d, &0.25f32.to_be_bytes()), [0.25]);
        assert_eq!(of(0x0e, &(-1.5f64).to_be_bytes()), [-1.5]);
        let nan = [1f32.to_be_bytes(), f32::NAN.to_be_bytes()].concat();
        let error = images(&typed(0x0d, &[1, 1, 2], &nan), "x", LIMIT).unwrap_err().to_string();
        assert!(error.contains("sample 0, value 1") && error.contains("not finite"), "{error}");
    }

    #[test]
    fn labels_of_rank_2_are_a_class_and_its_details_or_rows_to_predict() {
        let of = |code, width: u32, data: &[u8]| {
            let size = Element::of_code(code).unwrap().size() as u32;
            let rows = data.len() as u32 / size / width;
            labels(&typed(code, &[rows, width], data), "y", LIMIT).unwrap()
        };
        // QMNIST: class, series, writer.
        let words: Vec<u8> = [5, 4, 112, 0, 4, 0].iter().flat_map(|x: &i32| x.to_be_bytes()).collect();
        let (qmnist, note) = of(0x0c, 3, &words);
        assert_eq!(qmnist.answers, Answers::Numbers { data: vec![5.0, 0.0], width: 1 });
        assert!(note.unwrap().contains("column 0"));
        let (one_hot, note) = of(0x08, 2, &[0, 1, 1, 0]);
        assert_eq!((one_hot.answers.width(), note), (2, None));
        let halves: Vec<u8> = [0.5f32, 1.0, 2.0, 3.0].iter().flat_map(|x| x.to_be_bytes()).collect();
        let (targets, note) = of(0x0d, 2, &halves);
        assert_eq!((targets.answers.width(), note), (2, None));
        assert!(labels(&idx(&[0, 0], &[]), "y", LIMIT).is_err());
    }

    #[test]
    fn bad_files() {
        use DataError as E;
        let good = idx(&[2, 2, 3], &[1; 12]);
        assert!(matches!(error_of(&[]), E::Empty { .. }));
        assert!(matches!(error_of(&gz(&[])), E::Empty { .. }));
        assert!(matches!(error_of(&good[..3]), E::Truncated { expected: 4, found: 3, .. }));
        assert!(matches!(error_of(&good[..10]), E::Truncated { expected: 12, found: 6, .. }));
        assert!(matches!(error_of(&good[..20]), E::Truncated { expected: 12, found: 4, .. }));
        assert!(matches!(error_of(&gz(&good[..20])), E::Truncated { expected: 12, found: 4, .. }));
        let long = [good.clone(), vec![0]].concat();
        assert!(matches!(error_of(&long), E::TrailingBytes { expected: 12, .. }));
        assert!(matches!(error_of(&gz(&long)), E::TrailingBytes { expected: 12, .. }));
        assert!(matches!(error_of(b"PK\x03\x04...."), E::BadMagic { .. }));
        assert!(matches!(error_of(&[0, 0, 0x0a, 3]), E::BadMagic { .. }));
        assert!(matches!(error_of(&idx(&[0, 2, 2], &[])), E::UnsupportedShape { .. }));
        let swapped = error_of(&idx(&[2], &[1, 2])).to_string();
        assert!(swapped.contains("x.idx") && swapped.contains("swapped"), "{swapped}");
        let swapped = labels(&good, "y", LIMIT).unwrap_err().to_string();
        assert!(swapped.contains("holds images"), "{swapped}");
    }

    #[test]
    fn a_header_that_promises_too_much_allocates_nothing() {
        for huge in [idx(&[u32::MAX, 28, 28], &[0; 9]), idx(&[u32::MAX; 3], &[])] {
            let error = error_of(&huge).to_string();
            assert!(error.contains("4294967295 ×"), "{error}");
        }
        // A size within the limit that the file does not have: only the bytes that exist are held.
        assert!(matches!(
            images(&idx(&[1 << 30, 1, 1], &[]), "x", 1 << 40),
            Err(DataError::Truncated { .. })
        ));
    }

    #[test]
    fn damaged_gzip() {
        let packed = gz(&idx(&[2, 2, 3], &[1; 12]));
        let error = error_of(&packed[..packed.len() - 6]);
        assert!(error.to_string().contains("damaged gzip"), "{error}");
        let mut flipped = packed.clone();
        let crc = packed.len() - 7;
        flipped[crc] ^= 1;
        assert!(matches!(error_of(&flipped), DataError::Corrupt { .. }));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = images(&bytes, "x", LIMIT);
            let _ = labels(&bytes, "x", LIMIT);
            let _ = images(&gz(&bytes), "x", LIMIT);
        }

        #[test]
        fn never_panics_on_a_changed_file(at in 0usize..28, to: u8, cut in 0usize..28) {
            let mut bytes = idx(&[2, 2, 3], &[1; 12]);
            bytes[at] = to;
            let _ = images(&bytes, "x", LIMIT);
            bytes.truncate(cut);
            let _ = images(&bytes, "x", LIMIT);
        }
    }
}
