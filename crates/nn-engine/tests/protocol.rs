//! The protocol as scripts: one coordinator, made-up gradients, and what must come of each event.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nn_core::{
    Activation, Cost, Init, Isa, Model, Node, NodeStats, Optimizer, Output, Schedule, ScheduleShape, Threads,
};
use nn_engine::{
    Action, Assignment, Cluster, Compute, Contribution, Engine, Event, Generation, Join, Manifest,
    ManifestParts, Member, Outcome, Part, Rejection, Release, Step, Values, Waiting, WorkerId, WorkerState,
};

/// 4-3-2: layer 0 has 15 parameters, layer 1 has 8. Twelve samples a step in six leaves of two.
const SIZES: [usize; 2] = [15, 8];

struct Script {
    engine: Engine,
    now: Duration,
}

fn manifest() -> Manifest {
    Manifest::new(ManifestParts {
        model: Model::new(vec![4, 3, 2], Activation::Sigmoid, Output::Sigmoid, Cost::Mse).unwrap(),
        init: Init::Scaled,
        optimizer: Optimizer::Momentum { momentum: 0.9 },
        schedule: Schedule { shape: ScheduleShape::Constant, warmup_steps: 0 },
        learning_rate: 0.5,
        l2: 0.0,
        batch_size: 12,
        shard_size: 2,
        epochs: 2,
        seed: 1,
        train_samples: 24,
        data_sha256: "00".repeat(32),
    })
    .unwrap()
}

impl Script {
    fn new(cluster: Cluster) -> Self {
        let compute = Compute { isa: Isa::best(), threads: Arc::new(Threads::new(1).unwrap()) };
        let engine = Engine::new(manifest(), compute, Duration::from_secs(100)).with_cluster(cluster);
        Self { engine, now: Duration::ZERO }
    }

    fn event(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.engine.handle(self.now, event, &mut actions);
        actions
    }

    fn join(&mut self, worker: u64) -> Vec<Action> {
        self.event(Event::Joined(Join {
            worker: WorkerId(worker),
            member: Member(worker),
            incarnation: 0,
            threads: 1,
        }))
    }

    fn send(&mut self, contribution: Contribution) -> Vec<Action> {
        self.event(Event::Contribution(contribution))
    }

    fn after(&mut self, time: Duration) -> Vec<Action> {
        self.now += time;
        self.event(Event::Tick)
    }

    fn state(&self, worker: u64) -> Option<WorkerState> {
        let status = self.engine.status(self.now);
        status.workers.iter().find(|w| w.id == WorkerId(worker)).map(|w| w.state)
    }
}

fn cluster() -> Cluster {
    Cluster { generation: Generation(3), ..Cluster::default() }
}

/// Of one worker.
fn assigned(actions: &[Action], worker: u64) -> Vec<Assignment> {
    let all = actions.iter().filter_map(|action| match action {
        Action::Assign(assignment) if assignment.worker == WorkerId(worker) => Some(*assignment),
        _ => None,
    });
    all.collect()
}

fn wire(values: &[f32]) -> Values {
    Values::Wire(vec![values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>().into()])
}

/// A made-up answer to an assignment.
fn answer(a: Assignment, part: Part, value: f32) -> Contribution {
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
        stats: last.then_some(NodeStats { samples, loss: 1.0, correct: 1, finite: true }),
    }
}

fn rejections(actions: &[Action]) -> Vec<Rejection> {
    let all = actions.iter().filter_map(|action| match action {
        Action::Reject { reason, .. } => Some(*reason),
        _ => None,
    });
    all.collect()
}

fn refused(actions: &[Action]) -> Option<Rejection> {
    actions.iter().find_map(|action| match action {
        Action::Release { reason: Release::Refused(reason), .. } => Some(*reason),
        _ => None,
    })
}

fn outcome(actions: &[Action]) -> Option<Outcome> {
    actions.iter().find_map(|action| match action {
        Action::Finish(outcome) => Some(*outcome),
        _ => None,
    })
}

fn has(actions: &[Action], wanted: impl Fn(&Action) -> bool) -> bool {
    actions.iter().any(wanted)
}

#[test]
fn layers_are_stepped_and_broadcast_while_others_still_arrive() {
    let mut script = Script::new(cluster());
    let tasks = assigned(&script.join(1), 1);
    assert_eq!(tasks.len(), 1);
    let before = script.engine.params().to_vec();
    let actions = script.send(answer(tasks[0], Part::Layer(1), 1.0));
    assert!(has(&actions, |a| matches!(a, Action::Broadcast { step: Step(1), part: Part::Layer(1) })));
    // The new layer can be seen, and nothing else of the step.
    assert_eq!(script.engine.params(), before);
    let ahead = script.engine.weights(Step(1), Part::Layer(1)).unwrap().to_vec();
    assert!(ahead.iter().zip(&before[15..]).all(|(new, old)| new < old));
    assert_eq!(script.engine.weights(Step(1), Part::Layer(0)), None);
    assert_eq!(script.engine.weights(Step(1), Part::All), None);
    assert_eq!(script.engine.weights(Step(2), Part::Layer(1)), None);
    assert_eq!(script.engine.weights(Step(0), Part::All), Some(&before[..]));
    assert_eq!(script.engine.part_range(Part::Layer(2)), None);

    let actions = script.send(answer(tasks[0], Part::Layer(0), 1.0));
    assert!(has(&actions, |a| matches!(a, Action::StepDone(report) if report.samples == 12)));
    assert_eq!(script.engine.steps_done(), 1);
    assert_eq!(script.engine.weights(Step(1), Part::Layer(1)), Some(&ahead[..]));
    assert_eq!(assigned(&actions, 1).len(), 1);
}

#[test]
fn a_divergence_or_a_stop_in_mid_step_leaves_the_last_complete_step() {
    for stop in [false, true] {
        let mut script = Script::new(cluster());
        let mut actions = script.join(1);
        actions = script.send(answer(assigned(&actions, 1)[0], Part::All, 1.0));
        let task = assigned(&actions, 1)[0];
        let before = script.engine.snapshot();
        script.send(answer(task, Part::Layer(1), 1.0));
        assert!(script.engine.weights(Step(2), Part::Layer(1)).is_some());
        if stop {
            actions = script.event(Event::StopRequested);
            assert_eq!(outcome(&actions), Some(Outcome::Stopped));
        } else {
            let mut bad = answer(task, Part::Layer(0), f32::INFINITY);
            bad.finite = false;
            actions = script.send(bad);
            assert_eq!(outcome(&actions), Some(Outcome::Diverged { epoch: 0, step: Step(1) }));
        }
        assert_eq!(has(&actions, |a| matches!(a, Action::WriteSnapshot)), stop);
        assert!(has(&actions, |a| matches!(a, Action::Release { reason: Release::Over(_), .. })));
        assert_eq!(script.engine.snapshot(), before);
        assert_eq!(script.engine.weights(Step(2), Part::Layer(1)), None);
        assert_eq!(rejections(&script.send(answer(task, Part::Layer(0), 1.0))), [Rejection::Over]);
        assert!(has(&script.join(2), |a| matches!(a, Action::Release { reason: Release::Over(_), .. })));
        assert_eq!(script.engine.waiting(), None);
    }
}

#[test]
fn finite_parts_whose_sum_is_not_are_a_divergence() {
    let mut script = Script::new(Cluster { min_workers: 2, ..cluster() });
    script.join(1);
    let actions = script.join(2);
    let tasks = [assigned(&actions, 1), assigned(&actions, 2)].concat();
    let before = script.engine.snapshot();
    let mut last = Vec::new();
    for task in tasks {
        last = script.send(answer(task, Part::All, 3e38));
    }
    assert_eq!(outcome(&last), Some(Outcome::Diverged { epoch: 0, step: Step(0) }));
    assert_eq!(script.engine.snapshot(), before);
}

#[test]
fn what_cannot_be_right_is_refused_and_changes_nothing() {
    type Change = fn(&mut Contribution);
    let node = Node { level: 0, index: 0 };
    let cases: [(Change, Rejection); 17] = [
        (|c| c.worker = WorkerId(9), Rejection::UnknownWorker(9)),
        (|c| c.generation = Generation(2), Rejection::StaleGeneration { got: 2, now: 3 }),
        (|c| c.step = Step(0), Rejection::StaleStep { got: 0, now: 1 }),
        (|c| c.step = Step(2), Rejection::FutureStep { got: 2, now: 1 }),
        (|c| c.attempt.0 = 1, Rejection::UnknownAttempt { got: 1, now: 1 }),
        (|c| c.node.index = 99, Rejection::UnknownNode(Node { level: 3, index: 99 })),
        (|c| c.node.level = 40, Rejection::UnknownNode(Node { level: 40, index: 0 })),
        (|c| c.node = Node { level: 0, index: 0 }, Rejection::NotAssigned(node)),
        (|c| c.part = Part::Layer(2), Rejection::UnknownPart { got: 2, want: 2 }),
        (|c| c.part = Part::Layer(1), Rejection::WrongLength { got: 23, want: 8 }),
        (|c| c.values = Values::Own(vec![0.0; 22]), Rejection::WrongLength { got: 22, want: 23 }),
        (|c| c.values = Values::Wire(vec![Bytes::from_static(&[0; 91])]), Rejection::Ragged(91)),
        (|c| c.stats = None, Rejection::MissingStats),
        (|c| c.stats.as_mut().unwrap().samples = 11, Rejection::WrongCount { got: 11, want: 12 }),
        (|c| c.values = wire(&[f32::NAN; 23]), Rejection::HiddenNonFinite),
        (|c| c.stats.as_mut().unwrap().loss = f64::NAN, Rejection::HiddenNonFinite),
        (|c| c.finite = false, Rejection::FalseAlarm),
    ];
    for (change, reason) in cases {
        let mut script = Script::new(cluster());
        let mut actions = script.join(1);
        actions = script.send(answer(assigned(&actions, 1)[0], Part::All, 1.0));
        let task = assigned(&actions, 1)[0];
        let before = script.engine.snapshot();
        let mut bad = answer(task, Part::All, 1.0);
        change(&mut bad);
        let actions = script.send(bad);
        assert_eq!(rejections(&actions), [reason]);
        assert!(
            !has(&actions, |a| matches!(a, Action::Counted { .. } | Action::Broadcast { .. })),
            "{reason}"
        );
        assert_eq!(script.engine.snapshot(), before, "{reason}");
        assert_eq!(script.engine.rejected(), 1);
        // Whoever sent rubbish is asked again, if there is nobody else; what was only late was no answer to this.
        let again = assigned(&actions, 1);
        assert_eq!(!again.is_empty(), reason.is_malformed(), "{reason}");
        // What is right is welcome either way.
        let actions = script.send(answer(task, Part::All, 1.0));
        assert!(has(&actions, |a| matches!(a, Action::StepDone(_))), "{reason}");
    }
}

#[test]
fn a_duplicate_is_refused_quietly() {
    let mut script = Script::new(cluster());
    let task = assigned(&script.join(1), 1)[0];
    script.send(answer(task, Part::Layer(1), 1.0));
    let refused = rejections(&script.send(answer(task, Part::Layer(1), 1.0)));
    assert_eq!(refused, [Rejection::Duplicate(task.node)]);
    assert!(!refused[0].is_malformed());
    assert!(has(&script.send(answer(task, Part::Layer(0), 1.0)), |a| matches!(a, Action::StepDone(_))));
    assert_eq!(
        rejections(&script.send(answer(task, Part::Layer(0), 1.0))),
        [Rejection::StaleStep { got: 0, now: 1 }]
    );
}

#[test]
fn rubbish_leads_to_quarantine() {
    let mut script = Script::new(Cluster { strikes: 2, ..cluster() });
    let task = assigned(&script.join(1), 1)[0];
    script.join(2);
    let rubbish = |script: &mut Script| {
        let mut bad = answer(task, Part::All, 1.0);
        bad.node.level = 9;
        script.send(bad)
    };
    assert!(!has(&rubbish(&mut script), |a| matches!(a, Action::Release { .. })));
    let actions = rubbish(&mut script);
    let last = Rejection::UnknownNode(Node { level: 9, index: 0 });
    let reason = Release::Quarantined { strikes: 2, last };
    assert!(has(
        &actions,
        |a| matches!(a, Action::Release { worker: WorkerId(1), reason: r } if *r == reason)
    ));
    assert!(reason.to_string().contains("not let in again"), "{reason}");
    // The other takes over at once, in the middle of the step.
    assert!(has(&actions, |a| matches!(
        a,
        Action::Send { worker: WorkerId(2), step: Step(0), part: Part::All }
    )));
    assert_eq!(assigned(&actions, 2).len(), 1);
    let again = Join { worker: WorkerId(3), member: Member(1), incarnation: 1, threads: 1 };
    assert_eq!(refused(&script.event(Event::Joined(again))), Some(Rejection::InQuarantine));
}

#[test]
fn a_newer_connection_takes_the_place_of_an_older_one() {
    let mut script = Script::new(cluster());
    script.join(1);
    let join = |worker, incarnation| {
        Event::Joined(Join { worker: WorkerId(worker), member: Member(1), incarnation, threads: 1 })
    };
    assert_eq!(rejections(&script.event(join(1, 5))), [Rejection::AlreadyJoined(1)]);
    let stale = Rejection::StaleIncarnation { got: 0, now: 0 };
    assert_eq!(refused(&script.event(join(2, 0))), Some(stale));
    let actions = script.event(join(3, 1));
    assert!(has(&actions, |a| matches!(
        a,
        Action::Release { worker: WorkerId(1), reason: Release::Superseded }
    )));
    assert_eq!(assigned(&actions, 3).len(), 1);
    assert!(script.engine.is_synced(WorkerId(3)) && !script.engine.is_synced(WorkerId(1)));
    assert!(script.event(Event::Left(WorkerId(1))).is_empty());
}

#[test]
fn too_few_workers_are_waited_for_and_a_step_under_way_is_ended() {
    let mut script = Script::new(Cluster { min_workers: 2, ..cluster() });
    script.now = Duration::from_secs(5);
    assert!(script.join(1).is_empty());
    let waiting = |have, ready, since| {
        Some(Waiting::ForWorkers { have, ready, want: 2, since: Duration::from_secs(since) })
    };
    assert_eq!(script.engine.waiting(), waiting(1, 1, 5));
    let actions = script.join(2);
    let (one, two) = (assigned(&actions, 1), assigned(&actions, 2));
    assert!(matches!(script.engine.waiting(), Some(Waiting::ForNodes { workers, .. }) if workers.len() == 2));
    // One leaves: the other ends the step.
    let actions = script.event(Event::Left(WorkerId(1)));
    let more = assigned(&actions, 2);
    assert!(!more.is_empty() && !one.is_empty());
    script.now = Duration::from_secs(7);
    let mut last = Vec::new();
    for task in two.into_iter().chain(more) {
        last = script.send(answer(task, Part::All, 1.0));
    }
    assert!(has(&last, |a| matches!(a, Action::StepDone(_))));
    assert!(assigned(&last, 2).is_empty());
    assert_eq!(script.engine.waiting(), waiting(1, 1, 7));
    let actions = script.join(3);
    assert!(!assigned(&actions, 2).is_empty() && !assigned(&actions, 3).is_empty());
    // Who was there all the time needs no weights.
    assert!(!has(&actions, |a| matches!(a, Action::Send { worker: WorkerId(2), .. })));
}

#[test]
fn when_nobody_is_left_the_step_goes_on_where_it_was() {
    let mut script = Script::new(cluster());
    let task = assigned(&script.join(1), 1)[0];
    script.send(answer(task, Part::Layer(1), 1.0));
    script.event(Event::Left(WorkerId(1)));
    assert!(matches!(script.engine.waiting(), Some(Waiting::ForWorkers { have: 0, .. })));
    let actions = script.join(2);
    let sent: Vec<(Step, Part)> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Send { step, part, .. } => Some((*step, *part)),
            _ => None,
        })
        .collect();
    assert_eq!(sent, [(Step(0), Part::All), (Step(1), Part::Layer(1))]);
    let task = assigned(&actions, 2)[0];
    assert_eq!(
        rejections(&script.send(answer(task, Part::Layer(1), 1.0))),
        [Rejection::Duplicate(task.node)]
    );
    assert!(has(&script.send(answer(task, Part::Layer(0), 1.0)), |a| matches!(a, Action::StepDone(_))));
}

/// Three workers at the beginning of step 1, each with one node of two leaves.
fn three_with_two_leaves_each() -> (Script, [Assignment; 3]) {
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

#[test]
fn what_is_planned_anew_is_cut_where_parts_of_it_have_counted() {
    let (mut script, [one, two, _]) = three_with_two_leaves_each();
    script.send(answer(one, Part::Layer(1), 0.1));
    script.send(answer(two, Part::Layer(1), 0.1));
    for worker in 1..=3 {
        script.event(Event::Left(WorkerId(worker)));
    }
    // Its share is the whole tree; but two thirds of the root have counted in layer 1, and the root could not.
    let mut actions = script.join(4);
    let tasks = assigned(&actions, 4);
    assert!(tasks.len() > 1, "{tasks:?}");
    for task in tasks {
        script.send(answer(task, Part::Layer(1), 0.1));
        actions = script.send(answer(task, Part::Layer(0), 0.1));
    }
    assert!(has(&actions, |a| matches!(a, Action::StepDone(_))));
}

#[test]
fn a_node_of_which_a_part_has_counted_does_not_count() {
    let (mut script, [one, two, three]) = three_with_two_leaves_each();
    let mut bad = answer(one, Part::All, 0.1);
    bad.finite = false;
    let actions = script.send(bad);
    let anew = [assigned(&actions, 2), assigned(&actions, 3)].concat();
    let leaves = [0, 1].map(|index| Node { level: 0, index });
    assert_eq!(anew.iter().map(|task| task.node).collect::<Vec<_>>(), leaves);
    script.send(answer(anew[0], Part::All, 0.1));
    let refused = rejections(&script.send(answer(one, Part::All, 0.1)));
    assert_eq!(refused, [Rejection::Duplicate(one.node)]);
    script.send(answer(two, Part::All, 0.1));
    script.send(answer(three, Part::All, 0.1));
    let actions = script.send(answer(anew[1], Part::All, 0.1));
    assert!(has(&actions, |a| matches!(a, Action::StepDone(report) if report.samples == 12)));
}

#[test]
fn an_overdue_node_goes_to_an_idle_worker_and_the_late_one_comes_back() {
    let mut script = Script::new(Cluster { min_workers: 2, ..cluster() });
    script.join(1);
    let mut actions = script.join(2);
    // Two steps at an even pace, so that the paces are known.
    for _ in 0..2 {
        script.now += Duration::from_millis(100);
        for task in [assigned(&actions, 1), assigned(&actions, 2)].concat() {
            actions = script.send(answer(task, Part::All, 0.1));
        }
    }
    let (mine, theirs) = (assigned(&actions, 1), assigned(&actions, 2));
    script.now += Duration::from_millis(100);
    for &task in &mine {
        assert!(assigned(&script.send(answer(task, Part::All, 0.1)), 1).is_empty());
    }
    assert_eq!((script.state(1), script.state(2)), (Some(WorkerState::Idle), Some(WorkerState::Computing)));
    let due = script.engine.next_tick().unwrap();
    assert!(due > script.now && due < Duration::from_secs(2), "{due:?}");
    assert!(assigned(&script.after(due - script.now - Duration::from_micros(1)), 1).is_empty());
    let mut takeover = assigned(&script.after(Duration::from_micros(1)), 1);
    assert_eq!(script.state(2), Some(WorkerState::Overdue));
    assert!(takeover.iter().all(|task| task.attempt.0 > 0 && theirs.iter().any(|t| t.node == task.node)));
    while let Some(task) = takeover.pop() {
        script.now += Duration::from_millis(200);
        actions = script.send(answer(task, Part::All, 0.1));
        if script.engine.steps_done() == 2 {
            takeover.extend(assigned(&actions, 1));
        }
    }
    assert_eq!(script.engine.steps_done(), 3);
    assert_eq!(script.state(2), Some(WorkerState::Late));
    assert!(!script.engine.is_synced(WorkerId(2)) && assigned(&actions, 2).is_empty());
    // It wakes up, finds out that it is late, and takes part again from the next step on.
    for &task in &theirs {
        assert_eq!(
            rejections(&script.send(answer(task, Part::All, 0.1))),
            [Rejection::StaleStep { got: 2, now: 3 }]
        );
    }
    assert_eq!(script.state(2), Some(WorkerState::Joining));
    assert_eq!(script.engine.status(script.now).workers[1].rejected, theirs.len() as u64);
}

#[test]
fn who_is_silent_is_let_go() {
    let mut script = Script::new(cluster());
    script.join(1);
    script.after(Duration::from_secs(9));
    script.event(Event::Heartbeat(WorkerId(1)));
    assert!(!has(&script.after(Duration::from_secs(9)), |a| matches!(a, Action::Release { .. })));
    let actions = script.after(Duration::from_secs(2));
    assert!(has(&actions, |a| matches!(
        a,
        Action::Release { worker: WorkerId(1), reason: Release::Silent(_) }
    )));
    assert!(script.engine.status(script.now).workers.is_empty());
}

#[test]
fn snapshots_become_due_by_time_and_one_at_a_time() {
    let mut script = Script::new(cluster());
    let mut actions = script.join(1);
    let mut due = Vec::new();
    for step in 0..4 {
        script.now += Duration::from_secs(150);
        if step == 3 {
            script.event(Event::SnapshotWritten(Step(1)));
        }
        actions = script.send(answer(assigned(&actions, 1)[0], Part::All, 0.1));
        due.push(has(&actions, |a| matches!(a, Action::WriteSnapshot)));
    }
    assert_eq!(due, [true, false, false, true]);
    assert_eq!(outcome(&actions), Some(Outcome::Complete));
    // Nobody needs the weights after the last step.
    assert!(!has(&actions, |a| matches!(a, Action::Broadcast { .. })));
}
