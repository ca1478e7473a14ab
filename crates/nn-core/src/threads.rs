//! The threads that share the work of a step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::kernel::set_float_mode;

/// A rayon pool, or just the calling thread. The number of threads never changes a result: they share pieces of work
/// that are the same on any thread.
///
/// A step is a few parallel phases of some microseconds each, one after another. A thread that falls asleep in
/// between takes longer to wake (50 µs and more on a virtual machine) than a phase lasts. So each phase keeps the
/// other threads awake for a moment after it, looking for the next one.
#[derive(Debug)]
pub struct Threads {
    pool: Option<rayon::ThreadPool>,
    count: usize,
    /// `None` with more threads than processors, because a thread that looks for work would hold up one that does it.
    awake: Option<Arc<Awake>>,
}

/// The threads that stay awake without work.
#[derive(Debug)]
struct Awake {
    /// Set by the call that wakes the threads, until the first of them is awake.
    called: AtomicBool,
    /// Whether each thread is awake.
    threads: Vec<AtomicBool>,
}

/// Failed looks for work before a thread goes to sleep: some hundreds of microseconds.
const LOOKS: usize = 1000;

impl Awake {
    /// Looks for work and does it, until there is none for a while.
    fn stay(&self, index: usize) {
        self.called.store(false, Ordering::Relaxed);
        if self.threads[index].swap(true, Ordering::Relaxed) {
            return; // this call is itself work that the loop below found
        }
        let mut idle = 0;
        while idle < LOOKS {
            if rayon::yield_now() == Some(rayon::Yield::Executed) {
                idle = 0;
            } else {
                idle += 1;
                std::thread::yield_now();
            }
        }
        self.threads[index].store(false, Ordering::Relaxed);
    }
}

impl Threads {
    /// A pool of `count` threads; 0 counts as 1.
    ///
    /// # Errors
    /// If the system cannot start them.
    pub fn new(count: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let count = count.max(1);
        if count == 1 {
            return Ok(Self::single());
        }
        let name = |i| format!("nn-compute-{i}");
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(name)
            .start_handler(|_| set_float_mode())
            .build()?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let awake = (count <= processors).then(|| {
            let threads = (0..count).map(|_| AtomicBool::new(false)).collect();
            Arc::new(Awake { called: AtomicBool::new(false), threads })
        });
        Ok(Self { pool: Some(pool), count, awake })
    }

    /// Runs a parallel phase in the pool, and wakes the other threads if none is awake.
    fn phase(&self, pool: &rayon::ThreadPool, f: impl FnOnce() + Send) {
        pool.install(|| {
            if let (Some(awake), Some(me)) = (&self.awake, pool.current_thread_index()) {
                let others =
                    awake.threads.iter().enumerate().any(|(i, t)| i != me && t.load(Ordering::Relaxed));
                if !others && !awake.called.swap(true, Ordering::Relaxed) {
                    let awake = Arc::clone(awake);
                    pool.spawn_broadcast(move |thread| {
                        // Not the leading thread, which gets here while it waits for the others.
                        if thread.index() != me {
                            awake.stay(thread.index());
                        }
                    });
                }
            }
            f();
        });
    }

    /// The calling thread alone.
    pub(crate) fn single() -> Self {
        Self { pool: None, count: 1, awake: None }
    }

    /// Operations of a forward pass that justify one more thread: about 50 µs of work if the others are awake, 150 µs
    /// if they must be woken. Less would not pay even if waking cost nothing, because in every phase half of the
    /// weights and of their gradient come from another processor's cache.
    pub(crate) fn operations_per_thread(&self) -> usize {
        if self.awake.is_some() { 10_000_000 } else { 30_000_000 }
    }

    /// The number of threads, at least 1.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Runs `f` on one of the threads, in the floating-point mode that the arithmetic is defined in. A training loop inside `f` starts each step's parallel parts from within the
    /// pool; from outside, each start would cost tens of microseconds.
    pub fn enter<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(f),
            None => {
                set_float_mode();
                f()
            }
        }
    }

    /// Runs `f` for each state, each on a thread of its own.
    pub(crate) fn all<T: Send>(&self, states: &mut [T], f: impl Fn(usize, &mut T) + Sync) {
        match &self.pool {
            Some(pool) if states.len() > 1 => {
                self.phase(pool, || {
                    states.par_iter_mut().with_max_len(1).enumerate().for_each(|(i, t)| f(i, t))
                });
            }
            _ => states.iter_mut().enumerate().for_each(|(i, t)| f(i, t)),
        }
    }

    /// Runs `f` once for every item in `0..items`, on as many threads as there are `states`. A thread takes the next
    /// item when it has finished one.
    pub fn each<T: Send>(&self, states: &mut [T], items: usize, f: impl Fn(usize, &mut T) + Sync) {
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

    /// Shares panels among threads, `group` of them to each. The first argument of `f` is the number of the group,
    /// and the last its state. `arena` holds `stride` elements a panel, `losses` and `correct` one each.
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
            Some(pool) if losses.len() > group => self.phase(pool, || {
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

    /// Runs `f` on blocks of `out`, shared among the threads if it is long. The first argument is the start of the
    /// block.
    pub fn for_each_block(&self, out: &mut [f32], f: impl Fn(usize, &mut [f32]) + Sync + Send) {
        const BLOCK: usize = 1 << 15;
        if out.len() < 4 * BLOCK {
            f(0, out);
        } else {
            self.for_each_chunk(BLOCK, out, &mut [], &mut [], |at, out, _, _| f(at, out));
        }
    }

    /// Runs `f` on every chunk of `a` and the same chunks of `b` and `c`, each of which may also be empty. The first
    /// argument is the start of the chunk.
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
        self.phase(pool, || {
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
