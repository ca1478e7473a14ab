//! A worker in the coordinator's own process, beside those from elsewhere.

use crate::script::*;

const OWN: u64 = 0;

fn with_own(cluster: Cluster) -> Script {
    Script::new(Cluster { own: Some(WorkerId(OWN)), link_bytes_per_second: 1e12, ..cluster })
}

/// A part of an answer that is handed over in memory, in a buffer of its own.
fn by_hand(task: Assignment, part: Part, value: f32) -> Contribution {
    let numbers = match part {
        Part::All => SIZES.iter().sum(),
        Part::Layer(layer) => SIZES[layer as usize],
    };
    Contribution { values: Values::Own(vec![value; numbers]), ..answer(task, part, value) }
}

fn recycled(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::Recycle(_))).count()
}

#[test]
fn it_waits_for_others_before_the_first_step_and_then_goes_on_without_them() {
    let mut script = with_own(Cluster { min_workers: 2, ..cluster() });
    assert!(script.join(OWN).is_empty());
    assert!(script.join(1).is_empty());
    let waiting =
        Waiting::ForWorkers { have: 1, ready: 2, want: 2, missed: Vec::new(), since: Duration::ZERO };
    assert_eq!(script.engine.waiting(), Some(waiting));
    let actions = script.join(2);
    let mut tasks: Vec<_> = (0..3).flat_map(|worker| assigned(&actions, worker)).collect();
    assert!((0..3).all(|worker| !assigned(&actions, worker).is_empty()));
    // Both others leave, and it ends the step and begins the next.
    for worker in [1, 2] {
        let actions = script.event(Event::Left(WorkerId(worker)));
        tasks.extend(assigned(&actions, OWN));
    }
    let mut last = Vec::new();
    for task in tasks.into_iter().filter(|task| task.worker == WorkerId(OWN)) {
        last = script.send(by_hand(task, Part::All, 0.1));
    }
    assert!(has(&last, |a| matches!(a, Action::StepDone(_))));
    assert_eq!(assigned(&last, OWN).len(), 1, "the whole mini-batch");
    assert!(matches!(script.engine.waiting(), Some(Waiting::ForNodes { .. })));
}

#[test]
fn the_wait_before_the_first_step_has_its_limit() {
    let timeout = Some(Duration::from_secs(30));
    let mut script = with_own(Cluster { wait_timeout: timeout, ..cluster() });
    script.join(OWN);
    assert_eq!(outcome(&script.after(Duration::from_secs(29))), None);
    let ended = outcome(&script.after(Duration::from_secs(1)));
    let [since, waited] = [0, 30].map(Duration::from_secs);
    assert_eq!(ended, Some(Outcome::NoWorkers { have: 0, want: 1, since, waited }));
}

#[test]
fn it_is_not_released_however_long_it_computes() {
    let timeout = Some(Duration::from_secs(30));
    let mut script = with_own(Cluster { wait_timeout: timeout, ..cluster() });
    script.join(OWN);
    let actions = script.join(1);
    let (own, others) = (assigned(&actions, OWN), assigned(&actions, 1));
    let actions = script.after(Duration::from_secs(1000));
    let released = |a: &Action| matches!(a, Action::Release { worker, .. } if *worker == WorkerId(OWN));
    assert!(!has(&actions, released) && outcome(&actions).is_none());
    assert!(has(&actions, |a| matches!(a, Action::Release { reason: Release::Silent(_), .. })));
    // It gets the other's nodes too.
    let tasks = [own, assigned(&actions, OWN)].concat();
    assert!(!others.is_empty() && tasks.iter().all(|task| task.worker == WorkerId(OWN)));
    for task in tasks {
        script.send(by_hand(task, Part::All, 0.1));
    }
    assert_eq!(script.engine.steps_done(), 1);
}

#[test]
fn one_that_a_step_has_done_without_ends_no_run_while_it_computes() {
    let timeout = Some(Duration::from_secs(30));
    let mut script = with_own(Cluster { wait_timeout: timeout, ..cluster() });
    script.join(OWN);
    let actions = script.join(1);
    let (own, other) = (assigned(&actions, OWN), assigned(&actions, 1));
    // The worker does its own share at once, and then the share of this machine, which is overdue.
    for &task in &other {
        script.send(answer(task, Part::All, 0.1));
    }
    let mut actions = Vec::new();
    while script.engine.steps_done() == 0 {
        script.event(Event::Heartbeat(WorkerId(1)));
        for task in assigned(&script.after(Duration::from_secs(1)), 1) {
            actions = script.send(answer(task, Part::All, 0.1));
        }
    }
    assert_eq!(script.state(OWN), Some(WorkerState::Late));
    assert!(!assigned(&actions, 1).is_empty());
    script.event(Event::Left(WorkerId(1)));
    let waiting = script.engine.waiting();
    assert!(
        matches!(&waiting, Some(Waiting::ForNodes { workers, .. }) if workers[..] == [WorkerId(OWN)]),
        "{waiting:?}"
    );
    assert_eq!(outcome(&script.after(Duration::from_secs(100))), None);
    let mut last = Vec::new();
    for task in own {
        last = script.send(by_hand(task, Part::All, 0.1));
    }
    assert_eq!(assigned(&last, OWN).len(), 1, "{last:?}");
}

#[test]
fn layers_that_are_handed_over_count_as_those_that_are_received() {
    let run = |own: bool| {
        let mut script = with_own(cluster());
        script.join(OWN);
        let mut actions = script.join(1);
        let mut buffers = 0;
        for _ in 0..3 {
            let tasks = [assigned(&actions, OWN), assigned(&actions, 1)].concat();
            script.now += Duration::from_millis(10);
            for (number, task) in tasks.into_iter().enumerate() {
                for layer in [1, 0] {
                    let value = 0.1 + number as f32;
                    let made = if own && task.worker == WorkerId(OWN) { by_hand } else { answer };
                    actions = script.send(made(task, Part::Layer(layer), value));
                    assert_eq!(rejections(&actions), []);
                    buffers += recycled(&actions);
                }
            }
        }
        assert_eq!(script.engine.steps_done(), 3);
        (script.engine.params().to_vec(), buffers)
    };
    let (handed, buffers) = run(true);
    let (received, none) = run(false);
    assert_eq!(handed, received);
    // A buffer stays for each layer, and the others come back.
    assert!(buffers > 0 && none == 0, "{buffers} {none}");
}

#[test]
fn weights_that_it_holds_stay_as_they_are() {
    let mut script = with_own(cluster());
    script.join(OWN);
    let actions = script.join(1);
    let tasks = [assigned(&actions, OWN), assigned(&actions, 1)].concat();
    let (held, before) = (script.engine.shared_params(), script.engine.params().to_vec());
    let mut actions = Vec::new();
    for task in tasks {
        actions = script.send(answer(task, Part::All, 0.1));
    }
    let second = script.engine.params().to_vec();
    assert_ne!(second, before);
    // The buffer of the first step would be written next.
    for task in [assigned(&actions, OWN), assigned(&actions, 1)].concat() {
        script.send(answer(task, Part::All, 0.1));
    }
    assert_eq!(script.engine.steps_done(), 2);
    assert_eq!(*held, before);
    // Nobody holds these, so they are not copied.
    assert!(std::ptr::eq(script.engine.shared_params().as_ptr(), script.engine.params().as_ptr()));
}
