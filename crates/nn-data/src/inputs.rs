//! Unlabelled samples for prediction.

use std::path::Path;

use nn_core::Features;

use crate::bytes::{Opened, gunzip, read_file};
use crate::container::{Container, Form};
use crate::error::{DataError, file_name};
use crate::idx;
use crate::load::{Format, format_of, known_names};
use crate::members;
use crate::npy::Array;
use crate::raw::{Answers, Inputs as RawInputs, Pixels, Values};
use crate::source::{LoadOptions, Prepare};
use crate::table::Table;
use crate::tabular::{self, Asked};

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
    /// The labels as written, if a table has the column of the answers.
    pub labels: Option<Vec<String>>,
    /// What was met that the training samples did not have, one sentence each, for people to read.
    pub notes: Vec<String>,
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
    inputs_of(&Opened::new(path, options.max_bytes)?, width, options)
}

/// [`load_inputs`] for a file's bytes in memory, which `name` names in messages.
///
/// # Errors
/// As for [`load_inputs`].
pub fn read_inputs(
    name: &str,
    bytes: Vec<u8>,
    width: usize,
    options: &LoadOptions,
) -> Result<Inputs, DataError> {
    options.validate()?;
    inputs_of(&Opened::of_bytes(name, bytes), width, options)
}

fn inputs_of(path: &Opened, width: usize, options: &LoadOptions) -> Result<Inputs, DataError> {
    let file = file_name(path);
    let limit = options.max_bytes;
    let format = format_of(path)?;
    if let Format::Container(form) = format {
        return match form {
            Form::Zip => {
                array(members::read_inputs(&Container::new(path, form, limit), limit)?, width, options)
            }
            Form::Folder | Form::Tar => Err(DataError::UnknownFormat { file }),
        };
    }
    let bytes = gunzip(read_file(path, limit)?, &file, limit)?;
    match format {
        Format::Idx => finish(idx::images(&bytes, &file, limit)?, None, width, options),
        Format::Npy => array(Array::parse(&bytes, &file, limit)?.inputs()?, width, options),
        _ => {
            let table = Table::open(bytes, &file, options, known_names(options).as_deref())?;
            if let Prepare::With(preparation) = &options.prepare {
                return asked(tabular::ask(preparation, &table)?, preparation.inputs());
            }
            let label = if table.columns() == width.saturating_add(1) {
                table.label_columns(options.label_column.as_deref())?.0.first().copied()
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
            let (inputs, labels) = table.read(label, &[])?;
            let labels = labels.map(|labels| match labels.answers {
                Answers::Text(texts) => texts,
                Answers::Numbers { data, .. } => data.iter().map(f64::to_string).collect(),
            });
            finish(inputs, labels, width, options)
        }
    }
}

/// Samples of an array, prepared if the model's were.
fn array(raw: RawInputs, width: usize, options: &LoadOptions) -> Result<Inputs, DataError> {
    match &options.prepare {
        Prepare::With(preparation) if raw.image.is_none() => {
            asked(tabular::ask_array(preparation, raw)?, preparation.inputs())
        }
        _ => finish(raw, None, width, options),
    }
}

fn asked(asked: Asked, width: usize) -> Result<Inputs, DataError> {
    let Asked { features, rows, labels, notes } = asked;
    let labels = labels.map(|labels| match labels.answers {
        Answers::Text(texts) => texts,
        Answers::Numbers { data, .. } => data.iter().map(f64::to_string).collect(),
    });
    Ok(Inputs { features: Features::F32(features), samples: rows, width, image: None, labels, notes })
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
    Ok(Inputs { features, samples, width, image, labels, notes: Vec::new() })
}
