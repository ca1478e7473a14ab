//! What `nn predict` and `nn serve` share: the way from pictures and numbers to a network's samples, and from its outputs to
//! answers.

use nn_core::{Dataset, DatasetError, Features, Targets};

use crate::failure::Failure;
use crate::picture::{Field, Invert};
use crate::store::ModelFile;

/// The first bytes by which a PNG or JPEG is recognised.
pub(super) const PICTURE_START: usize = 8;

/// Whether bytes begin like a PNG or JPEG.
pub(super) fn is_picture(start: &[u8]) -> bool {
    start.starts_with(b"\x89PNG\r\n\x1a\n") || start.starts_with(b"\xff\xd8\xff")
}

/// The field that a picture is framed in, for a model of pictures; `source` names the picture in errors.
pub(super) fn field_of(model: &ModelFile, invert: Invert, source: &str) -> Result<Field, Failure> {
    let Some((height, across)) = model.input.image else {
        return Err(Failure::data(format_args!(
            "{source} is a picture, but the model was not trained on pictures"
        ))
        .help("give a CSV, NPY or IDX file of samples"));
    };
    let mut field = Field::new(height, across);
    if model.input.data == "fashion-mnist" {
        // Images of Fashion-MNIST fill the field, unlike handwriting, which has a margin.
        field.fill = 1.0;
    }
    field.as_trained = model.input.picture_files && invert == Invert::Auto;
    Ok(field)
}

/// A data set of samples without labels. Each gets the label 0, which prediction ignores.
pub(super) fn unlabelled(
    model: &ModelFile,
    features: Features,
    samples: usize,
    width: usize,
) -> Result<Dataset, DatasetError> {
    let outputs = model.model.output_width();
    let targets = if model.input.classes.is_some() {
        Targets::Classes { labels: vec![0; samples], classes: outputs }
    } else {
        Targets::Values { data: vec![0.0; samples * outputs], width: outputs }
    };
    Dataset::new(features, width, targets, model.input.image)
}

/// Whether answers are numbers with units of their own, and not the outputs themselves.
pub(super) fn has_units(model: &ModelFile) -> bool {
    model.input.preparation.as_ref().is_some_and(|preparation| !preparation.targets.is_empty())
}

/// The answers of a regression in the units of its targets.
pub(super) fn in_units(model: &ModelFile, outputs: &[f32]) -> Vec<f64> {
    let targets = model.input.preparation.as_ref().map_or(&[][..], |preparation| &preparation.targets);
    let answer = |(at, &output): (usize, &f32)| match targets.get(at) {
        Some(target) => target.answer(output),
        None => f64::from(output),
    };
    outputs.iter().enumerate().map(answer).collect()
}
