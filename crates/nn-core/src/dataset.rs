//! Samples in memory, as the arithmetic gathers them.
//!
//! A [`Dataset`] is only data; `nn-data` reads, splits and downloads it. Pixels stay `u8` until a mini-batch is
//! gathered, so MNIST takes 47 MB rather than 188.

use thiserror::Error;

/// The inputs of all samples, row-major `[samples][width]`.
#[derive(Debug, Clone, PartialEq)]
pub enum Features {
    /// Bytes, most often pixels. The network sees `byte as f32 * (1.0 / scale)`, rounded as written.
    U8 {
        /// `samples × width` bytes.
        data: Vec<u8>,
        /// The divisor of a byte when it is gathered: 255 for 8-bit images, 16 for the UCI digits.
        scale: f32,
    },
    /// Numbers, used as they are.
    F32(Vec<f32>),
}

impl Features {
    /// The mean and the (population) standard deviation of all numbers, in f64: of bytes from exact sums, of floats in two passes.
    /// Numbers that are all alike, as the pixels of pictures are, can be standardised by them.
    #[must_use]
    pub fn moments(&self) -> (f64, f64) {
        match self {
            Self::U8 { data, scale } => {
                let mut counts = [0_u64; 256];
                data.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
                let sum = |power: u32| -> f64 {
                    (0_u64..256).zip(counts).map(|(byte, n)| n * byte.pow(power)).sum::<u64>() as f64
                };
                let (n, scale) = (data.len() as f64, f64::from(*scale));
                let mean = sum(1) / n;
                (mean / scale, (sum(2) / n - mean * mean).max(0.0).sqrt() / scale)
            }
            Self::F32(data) => {
                let n = data.len() as f64;
                let mean = data.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
                let squares = data.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>();
                (mean, (squares / n).sqrt())
            }
        }
    }
}

/// The targets of all samples.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// Classification: a label in `0..classes` for each sample.
    Classes {
        /// One label a sample.
        labels: Vec<u32>,
        /// The number of classes; the width of the network's output layer.
        classes: usize,
    },
    /// Regression: `width` numbers for each sample, row-major `[samples][width]`.
    Values {
        /// `samples × width` numbers.
        data: Vec<f32>,
        /// The width of the network's output layer.
        width: usize,
    },
}

/// The reason why [`Dataset::new`] refuses its parts.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum DatasetError {
    #[error("the data set has no samples")]
    Empty,
    #[error("the samples have no features")]
    NoFeatures,
    #[error("{len} feature values do not divide into samples of {width}")]
    RaggedFeatures { len: usize, width: usize },
    #[error("{len} target values do not divide into samples of {width}")]
    RaggedTargets { len: usize, width: usize },
    #[error("there are {inputs} samples but {targets} targets")]
    CountMismatch { inputs: usize, targets: usize },
    #[error("sample {sample} has label {label}, but there are only {classes} classes (0 to {})", classes - 1)]
    LabelOutOfRange { sample: usize, label: u32, classes: usize },
    #[error("the targets have no width")]
    NoTargets,
    #[error("the image shape {height}×{width} does not give {features} features")]
    ShapeMismatch { height: usize, width: usize, features: usize },
    #[error("sample {sample} has a value that is not a finite number in feature {feature}")]
    NonFiniteFeature { sample: usize, feature: usize },
    #[error("sample {sample} has a target that is not a finite number")]
    NonFiniteTarget { sample: usize },
    #[error("bytes cannot be scaled by {0}: the scale must be a positive, finite number")]
    BadScale(String),
    #[error("there are {samples} samples but {weights} sample weights")]
    WeightCount { samples: usize, weights: usize },
    #[error("sample {sample} has the weight {weight}: a weight must be finite and not negative")]
    BadWeight { sample: usize, weight: String },
}

/// Checked samples: every label is in range, every number is finite, and all counts agree.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    features: Features,
    targets: Targets,
    samples: usize,
    width: usize,
    image: Option<(usize, usize)>,
    weights: Option<Vec<f32>>,
}

impl Features {
    /// Counts the samples of `width` features each, and checks that every number is finite.
    fn samples(&self, width: usize) -> Result<usize, DatasetError> {
        let len = match self {
            Self::U8 { scale, .. } if !(scale.is_finite() && *scale > 0.0) => {
                return Err(DatasetError::BadScale(scale.to_string()));
            }
            Self::U8 { data, .. } => data.len(),
            Self::F32(data) => data.len(),
        };
        if width == 0 {
            return Err(DatasetError::NoFeatures);
        }
        if !len.is_multiple_of(width) {
            return Err(DatasetError::RaggedFeatures { len, width });
        }
        if len == 0 {
            return Err(DatasetError::Empty);
        }
        if let Self::F32(data) = self
            && let Some(at) = data.iter().position(|x| !x.is_finite())
        {
            return Err(DatasetError::NonFiniteFeature { sample: at / width, feature: at % width });
        }
        Ok(len / width)
    }
}

impl Targets {
    /// Counts the samples, and checks that every label is in range and every number finite.
    fn samples(&self) -> Result<usize, DatasetError> {
        match self {
            Self::Classes { classes: 0, .. } | Self::Values { width: 0, .. } => Err(DatasetError::NoTargets),
            &Self::Classes { ref labels, classes } => {
                match labels.iter().position(|&label| label as usize >= classes) {
                    Some(sample) => {
                        Err(DatasetError::LabelOutOfRange { sample, label: labels[sample], classes })
                    }
                    None => Ok(labels.len()),
                }
            }
            &Self::Values { ref data, width } => {
                if let Some(at) = data.iter().position(|x| !x.is_finite()) {
                    return Err(DatasetError::NonFiniteTarget { sample: at / width });
                }
                if !data.len().is_multiple_of(width) {
                    return Err(DatasetError::RaggedTargets { len: data.len(), width });
                }
                Ok(data.len() / width)
            }
        }
    }
}

impl Dataset {
    /// Checks the parts and joins them. `width` is the number of features of one sample; `image` is
    /// `Some((height, width))` if a sample is a picture of one channel, row by row.
    ///
    /// # Errors
    /// The sample or the count that is wrong.
    pub fn new(
        features: Features,
        width: usize,
        targets: Targets,
        image: Option<(usize, usize)>,
    ) -> Result<Self, DatasetError> {
        let samples = features.samples(width)?;
        let with_targets = targets.samples()?;
        if with_targets != samples {
            return Err(DatasetError::CountMismatch { inputs: samples, targets: with_targets });
        }
        if let Some((height, image_width)) = image
            && height.checked_mul(image_width) != Some(width)
        {
            return Err(DatasetError::ShapeMismatch { height, width: image_width, features: width });
        }
        Ok(Self { features, targets, samples, width, image, weights: None })
    }

    /// Gives each sample a weight, by which its loss and its gradient are multiplied. A mini-batch is still averaged over
    /// its number of samples, so weights with a mean of 1 keep the size of a step.
    ///
    /// # Errors
    /// If there is not one finite weight of at least 0 for each sample.
    pub fn with_weights(mut self, weights: Vec<f32>) -> Result<Self, DatasetError> {
        if weights.len() != self.samples {
            return Err(DatasetError::WeightCount { samples: self.samples, weights: weights.len() });
        }
        if let Some(sample) = weights.iter().position(|w| !w.is_finite() || *w < 0.0) {
            return Err(DatasetError::BadWeight { sample, weight: weights[sample].to_string() });
        }
        self.weights = Some(weights);
        Ok(self)
    }

    /// The weight of each sample; `None` if all weigh the same.
    pub fn weights(&self) -> Option<&[f32]> {
        self.weights.as_deref()
    }

    /// The inputs.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// The targets.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The number of samples; never 0.
    pub fn len(&self) -> usize {
        self.samples
    }

    /// Always false, because [`Dataset::new`] refuses an empty data set.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Features of one sample: the width of the network's input layer.
    pub fn input_width(&self) -> usize {
        self.width
    }

    /// The width of the network's output layer: the number of classes, or of regression values.
    pub fn output_width(&self) -> usize {
        match &self.targets {
            Targets::Classes { classes, .. } => *classes,
            Targets::Values { width, .. } => *width,
        }
    }

    /// `Some((height, width))` if a sample is a picture of one channel.
    pub fn image(&self) -> Option<(usize, usize)> {
        self.image
    }

    /// The label of a sample; `None` in regression.
    pub fn label(&self, sample: usize) -> Option<u32> {
        match &self.targets {
            Targets::Classes { labels, .. } => Some(labels[sample]),
            Targets::Values { .. } => None,
        }
    }

    /// Writes the network's input for `sample` to `out` (`input_width()` numbers).
    pub fn input_into(&self, sample: usize, out: &mut [f32]) {
        let row = sample * self.width..(sample + 1) * self.width;
        match &self.features {
            Features::U8 { data, scale } => {
                let factor = 1.0 / scale;
                for (x, &byte) in out.iter_mut().zip(&data[row]) {
                    *x = f32::from(byte) * factor;
                }
            }
            Features::F32(data) => out.copy_from_slice(&data[row]),
        }
    }

    /// The given samples, in that order, as a new data set.
    pub fn select(&self, samples: &[usize]) -> Self {
        fn rows<T: Copy>(data: &[T], width: usize, samples: &[usize]) -> Vec<T> {
            samples.iter().flat_map(|&s| &data[s * width..(s + 1) * width]).copied().collect()
        }
        let features = match &self.features {
            Features::U8 { data, scale } => {
                Features::U8 { data: rows(data, self.width, samples), scale: *scale }
            }
            Features::F32(data) => Features::F32(rows(data, self.width, samples)),
        };
        let targets = match &self.targets {
            Targets::Classes { labels, classes } => {
                Targets::Classes { labels: rows(labels, 1, samples), classes: *classes }
            }
            Targets::Values { data, width } => {
                Targets::Values { data: rows(data, *width, samples), width: *width }
            }
        };
        let weights = self.weights.as_ref().map(|weights| rows(weights, 1, samples));
        Self { features, targets, samples: samples.len(), width: self.width, image: self.image, weights }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_inconsistency_is_refused() {
        use DatasetError as E;
        let bytes = |len: usize| Features::U8 { data: vec![1; len], scale: 255.0 };
        let labels = |labels: &[u32]| Targets::Classes { labels: labels.to_vec(), classes: 2 };
        let values = |data: &[f32], width| Targets::Values { data: data.to_vec(), width };
        let error =
            |features, width, targets, image| Dataset::new(features, width, targets, image).unwrap_err();

        let unscaled = Features::U8 { data: vec![1; 6], scale: 0.0 };
        assert_eq!(error(unscaled, 3, labels(&[0, 1]), None), E::BadScale("0".to_owned()));
        assert_eq!(error(bytes(6), 0, labels(&[0, 1]), None), E::NoFeatures);
        assert_eq!(error(bytes(7), 3, labels(&[0, 1]), None), E::RaggedFeatures { len: 7, width: 3 });
        assert_eq!(error(bytes(0), 3, labels(&[]), None), E::Empty);
        let infinite = Features::F32(vec![0.0, 1.0, 2.0, 3.0, f32::INFINITY, 5.0]);
        assert_eq!(error(infinite, 3, labels(&[0, 1]), None), E::NonFiniteFeature { sample: 1, feature: 1 });

        let out_of_range = E::LabelOutOfRange { sample: 1, label: 2, classes: 2 };
        assert_eq!(error(bytes(6), 3, labels(&[0, 2]), None), out_of_range);
        assert_eq!(error(bytes(6), 3, values(&[1.0], 0), None), E::NoTargets);
        assert_eq!(error(bytes(6), 3, values(&[1.0; 5], 2), None), E::RaggedTargets { len: 5, width: 2 });
        assert_eq!(error(bytes(6), 3, values(&[1.0, f32::NAN], 1), None), E::NonFiniteTarget { sample: 1 });
        assert_eq!(error(bytes(6), 3, labels(&[0]), None), E::CountMismatch { inputs: 2, targets: 1 });
        let image = E::ShapeMismatch { height: 2, width: 2, features: 3 };
        assert_eq!(error(bytes(6), 3, labels(&[0, 1]), Some((2, 2))), image);

        let data = Dataset::new(bytes(6), 3, labels(&[0, 1]), Some((1, 3))).unwrap();
        assert_eq!((data.len(), data.input_width(), data.output_width(), data.label(1)), (2, 3, 2, Some(1)));
    }
}
