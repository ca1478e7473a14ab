//! The in-process driver: the engine with one worker in the same memory. `nn train` runs on it.

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nn_core::{Dataset, MismatchError, NodeStats, Workspace};

use crate::engine::Received;
use crate::engine::{
    Action, Assignment, Contribution, Engine, EpochReport, Event, Join, Member, Outcome, Part, Snapshot,
    Step, StepReport, Values, WorkerId,
};
use crate::manifest::SampleOrder;
use crate::replica::{Computed, Replicas, Round};

/// The driver's surroundings: it reads no clock and writes no file itself.
pub trait Observer {
    /// The time since any fixed moment.
    fn now(&mut self) -> Duration;
    /// A step is complete, with these parameters. Called before [`Observer::step`]; most observers can ignore it.
    fn weights(&mut self, _report: &StepReport, _params: &[f32]) {}
    /// A step is complete. `Break` stops the run.
    fn step(&mut self, report: &StepReport) -> ControlFlow<()>;
    /// An epoch is complete, with these trained weights, of which the run's model is the average. Called before
    /// [`Observer::epoch`], which gets the average, in runs that have one.
    fn trained(&mut self, _report: &EpochReport, _params: &[f32]) {}
    /// An epoch is complete, with these parameters of the run's model.
    fn epoch(&mut self, report: &EpochReport, params: &[f32]);
    /// The mean loss of the run's model on its validation samples after this epoch, if it was evaluated. Called after
    /// [`Observer::epoch`]; a run with the schedule `plateau` needs it.
    fn validation_loss(&mut self) -> Option<f64> {
        None
    }
    /// Whether to keep the run as it is after this epoch, even if no checkpoint is due. Called after
    /// [`Observer::epoch`]; if true, [`Observer::snapshot`] follows.
    fn keeps(&mut self) -> bool {
        false
    }
    /// Whether the run ends after this epoch, before its last one. Called after [`Observer::epoch`].
    fn ends(&mut self) -> bool {
        false
    }
    /// A checkpoint is due, or is to be kept.
    fn snapshot(&mut self, snapshot: Snapshot);
    /// The workers of a cluster have changed: that of this name came or went. Only for people: the run does not depend on it.
    fn worker(&mut self, _name: &str, _change: &WorkerChange) {}
}

/// What happened to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerChange {
    /// It has the training set, and takes part from now on.
    Joined,
    /// Its connection is over.
    Left,
    /// It was sent away, for this reason.
    Removed(String),
}

/// Runs the engine to its end in this process, on the threads of [`Engine::compute`].
///
/// # Errors
/// If the data do not fit the model.
pub fn run<O: Observer + Send>(
    engine: &mut Engine,
    data: &Dataset,
    observer: &mut O,
) -> Result<Outcome, MismatchError> {
    let threads = engine.compute().threads.clone();
    // From inside the pool, a step's parallel parts start without crossing from a foreign thread.
    threads.enter(move || {
        let worker = Worker::new(engine, data);
        Driver { engine, observer, worker, actions: Vec::new(), todo: Vec::new() }.run()
    })
}

/// The connection of the only worker.
const ME: WorkerId = WorkerId(0);

/// The engine and its only worker.
struct Driver<'a, O> {
    engine: &'a mut Engine,
    observer: &'a mut O,
    worker: Worker<'a>,
    actions: Vec<Action>,
    /// Nodes that the worker has to compute.
    todo: Vec<Assignment>,
}

/// What follows once all actions are done.
enum Next {
    Compute,
    Stop,
    End(Outcome),
}

impl<O: Observer> Driver<'_, O> {
    fn run(mut self) -> Result<Outcome, MismatchError> {
        let threads = self.engine.compute().threads.count();
        self.handle(Event::Joined(Join { worker: ME, member: Member(0), incarnation: 0, threads }));
        loop {
            match self.act() {
                Next::Compute => {
                    let Some(task) = self.todo.pop() else {
                        unreachable!("the engine waits for its only worker, which has nothing to do")
                    };
                    match &mut self.worker.place {
                        Place::Node(_) => {
                            let contribution = self.worker.compute(self.engine, task)?;
                            self.handle(Event::Contribution(contribution));
                        }
                        Place::Replicas(_) => {
                            self.todo.push(task);
                            let tasks = std::mem::take(&mut self.todo);
                            for contribution in self.worker.replicas(self.engine, &tasks)? {
                                self.handle(Event::Contribution(contribution));
                            }
                        }
                    }
                }
                Next::Stop => self.handle(Event::StopRequested),
                Next::End(outcome) => return Ok(outcome),
            }
        }
    }

    fn handle(&mut self, event: Event) {
        self.engine.handle(self.observer.now(), event, &mut self.actions);
    }

    /// Does all that the engine asks for.
    fn act(&mut self) -> Next {
        let mut next = Next::Compute;
        let mut written = None;
        for action in self.actions.drain(..) {
            match action {
                Action::Assign(assignment) => self.todo.push(assignment),
                Action::Recycle(buffer) => self.worker.free.push(buffer),
                Action::StepDone(report) => {
                    self.observer.weights(&report, self.engine.params());
                    if self.observer.step(&report).is_break() {
                        next = Next::Stop;
                    }
                }
                Action::EpochDone(report) => {
                    if self.engine.average().is_some() {
                        self.observer.trained(&report, self.engine.params());
                    }
                    self.observer.epoch(&report, self.engine.model_params());
                    if let Some(loss) = self.observer.validation_loss() {
                        self.engine.evaluated(loss);
                    }
                    if self.observer.keeps() {
                        self.observer.snapshot(self.engine.snapshot());
                    }
                    if self.observer.ends() {
                        next = Next::Stop;
                    }
                }
                Action::WriteSnapshot => {
                    written = Some(Step(self.engine.steps_done()));
                    self.observer.snapshot(self.engine.snapshot());
                }
                Action::Finish(outcome) => return Next::End(outcome),
                // The only worker reads the weights where they are.
                Action::Send { .. }
                | Action::Broadcast { .. }
                | Action::Counted { .. }
                | Action::Release { .. } => {}
                Action::Reject { reason, .. } => {
                    unreachable!("our own contribution was refused: {reason}")
                }
            }
        }
        if let Some(step) = written {
            self.handle(Event::SnapshotWritten(step));
        }
        next
    }
}

/// The worker in this process.
struct Worker<'a> {
    data: &'a Dataset,
    place: Place,
    order: SampleOrder,
    /// Gradient buffers that are not in use.
    free: Vec<Vec<f32>>,
}

/// Where the worker computes.
enum Place {
    /// Nodes of a mini-batch.
    Node(Box<Workspace>),
    /// Replicas of a round.
    Replicas(Box<Replicas>),
}

/// A replica's result: its leaf, its figures, and its difference piece by piece, each with whether it is finite.
type Difference = (u32, NodeStats, Vec<(Vec<u8>, bool)>);

impl<'a> Worker<'a> {
    fn new(engine: &Engine, data: &'a Dataset) -> Self {
        let manifest = engine.manifest();
        let compute = engine.compute().clone();
        let place = if manifest.rounds().is_some() {
            Place::Replicas(Box::new(Replicas::new(compute)))
        } else {
            Place::Node(Box::new(manifest.workspace(compute)))
        };
        Self { data, place, order: SampleOrder::new(manifest), free: Vec::new() }
    }

    /// Computes a node's gradient, loss and counts.
    fn compute(&mut self, engine: &Engine, task: Assignment) -> Result<Contribution, MismatchError> {
        let Place::Node(workspace) = &mut self.place else { unreachable!("a run without rounds") };
        let mut gradient = self.free.pop().unwrap_or_else(|| nn_core::zeroed(engine.params().len()));
        let manifest = engine.manifest();
        let batch = self.order.batch(manifest, task.step.0);
        let samples = batch.part(manifest.tree(task.step.0).samples_of(task.node));
        let shard = manifest.recipe().shard_size;
        let stats = workspace.node_gradient(engine.params(), self.data, samples, shard, &mut gradient)?;
        Ok(contribution(task, Part::All, Values::Own(gradient), stats.finite, Some(stats)))
    }

    /// Computes replicas of one round, piece by piece of all of them.
    fn replicas(
        &mut self,
        engine: &Engine,
        tasks: &[Assignment],
    ) -> Result<Vec<Contribution>, MismatchError> {
        let Place::Replicas(replicas) = &mut self.place else { unreachable!("a run with rounds") };
        let Some(first) = tasks.first() else { return Ok(Vec::new()) };
        let (manifest, step) = (engine.manifest(), first.step.0);
        let samples = self.order.batch(manifest, step);
        let round = Round { manifest, data: self.data, public: engine.params(), step, samples };
        let leaves: Vec<u32> = tasks.iter().map(|task| task.node.index).collect();
        let pieces = manifest.pieces();
        let done: Mutex<Vec<Difference>> = Mutex::default();
        replicas.run(round, &leaves, &|| true, &|| Duration::ZERO, &|computed: Computed<'_>| {
            let Computed { leaf, replica, stats, .. } = computed;
            let piece = |range: &std::ops::Range<usize>| {
                let mut bytes = Vec::new();
                let finite = replica.difference(round, leaf, range.clone(), &mut bytes);
                (bytes, finite)
            };
            let all = pieces.iter().map(piece).collect();
            done.lock().unwrap_or_else(PoisonError::into_inner).push((leaf, stats, all));
        })?;
        let encoding = manifest.contribution_encoding();
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut contributions = Vec::new();
        for piece in 0..pieces.len() {
            let last = piece + 1 == pieces.len();
            for (leaf, stats, all) in &mut done {
                let Some(&task) = tasks.iter().find(|task| task.node.index == *leaf) else { continue };
                let (bytes, finite) = std::mem::take(&mut all[piece]);
                let values = Values::Received(Received::new(encoding, vec![bytes.into()]));
                let finite = finite && (!last || stats.loss.is_finite());
                contributions.push(contribution(
                    task,
                    Part::Layer(piece as u32),
                    values,
                    finite,
                    last.then_some(*stats),
                ));
            }
        }
        Ok(contributions)
    }
}

/// What the only worker contributes.
fn contribution(
    task: Assignment,
    part: Part,
    values: Values,
    finite: bool,
    stats: Option<NodeStats>,
) -> Contribution {
    let Assignment { generation, step, attempt, node, .. } = task;
    let compute = Duration::ZERO;
    Contribution { worker: ME, generation, step, attempt, node, part, values, finite, stats, compute }
}
