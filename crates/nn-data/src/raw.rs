//! Samples as a file gives them, before anything is decided about them.

use nn_core::Features;

/// Numbers that stay bytes for as long as every one of them is a whole number from 0 to 255.
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

/// The answers, one row a sample.
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

/// Where a sample stood, for messages.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Places {
    Samples,
    /// The line of each row of a CSV.
    Lines(Vec<u64>),
}

impl Places {
    pub(crate) fn of(&self, sample: usize) -> String {
        match self {
            Self::Lines(lines) => lines.get(sample).map(|line| format!("line {line}")),
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
    /// The shape of one sample, where the file says that it is a picture.
    pub(crate) image: Option<(usize, usize)>,
    pub(crate) pixels: Pixels,
}

/// Whether whole numbers from 0 to 255 are pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pixels {
    /// The format says so: scale 255.
    Always,
    /// They are bytes in the shape of pictures, but the scale is seen from the greatest value.
    ByType,
    /// They are if a sample has at least [`PIXELS`] of them.
    ByWidth,
}

/// From how many features on a table of bytes is taken for pictures: the 8×8 digits are the smallest in common use.
pub(crate) const PIXELS: usize = 64;

/// The answers of one file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Labels {
    pub(crate) file: String,
    pub(crate) answers: Answers,
    pub(crate) places: Places,
}

/// Inputs with their answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Samples {
    pub(crate) inputs: Inputs,
    pub(crate) labels: Labels,
}

/// What [`pixel_rule`] found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pixel {
    pub(crate) scale: f32,
    pub(crate) image: Option<(usize, usize)>,
}

/// The rule for numbers that might be pixels, which looks at values and never at how they were written, so that the
/// same samples have the same fingerprint in every format: if every feature is a whole number from 0 to 255 and a
/// sample has at least 64 of them (or they are bytes of rank 3), they stay bytes. A byte is divided by 1 if none is
/// greater than 1 (ink or none), by 16 if none is greater than 16 (the UCI digits), else by 255. A square number of
/// them is a square picture. A scale that is known overrules all but the first condition.
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
    /// The features, and the shape of a picture.
    pub(crate) fn into_features(self, pixel: Option<Pixel>) -> (Features, Option<(usize, usize)>) {
        match (self.values, pixel) {
            (Values::Bytes(data), Some(Pixel { scale, image })) => (Features::U8 { data, scale }, image),
            (values, _) => (Features::F32(values.into_floats()), self.image),
        }
    }
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
    fn the_scale_is_seen_from_the_greatest_value() {
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
