//! The features of a table, column by column, before they are prepared.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

/// The code of a missing text.
pub(crate) const NO_TEXT: u32 = u32::MAX;

/// The cells of one column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Series {
    /// Numbers, or dates in seconds from 1970; NaN where a value is missing.
    Numbers(Vec<f64>),
    /// Texts as positions in `names`; [`NO_TEXT`] where a value is missing.
    Texts { codes: Vec<u32>, names: Vec<String> },
}

/// A column of text that is being read.
#[derive(Debug, Default)]
pub(crate) struct Words {
    codes: Vec<u32>,
    names: Vec<String>,
    of: HashMap<String, u32>,
}

impl Words {
    /// Adds a cell; `None` is missing.
    pub(crate) fn push(&mut self, cell: Option<&str>) {
        let Some(text) = cell else { return self.codes.push(NO_TEXT) };
        let code = match self.of.get(text) {
            Some(&code) => code,
            None => {
                let code = self.names.len() as u32;
                self.names.push(text.to_owned());
                self.of.insert(text.to_owned(), code);
                code
            }
        };
        self.codes.push(code);
    }

    pub(crate) fn finish(self) -> Series {
        Series::Texts { codes: self.codes, names: self.names }
    }
}

/// Adds the given rows of columns to the fingerprint of a data set.
///
/// ```text
/// u64 rows, u64 columns
/// then for each column:
///   u8 0, f64 …                      numbers; every missing one as the bits 7ff8 0000 0000 0000
///   u8 1, (u64 length, bytes) …      texts; a missing one has the length 2⁶⁴ − 1
/// ```
pub(crate) fn add_rows(hash: &mut Sha256, columns: &[Series], rows: &[usize]) {
    hash.update((rows.len() as u64).to_le_bytes());
    hash.update((columns.len() as u64).to_le_bytes());
    for column in columns {
        match column {
            Series::Numbers(cells) => {
                hash.update([0]);
                for &row in rows {
                    let cell = cells[row];
                    let bits = if cell.is_nan() { 0x7ff8 << 48 } else { cell.to_bits() };
                    hash.update(bits.to_le_bytes());
                }
            }
            Series::Texts { codes, names } => {
                hash.update([1]);
                for &row in rows {
                    match names.get(codes[row] as usize) {
                        Some(name) => {
                            hash.update((name.len() as u64).to_le_bytes());
                            hash.update(name);
                        }
                        None => hash.update(u64::MAX.to_le_bytes()),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(cells: &[Option<&str>]) -> Series {
        let mut words = Words::default();
        cells.iter().for_each(|cell| words.push(*cell));
        words.finish()
    }

    #[test]
    fn the_fingerprint_sees_texts_and_not_their_codes() {
        let of = |series: &Series, rows: &[usize]| {
            let mut hash = Sha256::new();
            add_rows(&mut hash, std::slice::from_ref(series), rows);
            hash.finalize()
        };
        let forth = words(&[Some("a"), Some("b"), None]);
        let back = words(&[None, Some("b"), Some("a")]);
        assert_eq!(of(&forth, &[0, 1, 2]), of(&back, &[2, 1, 0]));
        assert_ne!(of(&forth, &[0, 1, 2]), of(&back, &[0, 1, 2]));
        assert_ne!(
            of(&words(&[Some("ab"), Some("")]), &[0, 1]),
            of(&words(&[Some("a"), Some("b")]), &[0, 1])
        );
        let numbers = |x| Series::Numbers(vec![x]);
        assert_eq!(of(&numbers(f64::NAN), &[0]), of(&numbers(-f64::NAN), &[0]));
    }
}
