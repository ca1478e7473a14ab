//! The worker in the coordinator's own process: one like any other to the engine, but nothing to or from it travels. It
//! computes with the engine's weights where they are, on a thread and in a pool of its own, so that the driver goes on
//! receiving, reducing and stepping meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as jobs;

use bytes::Bytes;
use nn_core::{Compute, Dataset, MismatchError, Node};
use nn_engine::{Contribution, Encoding, Join, Manifest, Member, Received, Values, WorkerId};
use tokio::sync::mpsc::WeakSender;

use super::driver::Command;
use super::peer::Meter;
use crate::compute::{Counters, Head, Job, Kernel, Sink};
use crate::proto as pb;
use crate::wire::BUILD;
use crate::wire::convert::{Place, address};
use crate::wire::tensor::Pool;

/// Its number.
pub(super) const OWN: WorkerId = WorkerId(pb::OWN_WORKER);

/// Its name for people.
pub(super) const NAME: &str = "this machine";

/// The worker, as the driver knows it. When it is dropped, its thread ends by itself, at the latest after the node that it
/// computes.
#[derive(Debug)]
pub(super) struct Own {
    jobs: jobs::Sender<Job>,
    /// Buffers that come back from the engine.
    pool: Pool,
    counters: Arc<Counters>,
    /// The first step whose nodes are wanted.
    latest: Arc<AtomicU64>,
    compute: Compute,
    pub(super) meter: Meter,
}

impl Own {
    /// Starts its thread. Results, and the end of the thread, become commands for the driver. The thread does not keep the
    /// driver's channel open.
    pub(super) fn start(
        compute: Compute,
        manifest: Manifest,
        data: Arc<Dataset>,
        commands: WeakSender<Command>,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = jobs::channel();
        let (pool, counters, latest): (Pool, Arc<Counters>, Arc<AtomicU64>) = Default::default();
        let encoding = manifest.contribution_encoding();
        let sink = InMemory { commands: commands.clone(), encoding, pool: pool.clone() };
        let kernel = Kernel {
            manifest,
            data,
            compute: compute.clone(),
            sink,
            counters: counters.clone(),
            latest: latest.clone(),
        };
        let mut last_words = LastWords(Some(commands));
        kernel.start(receiver, move |ended| last_words.say(ended))?;
        Ok(Self { jobs: sender, pool, counters, latest, compute, meter: Meter::default() })
    }

    /// The request with which it joins. No connection replaces it, whatever member that claims to be.
    pub(super) fn join(&self) -> Join {
        let threads = self.compute.threads.count();
        Join { worker: OWN, member: Member(0), incarnation: u64::MAX, threads }
    }

    /// Has nodes computed with these weights.
    pub(super) fn assign(&self, place: Place, nodes: Vec<Node>, params: Arc<Vec<f32>>) {
        self.counters.waiting.fetch_add(nodes.len() as u64, Ordering::Relaxed);
        // If the thread has ended, its last words are on their way.
        let _ = self.jobs.send(Job { place, nodes, params });
    }

    /// Takes a buffer back.
    pub(super) fn recycle(&self, buffer: Vec<f32>) {
        self.pool.put_back(buffer);
    }

    /// What is always the same in its status.
    pub(super) fn status(&self) -> pb::WorkerStatus {
        pb::WorkerStatus {
            worker: OWN.0,
            name: NAME.to_owned(),
            threads: self.compute.threads.count() as u32,
            instructions: self.compute.isa.name().to_owned(),
            share: self.meter.share,
            build: BUILD.to_owned(),
            ..pb::WorkerStatus::default()
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.latest.store(u64::MAX, Ordering::Relaxed);
    }
}

/// Hands results to the driver.
struct InMemory {
    commands: WeakSender<Command>,
    encoding: Encoding,
    pool: Pool,
}

impl InMemory {
    fn send(&self, head: Head, values: Values) -> bool {
        let Head { place, node, part, finite, last } = head;
        let (generation, step, attempt) = address(place);
        let (stats, compute) = last.map_or((None, Default::default()), |(stats, time)| (Some(stats), time));
        let contribution = Contribution {
            worker: OWN,
            generation,
            step,
            attempt,
            node,
            part,
            values,
            finite,
            stats,
            compute,
        };
        let command = Command::Gradient(Box::new(contribution));
        self.commands.upgrade().is_some_and(|commands| commands.blocking_send(command).is_ok())
    }
}

impl Sink for InMemory {
    fn buffer(&self, len: usize) -> Vec<f32> {
        self.pool.take(len)
    }

    fn gradient(&self, head: Head, values: Vec<f32>) -> bool {
        self.send(head, Values::Own(values))
    }

    fn difference(&self, head: Head, _: usize, bytes: Vec<u8>) -> bool {
        self.send(head, Values::Received(Received::new(self.encoding, vec![Bytes::from(bytes)])))
    }
}

/// Tells the driver if the thread fails: the run would wait for it without end.
struct LastWords(Option<WeakSender<Command>>);

impl LastWords {
    fn say(&mut self, ended: Result<(), MismatchError>) {
        match ended {
            Ok(()) => self.0 = None,
            Err(error) => self.tell(error.to_string()),
        }
    }

    fn tell(&mut self, why: String) {
        if let Some(commands) = self.0.take().and_then(|commands| commands.upgrade()) {
            let _ = commands.blocking_send(Command::OwnFailed(why));
        }
    }
}

impl Drop for LastWords {
    fn drop(&mut self) {
        self.tell("it panicked; its message is above".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::time::Duration;

    use nn_engine::local::Observer;
    use nn_engine::{EpochReport, Outcome, Snapshot, StepReport};
    use tokio::sync::mpsc;

    use super::*;
    use crate::fuzzing::fixture::FIXTURE;
    use crate::server::coordinator::Coordinator;
    use crate::server::options::CoordinatorOptions;

    struct Silent;

    impl Observer for Silent {
        fn now(&mut self) -> Duration {
            Duration::ZERO
        }
        fn step(&mut self, _: &StepReport) -> ControlFlow<()> {
            ControlFlow::Continue(())
        }
        fn epoch(&mut self, _: &EpochReport, _: &[f32]) {}
        fn snapshot(&mut self, _: Snapshot) {}
    }

    /// A coordinator that computes, once somebody else has joined.
    fn coordinator() -> Coordinator<Silent> {
        let options =
            CoordinatorOptions { own_worker: Some(FIXTURE.compute.clone()), ..CoordinatorOptions::default() };
        let data = FIXTURE.set.dataset().clone();
        Coordinator::start(FIXTURE.engine(0.0), data, Silent, options).unwrap()
    }

    #[test]
    fn a_run_ends_and_says_why_if_the_thread_fails() {
        let coordinator = coordinator();
        let failed = Command::OwnFailed("on purpose".to_owned());
        coordinator.handle().commands.blocking_send(failed).unwrap();
        let finished = coordinator.join().unwrap();
        assert_eq!(finished.outcome, Outcome::Stopped);
        assert_eq!(finished.own_failure.as_deref(), Some("on purpose"));
    }

    #[test]
    fn a_run_that_nobody_serves_any_more_ends_although_the_thread_waits() {
        let finished = coordinator().join().unwrap();
        assert_eq!((finished.outcome, finished.own_failure), (Outcome::Stopped, None));
    }

    #[test]
    fn the_driver_hears_of_a_thread_that_fails_and_of_no_other() {
        let (commands, mut heard) = mpsc::channel(4);
        let words = || LastWords(Some(commands.downgrade()));
        words().say(Ok(()));
        assert!(heard.try_recv().is_err());
        words().say(Err(MismatchError::Inputs { model: 1, data: 2 }));
        let mut failed = || match heard.try_recv() {
            Ok(Command::OwnFailed(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(failed().contains('1'));
        let words = words();
        let thread = std::thread::spawn(move || {
            let _words = words;
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        assert!(thread.join().is_err());
        assert_eq!(failed(), "it panicked; its message is above");
        assert!(heard.try_recv().is_err());
    }
}
