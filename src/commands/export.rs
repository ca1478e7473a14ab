//! `nn export`: a model in a format that other programs read.

use std::path::Path;

use super::read_model;
use crate::config::ExportArgs;
use crate::exchange::onnx::to_onnx;
use crate::failure::{Failure, write_stdout};
use crate::store::write_atomically;

/// Writes a model as ONNX and says what is in the file.
pub(crate) fn export(config: &ExportArgs) -> Result<(), Failure> {
    refuse_existing("onnx", &config.onnx, config.overwrite)?;
    let model = read_model(&config.model)?.finished();
    let file = to_onnx(&model).map_err(Failure::data)?;
    write(&config.onnx, &file)?;
    let (path, parameters) = (config.onnx.display(), model.params.len());
    let answers = match (&model.input.classes, &model.input.preparation) {
        (Some(classes), _) => format!("`outputs` for {} classes, and the `label`", classes.len()),
        (None, _) => "`outputs`".to_owned(),
    };
    let inputs = match (&model.input.preparation, model.input.image, model.input.scale) {
        (Some(_), ..) => "the columns of the table by name".to_owned(),
        (None, Some((height, width)), Some(_)) => {
            format!("`pixels` of {height} x {width}, as bytes in training")
        }
        (None, Some((height, width)), None) => format!("`pixels` of {height} x {width}"),
        (None, None, _) => format!("`x` of {} numbers", model.model.input_width()),
    };
    write_stdout(format!("{path} has {parameters} parameters; it takes {inputs}, and gives {answers}\n"))
}

/// Refuses to destroy a file.
pub(super) fn refuse_existing(flag: &str, path: &Path, overwrite: bool) -> Result<(), Failure> {
    if path.is_dir() {
        let path = path.display();
        return Err(Failure::usage(format_args!("--{flag} {path} is a folder")).help("name a file to write"));
    }
    if path.exists() && !overwrite {
        return Err(Failure::usage(format_args!("{} exists already", path.display()))
            .help(format_args!("name another file with --{flag}, or replace it with --overwrite")));
    }
    Ok(())
}

/// Writes a file.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_atomically(path, bytes).map_err(|error| {
        let error = crate::store::without_path(&error);
        Failure::failed(format_args!("cannot write {}: {error}", path.display()))
            .help("free some space, or name a file in another folder")
    })
}
