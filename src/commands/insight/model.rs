//! The network of a run.

use std::path::Path;

use crate::store::run_files::{CHECKPOINTS, MODEL};
use crate::store::{Checkpoints, ModelFile, ModelFileError};

/// The network of the run in `folder`: its path in the run's folder, whether it is a checkpoint, and the network. Of one that `goes_on` it is the newest
/// checkpoint, since what is there beside it may be older.
///
/// # Errors
/// Why there is none, in a sentence.
pub(in crate::commands) fn network(
    folder: &Path,
    goes_on: bool,
) -> Result<(String, bool, ModelFile), String> {
    let finished = || match ModelFile::read(&folder.join(MODEL)) {
        Ok(model) => Ok(Some((MODEL.to_owned(), false, model))),
        Err(ModelFileError::Unreadable { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(error) => Err(error.to_string()),
    };
    let newest = || -> Result<Option<(String, bool, ModelFile)>, String> {
        let found = Checkpoints::of_run(folder, 1)
            .newest()
            .map_err(|error| format!("cannot read {}: {error}", folder.join(CHECKPOINTS).display()))?;
        Ok(found.newest.map(|(path, model)| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            (format!("{CHECKPOINTS}/{name}"), true, model)
        }))
    };
    let found = if goes_on {
        newest().transpose().or_else(|| finished().transpose()).transpose()?
    } else {
        finished().transpose().or_else(|| newest().transpose()).transpose()?
    };
    found.ok_or_else(|| {
        format!("{} has no {MODEL} and no checkpoint, so there is no network to look at", folder.display())
    })
}
