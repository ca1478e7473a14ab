//! When checkpoints are due.

use crate::script::*;

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
