//! The in-process driver: the engine with one worker in the same memory. `nn train` runs on it.

use std::ops::ControlFlow;
use std::time::Duration;

use nn_core::{Dataset, MismatchError, Workspace};

use crate::engine::{
    Action, Assignment, Contribution, Engine, EpochReport, Event, Join, Member, Outcome, Part, Snapshot,
    Step, StepReport, Values, WorkerId,
};
use crate::manifest::SampleOrder;

/// The driver's surroundings: it reads no clock and writes no file itself.
pub trait Observer {
    /// The time since any fixed moment.
    fn now(&mut self) -> Duration;
    /// A step is complete, with these parameters. Called before [`Observer::step`]; most observers can ignore it.
    fn weights(&mut self, _report: &StepReport, _params: &[f32]) {}
    /// A step is complete. `Break` stops the run.
    fn step(&mut self, report: &StepReport) -> ControlFlow<()>;
    /// An epoch is complete, with these parameters.
    fn epoch(&mut self, report: &EpochReport, params: &[f32]);
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
                    let contribution = self.worker.compute(self.engine, task)?;
                    self.handle(Event::Contribution(contribution));
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
                    self.observer.epoch(&report, self.engine.params());
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
    workspace: Workspace,
    order: SampleOrder,
    /// Gradient buffers that are not in use.
    free: Vec<Vec<f32>>,
}

impl<'a> Worker<'a> {
    fn new(engine: &Engine, data: &'a Dataset) -> Self {
        let parts = engine.manifest().parts();
        let compute = engine.compute().clone();
        let batch = parts.recipe.batch_size.min(parts.train_samples);
        let workspace = Workspace::new(&parts.model, batch, compute.threads, compute.isa);
        Self { data, workspace, order: SampleOrder::new(engine.manifest()), free: Vec::new() }
    }

    /// Computes a node's gradient, loss and counts.
    fn compute(&mut self, engine: &Engine, task: Assignment) -> Result<Contribution, MismatchError> {
        let mut gradient = self.free.pop().unwrap_or_else(|| nn_core::zeroed(engine.params().len()));
        let manifest = engine.manifest();
        let batch = self.order.batch(manifest, task.step.0);
        let samples = &batch[manifest.tree(task.step.0).samples_of(task.node)];
        let shard = manifest.recipe().shard_size;
        let stats =
            self.workspace.node_gradient(engine.params(), self.data, samples, shard, &mut gradient)?;
        Ok(Contribution {
            worker: ME,
            generation: task.generation,
            step: task.step,
            attempt: task.attempt,
            node: task.node,
            part: Part::All,
            values: Values::Own(gradient),
            finite: stats.finite,
            stats: Some(stats),
            compute: Duration::ZERO,
        })
    }
}
