//! The in-process driver: the engine with one worker in the same memory. This is all that `nn train` runs on.

use std::ops::ControlFlow;
use std::time::Duration;

use nn_core::{Dataset, MismatchError, Workspace};

use crate::engine::{
    Action, Contribution, Engine, EpochReport, Event, Join, Member, Outcome, Part, Snapshot, Step,
    StepReport, Values, WorkerId,
};
use crate::manifest::SampleOrder;

/// What the driver cannot do itself, because it reads no clock and writes no file.
pub trait Observer {
    /// The time since any fixed moment.
    fn now(&mut self) -> Duration;
    /// A step is done, with these parameters. Told before [`Observer::step`]; most need not look.
    fn weights(&mut self, _report: &StepReport, _params: &[f32]) {}
    /// A step is done. `Break` asks for the end.
    fn step(&mut self, report: &StepReport) -> ControlFlow<()>;
    /// An epoch is done, with these parameters.
    fn epoch(&mut self, report: &EpochReport, params: &[f32]);
    /// Whether the run after this epoch is to be kept, though no checkpoint may be due. Asked after [`Observer::epoch`];
    /// a yes is followed by [`Observer::snapshot`].
    fn keeps(&mut self) -> bool {
        false
    }
    /// A checkpoint is due, or this is one to keep.
    fn snapshot(&mut self, snapshot: Snapshot);
}

/// Runs the engine to its end on this machine, on the threads that it was given.
///
/// # Errors
/// If the data do not fit the model.
pub fn run<O: Observer + Send>(
    engine: &mut Engine,
    data: &Dataset,
    observer: &mut O,
) -> Result<Outcome, MismatchError> {
    let compute = engine.compute().clone();
    let threads = compute.threads.clone();
    let threads_here = threads.count();
    // From inside the pool, a step's parallel parts start without crossing from a foreign thread.
    threads.enter(move || {
        let parts = engine.manifest().parts();
        let mut workspace = Workspace::new(
            &parts.model,
            parts.recipe.batch_size.min(parts.train_samples),
            compute.threads,
            compute.isa,
        );
        let mut order = SampleOrder::new(engine.manifest());
        let mut free: Vec<Vec<f32>> = Vec::new();
        let mut actions = Vec::new();
        let mut todo = Vec::new();
        let me = WorkerId(0);
        let join = Join { worker: me, member: Member(0), incarnation: 0, threads: threads_here };
        engine.handle(observer.now(), Event::Joined(join), &mut actions);
        loop {
            let mut stop = false;
            let mut written = None;
            for action in actions.drain(..) {
                match action {
                    Action::Assign(assignment) => todo.push(assignment),
                    Action::Recycle(buffer) => free.push(buffer),
                    Action::StepDone(report) => {
                        observer.weights(&report, engine.params());
                        stop |= observer.step(&report).is_break();
                    }
                    Action::EpochDone(report) => {
                        observer.epoch(&report, engine.params());
                        if observer.keeps() {
                            observer.snapshot(engine.snapshot());
                        }
                    }
                    Action::WriteSnapshot => {
                        written = Some(Step(engine.steps_done()));
                        observer.snapshot(engine.snapshot());
                    }
                    Action::Finish(outcome) => return Ok(outcome),
                    // The weights are where the only worker reads them.
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
                engine.handle(observer.now(), Event::SnapshotWritten(step), &mut actions);
            }
            if stop {
                engine.handle(observer.now(), Event::StopRequested, &mut actions);
                continue;
            }
            let Some(task) = todo.pop() else {
                unreachable!("the engine waits for its only worker, which has nothing to do")
            };
            let mut gradient = free.pop().unwrap_or_else(|| nn_core::zeroed(engine.params().len()));
            let manifest = engine.manifest();
            let batch = order.batch(manifest, task.step.0);
            let samples = &batch[manifest.tree(task.step.0).samples_of(task.node)];
            let shard = manifest.recipe().shard_size;
            let stats = workspace.node_gradient(engine.params(), data, samples, shard, &mut gradient)?;
            let contribution = Contribution {
                worker: me,
                generation: task.generation,
                step: task.step,
                attempt: task.attempt,
                node: task.node,
                part: Part::All,
                values: Values::Own(gradient),
                finite: stats.finite,
                stats: Some(stats),
                compute: Duration::ZERO,
            };
            engine.handle(observer.now(), Event::Contribution(contribution), &mut actions);
        }
    })
}
