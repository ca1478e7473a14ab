//! A replica's round: ordinary mini-batch steps from the public weights, and the difference that they made.
//!
//! It is a pure function of the public weights, the manifest, the data and (round, replica). So any worker computes it, as
//! often as it is asked to, and so does a single machine, which runs several replicas side by side.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nn_core::{
    Compute, DELTA_BLOCK, Dataset, DeltaBits, LayerLayout, MismatchError, Node, NodeStats, OptimizerState,
    Samples, StepInputs, Threads, Tree, Workspace, clip_factor_of, encode_4, encode_8, layout, rounding_keys,
    zeroed,
};

use crate::encoding::Encoding;
use crate::manifest::Manifest;

/// Where a replica is computed: memory that is used again, and no state.
#[derive(Debug)]
pub struct Replica {
    workspace: Workspace,
    compute: Compute,
    optimizer: OptimizerState,
    layers: Vec<LayerLayout>,
    /// w, the replica's own weights.
    params: Vec<f32>,
    gradient: Vec<f32>,
}

/// The public weights of a round, and its samples.
#[derive(Debug, Clone, Copy)]
pub struct Round<'a> {
    /// The run.
    pub manifest: &'a Manifest,
    /// The training set.
    pub data: &'a Dataset,
    /// Ŵ
    pub public: &'a [f32],
    /// The number of the round.
    pub step: u64,
    /// Its samples: [`SampleOrder::batch`](crate::SampleOrder::batch).
    pub samples: Samples<'a>,
}

impl Replica {
    /// Room for a replica of the run.
    #[must_use]
    pub fn new(manifest: &Manifest, compute: Compute) -> Self {
        let model = manifest.model();
        Self {
            workspace: manifest.workspace(compute.clone()),
            optimizer: manifest.optimizer_state(),
            layers: layout(model),
            params: zeroed(model.parameters()),
            gradient: zeroed(model.parameters()),
            compute,
        }
    }

    /// Takes the steps of a replica: `leaf` of the round's tree. Returns loss and counts, each sample's before the step that
    /// used it; `None` if `is_wanted` said before a step that nobody wants the result any more.
    ///
    /// # Errors
    /// If data, model and parameters do not match.
    pub fn run(
        &mut self,
        round: Round<'_>,
        leaf: u32,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Option<NodeStats>, MismatchError> {
        let Round { manifest, data, public, step, samples } = round;
        let recipe = manifest.recipe();
        let first_step = manifest.span(step).first_step;
        let slice = samples.part(manifest.tree(step).samples_of(Node { level: 0, index: leaf }));
        let l2 = recipe.l2 / manifest.parts().train_samples as f32;
        self.params.copy_from_slice(public);
        // The moments of a round before would be state.
        self.optimizer.moments_mut().into_iter().for_each(|moment| moment.fill(0.0));
        let mut all = NodeStats { samples: 0, loss: 0.0, correct: 0, finite: true };
        for (h, batch) in slice.indices.chunks(recipe.batch_size).enumerate() {
            if !is_wanted() {
                return Ok(None);
            }
            let stats = self.workspace.node_gradient(
                &self.params,
                data,
                Samples { indices: batch, ..slice },
                recipe.shard_size,
                &mut self.gradient,
            )?;
            let clip = recipe.clip_norm.map_or(1.0, |most| {
                let layers = self.layers.iter().map(LayerLayout::range);
                clip_factor_of(&self.compute, layers, &self.gradient, most, stats.samples)
            });
            let inputs = StepInputs {
                samples: stats.samples,
                step: h as u64,
                learning_rate: manifest.learning_rate_at(first_step + h as u64),
                l2,
                clip,
                noise: None,
            };
            self.optimizer.step(&self.compute, &mut self.params, &self.gradient, inputs);
            all.samples += stats.samples;
            all.loss += stats.loss;
            all.correct += stats.correct;
            all.finite &= stats.finite && stats.loss.is_finite();
        }
        Ok(Some(all))
    }

    /// Appends the difference Δ = Ŵ − w of the last [`Replica::run`] to `out`, for a range of the parameters that begins with a
    /// block. A replica with fewer samples than the others weighs less, in proportion. False if a number is infinite, NaN,
    /// or too large for its code.
    pub fn difference(&self, round: Round<'_>, leaf: u32, range: Range<usize>, out: &mut Vec<u8>) -> bool {
        const AT_ONCE: usize = 4 * DELTA_BLOCK;
        let manifest = round.manifest;
        let Some(rounds) = manifest.rounds() else { unreachable!("only rounds have replicas") };
        let encoding = Encoding::of_bits(rounds.delta_bits);
        let keys = rounding_keys(manifest.recipe().seed, round.step, leaf);
        let weight = weight(&manifest.tree(round.step), leaf);
        let isa = self.compute.isa;
        let mut finite = true;
        let mut difference = [0.0; AT_ONCE];
        out.reserve(encoding.bytes_for(range.len()));
        for from in range.clone().step_by(AT_ONCE) {
            let here = from..range.end.min(from + AT_ONCE);
            let difference = &mut difference[..here.len()];
            let both = round.public[here.clone()].iter().zip(&self.params[here.clone()]);
            for (d, (public, own)) in difference.iter_mut().zip(both) {
                *d = (public - own) * weight;
            }
            let at = out.len();
            out.resize(at + encoding.bytes_for(here.len()), 0);
            let out = &mut out[at..];
            finite &= match rounds.delta_bits {
                DeltaBits::Exact => {
                    encoding.encode(difference, out);
                    nn_core::all_finite(isa, difference)
                }
                DeltaBits::Eight => encode_8(isa, difference, out),
                DeltaBits::Four => encode_4(isa, keys, from as u32, difference, out),
            };
        }
        finite
    }
}

/// What a replica's difference is multiplied by: 1, or less for the last one of a tree, which may have fewer samples.
fn weight(tree: &Tree, leaf: u32) -> f32 {
    tree.samples_of(Node { level: 0, index: leaf }).len() as f32 / tree.shard() as f32
}

/// A factor that turns the sum of the differences into their mean, weighted by samples.
pub(crate) fn mean_of(tree: &Tree) -> f32 {
    tree.shard() as f32 / tree.samples() as f32
}

/// Replicas side by side on the threads of one machine.
#[derive(Debug)]
pub struct Replicas {
    compute: Compute,
    /// One that uses all threads.
    whole: Option<Replica>,
    /// Several that share the threads.
    parts: Vec<Replica>,
}

/// A replica that has been computed.
#[derive(Debug)]
pub struct Computed<'a> {
    /// Its leaf in the round's tree.
    pub leaf: u32,
    /// Where its difference is.
    pub replica: &'a Replica,
    /// Its loss and counts.
    pub stats: NodeStats,
    /// The time that it took.
    pub elapsed: Duration,
}

impl Replicas {
    /// Replicas on these threads. Memory is taken when they are first computed.
    #[must_use]
    pub fn new(compute: Compute) -> Self {
        Self { compute, whole: None, parts: Vec::new() }
    }

    /// Computes replicas of a round, as many side by side as there are threads: a network that is too small to share among
    /// threads uses all of them. `done` is called for each, on the thread that computed it; `now` is the time since any
    /// fixed moment.
    ///
    /// # Errors
    /// If data, model and parameters do not match.
    pub fn run(
        &mut self,
        round: Round<'_>,
        leaves: &[u32],
        is_wanted: &(dyn Fn() -> bool + Sync),
        now: &(dyn Fn() -> Duration + Sync),
        done: &(dyn Fn(Computed<'_>) + Sync),
    ) -> Result<(), MismatchError> {
        let threads = self.compute.threads.clone();
        let together = leaves.len().min(threads.count());
        let failed = Mutex::new(None);
        let compute = |item: usize, replica: &mut Replica| {
            let begun = now();
            match replica.run(round, leaves[item], &|| is_wanted()) {
                Ok(None) => {}
                Ok(Some(stats)) => {
                    let elapsed = now().saturating_sub(begun);
                    done(Computed { leaf: leaves[item], replica, stats, elapsed });
                }
                Err(error) => *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error),
            }
        };
        if together <= 1 {
            let whole = self.whole.get_or_insert_with(|| Replica::new(round.manifest, self.compute.clone()));
            // From inside the pool, a step's parallel parts start without crossing from a foreign thread.
            threads.enter(|| (0..leaves.len()).for_each(|item| compute(item, whole)));
        } else {
            let each = threads.count() / together;
            let parts = self.share(round.manifest, together, each);
            if each == 1 {
                threads.each(parts, leaves.len(), compute);
            } else {
                let next = AtomicUsize::new(0);
                std::thread::scope(|scope| {
                    for replica in parts {
                        scope.spawn(|| {
                            let threads = replica.compute.threads.clone();
                            threads.enter(|| {
                                loop {
                                    let item = next.fetch_add(1, Ordering::Relaxed);
                                    if item >= leaves.len() {
                                        break;
                                    }
                                    compute(item, replica);
                                }
                            });
                        });
                    }
                });
            }
        }
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// So many replicas with `each` threads of their own.
    fn share(&mut self, manifest: &Manifest, together: usize, each: usize) -> &mut [Replica] {
        if self.parts.first().is_some_and(|part| part.compute.threads.count() != each) {
            self.parts.clear();
        }
        while self.parts.len() < together {
            // If the system has no more threads, one computes as well, if slower.
            let threads = Threads::new(each).or_else(|_| Threads::new(1));
            let Ok(threads) = threads else { unreachable!("one thread is the calling one") };
            let compute = Compute { isa: self.compute.isa, threads: Arc::new(threads) };
            self.parts.push(Replica::new(manifest, compute));
        }
        &mut self.parts[..together]
    }
}
