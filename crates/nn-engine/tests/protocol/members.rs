//! Who a worker is: restarts, second connections, connections that are not quite dead.

use crate::script::*;

#[test]
fn a_newer_connection_takes_the_place_of_an_older_one() {
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
    assert!(script.engine.is_synced(WorkerId(3)) && !script.engine.is_synced(WorkerId(1)));
    assert!(script.event(Event::Left(WorkerId(1))).is_empty());
}
