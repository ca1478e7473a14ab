//! The data of a tensor in JSON: a list, or lists in lists, of numbers or of texts.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

/// The most numbers of a request.
const MOST_NUMBERS: usize = 4 << 20;

/// The most texts of a request: each takes some memory of its own.
const MOST_TEXTS: usize = 1 << 19;

/// The most dimensions.
const MOST_DIMENSIONS: usize = 8;

/// The elements of a tensor in order, and the form that they were given in.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Data {
    pub(super) elements: Elements,
    /// The lengths of the lists at each depth, from the outermost.
    lengths: Vec<usize>,
    /// Whether lists of one depth differ in length, or numbers in depth.
    is_ragged: bool,
    /// The depth of the elements, once there is one.
    depth: Option<usize>,
}

/// The elements of a tensor. A `null` is a missing one: NaN, or `None`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Elements {
    /// So many of them, all `null`.
    Missing(usize),
    /// JSON has no NaN, so a NaN is a `null`.
    Numbers(Vec<f64>),
    Texts(Vec<Option<String>>),
}

impl Default for Elements {
    fn default() -> Self {
        Self::Missing(0)
    }
}

impl Elements {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Missing(count) => *count,
            Self::Numbers(all) => all.len(),
            Self::Texts(all) => all.len(),
        }
    }
}

impl Data {
    /// Whether the data has this shape: flat in row-major order, or nested as the shape is.
    pub(super) fn fits(&self, shape: &[usize]) -> bool {
        let count = shape.iter().try_fold(1_usize, |all, &side| all.checked_mul(side));
        !self.is_ragged
            && count == Some(self.elements.len())
            && (self.lengths.len() == 1 || self.lengths == shape)
    }

    /// The lengths of the lists, for messages.
    pub(super) fn form(&self) -> String {
        if self.is_ragged {
            "lists of different lengths".to_owned()
        } else {
            format!("the form {:?}", self.lengths)
        }
    }

    fn note_depth<E: Error>(&mut self, depth: usize) -> Result<(), E> {
        if depth == 0 {
            return Err(E::custom("the data of a tensor must be a list"));
        }
        self.is_ragged |= *self.depth.get_or_insert(depth) != depth;
        Ok(())
    }

    fn number<E: Error>(&mut self, number: f64, depth: usize) -> Result<(), E> {
        self.note_depth(depth)?;
        if let Elements::Missing(count) = self.elements {
            self.elements = Elements::Numbers(vec![f64::NAN; count]);
        }
        match &mut self.elements {
            Elements::Numbers(all) if all.len() < MOST_NUMBERS => all.push(number),
            Elements::Numbers(_) => {
                return Err(E::custom(format_args!(
                    "a tensor has more than {MOST_NUMBERS} numbers; send fewer samples"
                )));
            }
            _ => return Err(E::custom("a tensor has numbers and texts")),
        }
        Ok(())
    }

    fn text<E: Error>(&mut self, text: Option<&str>, depth: usize) -> Result<(), E> {
        self.note_depth(depth)?;
        if let (Some(_), Elements::Missing(count)) = (text, &self.elements) {
            self.elements = Elements::Texts(vec![None; *count]);
        }
        match &mut self.elements {
            Elements::Texts(all) if all.len() < MOST_TEXTS => all.push(text.map(str::to_owned)),
            Elements::Missing(count) if *count < MOST_TEXTS => *count += 1,
            Elements::Numbers(all) if text.is_none() && all.len() < MOST_NUMBERS => all.push(f64::NAN),
            Elements::Numbers(_) if text.is_some() => {
                return Err(E::custom("a tensor has numbers and texts"));
            }
            _ => return Err(E::custom("a tensor has too many elements; send fewer samples")),
        }
        Ok(())
    }
}

impl<'de> serde::Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut data = Self::default();
        Reader { data: &mut data, depth: 0 }.deserialize(deserializer)?;
        Ok(data)
    }
}

/// Reads one value at a depth of lists.
struct Reader<'a> {
    data: &'a mut Data,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers or texts, in lists")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { data, depth } = self;
        if depth == MOST_DIMENSIONS {
            return Err(A::Error::custom(format_args!(
                "a tensor has more than {MOST_DIMENSIONS} dimensions"
            )));
        }
        let mut length = 0;
        while list.next_element_seed(Reader { data: &mut *data, depth: depth + 1 })?.is_some() {
            length += 1;
        }
        // Inner lists end before outer ones: places are made for those that are still to end.
        if data.lengths.len() <= depth {
            data.lengths.resize(depth + 1, usize::MAX);
        }
        match &mut data.lengths[depth] {
            known if *known == usize::MAX => *known = length,
            known => data.is_ragged |= *known != length,
        }
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.data.number(number, self.depth)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.data.number(number as f64, self.depth)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.data.number(number as f64, self.depth)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.data.text(Some(text), self.depth)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.data.text(None, self.depth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(json: &str) -> Result<Data, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn flat_and_nested_lists_are_the_same_tensor() {
        let flat = data("[1, 2.5, -3, 4, 5, 6]").unwrap();
        let nested = data("[[1, 2.5, -3], [4, 5, 6]]").unwrap();
        assert_eq!(flat.elements, Elements::Numbers(vec![1.0, 2.5, -3.0, 4.0, 5.0, 6.0]));
        assert_eq!(flat.elements, nested.elements);
        assert!(flat.fits(&[2, 3]) && flat.fits(&[6]) && flat.fits(&[1, 6]) && nested.fits(&[2, 3]));
        assert!(!flat.fits(&[7]) && !nested.fits(&[3, 2]) && !nested.fits(&[6]) && !flat.fits(&[]));
        assert!(!flat.fits(&[usize::MAX, 2, 3]), "the product overflows");
        let deep = data("[[[1], [2]], [[3], [4]]]").unwrap();
        assert!(deep.fits(&[2, 2, 1]) && !deep.fits(&[2, 2]));
    }

    #[test]
    fn ragged_lists_fit_nothing() {
        for json in ["[[1, 2], [3]]", "[1, [2]]", "[[1], 2]", "[[], [1]]", "[[[1]], [2]]"] {
            let data = data(json).unwrap();
            assert!(
                !data.fits(&[2]) && !data.fits(&[3]) && !data.fits(&[2, 1]) && !data.fits(&[1]),
                "{json}"
            );
        }
        assert!(data("[]").unwrap().fits(&[0]));
    }

    #[test]
    fn a_null_is_a_missing_element_of_whatever_the_others_are() {
        let numbers = data("[null, 1, null]").unwrap();
        let Elements::Numbers(numbers) = numbers.elements else { panic!("{numbers:?}") };
        assert!(numbers[0].is_nan() && numbers[1] == 1.0 && numbers[2].is_nan());
        let texts = data(r#"[null, "a"]"#).unwrap();
        assert_eq!(texts.elements, Elements::Texts(vec![None, Some("a".to_owned())]));
        assert_eq!(data("[null, null]").unwrap().elements, Elements::Missing(2));
    }

    #[test]
    fn what_is_no_tensor_is_named() {
        for (json, part) in [
            ("1", "must be a list"),
            ("null", "must be a list"),
            (r#""abc""#, "must be a list"),
            ("{}", "expected numbers or texts, in lists"),
            ("[true]", "expected numbers or texts, in lists"),
            (r#"[1, "a"]"#, "numbers and texts"),
            (r#"["a", 1]"#, "numbers and texts"),
            ("[NaN]", "expected"),
            ("[1e999]", "out of range"),
            ("[[[[[[[[[1]]]]]]]]]", "more than 8 dimensions"),
        ] {
            let error = data(json).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
    }

    #[test]
    fn numbers_keep_their_bits() {
        for bits in [0x3dcc_cccd_u32, 0x0000_0001, 0x7f7f_ffff, 0x8000_0000, 0x3f80_0001] {
            let number = f32::from_bits(bits);
            for json in [format!("[{number}]"), serde_json::to_string(&[f64::from(number)]).unwrap()] {
                let Elements::Numbers(read) = data(&json).unwrap().elements else { panic!("{json}") };
                assert_eq!((read[0] as f32).to_bits(), bits, "{json}");
            }
        }
    }
}
