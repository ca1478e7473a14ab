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
//! | `there.rs`, `door.rs` | runs on workers: what they are given and what they send; the door that they come through |
//! | `results.rs` | a sweep by its files, for pages: its trials and their order |
//! | `effects.rs` | what each option does to the figure that compares runs |
//! | `table.rs` | the live table and the closing text |

mod board;
mod door;
mod effects;
mod folder;
mod here;
mod plan;
mod rank;
mod results;
mod stages;
mod table;
mod there;

use std::sync::Arc;

pub(in crate::commands) use self::board::State as TrialState;
pub(in crate::commands) use self::effects::{Effect, Effects, Level, effects};
pub(in crate::commands) use self::results::{Configuration, Results, Trial, shown as value_in_words};
pub(in crate::commands) use self::table::aligned;

use self::board::Board;
use self::door::Open;
use self::folder::SweepFolder;
use self::plan::Plan;
use self::there::Counter;
use super::scrape::{MetricsPort, MetricsServer};
use crate::clock::Clock;
use crate::config::SweepConfig;
use crate::failure::{Failure, write_stdout};
use crate::progress::{above, warn};
use crate::show::counted;
use crate::signals::StopFlag;
use crate::telemetry::SweepFigures;

/// Runs a sweep to its end.
pub(crate) fn sweep(config: &SweepConfig) -> Result<(), Failure> {
    let clock = Clock::start();
    let stop = StopFlag::install()?;
    // Ports are bound first, so that one in use is reported at once.
    let port = MetricsPort::bind(&config.metrics, "nn sweep")?;
    let door = config.listen.as_ref().map(|(listen, security)| Open::bind(listen, security)).transpose()?;
    let folder = Arc::new(SweepFolder::open(config)?);
    let say = |text: String| {
        if config.quiet { Ok(()) } else { above(|| write_stdout(format!("{text}\n"))) }
    };
    let plan = Arc::new(Plan::check(config, &stop)?);
    let board = Arc::new(Board::new(&plan, config, folder.begin(&plan, config)?));
    say(plan.in_words(config, &folder))?;
    if let Some(advice) = plan.by.advice() {
        warn(advice);
    }
    let done = board.finished();
    if done > 0 {
        say(format!("{} of {} are done already", done, counted(plan.runs.len(), "run")))?;
    }
    folder.write(&board)?;
    let figures = |figures: SweepFigures| -> Result<Option<MetricsServer<SweepFigures>>, Failure> {
        let server = port.map(|port| port.serve(Arc::new(figures))).transpose()?;
        server.iter().try_for_each(|server| say(server.in_words()))?;
        Ok(server)
    };
    let result = match door {
        None => {
            let shown = board.clone();
            let _figures = figures(SweepFigures::here(move || shown.status().0))?;
            stages::run(&plan, &board, &folder, config, &stop, |tasks| {
                here::run(tasks, &plan, &board, &folder, config, &stop)
            })
        }
        Some(door) => {
            let counter =
                Counter::new(plan.clone(), board.clone(), folder.clone(), config.quiet, stop.clone())?;
            let counter = Arc::new(counter);
            say(door.in_words())?;
            let serving = door.serve(counter.clone(), config.quiet)?;
            let server = serving.server.clone();
            let _figures = figures(SweepFigures::of_workers(move || server.status()))?;
            let result = stages::run(&plan, &board, &folder, config, &stop, |tasks| counter.run(tasks));
            counter.close();
            serving.finish().and(result)
        }
    };
    board.conclude(clock.now(), stop.is_set());
    folder.write(&board)?;
    result?;
    if config.json {
        write_stdout(format!("{:#}\n", board.json()))?;
    } else if !config.quiet {
        write_stdout(table::closing(&board, &folder))?;
    }
    board.verdict(&folder)
}
