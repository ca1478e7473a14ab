//! Hostile clients of a running coordinator: see [`check`].
//!
//! Sessions, conversions, the driver and the engine are the real ones; only the sockets are missing, and time is a number.
//! Everything happens on one thread, in the order of the script.

mod stranger;
mod world;

use crate::fuzzing::fixture::runtime;
use crate::fuzzing::script::Script;
pub(crate) use stranger::seeds;
use world::World;

/// The most operations of a script.
const OPERATIONS: usize = 200;

/// Strangers follow the script over several streams while an honest worker works; then they fall silent. Whatever they did,
/// the run must end, with the bits that it has without them.
///
/// The script lacks one thing that a member may do, because only an audit could stop it: to answer its assignment with
/// wrong but finite numbers, or with NaN. If a contribution is otherwise correct, its numbers are corrected before the
/// driver sees it.
pub fn check(script: &[u8]) {
    runtime(async {
        let mut world = World::new(&mut Script(script));
        world.join().await;
        let mut script = Script(script.get(1..).unwrap_or_default());
        for _ in 0..OPERATIONS {
            if script.is_over() || world.is_over() {
                break;
            }
            world.operate(&mut script).await;
            world.pump().await;
        }
        world.finish().await;
    });
}

/// The number of nodes that the honest worker has answered when a script ends, and of those assigned to strangers.
#[cfg(test)]
pub(crate) fn answers(script: &[u8]) -> (u64, usize) {
    runtime(async {
        let mut world = World::new(&mut Script(script));
        world.join().await;
        let mut script = Script(&script[1..]);
        while !script.is_over() && !world.is_over() {
            world.operate(&mut script).await;
            world.pump().await;
        }
        let answers = (world.answered, world.given);
        world.finish().await;
        answers
    })
}
