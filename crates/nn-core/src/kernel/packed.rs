//! Operands as tiles in memory, and products on them: the safe entries to [`tiles`](super::tiles).

use super::bf16::BLOCK;
use super::gradient::{LayerGeometry, SharedOut};
use super::lanes::Lane;
use super::memory::zeroed_lanes;
use super::products::Product;
use super::scratch::Scratch;
use super::tiles::{
    Emulated, LeafBlocks, SamplePanels, TILE, Weights, delta_lanes, matrix_lanes, pack_deltas, pack_weights,
    product_lanes, product_tiles,
};
use super::{Isa, Kind};
use crate::threads::Threads;

#[cfg(target_arch = "x86_64")]
use super::amx::Amx;
#[cfg(not(target_arch = "x86_64"))]
use super::lanes::Portable;
#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2, Avx512};

/// The weights of all layers, rounded to bf16, as tiles.
#[derive(Debug, Default)]
pub(crate) struct WeightTiles {
    lanes: Vec<Lane>,
    /// Where the tiles of each layer begin: those of its forward product, and those of its backward one.
    starts: Vec<[usize; 2]>,
}

impl WeightTiles {
    /// Writes the tiles of `params`; those of backward products for the layers that have one: from `backward` on. Shared by
    /// `workers` threads.
    pub(crate) fn pack(
        &mut self,
        isa: Isa,
        (threads, workers): (&Threads, usize),
        layers: &[LayerGeometry],
        params: &[f32],
        backward: usize,
    ) {
        let mut total = 0;
        self.starts.clear();
        for (l, layer) in layers.iter().enumerate() {
            assert!(layer.weights + layer.inputs * layer.outputs <= params.len());
            let forward = matrix_lanes(layer.inputs, layer.outputs);
            self.starts.push([total, total + forward]);
            total += forward;
            if l >= backward {
                total += matrix_lanes(layer.outputs, layer.inputs);
            }
        }
        if self.lanes.len() < total {
            self.lanes = zeroed_lanes(total);
        }
        let items = |layer: &LayerGeometry| layer.outputs.div_ceil(BLOCK);
        let shared = SharedOut(self.lanes.as_mut_ptr().cast());
        let starts = &self.starts;
        threads.each(&mut vec![(); workers], layers.iter().map(items).sum(), |item, ()| {
            let shared = &shared;
            let (l, block) = find(layers, items, item);
            let layer = &layers[l];
            let weights = Weights {
                start: params[layer.weights..].as_ptr(),
                inputs: layer.inputs,
                outputs: layer.outputs,
            };
            let [forward, back] = starts[l].map(|start| shared.0.wrapping_add(16 * start));
            // SAFETY: the weights are in `params`; the buffer has room for all tiles, and this block of them is given to one
            // thread only.
            unsafe { pack_block(isa, weights, block * BLOCK, forward, (l >= backward).then_some(back)) }
        });
    }

    /// The tiles of layer `l` for its forward product (0) or its backward one (1).
    pub(crate) fn of(&self, l: usize, product: usize) -> &[Lane] {
        &self.lanes[self.starts[l][product]..]
    }
}

/// The deltas of all layers for one node, as tiles.
#[derive(Debug, Default)]
pub(crate) struct DeltaTiles {
    lanes: Vec<Lane>,
    starts: Vec<usize>,
}

impl DeltaTiles {
    /// Writes the tiles of a node's deltas, which are in `arena` with `stride` lanes a panel.
    pub(super) fn pack(
        &mut self,
        isa: Isa,
        (threads, workers): (&Threads, usize),
        layers: &[LayerGeometry],
        (arena, stride): (&[Lane], usize),
        blocks: LeafBlocks,
    ) {
        self.starts.clear();
        let mut total = 0;
        for layer in layers {
            assert!(layer.delta_lanes + layer.outputs.next_multiple_of(16) <= stride);
            self.starts.push(total);
            total += delta_lanes(layer.outputs, blocks);
        }
        assert!(arena.len() >= blocks.samples().div_ceil(16) * stride);
        if self.lanes.len() < total {
            self.lanes = zeroed_lanes(total);
        }
        let items = |layer: &LayerGeometry| layer.outputs.div_ceil(16);
        let shared = SharedOut(self.lanes.as_mut_ptr().cast());
        let starts = &self.starts;
        threads.each(&mut vec![(); workers], layers.iter().map(items).sum(), |item, ()| {
            let shared = &shared;
            let (l, row) = find(layers, items, item);
            let from = arena[layers[l].delta_lanes + 16 * row..].as_ptr().cast();
            let to = shared.0.wrapping_add(16 * (starts[l] + row * blocks.count() * TILE));
            // SAFETY: lanes are padded to a multiple of 16; the buffer has room, and these tiles are one thread's.
            unsafe { pack_delta_rows(isa, from, 16 * stride, blocks, to) }
        });
    }

    /// The first tile of layer `l`.
    pub(super) fn of(&self, l: usize) -> &[Lane] {
        &self.lanes[self.starts[l]..]
    }
}

/// The layer of an item, and its number there.
pub(super) fn find(
    layers: &[LayerGeometry],
    items: impl Fn(&LayerGeometry) -> usize,
    mut item: usize,
) -> (usize, usize) {
    for (l, layer) in layers.iter().enumerate() {
        let mine = items(layer);
        if item < mine {
            return (l, item);
        }
        item -= mine;
    }
    unreachable!("an item beyond the last layer")
}

/// [`pack_weights`] with the right instructions.
unsafe fn pack_block(isa: Isa, weights: Weights, row: usize, forward: *mut f32, backward: Option<*mut f32>) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn avx512(weights: Weights, row: usize, forward: *mut f32, backward: Option<*mut f32>) {
        // SAFETY: passed on.
        unsafe { pack_weights::<Avx512>(weights, row, forward, backward) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(weights: Weights, row: usize, forward: *mut f32, backward: Option<*mut f32>) {
        // SAFETY: passed on.
        unsafe { pack_weights::<Avx2>(weights, row, forward, backward) }
    }
    match isa.kind() {
        #[cfg(not(target_arch = "x86_64"))]
        // SAFETY: passed on; plain code needs no instructions.
        Kind::PortableTiles => unsafe { pack_weights::<Portable>(weights, row, forward, backward) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: passed on; an `Isa` exists only if the processor has its instructions.
        Kind::Amx => unsafe { avx512(weights, row, forward, backward) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Kind::Avx2Tiles => unsafe { avx2(weights, row, forward, backward) },
        _ => unreachable!("{} has no tiles", isa.name()),
    }
}

/// [`pack_deltas`] with the right instructions.
unsafe fn pack_delta_rows(isa: Isa, delta: *const f32, stride: usize, blocks: LeafBlocks, to: *mut f32) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn avx512(delta: *const f32, stride: usize, blocks: LeafBlocks, to: *mut f32) {
        // SAFETY: passed on.
        unsafe { pack_deltas::<Avx512>(delta, stride, blocks, to) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(delta: *const f32, stride: usize, blocks: LeafBlocks, to: *mut f32) {
        // SAFETY: passed on.
        unsafe { pack_deltas::<Avx2>(delta, stride, blocks, to) }
    }
    match isa.kind() {
        #[cfg(not(target_arch = "x86_64"))]
        // SAFETY: passed on; plain code needs no instructions.
        Kind::PortableTiles => unsafe { pack_deltas::<Portable>(delta, stride, blocks, to) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: passed on; an `Isa` exists only if the processor has its instructions.
        Kind::Amx => unsafe { avx512(delta, stride, blocks, to) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Kind::Avx2Tiles => unsafe { avx2(delta, stride, blocks, to) },
        _ => unreachable!("{} has no tiles", isa.name()),
    }
}

/// [`product`](super::product) with the tiles of the matrix. The bounds that it checks must hold.
pub(super) fn product_on_tiles(
    isa: Isa,
    task: &Product<'_>,
    left: &[Lane],
    arena: &mut [Lane],
    scratch: &mut Scratch,
) {
    assert!(left.len() >= matrix_lanes(task.terms, task.rows));
    let padded = task.output + task.rows.next_multiple_of(16);
    assert!(padded <= task.stride && (padded <= task.input || task.input + task.terms <= task.output));
    let count = arena.len() / task.stride;
    let memory = scratch.tiles(product_lanes(task.terms, count));
    let panels = SamplePanels { start: arena.as_mut_ptr().cast(), stride: 16 * task.stride, count };
    let (left, out, terms) = (left.as_ptr().cast(), (task.rows, task.output), (task.terms, task.input));

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn amx(
        left: *const f32,
        out: (usize, usize),
        terms: (usize, usize),
        panels: SamplePanels,
        memory: *mut f32,
    ) {
        // SAFETY: passed on.
        unsafe { product_tiles::<Amx>(left, out, terms, panels, memory) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(
        left: *const f32,
        out: (usize, usize),
        terms: (usize, usize),
        panels: SamplePanels,
        memory: *mut f32,
    ) {
        // SAFETY: passed on.
        unsafe { product_tiles::<Emulated<Avx2>>(left, out, terms, panels, memory) }
    }
    match isa.kind() {
        #[cfg(not(target_arch = "x86_64"))]
        // SAFETY: the bounds are checked; plain code needs no instructions.
        Kind::PortableTiles => unsafe {
            product_tiles::<Emulated<Portable>>(left, out, terms, panels, memory)
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the bounds are checked; an `Isa` exists only if the processor has its instructions.
        Kind::Amx => unsafe { amx(left, out, terms, panels, memory) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Kind::Avx2Tiles => unsafe { avx2(left, out, terms, panels, memory) },
        _ => unreachable!("{} has no tiles", isa.name()),
    }
}
