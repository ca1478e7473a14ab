//! Nothing is lost: whatever breaks, and whenever, the run ends with the weights of `nn train` and the log of an
//! undisturbed run.
//!
//! The processes are real: a coordinator and its workers, each of which dials through a proxy that can cut connections
//! and hold, delay or lose bytes. A seed decides which faults happen at which steps. Four seeds in a row inject every kind
//! of fault at least once.
//!
//! ```console
//! $ cargo test --test chaos -- --nocapture                      # four runs, two at a time
//! $ NN_CHAOS_SEED=17 cargo test --test chaos -- --nocapture     # repeats the run of one seed
//! $ NN_CHAOS_SEED=0 NN_CHAOS_RUNS=100 cargo test --release --test chaos -- --nocapture
//! $ NN_CHAOS_STRETCH=8 cargo test --release --test chaos -- --nocapture    # faults that outlast every timeout
//! ```

#![cfg(unix)] // processes are stopped and killed by signals
#![allow(clippy::print_stdout)] // prints seeds and figures
#![allow(clippy::disallowed_methods)] // every wait here is bounded by a clock

#[path = "../common/mod.rs"]
mod common;
mod nonsense;
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

/// The number in an environment variable, if it is set.
fn given(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number, not {text:?}")))
}

#[test]
fn whatever_breaks_the_run_ends_as_if_undisturbed() {
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
    // Runs spend most of their time waiting for faults to end, so several run at a time.
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
