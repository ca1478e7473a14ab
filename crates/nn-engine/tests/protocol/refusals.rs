//! Refused contributions: they change nothing, and a worker that keeps sending them is excluded.

use bytes::Bytes;

use crate::script::*;

#[test]
fn a_bad_contribution_is_refused_and_changes_nothing() {
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
        (|c| c.values = received(Bytes::from_static(&[0; 91])), Rejection::Ragged(91)),
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
        // After a malformed contribution the only worker gets the node again; after a late one it still has it.
        let again = assigned(&actions, 1);
        assert_eq!(!again.is_empty(), reason.is_malformed(), "{reason}");
        // The right contribution is welcome either way.
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
    assert!(reason.to_string().contains("excluded from this run"), "{reason}");
    // The other worker takes over at once, in mid-step.
    assert!(has(&actions, |a| matches!(
        a,
        Action::Send { worker: WorkerId(2), step: Step(0), part: Part::All }
    )));
    assert_eq!(assigned(&actions, 2).len(), 1);
    let again = Join { worker: WorkerId(3), member: Member(1), incarnation: 1, threads: 1 };
    // Whenever it dials, it gets the reason again, which the status shows too.
    let actions = script.event(Event::Joined(again));
    assert!(has(
        &actions,
        |a| matches!(a, Action::Release { worker: WorkerId(3), reason: r } if *r == reason)
    ));
    let status = script.engine.status(script.now);
    let shown: Vec<_> = status.quarantined.iter().map(|q| (q.member, q.worker, q.reason)).collect();
    assert_eq!(shown, [(Member(1), WorkerId(1), reason)]);
}

#[test]
fn dialling_again_does_not_clear_strikes() {
    let mut script = Script::new(cluster());
    let dial = |script: &mut Script, connection: u64| {
        script.event(Event::Joined(Join {
            worker: WorkerId(connection),
            member: Member(1),
            incarnation: connection,
            threads: 1,
        }))
    };
    let task = assigned(&dial(&mut script, 1), 1)[0];
    let mut bad = answer(task, Part::All, 1.0);
    bad.stats = None;
    script.send(bad);
    // A malformed message ends the connection, and is a strike too.
    dial(&mut script, 2);
    assert!(!has(&script.event(Event::Garbled(WorkerId(2))), |a| matches!(a, Action::Release { .. })));
    assert!(script.state(2).is_none());
    dial(&mut script, 3);
    assert_eq!(script.engine.status(script.now).workers[0].strikes, 2);
    script.event(Event::Left(WorkerId(3)));
    dial(&mut script, 4);
    let actions = script.event(Event::Garbled(WorkerId(4)));
    let reason = Release::Quarantined { strikes: 3, last: Rejection::NoMessage };
    assert!(has(
        &actions,
        |a| matches!(a, Action::Release { worker: WorkerId(4), reason: r } if *r == reason)
    ));
    assert!(has(&dial(&mut script, 5), |a| matches!(a, Action::Release { reason: r, .. } if *r == reason)));
    assert!(script.event(Event::Garbled(WorkerId(9))).is_empty());
}

#[test]
fn a_node_that_a_worker_sends_twice_counts_once_and_is_no_offence() {
    let (mut script, [one, two, three]) = three_with_two_leaves_each();
    let mut counted = 0;
    for _ in 0..2 {
        let actions = script.send(answer(one, Part::All, 0.1));
        counted += actions.iter().filter(|a| matches!(a, Action::Counted { .. })).count();
    }
    assert_eq!(counted, 2, "one for each layer");
    let status = script.engine.status(script.now);
    assert_eq!((status.workers[0].strikes, status.workers[0].rejected), (0, 1));
    script.send(answer(two, Part::All, 0.1));
    let actions = script.send(answer(three, Part::All, 0.1));
    assert!(has(&actions, |a| matches!(a, Action::StepDone(report) if report.samples == 12)));
    // And once more after the step is over.
    let late = rejections(&script.send(answer(one, Part::All, 0.1)));
    assert_eq!(late, [Rejection::StaleStep { got: 1, now: 2 }]);
    assert!(script.engine.is_synced(WorkerId(1)));
}
