//! IDX, the format of MNIST: two zero bytes, the element type, the rank, the dimensions as big-endian `u32`, then the
//! elements. Described at <http://yann.lecun.com/exdb/mnist/>.

use std::io::Read;

use flate2::read::MultiGzDecoder;

use crate::bytes::{decode_error, is_gzip};
use crate::error::DataError;
use crate::raw::{Answers, Inputs, Labels, Pixels, Places, Values};

/// The code of unsigned bytes, the only element type that is supported.
const UNSIGNED_BYTE: u8 = 0x08;

#[derive(Debug)]
struct Array {
    dimensions: Vec<usize>,
    data: Vec<u8>,
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
        let shape = array.dimensions.iter().map(|&d| d as u64).collect();
        return Err(DataError::UnsupportedShape {
            file: file.into(),
            shape,
            wanted: "there must be at least one sample of at least one pixel",
        });
    }
    let values = Values::Bytes(array.data);
    Ok(Inputs { file: file.into(), values, samples, width, image, pixels: Pixels::Always })
}

/// Reads labels (rank 1), plain or gzip.
pub(crate) fn labels(bytes: &[u8], file: &str, limit: u64) -> Result<Labels, DataError> {
    let array = read(bytes, file, limit, "IDX labels", |rank| match rank {
        1 => Ok(()),
        3 => Err("It holds images: are the two files swapped?"),
        _ => Err("Labels have rank 1: one byte per sample."),
    })?;
    let data = array.data.into_iter().map(f64::from).collect();
    Ok(Labels { file: file.into(), answers: Answers::Numbers { data, width: 1 }, places: Places::Samples })
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
    let rank = stream.rank(expected, check_rank)?;
    let (dimensions, size) = stream.dimensions(rank)?;
    let data = stream.take(size)?;
    if (data.len() as u64) < size {
        return Err(stream.truncated(size, data.len()));
    }
    if !stream.take(1)?.is_empty() {
        return Err(DataError::TrailingBytes { file: file.into(), expected: size });
    }
    Ok(Array { dimensions, data })
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

    /// Reads and checks the first four bytes, the last of which is the rank.
    fn rank(
        &mut self,
        expected: &'static str,
        check_rank: impl Fn(u8) -> Result<(), &'static str>,
    ) -> Result<u8, DataError> {
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
        if element != UNSIGNED_BYTE {
            return Err(DataError::UnsupportedDtype {
                file: self.file.into(),
                dtype: format!("0x{element:02x} (not 0x08, unsigned bytes)"),
            });
        }
        check_rank(rank).map_err(wrong)?;
        Ok(rank)
    }

    /// Reads the dimensions, and computes the size of the data in bytes.
    fn dimensions(&mut self, rank: u8) -> Result<(Vec<usize>, u64), DataError> {
        let header = self.take(4 * u64::from(rank))?;
        if header.len() < 4 * usize::from(rank) {
            return Err(self.truncated(4 * u64::from(rank), header.len()));
        }
        let (words, _) = header.as_chunks::<4>();
        let dimensions: Vec<u32> = words.iter().map(|word| u32::from_be_bytes(*word)).collect();
        let size = dimensions.iter().try_fold(1u64, |size, &d| size.checked_mul(u64::from(d)));
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
        let two = labels(&idx(&[2], &[7, 9]), "y", LIMIT).unwrap();
        assert_eq!(two.answers, Answers::Numbers { data: vec![7.0, 9.0], width: 1 });
        assert_eq!(images(&idx(&[2, 3], &[1; 6]), "x", LIMIT).unwrap().image, None);
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
        assert!(matches!(error_of(&[0, 0, 0x0d, 3]), E::UnsupportedDtype { .. }));
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
