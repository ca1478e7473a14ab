//! `nn runs`: what there is of runs in folders, listed and compared.
//!
//! | File | Contents |
//! | --- | --- |
//! | `read.rs` | a run by its files, which another process may be writing |
//! | `text.rs` | the tables |

mod read;
mod text;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use self::read::find;
pub(in crate::commands) use self::read::{
    Found, Head, Search, State, epochs, folders_in, head, is_locked, open,
};
pub(in crate::commands) use self::text::{FIGURES, figure, short_name};
use super::style;
use crate::config::{RunsCommand, RunsCompareArgs, RunsListArgs};
use crate::failure::{Failure, write_stdout};

/// Does what `nn runs` asks for.
pub(crate) fn runs(command: &RunsCommand) -> Result<(), Failure> {
    match command {
        RunsCommand::List(RunsListArgs { folder, json }) => list(folder, *json),
        RunsCommand::Compare(RunsCompareArgs { folders, json }) => compare(folders, *json),
    }
}

fn list(folder: &Path, json: bool) -> Result<(), Failure> {
    let found = runs_in(folder)?;
    if json {
        let runs: Vec<Value> = found.iter().map(as_json).collect();
        return write_stdout(format!("{:#}\n", json!({ "runs": runs })));
    }
    write_stdout(format!("{}\n", text::list(&found, folder, &style())))
}

fn compare(folders: &[PathBuf], json: bool) -> Result<(), Failure> {
    let found = all_in(folders)?;
    let keys = differing(&found);
    if json {
        let runs: Vec<Value> = found.iter().map(as_json).collect();
        return write_stdout(format!("{:#}\n", json!({ "differing_options": keys, "runs": runs })));
    }
    write_stdout(format!("{}\n", text::compare(&found, &keys, &style())))
}

/// The runs in some folders, each once.
pub(in crate::commands) fn all_in(folders: &[PathBuf]) -> Result<Vec<Found>, Failure> {
    let mut all = Search::default();
    for folder in folders {
        let found = search(folder, 0)?;
        all.extend(Search { runs: some(found.runs, folder)?, ..found });
    }
    Ok(all.runs)
}

/// The runs and sweeps in some folders, each once. Of each folder the lines of the first `keep` runs are kept.
///
/// # Errors
/// If a folder cannot be read, or has neither a run nor a sweep.
pub(in crate::commands) fn gathered(folders: &[PathBuf], keep: usize) -> Result<Search, Failure> {
    let mut all = Search::default();
    for folder in folders {
        let mut found = search(folder, keep)?;
        if found.sweeps.is_empty() {
            found.runs = some(found.runs, folder)?;
        }
        all.extend(found);
    }
    Ok(all)
}

/// The runs in a folder, at least one.
fn runs_in(folder: &Path) -> Result<Vec<Found>, Failure> {
    some(search(folder, 0)?.runs, folder)
}

fn search(folder: &Path, keep: usize) -> Result<Search, Failure> {
    let unreadable = |error: &std::io::Error| {
        let help = "give the folder that --out named; by default runs are in runs/";
        Failure::failed(format_args!("cannot read {}: {error}", folder.display())).help(help)
    };
    find(folder, keep).map_err(|error| unreadable(&error))
}

/// The runs that were found in a folder, of which there must be one.
fn some(found: Vec<Found>, folder: &Path) -> Result<Vec<Found>, Failure> {
    if found.is_empty() {
        return Err(Failure::failed(format_args!("there is no run in {}", folder.display()))
            .help("give a folder that `nn train` has written to, such as runs/digits"));
    }
    Ok(found)
}

/// The options that do not have the same value in all runs that have options.
pub(in crate::commands) fn differing<'a>(found: impl IntoIterator<Item = &'a Found>) -> Vec<String> {
    let with: Vec<&Found> = found.into_iter().filter(|run| !run.options.is_empty()).collect();
    let keys: BTreeSet<&String> = with.iter().flat_map(|run| run.options.keys()).collect();
    let differs =
        |key: &&&String| with.iter().any(|run| run.options.get(**key) != with[0].options.get(**key));
    keys.iter().filter(differs).map(|key| (*key).clone()).collect()
}

fn as_json(run: &Found) -> Value {
    let options: Map<String, Value> = run.options.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
    json!({
        "folder": run.folder,
        "state": run.state.name(),
        "epochs": run.epochs(),
        "epochs_planned": run.planned(),
        "figures": run.figures,
        "options": options,
        "damaged_lines": run.damaged,
        "remarks": run.remarks,
    })
}
