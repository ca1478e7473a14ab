//! Checks of folders: whether they are writable, how much space they have, and whether their clock is right.

use std::io::Write;
use std::path::Path;

use indicatif::HumanBytes;
use serde_json::json;

use super::report::Finding;
use crate::clock;

const MIB: u64 = 1 << 20;

/// The space that a run with checkpoints or a typical data set needs, and the space below which nothing fits.
const SCARCE: u64 = 1024 * MIB;
const NOTHING: u64 = 100 * MIB;

/// The most seconds by which the clock of a file system may be off. A file server's clock does not matter to a run, but
/// it decides which file looks newest.
const CLOCK_SECONDS: f64 = 10.0;

/// Checks a folder or, if it does not exist yet, the one in which it would be created.
pub(super) fn look(check: &'static str, folder: &Path, flag: &str) -> Finding {
    let shown = folder.display();
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    // If a file is in the way, this finds the file, and creating a temporary file in it fails below.
    let nearest = whole.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let missing = nearest != whole;
    let tried = tempfile::Builder::new().prefix(".nn-doctor-").tempfile_in(nearest).and_then(|mut file| {
        file.write_all(&[0; 4096])?;
        file.as_file().sync_all()?;
        file.as_file().metadata()?.modified()
    });
    let written = match tried {
        Ok(written) => written,
        Err(error) => {
            let error = crate::store::without_path(&error);
            let found = if missing {
                format!("{shown} cannot be created: {} is not writable ({error})", nearest.display())
            } else {
                format!("{shown} is not writable ({error})")
            };
            let fix = format!("give another folder with {flag}, or grant yourself write permission");
            return Finding::problem(check, found, fix);
        }
    };
    let now = clock::date();
    let off = match written.duration_since(now) {
        Ok(ahead) => ahead.as_secs_f64(),
        Err(behind) => -behind.duration().as_secs_f64(),
    };
    let state = if missing { "can be created" } else { "is writable" };
    let Some(free) = free_bytes(nearest) else {
        return Finding::ok(check, format!("{shown} {state}"));
    };
    let figures = json!({ "free_bytes": free, "clock_seconds": off });
    let found = format!("{shown} {state}; {} free", HumanBytes(free));
    let fix = format!("free some space there, or give a folder on another disk with {flag}");
    let finding = if free < NOTHING {
        Finding::problem(check, found, fix)
    } else if free < SCARCE {
        Finding::warning(check, found, fix)
    } else if off.abs() > CLOCK_SECONDS {
        let way = if off > 0.0 { "ahead of" } else { "behind" };
        let found = format!("{found}, but its clock is {:.0} s {way} this machine's", off.abs());
        Finding::warning(check, found, "set the clocks of the file server and of this machine by NTP")
    } else {
        Finding::ok(check, found)
    };
    finding.figures(figures)
}

/// The space that the user may still fill.
#[cfg(unix)]
fn free_bytes(folder: &Path) -> Option<u64> {
    let facts = rustix::fs::statvfs(folder).ok()?;
    Some(facts.f_bavail.saturating_mul(facts.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::Verdict;

    #[test]
    fn a_folder_is_checked_and_left_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let existing = look("x", folder.path(), "--x");
        assert_eq!(existing.verdict, Verdict::Ok, "{existing:?}");
        assert!(existing.found.contains("is writable"), "{existing:?}");
        let missing = look("x", &folder.path().join("a/b"), "--x");
        assert_eq!(missing.verdict, Verdict::Ok, "{missing:?}");
        assert!(missing.found.contains("can be created"), "{missing:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_in_the_way_is_a_problem() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        for path in ["file", "file/a/b"] {
            let found = look("x", &folder.path().join(path), "--x");
            assert_eq!(found.verdict, Verdict::Problem, "{found:?}");
            assert!(found.fix.as_deref().unwrap().contains("--x"), "{found:?}");
        }
    }
}
