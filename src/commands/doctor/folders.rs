//! Folders: whether they can be written to, how much room they have, and what their clock says.

use std::io::Write;
use std::path::Path;

use indicatif::HumanBytes;
use serde_json::json;

use super::Finding;
use crate::clock;

const MIB: u64 = 1 << 20;

/// What a run with checkpoints, or a data set of the usual size, takes; and what nothing fits into.
const SCARCE: u64 = 1024 * MIB;
const NOTHING: u64 = 100 * MIB;

/// How far the clock of a file system may be off. That of a file server does not matter to a run, but what is newest is
/// told by it.
const CLOCK_SECONDS: f64 = 10.0;

/// Looks at a folder, or, where it is still to be made, at the one that it would be made in.
pub(super) fn look(check: &'static str, folder: &Path, flag: &str) -> Finding {
    let shown = folder.display();
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    // A file in the way is found here too, and refuses the file that is tried below.
    let there = whole.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let missing = there != whole;
    let tried = tempfile::Builder::new().prefix(".nn-doctor-").tempfile_in(there).and_then(|mut file| {
        file.write_all(&[0; 4096])?;
        file.as_file().sync_all()?;
        file.as_file().metadata()?.modified()
    });
    let written = match tried {
        Ok(written) => written,
        Err(error) => {
            let error = crate::store::without_path(&error);
            let found = if missing {
                format!("{shown} cannot be made: {} cannot be written to ({error})", there.display())
            } else {
                format!("{shown} cannot be written to ({error})")
            };
            let fix = format!("name another folder with {flag}, or give yourself the right to write there");
            return Finding::problem(check, found, fix);
        }
    };
    let now = clock::date();
    let off = match written.duration_since(now) {
        Ok(ahead) => ahead.as_secs_f64(),
        Err(behind) => -behind.duration().as_secs_f64(),
    };
    let made = if missing { ", and can be made" } else { ", and can be written to" };
    let Some(free) = free_bytes(there) else {
        return Finding::ok(check, format!("{shown}{made}"));
    };
    let figures = json!({ "free_bytes": free, "clock_seconds": off });
    let found = format!("{shown}{made}; {} free", HumanBytes(free));
    let fix = format!("make room there, or name a folder on another disk with {flag}");
    let finding = if free < NOTHING {
        Finding::problem(check, found, fix)
    } else if free < SCARCE {
        Finding::warning(check, found, fix)
    } else if off.abs() > CLOCK_SECONDS {
        let way = if off > 0.0 { "ahead of" } else { "behind" };
        let found = format!("{found}, but its clock is {:.0} s {way} this machine's", off.abs());
        Finding::warning(check, found, "have the file server and this machine set their clocks by NTP")
    } else {
        Finding::ok(check, found)
    };
    finding.figures(figures)
}

/// What a user may still write.
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
    fn a_folder_is_looked_at_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let there = look("x", folder.path(), "--x");
        assert_eq!(there.verdict, Verdict::Ok, "{there:?}");
        assert!(there.found.contains("can be written to"), "{there:?}");
        let missing = look("x", &folder.path().join("a/b"), "--x");
        assert_eq!(missing.verdict, Verdict::Ok, "{missing:?}");
        assert!(missing.found.contains("can be made"), "{missing:?}");
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
