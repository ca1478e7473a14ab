//! Turning a picture file into a network's input: PNG or JPEG of any size, dark ink on light paper or the reverse.
//!
//! ```text
//! bytes ─ nn_data::picture_file ─► grey, upright ─ ink.rs ─► ink from 0 to 1 ─ frame.rs ─► height × width, framed as in MNIST
//! ```
//!
//! A picture that already has the model's size most likely comes from the same data set, so only its polarity is changed.
//! Any other picture is preprocessed like the digits of MNIST: the ink is found, scaled into a box of 20×20 with its aspect
//! ratio kept, and placed in the 28×28 field by its centre of mass. Other sizes use the same proportions, except that
//! ink fills fields of ten pixels or fewer, such as those of the UCI digits.

mod frame;
mod ink;
mod page;
mod resize;
mod strokes;

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use nn_data::picture_file::{Refused, decode_within};
use thiserror::Error;

pub use frame::Field;
pub use ink::Invert;
pub use nn_data::picture_file::{LONGEST_SIDE, MOST_PIXELS};
pub(crate) use resize::resize;

/// The largest file that is read, in bytes.
pub const LARGEST_FILE: u64 = 256 << 20;

/// The reason that a picture cannot be a network's input.
#[derive(Debug, Error)]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum PictureError {
    #[error("there is no picture {}: check the path", path.display())]
    Missing { path: PathBuf },
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{} is {found}, not a PNG or JPEG picture: save it as PNG", path.display())]
    NotAPicture { path: PathBuf, found: &'static str },
    #[error("{} is {coding}, which is not supported: save it as PNG or baseline JPEG", path.display())]
    Unsupported { path: PathBuf, coding: &'static str },
    #[error("{} is damaged or truncated ({reason}): copy or save it again", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "{} has {width}×{height} pixels, more than {LONGEST_SIDE} on a side or {} million in all: scale it down",
        path.display(), most / 1_000_000
    )]
    TooManyPixels { path: PathBuf, width: usize, height: usize, most: usize },
    #[error("{} has more than {} MiB: save it smaller", path.display(), LARGEST_FILE >> 20)]
    TooManyBytes { path: PathBuf },
    #[error("{} is blank: no ink stands out from the paper{}", path.display(), blank_hint(*.invert))]
    Blank { path: PathBuf, invert: Invert },
}

fn blank_hint(invert: Invert) -> &'static str {
    match invert {
        Invert::Auto => "; use a picture with more contrast",
        Invert::Yes => ", which was assumed to be lighter than the ink's colour; try it without inverting",
        Invert::No => ", which was assumed to be darker than the ink's colour; try it inverted",
    }
}

/// A picture as a network's input.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// `height × width` numbers, row-major, 0 for paper and 1 for full ink.
    pub pixels: Vec<f32>,
    /// Number of separate pieces of ink that look like digits. The network sees them as one.
    pub pieces: usize,
}

/// Reads a picture as a network's input: `height × width` numbers, row-major, 0 for paper and 1 for full ink.
///
/// # Errors
/// If the file is missing, not a PNG or JPEG, damaged, too large, or shows no ink.
pub fn load(path: &Path, field: Field, invert: Invert) -> Result<Picture, PictureError> {
    let unreadable = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => PictureError::Missing { path: path.to_owned() },
        _ => PictureError::Unreadable { path: path.to_owned(), source },
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(PictureError::TooManyBytes { path: path.to_owned() });
    }
    from_bytes(&bytes, path, field, invert)
}

/// [`load`] for bytes in memory; `path` names them in errors.
///
/// # Errors
/// As for [`load`].
pub fn from_bytes(bytes: &[u8], path: &Path, field: Field, invert: Invert) -> Result<Picture, PictureError> {
    from_bytes_within(bytes, path, field, invert, MOST_PIXELS)
}

/// [`from_bytes`] for a picture of at most `most` pixels.
///
/// # Errors
/// As for [`load`].
pub fn from_bytes_within(
    bytes: &[u8],
    path: &Path,
    field: Field,
    invert: Invert,
    most: usize,
) -> Result<Picture, PictureError> {
    let path = || path.to_owned();
    let grey = decode_within(bytes, most).map_err(|refused| match refused {
        Refused::NotAPicture(found) => PictureError::NotAPicture { path: path(), found },
        Refused::Unsupported(coding) => PictureError::Unsupported { path: path(), coding },
        Refused::Damaged(reason) => PictureError::Damaged { path: path(), reason },
        Refused::TooManyPixels { width, height, most } => {
            PictureError::TooManyPixels { path: path(), width, height, most }
        }
    })?;
    let blank = || PictureError::Blank { path: path(), invert };
    if (grey.height, grey.width) == (field.height, field.width) {
        if field.as_trained {
            let pixels = grey.luma.iter().map(|&luma| f32::from(luma) / 255.0).collect();
            return Ok(Picture { pixels, pieces: 1 });
        }
        return Ok(Picture { pixels: ink::as_it_is(&grey, invert).ok_or_else(blank)?, pieces: 1 });
    }
    let ink = ink::find(&grey, invert).ok_or_else(blank)?;
    Ok(Picture { pixels: frame::frame(&ink, field), pieces: ink.pieces })
}

#[cfg(test)]
mod tests;
