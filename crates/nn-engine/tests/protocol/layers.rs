//! Layers that arrive one by one, nodes that arrive in part, and sums that overflow.

use nn_engine::{Manifest, ManifestParts, Recipe};

use crate::script::*;

#[test]
fn layers_are_stepped_and_broadcast_while_others_still_arrive() {
    let mut script = Script::new(cluster());
    let tasks = assigned(&script.join(1), 1);
    assert_eq!(tasks.len(), 1);
    let before = script.engine.params().to_vec();
    let actions = script.send(answer(tasks[0], Part::Layer(1), 1.0));
    assert!(has(&actions, |a| matches!(a, Action::Broadcast { step: Step(1), part: Part::Layer(1) })));
    // The new layer is visible, and nothing else of the step.
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
fn layers_of_a_clipped_gradient_wait_for_each_other() {
    let parts = manifest().parts().clone();
    let recipe = Recipe { clip_norm: Some(0.1), ..parts.recipe };
    let clipping = Manifest::new(ManifestParts { recipe, ..parts }).unwrap();
    let mut script = Script::of(clipping.clone(), cluster());
    let task = assigned(&script.join(1), 1)[0];
    let before = script.engine.snapshot();
    let actions = script.send(answer(task, Part::Layer(1), 1.0));
    assert!(!has(&actions, |a| matches!(a, Action::Broadcast { .. })));
    assert_eq!(script.engine.weights(Step(1), Part::Layer(1)), None);
    let actions = script.send(answer(task, Part::Layer(0), 1.0));
    for layer in 0..2 {
        let part = Part::Layer(layer);
        assert!(has(&actions, |a| matches!(a, Action::Broadcast { part: to, .. } if *to == part)));
    }
    // The mean has the norm √23/12, which is 0.4; clipped, each of its 23 numbers is 0.1/√23.
    let step = 0.5 * 0.1 / 23.0_f32.sqrt();
    let after = script.engine.params().iter().zip(&before.params);
    assert!(after.clone().all(|(new, old)| (old - new - step).abs() < 1e-6), "{after:?}");
    // A step that is stopped leaves nothing behind.
    let mut script = Script::of(clipping, cluster());
    let task = assigned(&script.join(1), 1)[0];
    script.send(answer(task, Part::Layer(1), 1.0));
    let actions = script.event(Event::StopRequested);
    assert_eq!((outcome(&actions), script.engine.snapshot()), (Some(Outcome::Stopped), before));
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
fn an_overflowing_sum_of_finite_parts_is_a_divergence() {
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
fn a_new_plan_is_cut_where_parts_have_counted() {
    let (mut script, [one, two, _]) = three_with_two_leaves_each();
    script.send(answer(one, Part::Layer(1), 0.1));
    script.send(answer(two, Part::Layer(1), 0.1));
    for worker in 1..=3 {
        script.event(Event::Left(WorkerId(worker)));
    }
    // Its share is the whole tree, but in layer 1 two thirds of the root have counted, so the root itself could not.
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
fn a_node_does_not_count_after_one_of_its_leaves_has() {
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
fn loss_and_counts_may_come_with_a_layer_that_has_already_counted() {
    let mut script = Script::new(cluster());
    let task = assigned(&script.join(1), 1)[0];
    let mut bare = answer(task, Part::Layer(0), 1.0);
    bare.stats = None;
    script.send(bare);
    let ahead = script.engine.weights(Step(1), Part::Layer(0)).unwrap().to_vec();
    let actions = script.send(answer(task, Part::Layer(0), 1.0));
    assert!(!has(&actions, |a| matches!(a, Action::Counted { .. } | Action::Reject { .. })));
    assert_eq!(script.engine.weights(Step(1), Part::Layer(0)), Some(&ahead[..]));
    let actions = script.send(answer(task, Part::Layer(1), 1.0));
    assert!(has(&actions, |a| matches!(a, Action::StepDone(_))));
}
