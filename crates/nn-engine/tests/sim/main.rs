//! Seeded simulation of a cluster: the engine and workers that compute real gradients, over a network that delays,
//! duplicates, cuts and forgets, in virtual time. Machines die, hang and lie; the coordinator crashes, and goes on from
//! checkpoints that are torn, lost or damaged; its clock jumps either way.
//!
//! ```text
//! NN_SIM_SEEDS=100000 cargo test --release -p nn-engine --test sim     as many seeds as you like
//! NN_SIM_SEED=1234    cargo test -p nn-engine --test sim               one seed again, with what happened
//! NN_SIM_TRANSCRIPT=20000 cargo test -p nn-engine --test sim decides   a hash of all actions, to compare two versions
//! ```

#![allow(clippy::print_stderr)] // a test tells what it saw, where it is asked to

mod coordinator;
mod disk;
mod faults;
mod invariants;
mod lives;
mod machine;
mod network;
mod noise;
mod runs;
mod strike;
mod tally;
mod transcript;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tally::Tally;
use world::World;

/// Seeds that are run where nobody asks for a number.
const SEEDS: u64 = 5000;

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, but is {text:?}")))
}

/// What happened in the world of a seed, or the first violation.
fn simulate(seed: u64, talk: bool) -> Result<Tally, String> {
    let mut world = World::new(seed, talk);
    world.run()?;
    Ok(world.tally)
}

#[test]
fn whatever_happens_to_the_cluster_the_result_is_that_of_one_machine() {
    if let Some(seed) = from_environment("NN_SIM_SEED") {
        let tally = simulate(seed, true).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        eprintln!("seed {seed} passes: {tally:?}");
        return;
    }
    let seeds = from_environment("NN_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    let total = Mutex::new(Tally::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    let result = std::panic::catch_unwind(|| simulate(seed, false));
                    match result {
                        Ok(Ok(tally)) => total.lock().unwrap().add(&tally),
                        Ok(Err(violation)) => failures.lock().unwrap().push((seed, violation)),
                        Err(_) => failures.lock().unwrap().push((seed, "it panicked".to_owned())),
                    }
                }
            });
        }
    });
    let total = total.into_inner().unwrap();
    eprintln!("{seeds} seeds: {total:?}");
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    if let Some((seed, violation)) = failures.first() {
        panic!(
            "{} of {seeds} seeds fail; seed {seed}: {violation}\nrun it again: NN_SIM_SEED={seed} cargo test -p \
             nn-engine --test sim -- --nocapture",
            failures.len()
        );
    }
    // A simulation in which nothing happens proves nothing.
    if seeds >= 500 {
        total.assert_eventful(seeds);
    }
}
