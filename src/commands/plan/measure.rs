//! What a run costs on this machine: a second or two of its own steps and rounds, through the engine's own driver.

use std::ops::ControlFlow;
use std::time::Duration;

use nn_core::{
    AfterOuter, BeforeOuter, Dataset, DeltaBits, Optimizer, OuterInputs, OuterState, Precision,
    initial_parameters, layout,
};
use nn_engine::{
    Compute, Engine, EpochReport, Manifest, Recipe, Replica, Round, Rounds, SampleOrder, Snapshot,
    StepReport, local,
};

use super::model::{Compact, Costs};
use crate::clock::Clock;
use crate::config;
use crate::failure::Failure;
use crate::signals::StopFlag;
use crate::store::WeightsHash;

/// Seconds for the steps of the run, which matter most, and for each of the other measurements.
const STEPS: Duration = Duration::from_millis(500);
const OTHERS: Duration = Duration::from_millis(120);

/// Turns after the first that are measured however long they take.
const LEAST: usize = 2;

/// Replicas whose differences are summed to find what one more costs.
const SUMMED: u32 = 4;

/// The most steps of the round whose differences are made compact.
const MOST_STEPS: u32 = 16;

/// Numbers of a buffer that is larger than most caches.
const LARGE: usize = 1 << 22;

/// How often a byte is copied between the network and the engine: by the kernel, by TLS or the framing, by gRPC, and once for
/// the checksum. 192 MB a step cost two workers and their coordinator on two shared cores 87 ms, or 0.45 ns a byte
/// (`benches/compare_ddp.py`), where a copy takes 0.1.
const COPIES: f64 = 4.0;

/// A learning rate with which nothing diverges, whatever the mini-batch.
const RATE: f32 = 1e-4;

/// A machine to measure on.
pub(in crate::commands) struct Bench<'a> {
    /// Its threads.
    pub(in crate::commands) compute: &'a Compute,
    /// The training set.
    pub(in crate::commands) data: &'a Dataset,
    /// Steps between two hashes in the log; 0 for none.
    pub(in crate::commands) log_steps: u64,
    /// Ends the measurement.
    pub(in crate::commands) stop: &'a StopFlag,
}

impl Bench<'_> {
    /// Measures the steps of `run` without rounds, and the rounds of `in_rounds` if it has them, of which a worker has at most
    /// `side_by_side` replicas.
    ///
    /// # Errors
    /// If the data do not fit the network, or the measurement is interrupted.
    pub(in crate::commands) fn costs(
        &self,
        run: &Manifest,
        in_rounds: &Manifest,
        side_by_side: u32,
    ) -> Result<Costs, Failure> {
        let layers: Vec<usize> = layout(run.model()).iter().map(|layer| layer.range().len()).collect();
        let parameters = run.model().parameters() as f64;
        let batch = run.largest_batch();
        let hash = self.hash(run);
        let step = self.turn(STEPS, run, |recipe| recipe.rounds = None)?;
        let mut costs = Costs {
            layers,
            step: step.seconds + hash,
            gradient: self.gradient(run, batch, step.computing())?,
            optimizer: step.coordinator + hash,
            add: 0.0,
            replica_step: Vec::new(),
            replica_round: 0.0,
            merge: 0.0,
            outer: 0.0,
            handling: copying() * COPIES,
            weights: travelling(run),
            compact: Compact::NONE,
        };
        costs.add = self.summing(run, DeltaBits::Exact)?.0 / parameters;
        let Some(rounds) = in_rounds.rounds() else { return Ok(costs) };
        let own = in_rounds.recipe().optimizer;
        let alone = if own == run.recipe().optimizer {
            step.seconds
        } else {
            self.turn(OTHERS, in_rounds, |recipe| recipe.rounds = None)?.seconds
        };
        let of = |replicas, steps| Some(Rounds { replicas, steps: Some(steps), ..*rounds });
        let one = self.turn(OTHERS, in_rounds, |recipe| recipe.rounds = of(1, 1))?;
        costs.replica_round = (one.computing() - alone).max(0.0);
        costs.replica_step = vec![alone];
        let together = side_by_side.min(u32::try_from(self.compute.threads.count()).unwrap_or(1));
        if together > 1 {
            const H: u32 = 4;
            let many = self.turn(OTHERS, in_rounds, |recipe| recipe.rounds = of(together, H))?;
            let many = ((many.computing() - costs.replica_round) / f64::from(H)).max(alone);
            // In between it is about in proportion.
            let each = (many - alone) / f64::from(together - 1);
            costs.replica_step = (0..together).map(|more| alone + each * f64::from(more)).collect();
        }
        let (merge, outer) = self.summing(in_rounds, rounds.delta_bits)?;
        (costs.merge, costs.outer) = (merge / parameters, (outer + hash) / parameters);
        costs.compact = self.compact(in_rounds, alone)?;
        Ok(costs)
    }

    /// What the compact form of a run's differences saves and costs, by those of its first round: `step` is the seconds of a
    /// step. Later ones have a few more zeros on their way up.
    fn compact(&self, run: &Manifest, step: f64) -> Result<Compact, Failure> {
        let (Some(rounds), Some(down)) = (run.rounds(), run.update_encoding()) else {
            return Ok(Compact::NONE);
        };
        let up = run.contribution_encoding();
        // As many steps as there is time for: what decides is how many samples a unit has been active for.
        let replicas = rounds.replicas.min(SUMMED);
        let steps =
            (OTHERS.as_secs_f64() / step / f64::from(replicas)).clamp(1.0, f64::from(MOST_STEPS)) as u32;
        let recipe = Recipe {
            rounds: Some(Rounds { replicas, steps: Some(steps), ..*rounds }),
            learning_rate: run.recipe().learning_rate.min(RATE),
            ..run.recipe().clone()
        };
        let short = run.with_recipe(recipe).map_err(Failure::usage)?;
        let public = short
            .initial_weights()
            .unwrap_or_else(|| initial_parameters(short.model(), short.recipe().init, short.recipe().seed));
        let mut order = SampleOrder::new(&short);
        let samples = order.batch(&short, 0);
        let round = Round { manifest: &short, data: self.data, public: &public, step: 0, samples };
        let mut replica = Replica::new(&short, self.compute.clone());
        let (mut found, mut mean) = (Vec::new(), vec![0.0; public.len()]);
        for leaf in 0..short.tree(0).leaves() {
            let _ = replica.run(round, leaf, &|| true).map_err(Failure::data)?;
            found.clear();
            let _ = replica.difference(round, leaf, 0..public.len(), &mut found);
            up.add(&found, &mut mean);
        }
        let clock = Clock::start();
        let Some(short_up) = up.compacted(&found) else { return Ok(Compact::NONE) };
        let write = clock.now().as_secs_f64() / found.len() as f64;
        let clock = Clock::start();
        let _ = std::hint::black_box(up.expanded(&short_up, found.len()));
        let read = clock.now().as_secs_f64() / found.len() as f64;
        let part = |short: &[u8], all: &[u8]| short.len() as f64 / all.len() as f64;
        let mut outer = OuterState::new(public.len(), rounds.delta_bits);
        let (mut next, mut update) = (nn_core::zeroed(public.len()), Vec::new());
        let before = OuterState::new(public.len(), rounds.delta_bits);
        let _ = outer.step(
            self.compute.isa,
            0..public.len(),
            BeforeOuter { params: &public, state: &before },
            AfterOuter { params: &mut next, update: &mut update },
            &|at, sum| sum.copy_from_slice(&mean[at..at + sum.len()]),
            OuterInputs { mean: 1.0 / f32::from(replicas as u16), learning_rate: 1.0, momentum: 0.0 },
        );
        let down = down.compacted(&update).map_or(1.0, |short| part(&short, &update));
        Ok(Compact { up: part(&short_up, &found), down, write, read })
    }

    /// Seconds of a gradient without samples, and for each sample, if that of a mini-batch takes `all` seconds.
    fn gradient(&self, run: &Manifest, batch: usize, all: f64) -> Result<(f64, f64), Failure> {
        let small = batch.div_ceil(8);
        if small == batch {
            return Ok((0.0, all / batch as f64));
        }
        let few = self.turn(OTHERS, run, |recipe| {
            recipe.rounds = None;
            recipe.batch_size = small;
            recipe.shard_size = recipe.shard_size.min(small);
        })?;
        let each = ((all - few.computing()) / (batch - small) as f64).clamp(0.0, all / batch as f64);
        Ok((all - each * batch as f64, each))
    }

    /// Seconds in which the coordinator adds one more difference, and takes the outer step. The replicas do hardly anything.
    fn summing(&self, run: &Manifest, delta_bits: DeltaBits) -> Result<(f64, f64), Failure> {
        let with = |replicas: u32| {
            self.turn(OTHERS, run, |recipe| {
                recipe.batch_size = 1;
                recipe.shard_size = 1;
                recipe.optimizer = Optimizer::Sgd;
                let (outer_learning_rate, outer_momentum) = (RATE, 0.5);
                recipe.rounds = Some(Rounds {
                    replicas,
                    steps: Some(1),
                    outer_learning_rate,
                    outer_momentum,
                    delta_bits,
                });
            })
        };
        let (one, many) = (with(1)?.coordinator, with(SUMMED)?.coordinator);
        let each = ((many - one) / f64::from(SUMMED - 1)).max(0.0);
        Ok((each, (one - each).max(0.0)))
    }

    /// Seconds of the hash of the weights, on average over the steps.
    fn hash(&self, run: &Manifest) -> f64 {
        if self.log_steps == 0 {
            return 0.0;
        }
        let params = nn_core::zeroed(run.model().parameters());
        let clock = Clock::start();
        let times = (1 << 22) / params.len().max(1) + 1;
        for _ in 0..times {
            let _ = WeightsHash::of(std::hint::black_box(&params));
        }
        clock.now().as_secs_f64() / times as f64 / self.log_steps as f64
    }

    /// The mean turn of a run that is like `run` but for its recipe.
    fn turn(
        &self,
        time: Duration,
        run: &Manifest,
        change: impl FnOnce(&mut Recipe),
    ) -> Result<Mean, Failure> {
        let mut recipe = run.recipe().clone();
        change(&mut recipe);
        // It must not end, nor diverge, before it is measured.
        recipe.epochs = config::MAX_EPOCHS as u32;
        recipe.early_stopping = None;
        recipe.learning_rate = recipe.learning_rate.min(RATE);
        let manifest = run.with_recipe(recipe).map_err(Failure::usage)?;
        let mut engine = Engine::new(manifest, self.compute.clone(), Duration::ZERO);
        let mut timer = Timer {
            clock: Clock::start(),
            stop: self.stop,
            time,
            received: None,
            last: Duration::ZERO,
            turns: Vec::new(),
        };
        let _ = local::run(&mut engine, self.data, &mut timer).map_err(Failure::data)?;
        if self.stop.is_set() {
            return Err(Failure::interrupted("interrupted while measuring"));
        }
        Ok(timer.mean())
    }
}

/// The part of the weights' bytes that a synchronous run sends (`Manifest::rounded_parameters`).
fn travelling(run: &Manifest) -> f64 {
    let weights: usize = layout(run.model()).iter().map(|layer| layer.weights.len()).sum();
    match run.model().precision() {
        Precision::F32 => 1.0,
        Precision::Bf16 => 1.0 - 0.5 * weights as f64 / run.model().parameters() as f64,
    }
}

/// Seconds in which a byte is copied, on average: a machine with a quota has it here, too.
fn copying() -> f64 {
    let from = vec![1.0_f32; LARGE];
    let mut to = nn_core::zeroed(LARGE);
    let mut copy = |times: usize| {
        for _ in 0..times {
            to.copy_from_slice(std::hint::black_box(&from));
            let _ = std::hint::black_box(&to);
        }
    };
    // The first time the memory is new.
    copy(1);
    const TIMES: usize = 12;
    let clock = Clock::start();
    copy(TIMES);
    clock.now().as_secs_f64() / (TIMES * LARGE * size_of::<f32>()) as f64
}

/// Means of a turn, in seconds: a median would hide the pauses of a machine that has a quota of its processor.
#[derive(Debug, Clone, Copy)]
struct Mean {
    seconds: f64,
    /// The part in which the coordinator summed and stepped.
    coordinator: f64,
}

impl Mean {
    /// The part in which the worker computed.
    fn computing(self) -> f64 {
        (self.seconds - self.coordinator).max(0.0)
    }
}

/// Measures turns until there is time enough.
struct Timer<'a> {
    clock: Clock,
    stop: &'a StopFlag,
    time: Duration,
    /// When the first contribution of the turn was handed to the engine.
    received: Option<Duration>,
    /// When the last turn ended.
    last: Duration,
    /// The turns: all of it, and the coordinator's part.
    turns: Vec<(Duration, Duration)>,
}

impl Timer<'_> {
    fn mean(mut self) -> Mean {
        // Memory and caches are new to the first one.
        if self.turns.len() > LEAST {
            self.turns.remove(0);
        }
        let count = self.turns.len().max(1) as f64;
        let mean = |of: fn(&(Duration, Duration)) -> Duration| {
            self.turns.iter().map(of).sum::<Duration>().as_secs_f64() / count
        };
        Mean { seconds: mean(|turn| turn.0), coordinator: mean(|turn| turn.1) }
    }
}

impl local::Observer for Timer<'_> {
    /// The driver asks before each event, and the first one of a turn is its first contribution.
    fn now(&mut self) -> Duration {
        let now = self.clock.now();
        self.received.get_or_insert(now);
        now
    }

    fn step(&mut self, _: &StepReport) -> ControlFlow<()> {
        let now = self.clock.now();
        let received = self.received.take().unwrap_or(now);
        self.turns.push((now - self.last, now - received));
        self.last = now;
        let enough = now >= self.time && self.turns.len() > LEAST;
        if enough || self.stop.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn epoch(&mut self, _: &EpochReport, _: &[f32]) {}

    fn snapshot(&mut self, _: Snapshot) {}
}
