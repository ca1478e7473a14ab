//! Nothing lost: whatever breaks, whenever, the run ends with the weights of `nn train`, and its log is that of an
//! undisturbed run.
//!
//! Real processes: a coordinator and its workers, each dialling through a proxy that can cut, hold, delay or lose what
//! passes. A seed decides what happens at which step. Four seeds in a row make each kind of fault happen at least once.
//!
//! ```console
//! $ cargo test --test chaos -- --nocapture                      # four runs, two at a time
//! $ NN_CHAOS_SEED=17 cargo test --test chaos -- --nocapture     # the run of one seed again
//! $ NN_CHAOS_SEED=0 NN_CHAOS_RUNS=100 cargo test --release --test chaos -- --nocapture
//! $ NN_CHAOS_STRETCH=8 cargo test --release --test chaos -- --nocapture    # faults that last beyond every patience
//! ```

#![cfg(unix)] // processes are stopped and killed by signals
#![allow(clippy::print_stdout)] // the seed and the figures are what this is run for
#![allow(clippy::disallowed_methods)] // every wait here is bounded by a clock

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code)] // the tests of the cluster use the rest
#[path = "../cluster/process.rs"]
mod process;
mod progress;
mod proxy;
mod schedule;
mod stage;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use std::{env, thread};

use schedule::{DECK, Kind, Plan};

/// A number that the environment gives.
fn given(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number, not {text:?}")))
}

#[test]
fn whatever_breaks_nothing_is_lost() {
    let seed = given("NN_CHAOS_SEED");
    let runs = given("NN_CHAOS_RUNS").unwrap_or(if seed.is_some() { 1 } else { DECK });
    let first = seed.unwrap_or(0);
    let stretch = u32::try_from(given("NN_CHAOS_STRETCH").unwrap_or(1)).expect("a small number");
    let next = AtomicU64::new(first);
    let began = Instant::now();
    let happened: Mutex<BTreeMap<Kind, usize>> = Mutex::default();
    let perform = || {
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= first + runs {
                return;
            }
            let plan = Plan::of(seed, stretch);
            println!("seed {seed}: {}", plan.options());
            let kinds = stage::perform(&plan);
            for kind in kinds {
                *happened.lock().unwrap().entry(kind).or_default() += 1;
            }
        }
    };
    // Most of a run is waiting for what is broken.
    thread::scope(|scope| {
        (0..given("NN_CHAOS_JOBS").unwrap_or(2)).for_each(|_| drop(scope.spawn(perform)));
    });
    println!(
        "{runs} runs in {:.0?}, all with the weights and the log of an undisturbed run",
        began.elapsed()
    );
    let happened = happened.into_inner().unwrap();
    for (kind, times) in &happened {
        println!("{times:5}  {kind:?}");
    }
    if first.is_multiple_of(DECK) && runs >= DECK {
        let missing: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| !happened.contains_key(kind)).collect();
        assert!(missing.is_empty(), "these never happened: {missing:?}");
    }
}
