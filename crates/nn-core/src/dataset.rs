//! Samples in memory, as the arithmetic gathers them.
//!
//! A [`Dataset`] is only data: reading files, splitting and fetching are `nn-data`'s. Pixels stay `u8` until a
//! mini-batch is gathered, so that MNIST takes 47 MB and not 188.

use thiserror::Error;

/// The inputs of all samples, row-major `[samples][width]`.
#[derive(Debug, Clone, PartialEq)]
pub enum Features {
    /// Bytes, most often pixels. The network sees `byte as f32 * (1.0 / scale)`, rounded as written.
    U8 {
        /// `samples × width` bytes.
        data: Vec<u8>,
        /// What a byte is scaled down by when it is gathered: 255 for 8-bit images, 16 for the UCI digits.
        scale: f32,
    },
    /// Numbers as they are.
    F32(Vec<f32>),
}

/// The answers of all samples.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// Classification: a label in `0..classes` for each sample.
    Classes {
        /// One label a sample.
        labels: Vec<u32>,
        /// How many classes there are; the width of the network's output layer.
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

/// Why a [`Dataset`] cannot be made from its parts.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs)] // the fields are the facts that the messages state
pub enum DatasetError {
    #[error("the data set has no samples")]
    Empty,
    #[error("the samples have no features")]
    NoFeatures,
    #[error("{len} feature values do not divide into samples of {width}")]
    RaggedFeatures { len: usize, width: usize },
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
}

/// Checked samples: every label is in range, every number finite, every count agrees.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    features: Features,
    targets: Targets,
    samples: usize,
    width: usize,
    image: Option<(usize, usize)>,
}

impl Dataset {
    /// Checks the parts and joins them. `width` is the number of features of one sample; `image` is
    /// `Some((height, width))` where a sample is a picture of one channel, row by row.
    ///
    /// # Errors
    /// Says which sample or count is wrong.
    pub fn new(
        features: Features,
        width: usize,
        targets: Targets,
        image: Option<(usize, usize)>,
    ) -> Result<Self, DatasetError> {
        let len = match &features {
            Features::U8 { data, scale } => {
                if !(scale.is_finite() && *scale > 0.0) {
                    return Err(DatasetError::BadScale(scale.to_string()));
                }
                data.len()
            }
            Features::F32(data) => data.len(),
        };
        if width == 0 {
            return Err(DatasetError::NoFeatures);
        }
        if !len.is_multiple_of(width) {
            return Err(DatasetError::RaggedFeatures { len, width });
        }
        let samples = len / width;
        if samples == 0 {
            return Err(DatasetError::Empty);
        }
        if let Features::F32(data) = &features
            && let Some(at) = data.iter().position(|x| !x.is_finite())
        {
            return Err(DatasetError::NonFiniteFeature { sample: at / width, feature: at % width });
        }
        let targets_count = match &targets {
            Targets::Classes { labels, classes } => {
                if *classes == 0 {
                    return Err(DatasetError::NoTargets);
                }
                if let Some(sample) = labels.iter().position(|&l| l as usize >= *classes) {
                    return Err(DatasetError::LabelOutOfRange {
                        sample,
                        label: labels[sample],
                        classes: *classes,
                    });
                }
                labels.len()
            }
            Targets::Values { data, width } => {
                if *width == 0 {
                    return Err(DatasetError::NoTargets);
                }
                if let Some(at) = data.iter().position(|x| !x.is_finite()) {
                    return Err(DatasetError::NonFiniteTarget { sample: at / width });
                }
                if !data.len().is_multiple_of(*width) {
                    return Err(DatasetError::RaggedFeatures { len: data.len(), width: *width });
                }
                data.len() / width
            }
        };
        if targets_count != samples {
            return Err(DatasetError::CountMismatch { inputs: samples, targets: targets_count });
        }
        if let Some((height, image_width)) = image
            && height.checked_mul(image_width) != Some(width)
        {
            return Err(DatasetError::ShapeMismatch { height, width: image_width, features: width });
        }
        Ok(Self { features, targets, samples, width, image })
    }

    /// The inputs.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// The answers.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// How many samples there are; never 0.
    pub fn len(&self) -> usize {
        self.samples
    }

    /// Always false: an empty data set cannot be made.
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

    /// `Some((height, width))` where a sample is a picture of one channel.
    pub fn image(&self) -> Option<(usize, usize)> {
        self.image
    }

    /// The label of a sample, where this is classification.
    pub fn label(&self, sample: usize) -> Option<u32> {
        match &self.targets {
            Targets::Classes { labels, .. } => Some(labels[sample]),
            Targets::Values { .. } => None,
        }
    }

    /// Writes what the network sees of `sample` into `out` (`input_width()` numbers).
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

    /// The samples named, in that order, as a data set of their own.
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
        Self { features, targets, samples: samples.len(), width: self.width, image: self.image }
    }
}
