//! Samples to predict from, which need no labels.

use std::path::Path;

use nn_core::Features;

use crate::bytes::{gunzip, read_file};
use crate::container::{Container, Form};
use crate::error::{DataError, file_name};
use crate::idx;
use crate::load::{Format, format_of};
use crate::members;
use crate::npy::Array;
use crate::raw::{Answers, Inputs as RawInputs, Pixels, Values};
use crate::source::LoadOptions;
use crate::table::Table;

/// What 8-bit pictures are divided by where no model says otherwise.
const PICTURES: f32 = 255.0;

/// Samples without answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Inputs {
    /// What the network sees, row-major `[samples][width]`.
    pub features: Features,
    /// How many samples there are.
    pub samples: usize,
    /// Features of one sample.
    pub width: usize,
    /// `(height, width)` where the file says that samples are pictures.
    pub image: Option<(usize, usize)>,
    /// The labels as they were written, where a CSV has a column more than the network takes.
    pub labels: Option<Vec<String>>,
}

/// Reads samples for a network that takes `width` features, from IDX images, NPY, NPZ (its array `x`, `x_test` or the
/// like, or its only one) or CSV, the first, second and last also as `.gz`. A CSV with `width + 1` columns has a label
/// too; `options.label_column` says which, or it is found as in [`crate::load`].
///
/// `options.scale` is what the model's training set divided bytes by: whole numbers from 0 to 255 are divided by it, and
/// any other numbers are taken as what the network sees. Without it, numbers stay as they are, but for IDX images, which
/// are divided by 255.
///
/// # Errors
/// Says what is wrong, where, and what to do.
pub fn load_inputs(path: &Path, width: usize, options: &LoadOptions) -> Result<Inputs, DataError> {
    options.validate()?;
    let file = file_name(path);
    let limit = options.max_bytes;
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
            let wrong = table.columns() - usize::from(label.is_some()) != width;
            if wrong {
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
    raw: RawInputs,
    labels: Option<Vec<String>>,
    width: usize,
    options: &LoadOptions,
) -> Result<Inputs, DataError> {
    if raw.width != width {
        return Err(DataError::WrongWidth { file: raw.file, found: raw.width, expected: width });
    }
    let pictures = (raw.pixels == Pixels::Always).then_some(PICTURES);
    let (samples, image) = (raw.samples, raw.image);
    let features = match (raw.values, options.scale.or(pictures)) {
        (Values::Bytes(data), Some(scale)) => Features::U8 { data, scale },
        (values, _) => Features::F32(values.into_floats()),
    };
    Ok(Inputs { features, samples, width, image, labels })
}
