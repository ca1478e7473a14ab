//! Nodes that two workers compute before they count, and the detection of workers that compute wrongly.

use crate::script::*;

const TRUTH: f32 = 0.1;
const LIE: f32 = 0.2;

fn audited(min_workers: usize) -> Script {
    Script::new(Cluster { audit: 1.0, min_workers, link_bytes_per_second: 1e12, ..cluster() })
}

/// Every worker answers its assignments, workers above `honest` with lies, until nothing is left to do in this step.
/// Returns all actions.
fn play(script: &mut Script, first: Vec<Action>, honest: u64) -> Vec<Action> {
    let step = script.engine.steps_done();
    let mut all = first;
    let mut at = 0;
    while at < all.len() {
        if let Action::Assign(task) = &all[at]
            && task.step.0 == step
        {
            let value = if task.worker.0 <= honest { TRUTH } else { LIE };
            let more = script.send(answer(*task, Part::All, value));
            all.extend(more);
        }
        at += 1;
    }
    all
}

fn disproved(actions: &[Action]) -> Vec<u64> {
    let all = actions.iter().filter_map(|action| match action {
        Action::Release { worker, reason: Release::Disproved { .. } } => Some(worker.0),
        _ => None,
    });
    all.collect()
}

fn counted(actions: &[Action]) -> Vec<u64> {
    let all = actions.iter().filter_map(|action| match action {
        Action::Counted { worker, .. } => Some(worker.0),
        _ => None,
    });
    all.collect()
}

/// The parameters after the first step of honest workers.
fn truth() -> Vec<f32> {
    let mut script = Script::new(cluster());
    let task = assigned(&script.join(1), 1)[0];
    // Every made-up answer has the same numbers, whatever its node: so only the whole tree gives the true sum.
    script.send(answer(task, Part::All, TRUTH));
    script.engine.params().to_vec()
}

#[test]
fn a_node_counts_once_two_workers_agree() {
    let mut script = audited(2);
    script.join(1);
    let actions = script.join(2);
    let task = assigned(&actions, 1)[0];
    let before = script.engine.params().to_vec();
    let first = script.send(answer(task, Part::All, TRUTH));
    assert!(counted(&first).is_empty(), "held");
    // The same worker cannot confirm its own result.
    let again = script.send(answer(task, Part::All, TRUTH));
    assert_eq!(rejections(&again), [Rejection::Duplicate(task.node)]);
    assert!(counted(&again).is_empty());
    assert_eq!(script.engine.params(), before);
    let rest: Vec<Action> =
        actions.into_iter().filter(|a| !matches!(a, Action::Assign(t) if *t == task)).collect();
    let all = play(&mut script, rest.into_iter().chain(first).collect(), 9);
    assert_eq!(script.engine.steps_done(), 1);
    assert!(disproved(&all).is_empty());
    // Single layers and all layers at once are compared alike.
    let mut script = audited(2);
    script.join(1);
    let actions = script.join(2);
    let task = assigned(&actions, 1)[0];
    script.send(answer(task, Part::Layer(1), TRUTH));
    let mut all = script.send(answer(task, Part::Layer(0), TRUTH));
    for other in assigned(&actions, 2) {
        all.extend(script.send(answer(other, Part::All, TRUTH)));
    }
    let witness = assigned(&all, 2);
    assert_eq!(witness.iter().map(|t| t.node).collect::<Vec<_>>(), [task.node]);
    assert!(!counted(&script.send(answer(witness[0], Part::All, TRUTH))).is_empty());
}

#[test]
fn an_outvoted_worker_is_quarantined_and_none_of_its_results_count() {
    let mut script = audited(3);
    script.join(1);
    script.join(2);
    let actions = script.join(3);
    let all = play(&mut script, actions, 2);
    assert_eq!(script.engine.steps_done(), 1);
    assert_eq!(disproved(&all), [3]);
    assert!(!counted(&all).contains(&3));
    let status = script.engine.status(script.now);
    assert!(status.quarantined[0].reason.to_string().contains("computes wrongly"), "{status:?}");
    let again = Join { worker: WorkerId(4), member: Member(3), incarnation: 1, threads: 1 };
    assert!(has(&script.event(Event::Joined(again)), |a| matches!(
        a,
        Action::Release { worker: WorkerId(4), reason: Release::Disproved { .. } }
    )));
}

#[test]
fn if_two_workers_differ_the_run_waits_for_a_third_to_decide() {
    let timeout = Some(Duration::from_secs(60));
    let mut script = audited(2);
    script.engine = script.engine.with_cluster(Cluster {
        audit: 1.0,
        min_workers: 2,
        wait_timeout: timeout,
        ..cluster()
    });
    script.join(1);
    let actions = script.join(9);
    let all = play(&mut script, actions, 1);
    assert!(counted(&all).is_empty() && disproved(&all).is_empty());
    assert!(matches!(script.engine.waiting(), Some(Waiting::ForWorkers { have: 2, want: 3, .. })));
    for worker in [1, 9] {
        script.event(Event::Heartbeat(WorkerId(worker)));
    }
    script.after(Duration::from_secs(5));
    let actions = script.join(2);
    let all = play(&mut script, actions, 2);
    assert_eq!((script.engine.steps_done(), disproved(&all)), (1, vec![9]));
    assert!(!counted(&all).contains(&9));
}

#[test]
fn no_third_worker_comes_to_decide() {
    let mut script = Script::new(Cluster {
        audit: 1.0,
        min_workers: 2,
        wait_timeout: Some(Duration::from_secs(5)),
        ..cluster()
    });
    script.join(1);
    let actions = script.join(9);
    let before = script.engine.snapshot();
    play(&mut script, actions, 1);
    let actions = script.after(Duration::from_secs(6));
    assert!(matches!(outcome(&actions), Some(Outcome::NoWorkers { have: 2, want: 3, .. })));
    assert_eq!(script.engine.snapshot(), before);
}

#[test]
fn a_lone_worker_is_believed_unless_the_run_needs_two() {
    let mut script = audited(1);
    let actions = script.join(1);
    play(&mut script, actions, 1);
    assert_eq!((script.engine.steps_done(), script.engine.params()), (1, &truth()[..]));
    // The other worker leaves after the first has answered.
    for min_workers in [1, 2] {
        let mut script = audited(min_workers);
        let mut first = script.join(1);
        if min_workers == 1 {
            let task = assigned(&first, 1)[0];
            script.join(2);
            first = script.send(answer(task, Part::All, TRUTH));
            assert_eq!(script.engine.steps_done(), 1);
        } else {
            first = script.join(2);
        }
        let step = script.engine.steps_done();
        let tasks = assigned(&first, 1);
        for &task in &tasks {
            assert!(counted(&script.send(answer(task, Part::All, TRUTH))).is_empty());
        }
        let left = script.event(Event::Left(WorkerId(2)));
        let all = play(&mut script, left, 1);
        let done = script.engine.steps_done() > step;
        assert_eq!(done, min_workers == 1, "{all:?}");
    }
}

#[test]
fn which_nodes_are_audited_depends_on_nothing_but_the_node() {
    let held = |workers: u64| -> Vec<Node> {
        let mut script =
            Script::new(Cluster { audit: 0.5, min_workers: 6, link_bytes_per_second: 1e12, ..cluster() });
        let mut actions = Vec::new();
        for worker in 1..=6 {
            actions = script.join(worker + workers * 10);
        }
        let tasks = actions.iter().filter_map(|action| match action {
            Action::Assign(task) => Some(*task),
            _ => None,
        });
        let tasks: Vec<Assignment> = tasks.collect();
        assert_eq!(tasks.len(), 6, "one leaf each");
        let held = |task: &&Assignment| counted(&script.send(answer(**task, Part::All, TRUTH))).is_empty();
        let mut nodes: Vec<Node> = tasks.iter().filter(held).map(|task| task.node).collect();
        nodes.sort();
        nodes
    };
    let some = held(0);
    assert!(!some.is_empty() && some.len() < 6, "{some:?}");
    assert_eq!(held(1), some);
}

#[test]
fn a_worker_that_dials_again_cannot_confirm_itself() {
    let mut script = audited(2);
    script.join(1);
    let actions = script.join(9);
    let lies: Vec<Node> = assigned(&actions, 9).iter().map(|task| task.node).collect();
    script.now += Duration::from_millis(10);
    for task in assigned(&actions, 9) {
        script.send(answer(task, Part::All, LIE));
    }
    for task in assigned(&actions, 1) {
        script.send(answer(task, Part::All, TRUTH));
    }
    let again = Join { worker: WorkerId(10), member: Member(9), incarnation: 1, threads: 1 };
    let mut tasks = assigned(&script.event(Event::Joined(again)), 10);
    while let Some(task) = tasks.pop() {
        tasks.extend(assigned(&script.send(answer(task, Part::All, TRUTH)), 10));
    }
    // The witness is slow, and there is no other.
    let actions = script.after(Duration::from_secs(5));
    let tasks = assigned(&actions, 10);
    let task = tasks.iter().find(|task| lies.contains(&task.node)).expect("the worker gets its own node");
    let actions = script.send(answer(*task, Part::All, LIE));
    assert!(counted(&actions).is_empty());
    assert_eq!(rejections(&actions), [Rejection::Duplicate(task.node)]);
}

#[test]
fn two_losses_for_one_node_do_not_pass_for_one() {
    let mut script = audited(2);
    script.join(1);
    let actions = script.join(2);
    let task = assigned(&actions, 1)[0];
    let mut other = answer(task, Part::Layer(1), TRUTH);
    other.stats = answer(task, Part::Layer(0), TRUTH).stats;
    other.stats.as_mut().unwrap().loss = 99.0;
    script.send(other);
    let mut all = script.send(answer(task, Part::Layer(0), TRUTH));
    for other in assigned(&actions, 2) {
        all.extend(script.send(answer(other, Part::All, TRUTH)));
    }
    let witness = assigned(&all, 2).into_iter().find(|witness| witness.node == task.node).unwrap();
    assert!(counted(&script.send(answer(witness, Part::All, TRUTH))).is_empty());
}

/// Lets workers send heartbeats, and no results.
fn heartbeats(script: &mut Script, workers: &[u64], seconds: u64) -> Vec<Action> {
    let mut actions = Vec::new();
    for _ in 0..seconds {
        for &worker in workers {
            actions.extend(script.event(Event::Heartbeat(WorkerId(worker))));
        }
        actions.extend(script.after(Duration::from_secs(1)));
    }
    actions
}

fn stalled(actions: &[Action]) -> Vec<u64> {
    let all = actions.iter().filter_map(|action| match action {
        Action::Release { worker, reason: Release::Stalled(_) } => Some(worker.0),
        _ => None,
    });
    all.collect()
}

#[test]
fn a_worker_that_only_sends_heartbeats_cannot_hold_up_an_audited_step_without_limit() {
    for min_workers in [1, 2] {
        let wait_timeout = Some(Duration::from_secs(30));
        let mut script = Script::new(Cluster {
            audit: 1.0,
            min_workers,
            wait_timeout,
            link_bytes_per_second: 1e12,
            ..cluster()
        });
        let mut first = script.join(1);
        if min_workers == 1 {
            let task = assigned(&first, 1)[0];
            script.join(2);
            first = script.send(answer(task, Part::All, TRUTH));
        } else {
            first.extend(script.join(2));
        }
        let step = script.engine.steps_done();
        // The first worker computes all its nodes, and takes over those of the second, which only sends heartbeats.
        let mut todo = assigned(&first, 1);
        let mut gone = Vec::new();
        for _ in 0..120 {
            for task in std::mem::take(&mut todo) {
                let more = script.send(answer(task, Part::All, TRUTH));
                todo.extend(assigned(&more, 1));
            }
            let actions = heartbeats(&mut script, &[1, 2], 1);
            todo.extend(assigned(&actions, 1));
            gone.extend(stalled(&actions));
            if !gone.is_empty() {
                break;
            }
            assert_eq!(script.engine.steps_done(), step, "held");
        }
        assert_eq!(gone, [2], "with {min_workers}");
        assert!(script.now > Duration::from_secs(40), "released too early: {:?}", script.now);
        if min_workers == 1 {
            assert_eq!(script.engine.steps_done(), step + 1, "the other worker is alone, and believed");
        } else {
            assert!(matches!(script.engine.waiting(), Some(Waiting::ForWorkers { have: 1, want: 2, .. })));
            let actions = heartbeats(&mut script, &[1], 31);
            assert!(matches!(outcome(&actions), Some(Outcome::NoWorkers { have: 1, want: 2, .. })));
        }
    }
}

#[test]
fn a_worker_that_stalls_repeatedly_is_excluded() {
    let mut script =
        Script::new(Cluster { audit: 1.0, min_workers: 2, link_bytes_per_second: 1e12, ..cluster() });
    let mut actions = script.join(1);
    let mut ends = Vec::new();
    for incarnation in 0..4 {
        let worker = WorkerId(10 + incarnation);
        let join = Join { worker, member: Member(9), incarnation, threads: 1 };
        actions.extend(script.event(Event::Joined(join)));
        for _ in 0..120 {
            for task in assigned(&actions, 1) {
                let more = script.send(answer(task, Part::All, TRUTH));
                actions.extend(more.into_iter().filter(|action| !matches!(action, Action::Assign(_))));
            }
            ends.extend(actions.iter().filter_map(|action| match action {
                Action::Release { worker: WorkerId(10..), reason } => Some(*reason),
                _ => None,
            }));
            if ends.len() as u64 > incarnation {
                break;
            }
            actions = heartbeats(&mut script, &[1, worker.0], 1);
        }
        actions = Vec::new();
    }
    assert!(matches!(ends[..2], [Release::Stalled(_), Release::Stalled(_)]), "{ends:?}");
    let last = Release::Quarantined { strikes: 3, last: Rejection::Stalled };
    assert_eq!(ends[2..], [last, last]);
}

#[test]
fn a_slow_worker_does_not_count_as_stalled() {
    let mut script =
        Script::new(Cluster { audit: 1.0, min_workers: 2, link_bytes_per_second: 1e12, ..cluster() });
    script.join(1);
    let actions = script.join(2);
    for task in assigned(&actions, 1) {
        script.send(answer(task, Part::All, TRUTH));
    }
    // No speed is known yet. Half a minute is slow, but not stalled.
    let meanwhile = heartbeats(&mut script, &[1, 2], 30);
    assert!(stalled(&meanwhile).is_empty());
    for task in assigned(&actions, 2) {
        script.send(answer(task, Part::All, TRUTH));
    }
    assert!(script.state(2).is_some());
}
