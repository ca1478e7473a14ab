//! Too few workers: whom the run waits for, since when, and for how long.

use crate::script::*;

#[test]
fn the_run_waits_for_too_few_workers_but_ends_the_step_under_way() {
    let mut script = Script::new(Cluster { min_workers: 2, ..cluster() });
    script.now = Duration::from_secs(5);
    assert!(script.join(1).is_empty());
    let waiting = |since, missed: &[u64]| {
        let missed = missed.iter().copied().map(WorkerId).collect();
        Some(Waiting::ForWorkers { have: 1, ready: 1, want: 2, missed, since: Duration::from_secs(since) })
    };
    assert_eq!(script.engine.waiting(), waiting(5, &[]));
    let actions = script.join(2);
    let (one, two) = (assigned(&actions, 1), assigned(&actions, 2));
    assert!(matches!(script.engine.waiting(), Some(Waiting::ForNodes { workers, .. }) if workers.len() == 2));
    // One worker leaves: the other ends the step.
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
    assert_eq!(script.engine.waiting(), waiting(7, &[1]));
    let actions = script.join(3);
    assert!(!assigned(&actions, 2).is_empty() && !assigned(&actions, 3).is_empty());
    // The worker that stayed needs no weights.
    assert!(!has(&actions, |a| matches!(a, Action::Send { worker: WorkerId(2), .. })));
}

#[test]
fn a_step_that_lost_all_workers_resumes_where_it_was() {
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

fn given_up(have: usize, want: usize, since: u64, waited: u64) -> Option<Outcome> {
    let [since, waited] = [since, waited].map(Duration::from_secs);
    Some(Outcome::NoWorkers { have, want, since, waited })
}

#[test]
fn the_wait_before_the_first_step_has_a_limit_if_the_operator_sets_one() {
    let timeout = Some(Duration::from_secs(30));
    let mut script = Script::new(Cluster { min_workers: 2, wait_timeout: timeout, ..cluster() });
    script.now = Duration::from_secs(2);
    script.event(Event::Tick);
    assert_eq!(script.engine.next_tick(), Some(Duration::from_secs(32)));
    script.after(Duration::from_secs(23));
    script.join(1);
    script.after(Duration::from_secs(6));
    let actions = script.after(Duration::from_secs(1));
    assert_eq!(outcome(&actions), given_up(1, 2, 2, 30));
    assert!(has(&actions, |a| matches!(a, Action::WriteSnapshot)));
    assert!(has(&actions, |a| matches!(a, Action::Release { reason: Release::Over(_), .. })));
    assert_eq!((script.engine.waiting(), script.engine.next_tick()), (None, None));
    // By default there is no limit.
    let mut patient = Script::new(cluster());
    patient.after(Duration::from_secs(1));
    assert!(patient.after(Duration::from_secs(1_000_000)).is_empty());
}

#[test]
fn each_wait_has_its_own_limit_and_steps_under_way_are_ended() {
    let timeout = Some(Duration::from_secs(30));
    let mut script = Script::new(Cluster { min_workers: 2, wait_timeout: timeout, ..cluster() });
    script.join(1);
    script.now += Duration::from_secs(29);
    let actions = script.join(2);
    let tasks = [assigned(&actions, 1), assigned(&actions, 2)].concat();
    let more = assigned(&script.event(Event::Left(WorkerId(2))), 1);
    // There are too few workers, but one is at work: the run is not waiting.
    for _ in 0..10 {
        script.event(Event::Heartbeat(WorkerId(1)));
        assert_eq!(outcome(&script.after(Duration::from_secs(9))), None);
    }
    for &task in tasks.iter().filter(|task| task.worker == WorkerId(1)).chain(&more) {
        script.send(answer(task, Part::All, 0.1));
    }
    assert_eq!(script.engine.steps_done(), 1);
    let before = script.engine.snapshot();
    let began = script.now;
    let mut last = Vec::new();
    while outcome(&last).is_none() {
        script.event(Event::Heartbeat(WorkerId(1)));
        last = script.after(Duration::from_secs(5));
    }
    assert_eq!(script.now, began + Duration::from_secs(30));
    assert_eq!(outcome(&last), given_up(1, 2, began.as_secs(), 30));
    assert_eq!(script.engine.snapshot(), before);
}

/// Workers that join, get work and break off again, `every` so often, until the run ends or `most` are through.
fn revolving(script: &mut Script, every: Duration, most: u64) -> (u64, Option<Outcome>) {
    for round in 1..=most {
        script.join(round);
        script.now += every / 2;
        let mut actions = script.event(Event::Left(WorkerId(round)));
        actions.extend(script.after(every / 2));
        if let Some(outcome) = outcome(&actions) {
            return (round, Some(outcome));
        }
    }
    (most, None)
}

#[test]
fn workers_that_join_and_break_off_without_a_contribution_do_not_prolong_the_wait() {
    let timeout = Some(Duration::from_secs(30));
    let mut script = Script::new(Cluster { wait_timeout: timeout, ..cluster() });
    script.event(Event::Tick);
    let (rounds, ended) = revolving(&mut script, Duration::from_secs(1), 1000);
    assert_eq!((rounds, ended), (30, given_up(0, 1, 0, 30)));

    // A contribution that counts does, even if it is a part; the wait begins anew when the worker has left.
    let mut script = Script::new(Cluster { wait_timeout: timeout, ..cluster() });
    script.event(Event::Tick);
    assert_eq!(revolving(&mut script, Duration::from_secs(1), 29).1, None);
    let task = assigned(&script.join(99), 99)[0];
    script.now += Duration::from_secs(7);
    assert_eq!(rejections(&script.send(answer(task, Part::Layer(1), 0.1))), []);
    let left = script.now.as_secs();
    script.event(Event::Left(WorkerId(99)));
    let (rounds, ended) = revolving(&mut script, Duration::from_secs(1), 1000);
    assert_eq!((rounds, ended), (30, given_up(0, 1, left, 30)));
    assert_eq!(script.engine.steps_done(), 0);
}

#[test]
fn the_same_part_sent_again_and_again_counts_once() {
    let timeout = Some(Duration::from_secs(30));
    let mut script = Script::new(Cluster { wait_timeout: timeout, ..cluster() });
    let mut ended = None;
    // Behind a proxy with a limit the last layer arrives on every connection, and the first one on none.
    for round in 0.. {
        let task = assigned(&script.join(round), round)[0];
        script.send(answer(task, Part::Layer(1), 0.1));
        let mut actions = script.event(Event::Left(WorkerId(round)));
        actions.extend(script.after(Duration::from_secs(1)));
        ended = outcome(&actions);
        if ended.is_some() || round > 100 {
            break;
        }
    }
    assert_eq!(ended, given_up(0, 1, 0, 30));
}

#[test]
fn a_step_that_takes_long_with_a_connected_worker_does_not_end_the_run() {
    let timeout = Some(Duration::from_secs(30));
    let mut script = Script::new(Cluster { wait_timeout: timeout, ..cluster() });
    script.event(Event::Tick);
    assert_eq!(revolving(&mut script, Duration::from_secs(1), 29).1, None);
    let tasks = assigned(&script.join(99), 99);
    for _ in 0..60 {
        script.event(Event::Heartbeat(WorkerId(99)));
        assert_eq!(outcome(&script.after(Duration::from_secs(5))), None);
    }
    for task in tasks {
        script.send(answer(task, Part::All, 0.1));
    }
    assert_eq!(script.engine.steps_done(), 1);
}
