//! The memory that a run needs, said and compared with what is left before it is taken.
//!
//! The estimate is what a run certainly takes, so that no run is refused that would have fitted. A run beyond it would be
//! killed by the system, which says nothing.

use std::fs;
use std::path::Path;

use indicatif::HumanBytes;
use nn_core::{Isa, Normalization, Optimizer, Precision, waiting_sums};
use nn_engine::Manifest;

use crate::cgroup;
use crate::failure::Failure;

/// The bytes of a parameter, a gradient or a moment.
const FLOAT: u64 = 4;

/// Samples evaluated at a time.
const EVALUATED: u64 = 1024;

/// The addresses that the allocator reserves for a thread, whether or not it uses them.
#[cfg(unix)]
const ARENA: u64 = 64 << 20;

/// A run that needs more than this says so.
const MUCH: u64 = 256 << 20;

/// The memory that a run needs, in bytes, besides its data, which is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    parameters: u64,
    /// Weights, gradient and the optimizer's moments.
    state: u64,
    /// A checkpoint: a copy of weights and moments, and the file made of it.
    checkpoint: u64,
    /// Activations and errors of a mini-batch, and of the samples that are evaluated at a time.
    samples: u64,
    /// The part of `samples` that is the mini-batch's.
    batch: u64,
    moments: u64,
}

/// The units of all hidden layers.
fn hidden_units(widths: &[u64]) -> u64 {
    let hidden = widths.get(1..widths.len() - 1).unwrap_or_default();
    hidden.iter().fold(0, |sum: u64, &width| sum.saturating_add(width))
}

/// What limits the memory that is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Left {
    /// The bytes that are left.
    bytes: u64,
    /// The limit in words, for a message.
    limit: String,
    remedy: &'static str,
}

impl Need {
    /// The need of a run on `threads` threads.
    pub(crate) fn of(manifest: &Manifest, threads: usize) -> Self {
        let parts = manifest.parts();
        let moments = match parts.recipe.optimizer {
            Optimizer::Sgd => 0,
            Optimizer::Momentum { .. } | Optimizer::Nesterov { .. } => 1,
            Optimizer::Adam { .. } | Optimizer::AdamW { .. } => 2,
        };
        let batch = manifest.samples_at_once() as u64;
        let widths: Vec<u64> = parts.model.widths().iter().map(|&width| width as u64).collect();
        let mut need = Self::new(&widths, moments, batch, threads as u64);
        if !parts.model.activation().has_slope_of_value() || parts.recipe.regularization.dropout > 0.0 {
            need = need.with_slopes(&widths, batch);
        }
        if parts.model.normalization() == Normalization::Layer {
            need = need.with_normalization(&widths, batch);
        }
        if parts.model.precision() == Precision::Bf16 && Isa::best().name() == "amx" {
            need = need.with_tiles();
        }
        let need = need.with_waiting(waiting_sums(manifest.largest_batch(), parts.recipe.shard_size));
        let need = match manifest.rounds() {
            Some(rounds) => need.in_rounds(u64::from(rounds.replicas), threads as u64),
            None => need,
        };
        let need = if parts.recipe.ema.is_some() { need.with_average() } else { need };
        if manifest.recipe().initial_sha256.is_some() { need.with_beginning() } else { need }
    }

    /// The need of a run that keeps the weights of the model that it begins with.
    fn with_beginning(self) -> Self {
        Self { state: self.state.saturating_add(self.parameters.saturating_mul(FLOAT)), ..self }
    }

    /// The need of a run whose forward pass keeps the slopes of the hidden layers.
    fn with_slopes(self, widths: &[u64], batch: u64) -> Self {
        let slopes = hidden_units(widths).saturating_mul(FLOAT).saturating_mul(batch.next_multiple_of(16));
        Self {
            samples: self.samples.saturating_add(slopes),
            batch: self.batch.saturating_add(slopes),
            ..self
        }
    }

    /// The need of a run whose mini-batches are summed in parts, so many sums of which wait at once.
    fn with_waiting(self, sums: usize) -> Self {
        let sums = self.parameters.saturating_mul(FLOAT).saturating_mul(sums as u64);
        Self { samples: self.samples.saturating_add(sums), batch: self.batch.saturating_add(sums), ..self }
    }

    /// The need of a run whose hidden layers are normalised: two more parameters for each unit, and two more numbers for each unit and
    /// sample.
    fn with_normalization(self, widths: &[u64], batch: u64) -> Self {
        let twice = self.with_slopes(widths, batch).with_slopes(widths, batch);
        let more = hidden_units(widths).saturating_mul(2);
        let floats = more.saturating_mul(FLOAT);
        Self {
            parameters: self.parameters.saturating_add(more),
            state: self.state.saturating_add(floats.saturating_mul(2 + self.moments)),
            checkpoint: self.checkpoint.saturating_add(floats.saturating_mul(2 * (1 + self.moments))),
            ..twice
        }
    }

    /// The need of a run that also computes the gradient of so many samples, or fewer, aside from its steps; of none, nothing more.
    pub(crate) fn with_gradient_of(self, manifest: &Manifest, samples: usize) -> Self {
        if samples == 0 {
            return self;
        }
        let samples = samples.min(manifest.parts().train_samples) as u64;
        let widths = manifest.model().widths().iter();
        // An activation and an error for each unit and sample.
        let units = widths.fold(0, |sum: u64, &width| sum.saturating_add(width as u64));
        let floats = self.parameters.saturating_add(units.saturating_mul(2).saturating_mul(samples));
        Self { samples: self.samples.saturating_add(floats.saturating_mul(FLOAT)), ..self }
    }

    /// The need of a run on a matrix unit, for which the weights are packed twice, as two bytes each.
    fn with_tiles(self) -> Self {
        Self { state: self.state.saturating_add(self.parameters.saturating_mul(FLOAT)), ..self }
    }

    /// The need of a run that keeps the average of its weights, which has no second buffer; a checkpoint has it, too.
    fn with_average(self) -> Self {
        let floats = self.parameters.saturating_mul(FLOAT);
        Self {
            state: self.state.saturating_add(floats),
            checkpoint: self.checkpoint.saturating_add(floats.saturating_mul(2)),
            ..self
        }
    }

    /// The need of a run in rounds: public weights, velocity and residual before and after a round, the replicas' differences
    /// and sums of them, and the weights, gradients, moments and samples of those that are computed side by side.
    fn in_rounds(self, replicas: u64, threads: u64) -> Self {
        let floats = self.parameters.saturating_mul(FLOAT);
        let together = replicas.min(threads);
        let of_replica = floats.saturating_mul(2 + self.moments);
        let differences = floats.saturating_mul(replicas);
        Self {
            state: floats
                .saturating_mul(6)
                .saturating_add(of_replica.saturating_mul(together))
                .saturating_add(differences),
            checkpoint: floats.saturating_mul(2 * 3),
            samples: self.samples.saturating_add(self.batch.saturating_mul(together - 1)),
            ..self
        }
    }

    fn new(widths: &[u64], moments: u64, batch: u64, threads: u64) -> Self {
        let parameters = widths
            .windows(2)
            .map(|pair| pair[0].saturating_add(1).saturating_mul(pair[1]))
            .fold(0, u64::saturating_add);
        let floats = parameters.saturating_mul(FLOAT);
        // Of each layer the activations and, but for the input, the errors.
        let neurons = widths.iter().fold(0, |sum: u64, &width| sum.saturating_add(width.saturating_mul(2)));
        let of_sample = neurons.saturating_sub(widths.first().copied().unwrap_or(0)).saturating_mul(FLOAT);
        let batch = batch.next_multiple_of(16);
        let scratch = threads.saturating_mul(batch).saturating_mul(2 * FLOAT);
        let batch = of_sample.saturating_mul(batch).saturating_add(scratch);
        Self {
            parameters,
            state: floats.saturating_mul(2 + moments),
            checkpoint: floats.saturating_mul(2 * (1 + moments)),
            samples: of_sample.saturating_mul(EVALUATED).saturating_add(batch),
            batch,
            moments,
        }
    }

    /// The bytes in all.
    pub(crate) fn bytes(&self) -> u64 {
        self.state.saturating_add(self.checkpoint).saturating_add(self.samples)
    }

    /// The need of so many such runs at once.
    pub(crate) fn times(&self, runs: usize) -> Self {
        let times = |bytes: u64| bytes.saturating_mul(runs as u64);
        Self {
            parameters: times(self.parameters),
            state: times(self.state),
            checkpoint: times(self.checkpoint),
            samples: times(self.samples),
            batch: times(self.batch),
            moments: self.moments,
        }
    }

    /// Whether it is worth a line.
    pub(crate) fn is_much(&self) -> bool {
        self.bytes() >= MUCH
    }

    /// The need as a line for people.
    pub(crate) fn in_words(&self) -> String {
        format!("the run takes about {} of memory: {}", HumanBytes(self.bytes()), self.parts())
    }

    fn parts(&self) -> String {
        let moments = if self.moments > 0 { ", gradient and moments" } else { " and gradient" };
        format!(
            "{} parameters with {} for weights{moments}, {} for a checkpoint, {} for the samples in work",
            indicatif::HumanCount(self.parameters),
            HumanBytes(self.state),
            HumanBytes(self.checkpoint),
            HumanBytes(self.samples)
        )
    }

    /// Fails if less is left.
    ///
    /// # Errors
    /// Exit code 1, with the sizes, the limit and what to do.
    pub(crate) fn check(&self, left: Option<Left>) -> Result<(), Failure> {
        let Some(left) = left.filter(|left| left.bytes < self.bytes()) else { return Ok(()) };
        let smaller = if self.batch > self.bytes() / 2 {
            "make --batch-size smaller"
        } else if self.moments > 0 {
            "make --hidden smaller, or choose --optimizer sgd, which keeps no moments"
        } else {
            "make --hidden smaller"
        };
        Err(Failure::failed(format_args!(
            "the run needs about {} of memory ({}), but only {} are left: {}",
            HumanBytes(self.bytes()),
            self.parts(),
            HumanBytes(left.bytes),
            left.limit
        ))
        .help(format_args!("{smaller}; or {}", left.remedy)))
    }
}

/// The memory that this process may still take, by the strictest limit that is known below `root`, which is `/` except in
/// tests.
pub(crate) fn left(root: &Path) -> Option<Left> {
    let container = cgroup::read(root).memory.map(|(limit, used)| Left {
        bytes: limit.saturating_sub(used).saturating_add(swap_of_group(root)),
        limit: format!("the container may use {}", HumanBytes(limit)),
        remedy: "give the container more (docker: --memory)",
    });
    [address_space(root), container, machine(root)].into_iter().flatten().min_by_key(|left| left.bytes)
}

/// A container's swap is not counted by the group's memory; the machine's bounds it.
fn swap_of_group(root: &Path) -> u64 {
    meminfo(root, "SwapFree").unwrap_or(0)
}

/// The machine's memory that programs can take without swapping, and its free swap.
fn machine(root: &Path) -> Option<Left> {
    let (total, free) = (meminfo(root, "MemTotal")?, meminfo(root, "MemAvailable")?);
    Some(Left {
        bytes: free.saturating_add(meminfo(root, "SwapFree").unwrap_or(0)),
        limit: format!("the machine has {}", HumanBytes(total)),
        remedy: "stop other programs, or use a machine with more memory",
    })
}

/// The limit of `ulimit -v`.
#[cfg(unix)]
fn address_space(root: &Path) -> Option<Left> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::As).current?;
    let used = kilobytes(&root.join("proc/self/status"), "VmSize")?;
    Some(Left {
        bytes: limit.saturating_sub(used).saturating_sub(ARENA),
        limit: format!("the limit on the process is {} (ulimit -v)", HumanBytes(limit)),
        remedy: "raise the limit (ulimit -v unlimited)",
    })
}

#[cfg(not(unix))]
fn address_space(_root: &Path) -> Option<Left> {
    None
}

/// A line of `/proc/meminfo`, in bytes.
fn meminfo(root: &Path, name: &str) -> Option<u64> {
    kilobytes(&root.join("proc/meminfo"), name)
}

/// The figure of a line such as `VmSize:  2048 kB`, in bytes.
fn kilobytes(path: &Path, name: &str) -> Option<u64> {
    let about = fs::read_to_string(path).ok()?;
    let line = about.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const MACHINE: (&str, &str) = (
        "proc/meminfo",
        "MemTotal: 4096000 kB\nMemFree: 9 kB\nMemAvailable: 2048000 kB\nSwapFree: 1000 kB\n",
    );

    #[test]
    fn the_strictest_limit_counts() {
        let machine = left(root(&[MACHINE]).path()).unwrap();
        assert_eq!(machine.bytes, (2_048_000 + 1000) * 1024);
        assert!(machine.limit.contains("the machine has"));
        let group = ("proc/self/cgroup", "0::/\n");
        let container = [
            MACHINE,
            group,
            ("sys/fs/cgroup/memory.max", "1000000000\n"),
            ("sys/fs/cgroup/memory.current", "700000000\n"),
            ("sys/fs/cgroup/memory.stat", "anon 100\ninactive_file 100000000\nactive_file 50000000\n"),
        ];
        let container = left(root(&container).path()).unwrap();
        assert_eq!(container.bytes, 450_000_000 + 1_024_000);
        assert!(container.limit.contains("the container"));
        assert_eq!(left(root(&[]).path()), None, "nothing is known, so nothing is refused");
    }

    #[test]
    fn the_need_is_that_of_every_part() {
        // 3·4 + 4 weights and biases of the first layer, 4·2 + 2 of the second.
        let need = Need::new(&[3, 4, 2], 2, 10, 1);
        assert_eq!((need.parameters, need.state, need.checkpoint), (26, 26 * 4 * 4, 26 * 4 * 6));
        assert_eq!(need.samples, (3 + 4 + 2 + 4 + 2) * 4 * (16 + 1024) + 16 * 2 * 4);
        let sloped = need.with_slopes(&[3, 4, 2], 10);
        assert_eq!((sloped.samples - need.samples, sloped.batch - need.batch), (4 * 4 * 16, 4 * 4 * 16));
        let normalized = need.with_normalization(&[3, 4, 2], 10);
        assert_eq!((normalized.samples - need.samples, normalized.batch - need.batch), (2 * 256, 2 * 256));
        assert_eq!((normalized.parameters, normalized.state), (34, 34 * 4 * 4));
        assert_eq!(normalized.checkpoint, 34 * 4 * 6);
        assert_eq!(need.with_tiles().state - need.state, 26 * 4);
        let averaged = need.with_average();
        assert_eq!((averaged.state, averaged.checkpoint), (26 * 4 * 5, 26 * 4 * 8));
        assert!(!need.is_much());
        // Widths whose product is beyond 64 bits still count.
        assert_eq!(Need::new(&[u64::MAX, u64::MAX], 2, 1, 1).bytes(), u64::MAX);
    }

    #[test]
    fn a_refusal_says_how_much_and_what_to_do() {
        let room = |bytes| Some(Left { bytes, limit: "the machine has 8.00 GiB".into(), remedy: "buy more" });
        let need = Need::new(&[64, 20_000, 20_000, 10], 0, 10, 2);
        assert_eq!(need.check(room(need.bytes())), Ok(()));
        assert_eq!(need.check(None), Ok(()));
        let failure = need.check(room(1 << 30)).unwrap_err();
        assert_eq!(failure.kind().exit_code(), 1);
        for part in [
            "only 1.00 GiB are left: the machine has 8.00 GiB",
            "401,520,010 parameters",
            "2.99 GiB for weights and gradient",
        ] {
            assert!(failure.message().contains(part), "{failure}");
        }
        assert_eq!(failure.remedy(), Some("make --hidden smaller; or buy more"));
        let adam = Need::new(&[64, 20_000, 20_000, 10], 2, 10, 2).check(room(1 << 30)).unwrap_err();
        assert!(adam.remedy().unwrap().contains("--optimizer sgd"));
        // The remedy works: the rest would fit.
        let batch = Need::new(&[784, 30, 10], 0, 1_000_000, 2).check(room(1 << 20)).unwrap_err();
        assert!(batch.remedy().unwrap().contains("--batch-size"));
    }
}
