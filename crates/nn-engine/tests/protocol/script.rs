//! The elements of a script: a coordinator, made-up answers, and questions about the actions that follow.

use std::sync::Arc;
pub(crate) use std::time::Duration;

use bytes::Bytes;
use nn_core::{Activation, Cost, Isa, Model, NodeStats, Optimizer, Output, Threads};
use nn_engine::{Compute, Manifest, ManifestParts, Recipe};

// The vocabulary of all scripts.
pub(crate) use nn_core::Node;
pub(crate) use nn_engine::{
    Action, Assignment, Cluster, Contribution, Encoding, Engine, Event, Generation, Join, Member, Outcome,
    Part, Received, Rejection, Release, Step, Values, Waiting, WorkerId, WorkerState,
};

/// The layers' numbers of parameters in a 4-3-2 network. A step has twelve samples in six leaves of two.
pub(crate) const SIZES: [usize; 2] = [15, 8];

pub(crate) struct Script {
    pub(crate) engine: Engine,
    pub(crate) now: Duration,
}

pub(crate) fn manifest() -> Manifest {
    Manifest::new(ManifestParts {
        model: Model::new(vec![4, 3, 2], Activation::Sigmoid, Output::Sigmoid, Cost::Mse).unwrap(),
        recipe: Recipe {
            optimizer: Optimizer::Momentum { momentum: 0.9 },
            learning_rate: 0.5,
            batch_size: 12,
            epochs: 2,
            ..Recipe::book()
        },
        train_samples: 24,
        data_sha256: "00".repeat(32),
        preprocess_sha256: None,
    })
    .unwrap()
}

impl Script {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self::of(manifest(), cluster)
    }

    /// A script of a run whose steps and layers are those of [`manifest`].
    pub(crate) fn of(manifest: Manifest, cluster: Cluster) -> Self {
        let compute = Compute { isa: Isa::best(), threads: Arc::new(Threads::new(1).unwrap()) };
        let engine = Engine::new(manifest, compute, Duration::from_secs(100)).with_cluster(cluster);
        Self { engine, now: Duration::ZERO }
    }

    pub(crate) fn event(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.engine.handle(self.now, event, &mut actions);
        actions
    }

    pub(crate) fn join(&mut self, worker: u64) -> Vec<Action> {
        self.event(Event::Joined(Join {
            worker: WorkerId(worker),
            member: Member(worker),
            incarnation: 0,
            threads: 1,
        }))
    }

    pub(crate) fn send(&mut self, contribution: Contribution) -> Vec<Action> {
        self.event(Event::Contribution(contribution))
    }

    /// Lets time pass, with a tick every half second.
    pub(crate) fn after(&mut self, time: Duration) -> Vec<Action> {
        let until = self.now + time;
        let mut actions = Vec::new();
        while self.now < until {
            self.now = until.min(self.now + Duration::from_millis(500));
            actions.extend(self.event(Event::Tick));
        }
        actions
    }

    pub(crate) fn state(&self, worker: u64) -> Option<WorkerState> {
        let status = self.engine.status(self.now);
        status.workers.iter().find(|w| w.id == WorkerId(worker)).map(|w| w.state)
    }
}

pub(crate) fn cluster() -> Cluster {
    Cluster { generation: Generation(3), ..Cluster::default() }
}

/// One worker's assignments.
pub(crate) fn assigned(actions: &[Action], worker: u64) -> Vec<Assignment> {
    let all = actions.iter().filter_map(|action| match action {
        Action::Assign(assignment) if assignment.worker == WorkerId(worker) => Some(*assignment),
        _ => None,
    });
    all.collect()
}

pub(crate) fn received(bytes: Bytes) -> Values {
    Values::Received(Received::new(Encoding::F32, vec![bytes]))
}

pub(crate) fn wire(values: &[f32]) -> Values {
    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    received(bytes.into())
}

/// A made-up answer to an assignment.
pub(crate) fn answer(a: Assignment, part: Part, value: f32) -> Contribution {
    let numbers = match part {
        Part::All => SIZES.iter().sum(),
        Part::Layer(layer) => SIZES[layer as usize],
    };
    let samples = manifest().tree(a.step.0).samples_of(a.node).len();
    let last = part != Part::Layer(1);
    Contribution {
        worker: a.worker,
        generation: a.generation,
        step: a.step,
        attempt: a.attempt,
        node: a.node,
        part,
        values: wire(&vec![value; numbers]),
        finite: true,
        compute: Duration::ZERO,
        stats: last.then_some(NodeStats { samples, loss: 1.0, correct: 1, finite: true }),
    }
}

pub(crate) fn rejections(actions: &[Action]) -> Vec<Rejection> {
    let all = actions.iter().filter_map(|action| match action {
        Action::Reject { reason, .. } => Some(*reason),
        _ => None,
    });
    all.collect()
}

pub(crate) fn refused(actions: &[Action]) -> Option<Rejection> {
    actions.iter().find_map(|action| match action {
        Action::Release { reason: Release::Refused(reason), .. } => Some(*reason),
        _ => None,
    })
}

pub(crate) fn outcome(actions: &[Action]) -> Option<Outcome> {
    actions.iter().find_map(|action| match action {
        Action::Finish(outcome) => Some(*outcome),
        _ => None,
    })
}

pub(crate) fn has(actions: &[Action], wanted: impl Fn(&Action) -> bool) -> bool {
    actions.iter().any(wanted)
}

/// Three workers at the beginning of step 1, each with one node of two leaves.
pub(crate) fn three_with_two_leaves_each() -> (Script, [Assignment; 3]) {
    let mut script = Script::new(Cluster { link_bytes_per_second: 1e12, ..cluster() });
    let actions = script.join(1);
    script.join(2);
    script.join(3);
    script.now += Duration::from_millis(100);
    let actions = script.send(answer(assigned(&actions, 1)[0], Part::All, 0.1));
    let tasks = [1, 2, 3].map(|worker| assigned(&actions, worker)[0]);
    for (index, task) in (0..).zip(&tasks) {
        assert_eq!((task.step, task.node), (Step(1), Node { level: 1, index }));
    }
    (script, tasks)
}
