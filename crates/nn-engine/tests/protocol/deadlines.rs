//! Time: overdue nodes, silence, workers that stand still and wake up, and a clock that jumps.

use crate::script::*;

#[test]
fn an_overdue_node_goes_to_an_idle_worker_and_the_late_one_comes_back() {
    let mut script = Script::new(Cluster { min_workers: 2, ..cluster() });
    script.join(1);
    let mut actions = script.join(2);
    // Two steps at an even pace make the paces known.
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
    // It wakes up, learns that it is late, and rejoins at the next step.
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
fn a_silent_worker_is_released() {
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

/// Two workers at the beginning of step 2, with three leaves each. Each worker took 100 ms in both steps before.
fn two_at_an_even_pace(cluster: Cluster) -> (Script, Vec<Assignment>, Vec<Assignment>) {
    let mut script = Script::new(Cluster { min_workers: 2, link_bytes_per_second: 1e12, ..cluster });
    script.join(1);
    let mut actions = script.join(2);
    for _ in 0..2 {
        script.now += Duration::from_millis(100);
        for task in [assigned(&actions, 1), assigned(&actions, 2)].concat() {
            actions = script.send(answer(task, Part::All, 0.1));
        }
    }
    let (one, two) = (assigned(&actions, 1), assigned(&actions, 2));
    assert!(!one.is_empty() && !two.is_empty());
    (script, one, two)
}

#[test]
fn an_overdue_node_waits_for_the_first_worker_to_be_idle() {
    let (mut script, mine, theirs) = two_at_an_even_pace(cluster());
    let due = script.engine.next_tick().unwrap();
    assert!(script.after(due + Duration::from_millis(500) - script.now).is_empty());
    assert_eq!(
        [script.state(1), script.state(2)],
        [Some(WorkerState::Overdue), Some(WorkerState::Overdue)],
        "both are late, and no worker is idle"
    );
    // It happens when one worker finishes, without a tick.
    let mut actions = Vec::new();
    for &task in &mine {
        actions = script.send(answer(task, Part::All, 0.1));
    }
    let taken = assigned(&actions, 1);
    assert_eq!(taken.len(), 1, "one at a time: the other may still arrive");
    assert!(theirs.iter().any(|t| t.node == taken[0].node));
}

#[test]
fn all_workers_hang_and_come_back() {
    // They come back before their silence is too long: their results count, and nobody was released.
    let (mut script, mine, theirs) = two_at_an_even_pace(cluster());
    assert!(script.after(Duration::from_secs(9)).is_empty());
    let mut actions = Vec::new();
    for &task in mine.iter().chain(&theirs) {
        actions = script.send(answer(task, Part::All, 0.1));
    }
    assert!(has(&actions, |a| matches!(a, Action::StepDone(_))));
    assert!(script.engine.is_synced(WorkerId(2)));
    // The first to come back got a node that the other seemed to be stuck with, and still owes it.
    assert_eq!(script.state(1), Some(WorkerState::Late));

    // Their silence is too long: all are released, the run waits and names them, and later resumes where it was.
    let (mut script, mine, theirs) = two_at_an_even_pace(cluster());
    script.send(answer(mine[0], Part::Layer(1), 0.1));
    let released = script.after(Duration::from_secs(11));
    assert_eq!(released.iter().filter(|a| matches!(a, Action::Release { .. })).count(), 2);
    let Some(Waiting::ForWorkers { have: 0, ready: 0, want: 2, missed, since }) = script.engine.waiting()
    else {
        panic!("{:?}", script.engine.waiting())
    };
    assert_eq!(missed, [WorkerId(2), WorkerId(1)]);
    assert!(script.now - since < Duration::from_secs(1), "{since:?}");
    for &task in mine.iter().chain(&theirs) {
        let reason = Rejection::UnknownWorker(task.worker.0);
        assert_eq!(rejections(&script.send(answer(task, Part::All, 0.1))), [reason]);
    }
    let mut actions = Vec::new();
    for member in [1, 2] {
        let worker = WorkerId(member + 10);
        actions =
            script.event(Event::Joined(Join { worker, member: Member(member), incarnation: 1, threads: 1 }));
    }
    let tasks = [assigned(&actions, 11), assigned(&actions, 12)].concat();
    let mut actions = Vec::new();
    for task in tasks {
        script.send(answer(task, Part::Layer(1), 0.1));
        actions = script.send(answer(task, Part::Layer(0), 0.1));
    }
    assert!(has(&actions, |a| matches!(a, Action::StepDone(report) if report.samples == 12)));
}

#[test]
fn a_clock_that_is_set_back_delays_nothing() {
    for back in [Duration::from_millis(150), Duration::from_secs(3600)] {
        let mut script = Script::new(Cluster { min_workers: 2, ..cluster() });
        script.now = Duration::from_secs(3600);
        script.join(1);
        let mut actions = script.join(2);
        for _ in 0..2 {
            script.now += Duration::from_millis(100);
            for task in [assigned(&actions, 1), assigned(&actions, 2)].concat() {
                actions = script.send(answer(task, Part::All, 0.1));
            }
        }
        let mine = assigned(&actions, 1);
        script.now -= back;
        assert!(script.after(Duration::from_millis(1)).is_empty(), "the jump makes no worker late");
        for task in mine {
            script.send(answer(task, Part::All, 0.1));
        }
        // The other worker hangs. The engine notices as soon as without the jump.
        let due = script.engine.next_tick().unwrap();
        assert!(due > script.now && due < script.now + Duration::from_secs(2), "{due:?} at {:?}", script.now);
        assert!(!assigned(&script.after(due - script.now), 1).is_empty());
        assert_eq!(script.state(2), Some(WorkerState::Overdue));
        script.event(Event::Heartbeat(WorkerId(1)));
        script.after(Duration::from_secs(5));
        script.event(Event::Heartbeat(WorkerId(1)));
        let actions = script.after(Duration::from_secs(6));
        assert!(has(&actions, |a| matches!(
            a,
            Action::Release { worker: WorkerId(2), reason: Release::Silent(_) }
        )));
    }
}

#[test]
fn an_absence_of_the_coordinator_is_not_held_against_workers() {
    let (mut script, mine, theirs) = two_at_an_even_pace(cluster());
    // The coordinator stands still for an hour, and reads the clock before the messages that have arrived meanwhile.
    script.now += Duration::from_secs(3600);
    assert!(!has(&script.event(Event::Tick), |a| matches!(a, Action::Release { .. })));
    let speed = |script: &Script| script.engine.status(script.now).workers[1].samples_per_second.unwrap();
    let before = speed(&script);
    for &task in theirs.iter().chain(&mine) {
        script.send(answer(task, Part::All, 0.1));
    }
    assert_eq!(script.engine.steps_done(), 3);
    assert!(speed(&script) > before / 10.0, "the worker does not count as slow");
}
