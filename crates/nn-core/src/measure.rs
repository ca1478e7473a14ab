//! Single kernels for benchmarks: one layer at a time, with nothing around it. The caller holds the clock.

use crate::augment::{Augmentation, Distorter};
use crate::kernel::distort::Canvas;
use crate::kernel::{
    self, DeltaTiles, Isa, Lane, LayerGeometry, NodeGradient, Product, Scratch, WeightTiles, bf16, vector,
    zeroed, zeroed_lanes,
};
use crate::random::{Purpose, epoch_key, sample_key};
use crate::spec::{Activation, Precision};
use crate::threads::Threads;

pub use crate::kernel::multiply_adds;

/// One layer with samples in memory, to run single kernels on. Everything runs on the calling thread.
#[derive(Debug)]
pub struct Bench {
    isa: Isa,
    geometry: LayerGeometry,
    stride: usize,
    samples: usize,
    shard: usize,
    arena: Vec<Lane>,
    weights: Vec<f32>,
    gradient: Vec<f32>,
    scratch: Scratch,
    threads: Threads,
    precision: Precision,
    tiles: (WeightTiles, DeltaTiles),
}

impl Bench {
    /// A layer of `outputs` neurons with `inputs` inputs, and `samples` samples in leaves of `shard`.
    ///
    /// # Panics
    /// If any of the numbers is 0.
    #[must_use]
    pub fn new(isa: Isa, inputs: usize, outputs: usize, samples: usize, shard: usize) -> Self {
        assert!(inputs > 0 && outputs > 0 && samples > 0 && shard > 0);
        let (a, d) = (inputs.next_multiple_of(16), outputs.next_multiple_of(16));
        let geometry = LayerGeometry {
            inputs,
            outputs,
            input_lanes: 0,
            output_lanes: 2 * a,
            delta_lanes: 2 * a,
            weights: 0,
            biases: inputs * outputs,
            normalized: None,
        };
        let (stride, panels) = ((2 * a + d) | 1, samples.div_ceil(16));
        let parameters = (inputs + 1) * outputs;
        let mut bench = Self {
            isa,
            geometry,
            stride,
            samples,
            shard,
            arena: zeroed_lanes(stride * panels),
            weights: zeroed(parameters),
            gradient: zeroed(parameters),
            scratch: Scratch::new(panels),
            threads: Threads::single(),
            precision: Precision::F32,
            tiles: Default::default(),
        };
        // Neither zeros nor subnormal numbers, whose speed differs.
        let values = (1_u32..).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 8) as f32 / (1 << 24) as f32 - 0.5);
        for (x, value) in bench.arena.iter_mut().flat_map(|lane| &mut lane.0).zip(values.clone()) {
            *x = value;
        }
        for (x, value) in bench.weights.iter_mut().zip(values) {
            *x = value;
        }
        bench
    }

    /// The same with products of this precision.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        if precision == Precision::Bf16 {
            bf16::round(self.isa, &mut self.arena);
        }
        self.pack();
        self
    }

    /// Writes the weights as tiles, where there is a matrix unit for them: once for a forward and a backward product.
    pub fn pack(&mut self) {
        if self.on_tiles() {
            self.tiles.0.pack(self.isa, (&self.threads, 1), &[self.geometry], &self.weights, 0);
        }
    }

    fn on_tiles(&self) -> bool {
        self.precision == Precision::Bf16 && self.isa.has_tiles()
    }

    /// Floating-point operations of one product or gradient over all samples.
    #[must_use]
    pub fn operations(&self) -> u64 {
        2 * (self.geometry.inputs * self.geometry.outputs * self.samples) as u64
    }

    /// z = W a for all samples.
    pub fn forward(&mut self) {
        let g = &self.geometry;
        let task = Product {
            stride: self.stride,
            input: g.input_lanes,
            output: g.output_lanes,
            matrix: &self.weights,
            rows: g.outputs,
            row_stride: g.inputs,
            terms: g.inputs,
            term_stride: 1,
            precision: self.precision,
            tiles: self.on_tiles().then(|| self.tiles.0.of(0, 0)),
        };
        kernel::product(self.isa, &task, &mut self.arena, &mut self.scratch);
    }

    /// Wᵀ δ for all samples.
    pub fn backward(&mut self) {
        let g = &self.geometry;
        let task = Product {
            stride: self.stride,
            input: g.delta_lanes,
            output: g.inputs.next_multiple_of(16),
            matrix: &self.weights,
            rows: g.inputs,
            row_stride: 1,
            terms: g.outputs,
            term_stride: g.inputs,
            precision: self.precision,
            tiles: self.on_tiles().then(|| self.tiles.0.of(0, 1)),
        };
        kernel::product(self.isa, &task, &mut self.arena, &mut self.scratch);
    }

    /// Σ δ aᵀ over the samples, in leaves.
    pub fn gradient(&mut self) -> bool {
        let task = NodeGradient {
            layers: std::slice::from_ref(&self.geometry),
            arena: &self.arena,
            stride: self.stride,
            samples: self.samples,
            shard: self.shard,
            precision: self.precision,
            origin: None,
        };
        let memory = (std::slice::from_mut(&mut self.scratch), &mut self.tiles.1);
        kernel::node_gradient(self.isa, &self.threads, &task, memory, &mut self.gradient)
    }

    /// The activation function over the layer's outputs, with whatever the last product left there as z.
    pub fn activate(&mut self, activation: Activation) {
        let g = &self.geometry;
        for panel in self.arena.chunks_exact_mut(self.stride) {
            let lanes = &mut panel[g.output_lanes..g.output_lanes + g.outputs];
            vector::activate(self.isa, activation, self.precision, lanes, &self.weights[g.biases..]);
        }
    }
}

/// Pictures under distortions, one after the other, as one thread of a training pass makes them.
#[derive(Debug)]
pub struct Distortions {
    isa: Isa,
    distorter: Distorter,
    canvas: Canvas,
    source: Vec<f32>,
    out: Vec<f32>,
    epoch: u64,
    sample: u32,
}

impl Distortions {
    /// Pictures of (height, width).
    #[must_use]
    pub fn new(isa: Isa, augmentation: Augmentation, size: (usize, usize)) -> Self {
        let distorter = Distorter::new(augmentation, size);
        let source: Vec<f32> = (0..size.0 * size.1).map(|i| (i * 37 % 256) as f32 / 255.0).collect();
        let epoch = epoch_key(1, Purpose::Distortion, 0);
        Self { isa, canvas: distorter.canvas(), distorter, out: source.clone(), source, epoch, sample: 0 }
    }

    /// Distorts the next sample.
    pub fn next_sample(&mut self) -> &[f32] {
        let key = sample_key(self.epoch, self.sample);
        self.sample = self.sample.wrapping_add(1);
        self.distorter.distort(self.isa, key, &self.source, &mut self.canvas, &mut self.out);
        &self.out
    }
}
