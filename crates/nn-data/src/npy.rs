//! NPY, numpy's array format: a magic string, a version and a Python dict of three keys, then the elements.
//! Described at <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::collections::BTreeSet;

use nn_core::Task;

use crate::error::{DataError, shown};
use crate::raw::{Answers, Inputs, Labels, Pixels, Places, Values};
use crate::source::LoadOptions;

/// The first bytes of an NPY file.
pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";

/// The longest header that is read. A dict of three keys takes about 100 bytes; numpy itself refuses more than 10,000.
const LONGEST_HEADER: usize = 10_000;

/// The most dimensions that are read; numpy stops at 64 too.
const HIGHEST_RANK: usize = 64;

/// The largest magnitude up to which an `f64` holds every whole number.
const EXACT: i128 = 1 << 53;

/// More distinct whole numbers than this are a quantity, not names: the rule of `answers`.
const MOST_NAMES: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Unsigned,
    Signed,
    Float,
    /// UTF-32, padded with zeros: numpy's `str`.
    Unicode,
    /// Bytes, padded with zeros: numpy's `bytes`.
    Bytes,
}

/// An array whose length has been checked against its shape.
#[derive(Debug)]
pub(crate) struct Array<'a> {
    file: &'a str,
    shape: Vec<usize>,
    element: Element,
    size: usize,
    big_endian: bool,
    fortran: bool,
    data: &'a [u8],
}

impl<'a> Array<'a> {
    pub(crate) fn parse(bytes: &'a [u8], file: &'a str, limit: u64) -> Result<Self, DataError> {
        if bytes.is_empty() {
            return Err(DataError::Empty { file: file.into() });
        }
        let corrupt = |detail: &str| DataError::Corrupt {
            file: file.into(),
            format: "NPY file",
            detail: detail.to_string(),
        };
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| corrupt("it does not start with \\x93NUMPY"))?;
        let (length, rest) = match rest {
            [1, _, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
            [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
            [1..=3, ..] | [] => return Err(corrupt("its header is truncated")),
            [version, ..] => return Err(corrupt(&format!("its format version {version} is unknown"))),
        };
        if length > LONGEST_HEADER {
            return Err(corrupt("its header is too long"));
        }
        let (header, data) =
            rest.split_at_checked(length).ok_or_else(|| corrupt("its header is truncated"))?;
        let header = std::str::from_utf8(header).map_err(|_| corrupt("its header is not text"))?;
        let header = Header::parse(header)
            .ok_or_else(|| corrupt("its header is not a dict of descr, fortran_order and shape"))?;
        let (big_endian, element, size) =
            dtype(&header.descr).ok_or_else(|| DataError::UnsupportedDtype {
                file: file.into(),
                dtype: shown(&header.descr, 40),
                remedy: remedy(&header.descr),
            })?;

        let expected = header.shape.iter().try_fold(size as u64, |n, &d| n.checked_mul(d));
        let expected = expected.filter(|&n| n <= limit).ok_or_else(|| DataError::TooLarge {
            file: file.into(),
            claim: format!(": its header claims the shape {:?}", header.shape),
            limit,
        })?;
        if (data.len() as u64) < expected {
            return Err(DataError::Truncated { file: file.into(), expected, found: data.len() as u64 });
        }
        if data.len() as u64 > expected {
            return Err(DataError::TrailingBytes { file: file.into(), expected });
        }
        let shape: Vec<usize> = header.shape.iter().map(|&d| d as usize).collect();
        Ok(Self { file, shape, element, size, big_endian, fortran: header.fortran, data })
    }

    fn bad_shape(&self, wanted: &'static str) -> DataError {
        let shape = self.shape.iter().map(|&d| d as u64).collect();
        DataError::UnsupportedShape { file: self.file.into(), shape, wanted }
    }

    /// The inputs of samples, from `[samples, features]`, or from `[samples, height, width]` with or without a channel
    /// axis of length 1, first or last.
    pub(crate) fn inputs(&self) -> Result<Inputs, DataError> {
        if self.is_text() {
            return Err(DataError::UnsupportedDtype {
                file: self.file.into(),
                dtype: if self.element == Element::Unicode { "str" } else { "bytes" }.into(),
                remedy: "inputs need numbers: if the texts are numbers, save the array with \
                         .astype(numpy.float32)",
            });
        }
        let image = match self.shape[..] {
            [_, _] => None,
            [_, height, width] | [_, height, width, 1] | [_, 1, height, width] => Some((height, width)),
            _ => {
                return Err(self.bad_shape(
                    "inputs need [samples, features] or [samples, height, width], the latter also with one channel",
                ));
            }
        };
        let samples = self.shape[0];
        // The product of the whole shape was checked, so this product cannot overflow.
        let width: usize = if samples == 0 { 0 } else { self.shape[1..].iter().product() };
        if width == 0 {
            return Err(self.bad_shape("there must be at least one sample of at least one feature"));
        }
        let mut values = Values::new();
        let mut bad = None;
        self.each(|at, x| {
            let x = x as f32;
            if !x.is_finite() && bad.is_none() {
                bad = Some(at);
            }
            values.push(x);
        });
        if let Some(at) = bad {
            let place = format!("sample {}, feature {}", at / width, at % width);
            return Err(DataError::NonFinite { file: self.file.into(), place });
        }
        let pictures = image.is_some() && self.size == 1;
        let pixels = if pictures { Pixels::ByType } else { Pixels::ByWidth };
        Ok(Inputs { file: self.file.into(), values, samples, width, image, pixels })
    }

    /// The labels of samples, from `[samples]` or `[samples, outputs]`. Texts are names, unless all are numbers, as in a
    /// CSV. So are whole numbers that an `f64` would round, unless they are a quantity.
    pub(crate) fn labels(&self, options: &LoadOptions) -> Result<Labels, DataError> {
        let width = match self.shape[..] {
            [_] => 1,
            [_, width] if width > 0 && (width == 1 || !self.is_text()) => width,
            _ if self.is_text() => return Err(self.bad_shape("labels of text need [samples]")),
            _ => return Err(self.bad_shape("labels need [samples] or [samples, outputs]")),
        };
        let answers = if self.is_text() {
            let texts = self.texts()?;
            numbers_in(&texts).unwrap_or(Answers::Text(texts))
        } else if let Some(names) = self.exact_names(width, options) {
            Answers::Text(names)
        } else {
            let mut data = Vec::with_capacity(self.data.len() / self.size);
            self.each(|_, x| data.push(x));
            if let Some(at) = data.iter().position(|&x| !(x as f32).is_finite()) {
                let place = format!("sample {}", at / width);
                return Err(DataError::NonFinite { file: self.file.into(), place });
            }
            Answers::Numbers { data, width }
        };
        Ok(Labels { file: self.file.into(), answers, places: Places::Samples })
    }

    fn is_text(&self) -> bool {
        matches!(self.element, Element::Unicode | Element::Bytes)
    }

    /// The texts of an array of text, none of them empty.
    fn texts(&self) -> Result<Vec<String>, DataError> {
        let mut texts = Vec::new();
        let mut bad = None;
        self.each_element(|at, element| {
            let text = match self.element {
                Element::Unicode => self.unicode(element),
                _ => std::str::from_utf8(element).ok().map(str::to_owned),
            };
            let text = text.map(|text| text.trim_end_matches('\0').to_owned());
            let problem = match &text {
                None if self.element == Element::Unicode => Some("is not valid Unicode; correct it"),
                None => Some("is not UTF-8; save the labels with numpy.char.decode and their encoding"),
                Some(text) if text.trim().is_empty() => {
                    Some("is empty; give the sample a label, or leave it out")
                }
                Some(_) => None,
            };
            if let (Some(problem), None) = (problem, bad) {
                bad = Some((at, problem));
            }
            texts.push(text.unwrap_or_default());
        });
        match bad {
            None => Ok(texts),
            Some((at, problem)) => Err(DataError::BadLabelText {
                file: self.file.into(),
                place: Places::Samples.of(at),
                problem,
            }),
        }
    }

    fn unicode(&self, element: &[u8]) -> Option<String> {
        let (words, _) = element.as_chunks::<4>();
        let code = |&word: &[u8; 4]| {
            if self.big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
        };
        words.iter().map(|word| char::from_u32(code(word))).collect()
    }

    /// Whole numbers of 64 bits as texts, if an `f64` would round some and they are to be classes.
    fn exact_names(&self, width: usize, options: &LoadOptions) -> Option<Vec<String>> {
        let whole = matches!(self.element, Element::Unsigned | Element::Signed) && self.size == 8;
        if !whole || width != 1 || options.task == Some(Task::Regression) || options.classes.is_some() {
            return None;
        }
        let mut numbers = Vec::new();
        self.each_element(|_, element| numbers.push(self.whole(element)));
        if numbers.iter().all(|number| number.abs() <= EXACT) {
            return None;
        }
        let many = options.task.is_none() && numbers.iter().collect::<BTreeSet<_>>().len() > MOST_NAMES;
        (!many).then(|| numbers.iter().map(i128::to_string).collect())
    }

    /// Calls `take` for every number in C order (the last index moves fastest), with its position in that order.
    fn each(&self, mut take: impl FnMut(usize, f64)) {
        self.each_element(|at, element| take(at, self.number(element)));
    }

    /// Calls `take` for the bytes of every element in C order, with its position in that order.
    fn each_element(&self, mut take: impl FnMut(usize, &[u8])) {
        let count = self.data.len() / self.size;
        if !self.fortran || self.shape.len() < 2 {
            self.data.chunks_exact(self.size).enumerate().for_each(|(at, e)| take(at, e));
            return;
        }
        let mut strides = vec![1; self.shape.len()]; // in elements; the first index moves fastest
        for axis in 1..self.shape.len() {
            strides[axis] = strides[axis - 1] * self.shape[axis - 1];
        }
        let mut index = vec![0; self.shape.len()];
        let mut from = 0;
        for at in 0..count {
            take(at, &self.data[from * self.size..(from + 1) * self.size]);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                from += strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                from -= strides[axis] * index[axis];
                index[axis] = 0;
            }
        }
    }

    /// The bits of an element of up to 8 bytes.
    fn bits(&self, element: &[u8]) -> u64 {
        let mut raw = [0; 8];
        let low = &mut raw[..element.len()];
        low.copy_from_slice(element);
        if self.big_endian {
            low.reverse();
        }
        u64::from_le_bytes(raw)
    }

    /// An element that is a whole number.
    fn whole(&self, element: &[u8]) -> i128 {
        let bits = self.bits(element);
        let spare = 64 - 8 * element.len() as u32;
        match self.element {
            Element::Signed => ((bits << spare) as i64 >> spare).into(),
            _ => bits.into(),
        }
    }

    fn number(&self, element: &[u8]) -> f64 {
        let bits = self.bits(element);
        match (self.element, self.size) {
            (Element::Float, 2) => half(bits as u16),
            (Element::Float, 4) => f64::from(f32::from_bits(bits as u32)),
            (Element::Float, _) => f64::from_bits(bits),
            _ => self.whole(element) as f64,
        }
    }
}

/// The value of a float of 16 bits: 1 for the sign, 5 for the exponent, 10 for the fraction.
#[must_use]
pub fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let fraction = f64::from(bits & 0x3ff);
    let size = match bits >> 10 & 0x1f {
        0 => fraction * 2f64.powi(-24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        exponent => (1024.0 + fraction) * 2f64.powi(i32::from(exponent) - 25),
    };
    sign * size
}

/// Labels of text that are all numbers, as numbers: the same as in a CSV. `None` if a number would be rounded.
fn numbers_in(texts: &[String]) -> Option<Answers> {
    let number = |text: &String| {
        if text.parse::<i128>().is_ok_and(|whole| whole.abs() > EXACT) {
            return None;
        }
        text.trim().parse::<f64>().ok().filter(|x| (*x as f32).is_finite())
    };
    let data: Option<Vec<f64>> = texts.iter().map(number).collect();
    data.map(|data| Answers::Numbers { data, width: 1 })
}

/// Whether elements are big-endian, their type, and their size in bytes.
fn dtype(descr: &str) -> Option<(bool, Element, usize)> {
    let (order, code) = descr.split_at_checked(1)?;
    let big_endian = match order {
        "<" | "|" => false,
        ">" => true,
        "=" => cfg!(target_endian = "big"),
        _ => return None,
    };
    let length = |text: &str, each: usize| {
        // An array of empty texts has elements of no bytes, which cannot be counted.
        let length = text.parse::<usize>().ok()?.checked_mul(each)?;
        (length > 0 && text.bytes().all(|b| b.is_ascii_digit())).then_some(length)
    };
    let (element, size) = match code {
        "b1" | "u1" => (Element::Unsigned, 1),
        "u2" => (Element::Unsigned, 2),
        "u4" => (Element::Unsigned, 4),
        "u8" => (Element::Unsigned, 8),
        "i1" => (Element::Signed, 1),
        "i2" => (Element::Signed, 2),
        "i4" => (Element::Signed, 4),
        "i8" => (Element::Signed, 8),
        "f2" => (Element::Float, 2),
        "f4" => (Element::Float, 4),
        "f8" => (Element::Float, 8),
        _ => match (code.split_at_checked(1)?, order) {
            (("U", text), _) => (Element::Unicode, length(text, 4)?),
            (("S" | "a", text), "|") => (Element::Bytes, length(text, 1)?),
            _ => return None,
        },
    };
    Some((big_endian, element, size))
}

/// What to do about a type that cannot be read.
fn remedy(descr: &str) -> &'static str {
    let code = descr.trim_start_matches(['<', '>', '|', '=']);
    match code.as_bytes() {
        [b'[', ..] => {
            "save it as numbers of one type, with numpy.lib.recfunctions.structured_to_unstructured"
        }
        [b'O', ..] => "save numbers with .astype(numpy.float32), and labels that are text with .astype(str)",
        [b'c', ..] => {
            "save its real part, .real, or both parts with numpy.concatenate([x.real, x.imag], axis=-1)"
        }
        [b'M' | b'm', ..] => "save it with .astype(numpy.int64)",
        [b'U' | b'S', ..] => "an array of empty texts holds nothing: give every sample a label",
        _ => "save it with .astype(numpy.float32)",
    }
}

#[derive(Debug, PartialEq)]
struct Header {
    descr: String,
    fortran: bool,
    shape: Vec<u64>,
}

impl Header {
    /// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`. A `descr` that is not a string (a structured
    /// type) is kept as text, which later is not a known type.
    fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        while !rest.is_empty() {
            let (key, after) = quoted(rest)?;
            let value = after.trim_start().strip_prefix(':')?.trim_start();
            rest = match key {
                "descr" if value.starts_with('[') => {
                    let end = value.rfind(']')? + 1;
                    // The list ends at the last bracket, since no other value is a list.
                    descr = Some(value[..end].to_string());
                    &value[end..]
                }
                "descr" => {
                    let (name, after) = quoted(value)?;
                    descr = Some(name.to_string());
                    after
                }
                "fortran_order" => {
                    let (order, after) = match value.strip_prefix("True") {
                        Some(after) => (true, after),
                        None => (false, value.strip_prefix("False")?),
                    };
                    fortran = Some(order);
                    after
                }
                "shape" => {
                    let (inside, after) = value.strip_prefix('(')?.split_once(')')?;
                    let parts = inside.split(',').map(str::trim).filter(|part| !part.is_empty());
                    // Python 2 wrote numbers as 3L.
                    let sizes = parts.map(|part| part.trim_end_matches('L').parse().ok());
                    let sizes: Vec<u64> = sizes.collect::<Option<_>>()?;
                    shape = (sizes.len() <= HIGHEST_RANK).then_some(sizes);
                    after
                }
                _ => return None,
            }
            .trim_start();
            rest = match rest.strip_prefix(',') {
                Some(after) => after.trim_start(),
                None if rest.is_empty() => rest,
                None => return None,
            };
        }
        Some(Self { descr: descr?, fortran: fortran?, shape: shape? })
    }
}

fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

#[cfg(test)]
#[path = "npy_tests.rs"]
mod tests;
