//! The in-process driver: the engine with one worker in the same memory. This is all that `nn train` runs on.

use std::ops::ControlFlow;
use std::time::Duration;

use nn_core::{Dataset, MismatchError, Workspace};

use crate::engine::{
    Action, Contribution, Engine, EpochReport, Event, Outcome, Snapshot, StepReport, WorkerId,
};
use crate::manifest::SampleOrder;

/// What the driver cannot do itself, because it reads no clock and writes no file.
pub trait Observer {
    /// The time since any fixed moment.
    fn now(&mut self) -> Duration;
    /// A step is done. `Break` asks for the end.
    fn step(&mut self, report: &StepReport) -> ControlFlow<()>;
    /// An epoch is done, with these parameters.
    fn epoch(&mut self, report: &EpochReport, params: &[f32]);
    /// A checkpoint is due.
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
    // From inside the pool, a step's parallel parts start without crossing from a foreign thread.
    threads.enter(move || {
        let parts = engine.manifest().parts();
        let mut workspace = Workspace::new(
            &parts.model,
            parts.batch_size.min(parts.train_samples),
            compute.threads,
            compute.isa,
        );
        let mut order = SampleOrder::new(engine.manifest());
        let mut free: Vec<Vec<f32>> = Vec::new();
        let mut actions = Vec::new();
        let mut todo = Vec::new();
        let me = WorkerId(0);
        engine.handle(observer.now(), Event::WorkerJoined(me), &mut actions);
        loop {
            let mut stop = false;
            for action in actions.drain(..) {
                match action {
                    Action::Assign { step, node, .. } => todo.push((step, node)),
                    Action::Recycle(buffer) => free.push(buffer),
                    Action::StepDone(report) => stop |= observer.step(&report).is_break(),
                    Action::EpochDone(report) => observer.epoch(&report, engine.params()),
                    Action::WriteSnapshot => observer.snapshot(engine.snapshot()),
                    Action::Finish(outcome) => return Ok(outcome),
                    Action::Reject { reason, .. } => {
                        unreachable!("our own contribution was refused: {reason}")
                    }
                }
            }
            if stop {
                engine.handle(observer.now(), Event::StopRequested, &mut actions);
                continue;
            }
            let Some((step, node)) = todo.pop() else {
                unreachable!("the engine waits for its only worker, which has nothing to do")
            };
            let mut gradient = free.pop().unwrap_or_else(|| vec![0.0; engine.params().len()]);
            let manifest = engine.manifest();
            let batch = order.batch(manifest, step.0);
            let samples = &batch[manifest.tree(step.0).samples_of(node)];
            let shard = manifest.parts().shard_size;
            let stats = workspace.node_gradient(engine.params(), data, samples, shard, &mut gradient)?;
            let contribution = Contribution { worker: me, step, node, stats, gradient };
            engine.handle(observer.now(), Event::Contribution(contribution), &mut actions);
        }
    })
}
