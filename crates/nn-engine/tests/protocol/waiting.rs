//! Too few workers: who is waited for, since when, and for how long.

use crate::script::*;

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
