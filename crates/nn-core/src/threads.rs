//! The threads that share a step's work.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

/// A rayon pool, or just the calling thread. How many threads there are can never be seen in a result: they only share
/// out pieces of work that are the same whoever does them.
#[derive(Debug)]
pub struct Threads {
    pool: Option<rayon::ThreadPool>,
    count: usize,
}

impl Threads {
    /// A pool of `count` threads; 0 counts as 1.
    ///
    /// # Errors
    /// When the system refuses to start them.
    pub fn new(count: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let count = count.max(1);
        let pool = if count == 1 {
            None
        } else {
            let name = |i| format!("nn-compute-{i}");
            Some(rayon::ThreadPoolBuilder::new().num_threads(count).thread_name(name).build()?)
        };
        Ok(Self { pool, count })
    }

    /// The calling thread alone.
    pub(crate) fn single() -> Self {
        Self { pool: None, count: 1 }
    }

    /// How many threads there are, at least 1.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Runs `f` on one of the threads. A training loop that runs inside starts each step's parallel parts without
    /// crossing from a foreign thread first, which costs tens of microseconds.
    pub fn enter<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(f),
            None => f(),
        }
    }

    /// Runs `f` for each state, one thread a state.
    pub(crate) fn all<T: Send>(&self, states: &mut [T], f: impl Fn(usize, &mut T) + Sync) {
        match &self.pool {
            Some(pool) if states.len() > 1 => {
                pool.install(|| states.par_iter_mut().with_max_len(1).enumerate().for_each(|(i, t)| f(i, t)));
            }
            _ => states.iter_mut().enumerate().for_each(|(i, t)| f(i, t)),
        }
    }

    /// Runs `f` once for every item in `0..items`, each with whichever of the `states` is free: as many threads as there
    /// are states take the next item when they have finished the last.
    pub(crate) fn each<T: Send>(&self, states: &mut [T], items: usize, f: impl Fn(usize, &mut T) + Sync) {
        if let [state] = states {
            (0..items).for_each(|item| f(item, state));
            return;
        }
        let next = AtomicUsize::new(0);
        self.all(states, |_, state| {
            loop {
                let item = next.fetch_add(1, Ordering::Relaxed);
                if item >= items {
                    break;
                }
                f(item, state);
            }
        });
    }

    /// Shares panels among threads, `group` of them to each: the first argument of `f` counts the groups, and each has a
    /// state of its own. `arena` holds `stride` elements a panel, `losses` and `correct` one each.
    pub(crate) fn shares<A: Send, L: Send, C: Send, T: Send>(
        &self,
        group: usize,
        (arena, stride): (&mut [A], usize),
        losses: &mut [L],
        correct: &mut [C],
        states: &mut [T],
        f: impl Fn(usize, &mut [A], &mut [L], &mut [C], &mut T) + Sync,
    ) {
        match &self.pool {
            Some(pool) if losses.len() > group => pool.install(|| {
                arena
                    .par_chunks_mut(group * stride)
                    .zip(losses.par_chunks_mut(group))
                    .zip(correct.par_chunks_mut(group))
                    .zip(states)
                    .with_max_len(1)
                    .enumerate()
                    .for_each(|(i, (((arena, losses), correct), state))| f(i, arena, losses, correct, state));
            }),
            _ => f(0, arena, losses, correct, &mut states[0]),
        }
    }

    /// Runs `f` on every chunk of `a` and the same chunks of `b` and `c`, each of which may be empty instead. The first
    /// argument is where the chunk starts.
    pub(crate) fn for_each_chunk(
        &self,
        size: usize,
        a: &mut [f32],
        b: &mut [f32],
        c: &mut [f32],
        f: impl Fn(usize, &mut [f32], &mut [f32], &mut [f32]) + Sync + Send,
    ) {
        let Some(pool) = &self.pool else {
            f(0, a, b, c);
            return;
        };
        pool.install(|| {
            let chunks = a.par_chunks_mut(size).enumerate();
            match (b.is_empty(), c.is_empty()) {
                (true, _) => chunks.for_each(|(i, a)| f(i * size, a, &mut [], &mut [])),
                (false, true) => {
                    let both = chunks.zip(b.par_chunks_mut(size));
                    both.for_each(|((i, a), b)| f(i * size, a, b, &mut []));
                }
                (false, false) => {
                    let all = chunks.zip(b.par_chunks_mut(size)).zip(c.par_chunks_mut(size));
                    all.for_each(|(((i, a), b), c)| f(i * size, a, b, c));
                }
            }
        });
    }
}
