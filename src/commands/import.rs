//! `nn import`: a network of another program becomes a model file.

use nn_core::{ModelError, Normalization};

use super::export::{refuse_existing, write};
use crate::config::ImportConfig;
use crate::exchange::{Import, ImportError};
use crate::failure::{Failure, write_stdout};
use crate::progress::warn;
use crate::show::shell_path_flag;

/// Reads the file, writes the model and says what it is.
pub(crate) fn import(config: &ImportConfig) -> Result<(), Failure> {
    refuse_existing("out", &config.out, config.overwrite)?;
    let Import { model, notes } = crate::exchange::import(&config.file, &config.said)
        .map_err(|error| failure(&config.file.display().to_string(), &error))?;
    notes.iter().for_each(warn);
    let bytes = model.to_bytes().map_err(Failure::failed)?;
    write(&config.out, &bytes)?;
    let network = &model.model;
    let widths: Vec<String> = network.widths().iter().map(usize::to_string).collect();
    let mut text = format!("{} is a network of {} units", config.out.display(), widths.join("-"));
    if network.layers() > 1 {
        text += &format!(", {}", network.activation());
        if network.normalization() == Normalization::Layer {
            text += " after layer normalisation";
        }
    }
    text += &format!(", {} outputs", network.output());
    match &model.input.classes {
        Some(classes) => text += &format!(" for {} classes", classes.len()),
        None => text += " for numbers",
    }
    if let Some((height, width)) = model.input.image {
        text += &format!("; it takes pictures of {height} x {width}");
    }
    text.push('\n');
    if let Some(model) = shell_path_flag("model", &config.out) {
        text += &format!("evaluate it: nn eval {model} --data DATA\n");
    }
    write_stdout(text)
}

/// The failure of an import of `file`: of a flag, or of the file.
fn failure(file: &str, error: &ImportError) -> Failure {
    use ImportError as E;
    let failure = match error {
        E::NoActivation
        | E::Contradiction { .. }
        | E::NoEffect { .. }
        | E::Classes { .. }
        | E::Image { .. }
        | E::PixelsWithoutImage
        | E::Twice
        | E::Model(ModelError::Combination(_)) => Failure::usage(error),
        E::Unreadable { .. } | E::TooLarge { .. } | E::Unknown { .. } | E::Own(_) => Failure::data(error),
        _ => Failure::data(format_args!("{file} cannot be imported: {error}")),
    };
    match error.remedy() {
        Some(remedy) => failure.help(remedy),
        None => failure,
    }
}
