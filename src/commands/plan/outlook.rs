//! The rows of a plan: every number of workers, synchronous and in rounds, beside one machine.

use nn_core::Tree;
use nn_engine::{MAX_REPLICAS, Manifest, Recipe};

use super::model::{Costs, Network, Turn, break_even_batch, break_even_link, rounds, synchronous};
use super::study::Study;
use super::text::flags;
use crate::commands::train::{Described, planned};
use crate::config::{REPLICAS, TrainConfig};
use crate::failure::Failure;

/// A gain that is less than the model's errors is none.
const WORTH: f64 = 1.1;

/// The numbers of workers that are shown: 2, 4, 8 and so on up to `most`, and `most` itself.
pub(in crate::commands) fn counts(most: u32) -> Vec<u32> {
    let powers = (1..32).map(|power| 1_u32 << power).take_while(|&count| count < most);
    powers.chain([most]).collect()
}

/// What is to be found out: the run without rounds, and with them for each number of workers.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Question {
    /// The run without rounds.
    pub(in crate::commands) run: Manifest,
    /// The numbers of workers, each with the run in rounds, if that is of interest.
    rows: Vec<(u32, Option<Manifest>)>,
    /// Whether synchronous steps are of interest.
    synchronous: bool,
}

impl Question {
    /// All that `nn plan` shows. Without `--replicas` a run has a replica for each worker, or as many as the next lower power
    /// of two.
    pub(super) fn new(config: &TrainConfig, data: &Described, workers: &[u32]) -> Result<Self, Failure> {
        let run = without_rounds(&data.manifest)?;
        let rows = workers.iter().map(|&count| {
            let suitable = (1_u32 << count.ilog2()).min(MAX_REPLICAS);
            let mut in_rounds = config.in_rounds(config.given_replicas().unwrap_or(suitable));
            if config.max_seconds().is_some() {
                in_rounds = in_rounds.with_epochs(data.manifest.recipe().epochs);
            }
            Ok((count, Some(planned(&in_rounds, &data.data)?.0)))
        });
        Ok(Self { run, rows: rows.collect::<Result<_, Failure>>()?, synchronous: true })
    }

    /// Only what a run will really do with so many workers.
    pub(super) fn of_run(run: &Manifest, workers: u32) -> Result<Self, Failure> {
        let in_rounds = run.rounds().map(|_| run.clone());
        let synchronous = in_rounds.is_none();
        Ok(Self { run: without_rounds(run)?, rows: vec![(workers, in_rounds)], synchronous })
    }

    /// A run in rounds, or the one without if there is none, and the most replicas that a worker has.
    pub(super) fn to_measure(&self) -> (&Manifest, u32) {
        let in_rounds = || self.rows.iter().filter_map(|(count, run)| Some((*count, run.as_ref()?)));
        let most = in_rounds().filter_map(|(count, run)| Some(run.rounds()?.replicas.div_ceil(count))).max();
        (in_rounds().next().map_or(&self.run, |(_, run)| run), most.unwrap_or(1))
    }
}

/// The same run without rounds.
fn without_rounds(run: &Manifest) -> Result<Manifest, Failure> {
    run.with_recipe(Recipe { rounds: None, ..run.recipe().clone() }).map_err(Failure::usage)
}

/// One row.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Row {
    /// The step or the round.
    pub(in crate::commands) turn: Turn,
    /// Replicas, in rounds.
    pub(in crate::commands) replicas: Option<u32>,
    /// The flags that make them; empty without rounds.
    pub(in crate::commands) flags: String,
    /// Samples a second, in those of one machine.
    pub(in crate::commands) times: f64,
    /// How much sooner it reaches the same accuracy, at least and at most; `None` if that was never measured.
    pub(in crate::commands) sooner: Option<(f64, f64)>,
    /// The slowest link with which it gives the samples a second of one machine, in bytes a second.
    pub(in crate::commands) break_even_link: Option<f64>,
    /// The smallest mini-batch with which it does, for synchronous steps.
    pub(in crate::commands) break_even_batch: Option<usize>,
}

impl Row {
    /// The middle of what is known about the time to the same accuracy.
    fn worth(&self) -> f64 {
        self.sooner.map_or(0.0, |(least, greatest)| (least * greatest).sqrt())
    }
}

/// A plan.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Outlook {
    /// What was measured here.
    pub(in crate::commands) costs: Costs,
    /// The network.
    pub(in crate::commands) network: Network,
    /// Samples a second of one machine.
    pub(in crate::commands) alone: f64,
    /// The rows, synchronous ones first.
    pub(in crate::commands) rows: Vec<Row>,
    /// Where the times to the same accuracy come from.
    pub(in crate::commands) study: &'static Study,
}

impl Outlook {
    /// Computes all rows.
    pub(in crate::commands) fn new(question: &Question, costs: Costs, network: Network) -> Self {
        let run = &question.run;
        let alone = run.largest_batch() as f64 / costs.step;
        let study = Study::nearest(run.model().parameters());
        let tree = run.tree(0);
        let steps = question.rows.iter().filter(|_| question.synchronous);
        let mut rows: Vec<Row> =
            steps.map(|&(workers, _)| step(&costs, &tree, workers, &network, alone)).collect();
        rows.extend(question.rows.iter().filter_map(|(workers, run)| {
            let run = run.as_ref()?;
            let of = |network: &Network| rounds(&costs, run, *workers, network);
            let (turn, rounds) = (of(&network)?, run.rounds()?);
            let replicas = rounds.replicas;
            let times = turn.samples_per_second() / alone;
            let each = times / f64::from(replicas);
            let sooner = match replicas {
                1 => Some((times, times)),
                _ => study.speedup(replicas).map(|(least, greatest)| (each * least, each * greatest)),
            };
            let break_even_link = break_even_link(&network, alone, of);
            Some(Row {
                turn,
                replicas: Some(replicas),
                flags: flags(rounds, REPLICAS),
                times,
                sooner,
                break_even_link,
                break_even_batch: None,
            })
        }));
        Self { costs, network, alone, rows, study }
    }

    /// The row that reaches an accuracy soonest, if it is sooner than one machine by more than the model's errors.
    pub(in crate::commands) fn best(&self) -> Option<&Row> {
        // Of rows that are alike the one with fewer machines.
        let best = self.rows.iter().rev().max_by(|a, b| a.worth().total_cmp(&b.worth()))?;
        let near = |row: &&Row| row.worth() * 1.05 >= best.worth();
        let best = self.rows.iter().filter(near).min_by_key(|row| row.turn.workers)?;
        (best.worth() >= WORTH).then_some(best)
    }
}

fn step(costs: &Costs, tree: &Tree, workers: u32, network: &Network, alone: f64) -> Row {
    let of = |network: &Network| Some(synchronous(costs, tree, workers, network));
    let turn = synchronous(costs, tree, workers, network);
    let times = turn.samples_per_second() / alone;
    Row {
        turn,
        replicas: None,
        flags: String::new(),
        times,
        // The weights are those of one machine after the same samples.
        sooner: Some((times, times)),
        break_even_link: break_even_link(network, alone, of),
        break_even_batch: break_even_batch(costs, tree, workers, network),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::plan::model::tests::{free, network};

    #[test]
    fn powers_of_two_and_the_most() {
        assert_eq!(counts(2), [2]);
        assert_eq!(counts(4), [2, 4]);
        assert_eq!(counts(6), [2, 4, 6]);
        assert_eq!(counts(16), [2, 4, 8, 16]);
        assert_eq!(counts(1000).last(), Some(&1000));
    }

    #[test]
    fn the_best_row_has_the_fewest_machines_that_are_as_good() {
        // A step of 80 ms, 10 of them for the optimizer and the sums, over 4 MB of gradients.
        let costs =
            Costs { gradient: (0.0, 70e-3 / 64.0), optimizer: 9e-3, add: 1e-9, ..free(&[1_000_000], 80e-3) };
        let best = |bytes_a_second: f64, counts: &[u32]| {
            let network = network(bytes_a_second);
            let (tree, alone) = (Tree::new(64, 8), 64.0 / costs.step);
            let rows = counts.iter().map(|&workers| step(&costs, &tree, workers, &network, alone)).collect();
            let study = Study::nearest(1_000_000);
            let outlook = Outlook { costs: costs.clone(), network, alone, rows, study };
            outlook.best().map(|row| row.turn.workers)
        };
        assert_eq!(best(125e9, &[2, 4]), Some(4));
        assert_eq!(best(1e6, &[2, 4]), None);
        // There are eight leaves, so sixteen workers gain nothing over eight.
        assert_eq!(best(125e9, &[8, 16]), Some(8));
    }
}
