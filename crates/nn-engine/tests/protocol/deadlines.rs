//! The clock: overdue nodes, silence, workers that stand still and wake up, and a clock that jumps.

use crate::script::*;

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
