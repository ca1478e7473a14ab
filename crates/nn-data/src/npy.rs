//! NPY, numpy's array format: a magic string, a version and a Python dict of three keys, then the elements.
//! Described at <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use crate::error::{DataError, shown};
use crate::raw::{Answers, Inputs, Labels, Pixels, Places, Values};

/// The first bytes of an NPY file.
pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";

/// The longest header that is read. A dict of three keys takes about 100 bytes; numpy itself refuses more than 10,000.
const LONGEST_HEADER: usize = 10_000;

/// The most dimensions that are read; numpy stops at 64 too.
const HIGHEST_RANK: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Unsigned,
    Signed,
    Float,
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
        let (big_endian, element, size) = dtype(&header.descr).ok_or_else(|| {
            DataError::UnsupportedDtype { file: file.into(), dtype: shown(&header.descr, 40) }
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

    /// The labels of samples, from `[samples]` or `[samples, outputs]`.
    pub(crate) fn labels(&self) -> Result<Labels, DataError> {
        let width = match self.shape[..] {
            [_] => 1,
            [_, width] if width > 0 => width,
            _ => return Err(self.bad_shape("labels need [samples] or [samples, outputs]")),
        };
        let mut data = Vec::with_capacity(self.data.len() / self.size);
        self.each(|_, x| data.push(x));
        if let Some(at) = data.iter().position(|&x| !(x as f32).is_finite()) {
            let place = format!("sample {}", at / width);
            return Err(DataError::NonFinite { file: self.file.into(), place });
        }
        Ok(Labels {
            file: self.file.into(),
            answers: Answers::Numbers { data, width },
            places: Places::Samples,
        })
    }

    /// Calls `take` for every element in C order (the last index moves fastest), with its position in that order.
    fn each(&self, mut take: impl FnMut(usize, f64)) {
        let count = self.data.len() / self.size;
        if !self.fortran || self.shape.len() < 2 {
            self.data.chunks_exact(self.size).enumerate().for_each(|(at, e)| take(at, self.number(e)));
            return;
        }
        let mut strides = vec![1; self.shape.len()]; // in elements; the first index moves fastest
        for axis in 1..self.shape.len() {
            strides[axis] = strides[axis - 1] * self.shape[axis - 1];
        }
        let mut index = vec![0; self.shape.len()];
        let mut from = 0;
        for at in 0..count {
            take(at, self.number(&self.data[from * self.size..(from + 1) * self.size]));
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

    fn number(&self, element: &[u8]) -> f64 {
        let mut raw = [0; 8];
        let low = &mut raw[..element.len()];
        low.copy_from_slice(element);
        if self.big_endian {
            low.reverse();
        }
        let bits = u64::from_le_bytes(raw);
        let spare = 64 - 8 * element.len() as u32;
        match (self.element, self.size) {
            (Element::Unsigned, _) => bits as f64,
            (Element::Signed, _) => ((bits << spare) as i64 >> spare) as f64,
            (Element::Float, 4) => f64::from(f32::from_bits(bits as u32)),
            (Element::Float, _) => f64::from_bits(bits),
        }
    }
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
    let (element, size) = match code {
        "b1" | "u1" => (Element::Unsigned, 1),
        "u2" => (Element::Unsigned, 2),
        "u4" => (Element::Unsigned, 4),
        "u8" => (Element::Unsigned, 8),
        "i1" => (Element::Signed, 1),
        "i2" => (Element::Signed, 2),
        "i4" => (Element::Signed, 4),
        "i8" => (Element::Signed, 8),
        "f4" => (Element::Float, 4),
        "f8" => (Element::Float, 8),
        _ => return None,
    };
    Some((big_endian, element, size))
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
