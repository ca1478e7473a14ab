//! A worker's identity: restarts, second connections, connections that are not quite dead.

use crate::script::*;

#[test]
fn a_newer_connection_replaces_an_older_one() {
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
    // What is broadcast in the event that admits a worker is older than the weights it is sent.
    assert!(!script.engine.is_synced(WorkerId(3)) && !script.engine.is_synced(WorkerId(1)));
    script.event(Event::Tick);
    assert!(script.engine.is_synced(WorkerId(3)));
    assert!(script.event(Event::Left(WorkerId(1))).is_empty());
}

#[test]
fn a_worker_that_joins_in_mid_step_works_from_the_next_step_on() {
    let mut script = Script::new(cluster());
    let task = assigned(&script.join(1), 1)[0];
    assert!(script.join(2).is_empty());
    assert_eq!(script.state(2), Some(WorkerState::Joining));
    // Until then it gets no layers.
    script.send(answer(task, Part::Layer(1), 0.1));
    assert!(!script.engine.is_synced(WorkerId(2)));
    let actions = script.send(answer(task, Part::Layer(0), 0.1));
    let whole =
        |a: &Action| matches!(a, Action::Send { worker: WorkerId(2), step: Step(1), part: Part::All });
    assert!(has(&actions, whole));
    assert!(!assigned(&actions, 2).is_empty());
}

#[test]
fn a_restarted_worker_takes_over_from_its_old_self_before_that_times_out() {
    // Another process is another member; the coordinator does not know that the old one is gone.
    let mut script = Script::new(cluster());
    let mut actions = script.join(1);
    script.now += Duration::from_millis(100);
    actions = script.send(answer(assigned(&actions, 1)[0], Part::All, 0.1));
    let task = assigned(&actions, 1)[0];
    script.now += Duration::from_millis(50);
    assert!(script.join(2).is_empty());
    let due = script.engine.next_tick().unwrap();
    assert!(due < Duration::from_millis(600), "{due:?}");
    let actions = script.after(due - script.now);
    assert!(has(&actions, |a| matches!(a, Action::Send { worker: WorkerId(2), part: Part::All, .. })));
    let takeover = assigned(&actions, 2);
    assert_eq!(takeover.iter().map(|t| t.node).collect::<Vec<_>>(), [task.node]);
    let actions = script.send(answer(takeover[0], Part::All, 0.1));
    // From now on the old one is late, and holds nobody up until it is released for its silence.
    assert_eq!(script.state(1), Some(WorkerState::Late));
    assert!(script.after(Duration::from_secs(8)).is_empty());
    let actions = script.send(answer(assigned(&actions, 2)[0], Part::All, 0.1));
    assert!(!assigned(&actions, 2).is_empty());
    assert!(has(&script.after(Duration::from_secs(3)), |a| matches!(
        a,
        Action::Release { worker: WorkerId(1), reason: Release::Silent(_) }
    )));
}

#[test]
fn a_worker_that_wakes_up_after_its_release_is_told_and_joins_again() {
    let mut script = Script::new(cluster());
    let old = assigned(&script.join(1), 1)[0];
    script.join(2);
    script.event(Event::Heartbeat(WorkerId(2)));
    script.after(Duration::from_secs(9));
    script.event(Event::Heartbeat(WorkerId(2)));
    let actions = script.after(Duration::from_secs(2));
    assert!(has(&actions, |a| matches!(
        a,
        Action::Release { worker: WorkerId(1), reason: Release::Silent(_) }
    )));
    let task = assigned(&actions, 2)[0];
    // It had finished after all. Its result does not count, and is not held against it.
    let actions = script.send(answer(old, Part::All, 0.5));
    assert_eq!(rejections(&actions), [Rejection::UnknownWorker(1)]);
    assert_eq!((actions.len(), script.engine.steps_done()), (1, 0));
    let again = Join { worker: WorkerId(3), member: Member(1), incarnation: 1, threads: 1 };
    script.event(Event::Joined(again));
    assert_eq!(script.engine.status(script.now).workers[1].strikes, 0);
    let actions = script.send(answer(task, Part::All, 0.1));
    assert!(!assigned(&actions, 3).is_empty());
    // Another contribution of the old connection arrives very late.
    assert_eq!(rejections(&script.send(answer(old, Part::All, 0.5))), [Rejection::UnknownWorker(1)]);
}
