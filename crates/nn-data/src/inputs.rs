//! Unlabelled samples for prediction.

use std::path::Path;

use nn_core::Features;

use crate::bytes::{Opened, gunzip, read_file};
use crate::container::{Container, Form};
use crate::error::{DataError, file_name};
use crate::idx;
use crate::load::{Format, format_of};
use crate::members;
use crate::npy::Array;
use crate::raw::{Answers, Inputs as RawInputs, Pixels, Values};
use crate::source::LoadOptions;
use crate::table::Table;

/// The divisor of 8-bit images when no model states another one.
const IMAGE_SCALE: f32 = 255.0;

/// Samples to predict for.
#[derive(Debug, Clone, PartialEq)]
pub struct Inputs {
    /// The network's inputs, row-major `[samples][width]`.
    pub features: Features,
    /// Number of samples.
    pub samples: usize,
    /// Features per sample.
    pub width: usize,
    /// `(height, width)` in pixels, if the file says that samples are images.
    pub image: Option<(usize, usize)>,
    /// The labels as written, if a CSV has one column more than the network has inputs.
    pub labels: Option<Vec<String>>,
}

/// Reads samples for a network with `width` inputs, from IDX images, NPY, NPZ (its array `x`, `x_test` or similar, or its
/// only array) or CSV. All but NPZ may be gzipped. A CSV with `width + 1` columns has a label column, which
/// `options.label_column` names; otherwise it is found as in [`crate::load`].
///
/// `options.scale` is the divisor of bytes in the model's training set: whole numbers from 0 to 255 are divided by it, and
/// any other numbers are used unchanged. Without a scale only IDX images are divided, by 255.
///
/// # Errors
/// [`DataError`], which says what is wrong, where, and how to fix it.
pub fn load_inputs(path: &Path, width: usize, options: &LoadOptions) -> Result<Inputs, DataError> {
    options.validate()?;
    let file = file_name(path);
    let limit = options.max_bytes;
    let path = &Opened::new(path, limit)?;
    let format = format_of(path)?;
    if let Format::Container(form) = format {
        return match form {
            Form::Zip => {
                finish(members::read_inputs(&Container::new(path, form, limit), limit)?, None, width, options)
            }
            Form::Folder | Form::Tar => Err(DataError::UnknownFormat { file }),
        };
    }
    let bytes = gunzip(read_file(path, limit)?, &file, limit)?;
    match format {
        Format::Idx => finish(idx::images(&bytes, &file, limit)?, None, width, options),
        Format::Npy => finish(Array::parse(&bytes, &file, limit)?.inputs()?, None, width, options),
        _ => {
            let table = Table::open(&bytes, &file, options.header)?;
            let label = if table.columns() == width.saturating_add(1) {
                Some(table.label_column(options.label_column.as_deref())?)
            } else {
                None
            };
            if table.columns() - usize::from(label.is_some()) != width {
                return Err(DataError::WrongWidth {
                    file: file.clone(),
                    found: table.columns(),
                    expected: width,
                });
            }
            let (inputs, labels) = table.read(label)?;
            let labels = labels.map(|labels| match labels.answers {
                Answers::Text(texts) => texts,
                Answers::Numbers { data, .. } => data.iter().map(f64::to_string).collect(),
            });
            finish(inputs, labels, width, options)
        }
    }
}

fn finish(
    mut raw: RawInputs,
    labels: Option<Vec<String>>,
    width: usize,
    options: &LoadOptions,
) -> Result<Inputs, DataError> {
    if raw.width != width {
        return Err(DataError::WrongWidth { file: raw.file, found: raw.width, expected: width });
    }
    if options.transpose {
        raw.transpose()?;
    }
    let image_scale = (raw.pixels == Pixels::Always).then_some(IMAGE_SCALE);
    let (samples, image) = (raw.samples, raw.image);
    let features = match (raw.values, options.scale.or(image_scale)) {
        (Values::Bytes(data), Some(scale)) => Features::U8 { data, scale },
        (values, _) => Features::F32(values.into_floats()),
    };
    Ok(Inputs { features, samples, width, image, labels })
}
