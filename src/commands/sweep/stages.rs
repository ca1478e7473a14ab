//! From stage to stage. Without successive halving there is one stage, of all runs to their ends.

use super::board::Board;
use super::folder::SweepFolder;
use super::plan::Plan;
use crate::config::SweepConfig;
use crate::failure::Failure;
use crate::progress::above;
use crate::signals::StopFlag;

/// A run, as far as its stage goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task {
    pub(super) run: usize,
    /// The epochs at whose end it pauses, if that is before its own end.
    pub(super) until: Option<u64>,
}

/// Runs all stages, or as many as go before a stop; `train` does their tasks.
pub(super) fn run(
    plan: &Plan,
    board: &Board,
    folder: &SweepFolder,
    config: &SweepConfig,
    stop: &StopFlag,
    mut train: impl FnMut(&[Task]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut active: Vec<usize> = (0..plan.configurations()).collect();
    let mut epochs = config.halving.map_or(u64::MAX, |halving| halving.min_epochs);
    let mut stage = 0;
    loop {
        let is_active = |run: &usize| active.contains(&plan.runs[*run].run.configuration);
        let runs: Vec<usize> = (0..plan.runs.len()).filter(is_active).collect();
        let longest = runs.iter().map(|&run| plan.epochs(run)).max().unwrap_or(0);
        // Whoever is alone has won, and goes on to its end.
        let last = active.len() == 1 || epochs >= longest;
        let tasks: Vec<Task> = runs
            .into_iter()
            .filter(|&run| board.has_work(run, if last { usize::MAX } else { stage }))
            .map(|run| Task { run, until: Some(epochs).filter(|&e| !last && e < plan.epochs(run)) })
            .collect();
        train(&tasks)?;
        let (Some(halving), false, false) = (config.halving, last, stop.is_set()) else { return Ok(()) };
        let ranked = board.ranked(Some(stage), |configuration| active.contains(&configuration));
        let stay = (active.len() as u64).div_ceil(halving.factor).max(1) as usize;
        let (best, left) = ranked.split_at(stay.min(ranked.len()));
        left.iter().for_each(|ranked| board.leave(ranked.configuration));
        if !config.quiet {
            let text = format!(
                "after {epochs} epochs {} of {} configurations go on, the best of them {}",
                best.len(),
                active.len(),
                best.first().map_or("", |best| board.words(best.configuration))
            );
            above(|| crate::failure::write_stdout(format!("{text}\n")))?;
        }
        active = best.iter().map(|ranked| ranked.configuration).collect();
        folder.write(board)?;
        (epochs, stage) = (epochs.saturating_mul(halving.factor), stage + 1);
    }
}
