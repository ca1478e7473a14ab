//! `nn sweep`: many runs, side by side, and what they show.
//!
//! | File | Content |
//! | --- | --- |
//! | `plan.rs` | the runs, checked against their data before the first begins |
//! | `folder.rs` | the sweep's folder: its lock, `sweep.json`, and a folder for each run |
//! | `board.rs` | where every run is, and how it ended |
//! | `rank.rs` | the figure that compares runs; configurations in the order of their means |
//! | `stages.rs` | from stage to stage: all runs, or those that successive halving leaves |
//! | `here.rs` | runs side by side in this process |
//! | `table.rs` | the live table and the closing text |

mod board;
mod folder;
mod here;
mod plan;
mod rank;
mod stages;
mod table;

use self::board::Board;
use self::folder::SweepFolder;
use self::plan::Plan;
use crate::clock::Clock;
use crate::config::SweepConfig;
use crate::failure::{Failure, write_stdout};
use crate::progress::{above, warn};
use crate::show::counted;
use crate::signals::StopFlag;

/// Runs a sweep to its end.
pub(crate) fn sweep(config: &SweepConfig) -> Result<(), Failure> {
    let clock = Clock::start();
    let stop = StopFlag::install()?;
    let folder = SweepFolder::open(config)?;
    let say = |text: String| {
        if config.quiet { Ok(()) } else { above(|| write_stdout(format!("{text}\n"))) }
    };
    let plan = Plan::check(config, &stop)?;
    let board = Board::new(&plan, config, folder.begin(&plan, config)?);
    say(plan.in_words(config, &folder))?;
    if let Some(advice) = plan.by.advice() {
        warn(advice);
    }
    let done = board.finished();
    if done > 0 {
        say(format!("{} of {} are done already", done, counted(plan.runs.len(), "run")))?;
    }
    folder.write(&board)?;
    let result = stages::run(&plan, &board, &folder, config, &stop);
    board.conclude(clock.now(), stop.is_set());
    folder.write(&board)?;
    result?;
    if !config.quiet {
        write_stdout(table::closing(&board, &folder))?;
    }
    board.verdict(&folder)
}
