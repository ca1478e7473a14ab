//! Samples as read from a file, before labels and pixels are interpreted.

use nn_core::Features;

use crate::error::DataError;

/// Numbers that stay bytes as long as all of them are whole numbers from 0 to 255.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Values {
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
}

impl Values {
    pub(crate) fn new() -> Self {
        Self::Bytes(Vec::new())
    }

    pub(crate) fn push(&mut self, value: f32) {
        match self {
            Self::Floats(data) => data.push(value),
            Self::Bytes(data) => {
                let byte = value as u8; // saturates; NaN gives 0
                if f32::from(byte) == value {
                    data.push(byte);
                } else {
                    let mut floats: Vec<f32> = data.iter().map(|&b| f32::from(b)).collect();
                    floats.push(value);
                    *self = Self::Floats(floats);
                }
            }
        }
    }

    pub(crate) fn into_floats(self) -> Vec<f32> {
        match self {
            Self::Floats(data) => data,
            Self::Bytes(data) => data.into_iter().map(f32::from).collect(),
        }
    }
}

/// The labels, one row per sample.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answers {
    Text(Vec<String>),
    Numbers { data: Vec<f64>, width: usize },
}

impl Answers {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(data) => data.len(),
            Self::Numbers { data, width } => data.len() / (*width).max(1),
        }
    }

    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Text(_) => 1,
            Self::Numbers { width, .. } => *width,
        }
    }
}

/// The position of each sample in its file, for messages.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Places {
    Samples,
    /// The line of each row of a CSV.
    Lines(Vec<u64>),
    /// The file of each sample.
    Files(Vec<String>),
}

/// Where the samples of a set are in the user's files.
#[derive(Debug, Clone, PartialEq)]
pub struct Origins {
    file: String,
    places: Places,
    /// The position in the file of each sample of the set.
    rows: Vec<usize>,
}

impl Origins {
    pub(crate) fn new(file: String, places: Places, rows: Vec<usize>) -> Self {
        Self { file, places, rows }
    }

    /// Those of some of the samples, by their positions in the set.
    pub(crate) fn select(self, kept: &[usize]) -> Self {
        Self { rows: kept.iter().map(|&at| self.rows[at]).collect(), ..self }
    }

    /// The file and the place in it, in words: `line 17 of iris.csv`, `sample 3 of digits` (counted from 0) or the path of a picture.
    #[must_use]
    pub fn of(&self, sample: usize) -> String {
        let Some(&row) = self.rows.get(sample) else { return format!("sample {sample}") };
        match &self.places {
            Places::Files(files) => files.get(row).cloned().unwrap_or_else(|| self.places.of(row)),
            Places::Samples | Places::Lines(_) => format!("{} of {}", self.places.of(row), self.file),
        }
    }
}

impl Places {
    pub(crate) fn of(&self, sample: usize) -> String {
        match self {
            Self::Lines(lines) => lines.get(sample).map(|line| format!("line {line}")),
            Self::Files(files) => files.get(sample).cloned(),
            Self::Samples => None,
        }
        .unwrap_or_else(|| format!("sample {sample}"))
    }
}

/// The inputs of one file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Inputs {
    pub(crate) file: String,
    pub(crate) values: Values,
    pub(crate) samples: usize,
    pub(crate) width: usize,
    /// `(height, width)` of a sample, if the file says that it is an image.
    pub(crate) image: Option<(usize, usize)>,
    pub(crate) pixels: Pixels,
}

/// Whether whole numbers from 0 to 255 count as pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pixels {
    /// The format says so; the scale is 255.
    Always,
    /// Bytes in the shape of images do; the scale follows from the maximum.
    ByType,
    /// They do if a sample has at least [`PIXELS`] of them.
    ByWidth,
}

/// The fewest features for which rows of bytes count as images: the 8×8 digits are the smallest images in common use.
pub(crate) const PIXELS: usize = 64;

/// The labels of one file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Labels {
    pub(crate) file: String,
    pub(crate) answers: Answers,
    pub(crate) places: Places,
}

/// Inputs with their labels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Samples {
    pub(crate) inputs: Inputs,
    pub(crate) labels: Labels,
}

/// The interpretation of bytes as pixels, by [`pixel_rule`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pixel {
    pub(crate) scale: f32,
    pub(crate) image: Option<(usize, usize)>,
}

/// Decides whether numbers are pixels. The rule depends only on values, never on how they were written, so that the
/// same samples have the same fingerprint in every format.
///
/// Numbers stay bytes if every feature is a whole number from 0 to 255 and a sample has at least 64 features (or is an
/// array of bytes of rank 3). Bytes are divided by 1 if the maximum is at most 1 (black and white), by 16 if it is at
/// most 16 (the UCI digits), else by 255. A square number of pixels is a square image. A known scale overrides
/// everything except the condition that all numbers are bytes.
pub(crate) fn pixel_rule(blocks: &[&Inputs], known_scale: Option<f32>) -> Option<Pixel> {
    let mut greatest = 0;
    for block in blocks {
        let Values::Bytes(data) = &block.values else { return None };
        if known_scale.is_none() && block.pixels == Pixels::ByWidth && block.width < PIXELS {
            return None;
        }
        greatest = greatest.max(data.iter().copied().max().unwrap_or(0));
    }
    let first = blocks.first()?;
    let scale = match greatest {
        _ if known_scale.is_some() => known_scale?,
        _ if first.pixels == Pixels::Always => 255.0,
        0..=1 => 1.0,
        2..=16 => 16.0,
        _ => 255.0,
    };
    let side = first.width.isqrt();
    let square = (side * side == first.width && first.width >= PIXELS).then_some((side, side));
    Some(Pixel { scale, image: first.image.or(square) })
}

impl Inputs {
    /// Turns pictures that are stored column by column: rows become columns. Samples without a shape are square.
    pub(crate) fn transpose(&mut self) -> Result<(), DataError> {
        let side = self.width.isqrt();
        let square = (side * side == self.width).then_some((side, side));
        let Some((height, width)) = self.image.or(square) else {
            return Err(DataError::NotPictures { file: self.file.clone(), width: self.width });
        };
        self.values = match std::mem::replace(&mut self.values, Values::new()) {
            Values::Bytes(data) => Values::Bytes(transposed(&data, height, width)),
            Values::Floats(data) => Values::Floats(transposed(&data, height, width)),
        };
        self.image = self.image.map(|_| (width, height));
        Ok(())
    }

    /// The features, and the shape of a sample that is an image.
    pub(crate) fn into_features(self, pixel: Option<Pixel>) -> (Features, Option<(usize, usize)>) {
        match (self.values, pixel) {
            (Values::Bytes(data), Some(Pixel { scale, image })) => (Features::U8 { data, scale }, image),
            (values, _) => (Features::F32(values.into_floats()), self.image),
        }
    }
}

/// Pictures of `height` rows, one after another, with their rows as columns.
fn transposed<T: Copy>(data: &[T], height: usize, width: usize) -> Vec<T> {
    let turned = |picture: &[T]| -> Vec<T> {
        (0..width).flat_map(|x| (0..height).map(move |y| picture[y * width + x])).collect()
    };
    data.chunks_exact(height * width).flat_map(turned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(values: &[f32], width: usize) -> Inputs {
        let mut all = Values::new();
        values.iter().for_each(|&v| all.push(v));
        Inputs {
            file: "f".into(),
            values: all,
            samples: values.len() / width,
            width,
            image: None,
            pixels: Pixels::ByWidth,
        }
    }

    #[test]
    fn bytes_stay_bytes_until_one_is_not() {
        let mut values = Values::new();
        values.push(0.0);
        values.push(255.0);
        assert_eq!(values, Values::Bytes(vec![0, 255]));
        for other in [256.0, -1.0, 0.5, f32::NAN] {
            let mut more = values.clone();
            more.push(other);
            assert!(matches!(more, Values::Floats(_)), "{other}");
        }
    }

    #[test]
    fn the_maximum_decides_the_scale() {
        for (greatest, scale) in [(1.0, 1.0), (16.0, 16.0), (17.0, 255.0), (255.0, 255.0)] {
            let mut values = vec![0.0; 64];
            values[3] = greatest;
            let rule = pixel_rule(&[&block(&values, 64)], None).unwrap();
            assert_eq!((rule.scale, rule.image), (scale, Some((8, 8))));
        }
        assert_eq!(pixel_rule(&[&block(&[1.0; 63], 63)], None), None);
        assert_eq!(pixel_rule(&[&block(&[1.0; 4], 4)], Some(16.0)).unwrap().scale, 16.0);
        assert_eq!(pixel_rule(&[&block(&[0.5; 64], 64)], None), None);
        assert_eq!(pixel_rule(&[&block(&[3.0; 65], 65)], None).unwrap().image, None);
    }
}
