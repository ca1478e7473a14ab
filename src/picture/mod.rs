//! From a picture file to what a network sees: PNG or JPEG of any size, ink of either polarity.
//!
//! ```text
//! bytes ─ decode.rs ─► grey, upright ─ ink.rs ─► ink 0..1 and its box ─ frame.rs ─► h × w, as MNIST was made
//! ```
//!
//! A picture that already has the model's size is taken as it is, but for its polarity: it most likely comes from the
//! same data set. Any other is treated as the digits of MNIST were: the ink is found, scaled with its aspect ratio into
//! a box of 20×20 and set into the field of 28×28 by its centre of mass. (Other sizes in the same proportion; models
//! of ten pixels or fewer, as the UCI digits have, fill the field.)

mod decode;
mod frame;
mod ink;
mod resize;

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use resize::resize;

/// The longest side that is read, in pixels.
pub const LONGEST_SIDE: usize = 20_000;

/// The most pixels that are read. Decoding takes at most about 10 bytes for each, whatever the file says.
pub const MOST_PIXELS: usize = 64_000_000;

/// The largest file that is read, in bytes.
pub const LARGEST_FILE: u64 = 256 << 20;

/// Which of ink and paper is the lighter one. Networks are trained on light ink on dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Invert {
    /// What lies along the border is the paper.
    #[default]
    Auto,
    /// Dark ink on light paper: invert it.
    Yes,
    /// Light ink on dark paper: leave it.
    No,
}

/// The field that a model sees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// Which part of the field's sides the ink fills at most. Below 1 the ink is set by its centre of mass, else by the
    /// centre of its box.
    pub fill: f64,
}

impl Field {
    /// The field of a model, with the margin that its size suggests: 20/28 of each side as in MNIST, or everything
    /// where a side is ten pixels or fewer. For Fashion-MNIST, whose pictures fill the field, set `fill` to 1.
    pub fn new(height: usize, width: usize) -> Self {
        let fill = if height.min(width) <= 10 { 1.0 } else { 20.0 / 28.0 };
        Self { height, width, fill }
    }
}

/// Why a picture cannot be shown to a network.
#[derive(Debug, Error)]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum PictureError {
    #[error("there is no picture {}: check the path", path.display())]
    Missing { path: PathBuf },
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{} is {found}, not a PNG or JPEG picture: save it as PNG", path.display())]
    NotAPicture { path: PathBuf, found: &'static str },
    #[error("{} is damaged or cut short ({reason}): copy or save it again", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "{} has {width}×{height} pixels, more than {LONGEST_SIDE} on a side or {} million in all: scale it down",
        path.display(), MOST_PIXELS / 1_000_000
    )]
    TooManyPixels { path: PathBuf, width: usize, height: usize },
    #[error("{} has more than {} MiB: save it smaller", path.display(), LARGEST_FILE >> 20)]
    TooManyBytes { path: PathBuf },
    #[error("{} is blank: no ink stands out from the paper{}", path.display(), forced_hint(*.invert))]
    Blank { path: PathBuf, invert: Invert },
}

fn forced_hint(invert: Invert) -> &'static str {
    match invert {
        Invert::Auto => "; use a picture with more contrast",
        Invert::Yes => ", which was taken to be the lighter one; try it without inverting",
        Invert::No => ", which was taken to be the darker one; try it inverted",
    }
}

/// Reads a picture as a network sees it: `height × width` numbers, row-major, 0 for paper and 1 for full ink.
///
/// # Errors
/// Where the file is missing, is no PNG or JPEG, is damaged, is too large, or shows no ink.
pub fn load(path: &Path, field: Field, invert: Invert) -> Result<Vec<f32>, PictureError> {
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

/// [`load`] for bytes that are in memory; `path` names them in errors.
///
/// # Errors
/// As [`load`].
pub fn from_bytes(bytes: &[u8], path: &Path, field: Field, invert: Invert) -> Result<Vec<f32>, PictureError> {
    let path = || path.to_owned();
    let grey = decode::decode(bytes).map_err(|refused| match refused {
        decode::Refused::NotAPicture(found) => PictureError::NotAPicture { path: path(), found },
        decode::Refused::Damaged(reason) => PictureError::Damaged { path: path(), reason },
        decode::Refused::TooManyPixels { width, height } => {
            PictureError::TooManyPixels { path: path(), width, height }
        }
    })?;
    let blank = || PictureError::Blank { path: path(), invert };
    if (grey.height, grey.width) == (field.height, field.width) {
        return ink::as_it_is(&grey, invert).ok_or_else(blank);
    }
    let ink = ink::find(&grey, invert).ok_or_else(blank)?;
    Ok(frame::frame(&ink, field))
}

#[cfg(test)]
mod tests;
