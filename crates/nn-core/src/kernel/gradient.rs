//! The gradient of a node of the tree: every layer's weights and other parameters, shared among threads by weights.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::bf16_tile::{self, most_rows};
use super::gather::{GatherSource, features_of, in_range};
use super::gradient_tile::{GradientOut, Leaves, gradient_tile_rows};
use super::lanes::{Lane, Portable, Simd};
use super::packed::{DeltaTiles, find};
use super::scratch::Scratch;
use super::tile::{Columns, tiles};
use super::tiles::{Emulated, LeafBlocks, Tiles, gradient_lanes, gradient_tiles};
use super::{Isa, Kind};
use crate::spec::Precision;
use crate::threads::Threads;

#[cfg(target_arch = "x86_64")]
use super::amx::Amx;
#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2, Avx512};

/// The place of a layer's numbers: in a panel of the arena, and in the flat buffer of parameters or gradients.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerGeometry {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Lanes of the layer's inputs in a panel, followed by zero lanes up to a multiple of 16.
    pub(crate) input_lanes: usize,
    /// Lanes of the layer's own activations, likewise.
    pub(crate) output_lanes: usize,
    /// Lanes of its deltas, likewise.
    pub(crate) delta_lanes: usize,
    /// Row-major `[outputs][inputs]`.
    pub(crate) weights: usize,
    /// `[outputs]`, behind the weights. In a normalised layer γ and β follow, as many each.
    pub(crate) biases: usize,
    /// What a normalised layer has more.
    pub(crate) normalized: Option<NormalizedLanes>,
}

/// The lanes of a panel that a normalised layer has more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NormalizedLanes {
    /// Lanes of x̂, and after the backward pass of each sample's gradient of γ, followed by zero lanes up to a multiple of 16.
    pub(crate) gains: usize,
    /// Lanes of each sample's gradient of β, likewise.
    pub(crate) shifts: usize,
    /// One lane of 1/√(v + ε).
    pub(crate) inverse: usize,
}

/// The input of [`node_gradient`].
pub(crate) struct NodeGradient<'a> {
    pub(crate) layers: &'a [LayerGeometry],
    pub(crate) arena: &'a [Lane],
    /// Lanes from one panel of the arena to the next.
    pub(crate) stride: usize,
    /// Samples in the node, the first of them in lane 0 of the first panel.
    pub(crate) samples: usize,
    /// Samples in a leaf.
    pub(crate) shard: usize,
    /// With bf16 the deltas and inputs in the arena must be rounded already; those from `origin` are rounded here.
    pub(crate) precision: Precision,
    /// The origin of the first layer's inputs, if it is there: one row a sample, which is the order that the gradient
    /// needs.
    pub(crate) origin: Option<(GatherSource<'a>, &'a [u32])>,
}

/// Neurons in one piece of work: enough to make the cost of gathering its inputs negligible.
const ROWS_PER_ITEM: usize = 512;

impl LayerGeometry {
    /// Pieces of work along the inputs (two lanes each) and along the neurons. All other parameters are one more piece.
    fn items(&self) -> (usize, usize) {
        (self.inputs.div_ceil(32), self.outputs.div_ceil(ROWS_PER_ITEM))
    }
}

/// The output, which the threads share and write disjoint parts of.
pub(super) struct SharedOut(pub(super) *mut f32);
// SAFETY: each user gives every part (here: a layer's column block and row block) to one thread only.
unsafe impl Sync for SharedOut {}

/// Writes the gradient of a node, summed over its samples leaf by leaf along the canonical tree, to `out`, laid out
/// like the parameters. Returns false if any of it is NaN or infinite. As many threads work as `scratch` has elements.
/// `tiles` is memory for an [`Isa`] that has them.
pub(crate) fn node_gradient(
    isa: Isa,
    threads: &Threads,
    task: &NodeGradient<'_>,
    (scratch, tiles): (&mut [Scratch], &mut DeltaTiles),
    out: &mut [f32],
) -> bool {
    let panels = task.samples.div_ceil(16);
    assert!(task.samples > 0 && task.shard > 0);
    assert!(task.arena.len() >= panels * task.stride);
    for layer in task.layers {
        let (inputs, outputs) = (layer.inputs.next_multiple_of(16), layer.outputs.next_multiple_of(16));
        assert!(layer.inputs > 0 && layer.outputs > 0);
        assert!(layer.input_lanes + inputs <= task.stride && layer.delta_lanes + outputs <= task.stride);
        assert!(layer.weights + layer.inputs * layer.outputs <= layer.biases);
        assert!(layer.biases + layer.outputs <= out.len());
        if let Some(NormalizedLanes { gains, shifts, .. }) = layer.normalized {
            assert!(
                gains.max(shifts) + outputs <= task.stride && layer.biases + 3 * layer.outputs <= out.len()
            );
        }
    }
    if let Some((source, samples)) = task.origin {
        assert!(samples.len() == task.samples && in_range(source, task.layers[0].inputs, samples));
    }
    for own in scratch.iter() {
        assert!(own.features.len() >= panels * 2 * 16);
    }
    let on_tiles = task.precision == Precision::Bf16 && isa.has_tiles();
    if on_tiles {
        let blocks = LeafBlocks::new(task.samples, task.shard);
        tiles.pack(isa, (threads, scratch.len()), task.layers, (task.arena, task.stride), blocks);
        for own in scratch.iter_mut() {
            own.tiles(gradient_lanes(blocks));
        }
    }
    let tiles = &*tiles;
    let per_layer = |layer: &LayerGeometry| layer.items().0 * layer.items().1 + 1;
    let items = task.layers.iter().map(per_layer).sum();
    let shared = SharedOut(out.as_mut_ptr());
    let finite = AtomicBool::new(true);
    threads.each(scratch, items, |item, own| {
        let shared = &shared;
        let (l, item) = find(task.layers, per_layer, item);
        let left = on_tiles.then(|| tiles.of(l).as_ptr().cast());
        // SAFETY: all bounds are checked above, and this item is given out once; the deltas of the layer are packed.
        if !unsafe { gradient_item(isa, task, &task.layers[l], (item, left), own, shared.0) } {
            finite.store(false, Ordering::Relaxed);
        }
    });
    finite.into_inner()
}

/// One piece of work, with the right instructions. The bounds that [`node_gradient`] checks must hold. With `left`, the tiles of the
/// layer's deltas, it is computed on tiles.
unsafe fn gradient_item(
    isa: Isa,
    task: &NodeGradient<'_>,
    layer: &LayerGeometry,
    (item, left): (usize, Option<*const f32>),
    own: &mut Scratch,
    out: *mut f32,
) -> bool {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn avx512(
        t: &NodeGradient<'_>,
        l: &LayerGeometry,
        (i, left): (usize, Option<*const f32>),
        s: &mut Scratch,
        o: *mut f32,
    ) -> bool {
        // SAFETY: passed on.
        unsafe {
            match left {
                Some(left) => gradient_block_on_tiles::<Amx>(t, l, (i, left), s, o),
                None => gradient_block::<Avx512>(t, l, i, s, o),
            }
        }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(
        t: &NodeGradient<'_>,
        l: &LayerGeometry,
        (i, left): (usize, Option<*const f32>),
        s: &mut Scratch,
        o: *mut f32,
    ) -> bool {
        // SAFETY: passed on.
        unsafe {
            match left {
                Some(left) => gradient_block_on_tiles::<Emulated<Avx2>>(t, l, (i, left), s, o),
                None => gradient_block::<Avx2>(t, l, i, s, o),
            }
        }
    }
    // SAFETY: passed on; an `Isa` exists only if the processor has its instructions, and only one that has tiles is given `left`.
    unsafe {
        match isa.kind() {
            Kind::Portable => gradient_block::<Portable>(task, layer, item, own, out),
            #[cfg(not(target_arch = "x86_64"))]
            Kind::PortableTiles => match left {
                Some(left) => {
                    gradient_block_on_tiles::<Emulated<Portable>>(task, layer, (item, left), own, out)
                }
                None => gradient_block::<Portable>(task, layer, item, own, out),
            },
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 | Kind::Avx2Tiles => avx2(task, layer, (item, left), own, out),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 | Kind::Amx => avx512(task, layer, (item, left), own, out),
        }
    }
}

/// The memory of one piece of work.
#[derive(Clone, Copy)]
struct Buffers {
    arena: *const f32,
    /// Floats from one panel of the arena to the next.
    stride: usize,
    panels: usize,
    /// One or two columns of lanes, one lane a sample.
    features: *mut f32,
    /// Floats from the first column of `features` to the second.
    column_stride: usize,
    /// Partial sums of a gradient tile.
    stack: *mut f32,
    /// Memory of a tile with bf16 operands: a copy of deltas, and half its sums.
    packed: *mut f32,
    half: *mut f32,
    precision: Precision,
    out: *mut f32,
    /// A lane that stays 0 as long as everything written to `out` is finite.
    check: *mut f32,
}

impl Buffers {
    fn new(task: &NodeGradient<'_>, own: &mut Scratch, out: *mut f32, check: &mut [f32; 16]) -> Self {
        let panels = task.samples.div_ceil(16);
        Self {
            arena: task.arena.as_ptr().cast(),
            stride: task.stride * 16,
            panels,
            features: own.features.as_mut_ptr().cast(),
            column_stride: panels * 256,
            stack: own.stack.as_mut_ptr().cast(),
            packed: own.packed.as_mut_ptr().cast(),
            half: own.half.as_mut_ptr().cast(),
            precision: task.precision,
            out,
            check: check.as_mut_ptr(),
        }
    }
}

impl LayerGeometry {
    /// The inputs and neurons of a piece of work, or nothing if it is all other parameters.
    fn part(&self, item: usize) -> Option<(Range<usize>, Range<usize>)> {
        let (column_items, row_items) = self.items();
        let (column, row) = (item % column_items * 32, item / column_items * ROWS_PER_ITEM);
        let rows = row..self.outputs.min(row + ROWS_PER_ITEM);
        (item < column_items * row_items).then(|| (column..self.inputs.min(column + 32), rows))
    }
}

#[inline(always)]
unsafe fn gradient_block<S: Simd>(
    task: &NodeGradient<'_>,
    layer: &LayerGeometry,
    item: usize,
    own: &mut Scratch,
    out: *mut f32,
) -> bool {
    let mut checks = [0.0_f32; 16];
    let buffers = Buffers::new(task, own, out, &mut checks);
    let leaves = Leaves { samples: task.samples, shard: task.shard, panel_stride: buffers.stride };
    // SAFETY: the columns are among the layer's inputs and the rows among its neurons; the rest is passed on.
    unsafe {
        match layer.part(item) {
            None => other_gradients::<S>(layer, leaves, buffers),
            Some((columns, rows)) => {
                gather_inputs::<S>(task, layer, columns.clone(), buffers);
                weight_gradient::<S>(layer, columns, rows, leaves, buffers);
            }
        }
    }
    checks == [0.0; 16]
}

/// [`gradient_block`] with the weights' gradient on tiles; `left` are those of the layer's deltas.
#[inline(always)]
unsafe fn gradient_block_on_tiles<T: Tiles>(
    task: &NodeGradient<'_>,
    layer: &LayerGeometry,
    (item, left): (usize, *const f32),
    own: &mut Scratch,
    out: *mut f32,
) -> bool {
    let mut checks = [0.0_f32; 16];
    let memory = own.tiles.as_mut_ptr().cast();
    let buffers = Buffers::new(task, own, out, &mut checks);
    let leaves = Leaves { samples: task.samples, shard: task.shard, panel_stride: buffers.stride };
    // SAFETY: as for `gradient_block`; `node_gradient` made room for the tiles.
    unsafe {
        match layer.part(item) {
            None => other_gradients::<T::Lanes>(layer, leaves, buffers),
            Some((columns, rows)) => {
                gather_inputs::<T::Lanes>(task, layer, columns.clone(), buffers);
                let inputs = (buffers.features.cast_const(), buffers.column_stride);
                let out = GradientOut {
                    start: out.add(layer.weights + columns.start),
                    row_stride: layer.inputs,
                    columns: columns.len(),
                    check: buffers.check,
                };
                gradient_tiles::<T>(inputs, rows, left, leaves, memory, out);
            }
        }
    }
    checks == [0.0; 16]
}

/// The gradients of all biases of a layer, and of γ and β if it is normalised. Each is the sum of one lane: a bias is a weight whose
/// inputs are all 1, and so is a β, while the lanes of γ have their factors already.
#[inline(always)]
unsafe fn other_gradients<S: Simd>(layer: &LayerGeometry, leaves: Leaves, buffers: Buffers) {
    let LayerGeometry { outputs, delta_lanes, biases, normalized, .. } = *layer;
    // SAFETY: passed on; all of these lanes and places are checked by `node_gradient`.
    unsafe {
        unit_gradient::<S>((delta_lanes, outputs), biases, leaves, buffers);
        if let Some(NormalizedLanes { gains, shifts, .. }) = normalized {
            unit_gradient::<S>((gains, outputs), biases + outputs, leaves, buffers);
            unit_gradient::<S>((shifts, outputs), biases + 2 * outputs, leaves, buffers);
        }
    }
}

/// The gradient of one parameter for each of some units, to `place` on: the sum of the unit's lane over the samples. `lanes` are the
/// first of these lanes, and their number.
#[inline(always)]
unsafe fn unit_gradient<S: Simd>(
    (lanes, units): (usize, usize),
    place: usize,
    leaves: Leaves,
    buffers: Buffers,
) {
    let Buffers { arena, stride, panels, features, column_stride, out, check, .. } = buffers;
    let ones = [1.0_f32; 16];
    let leaves = Leaves { panel_stride: 0, ..leaves };
    for block in 0..units.div_ceil(16) {
        // SAFETY: the lanes of a layer are padded to a multiple of 16; `ones` serves every panel, because its stride
        // is 0; the parameters of the block are in `out`.
        unsafe {
            by_sample::<S>(arena.add((lanes + block * 16) * 16), stride, panels, features);
            let inputs = Columns { start: features, column_stride };
            let columns = (units - block * 16).min(16);
            let out = GradientOut { start: out.add(place + block * 16), row_stride: 0, columns, check };
            tile_of::<S>((1, 1), ones.as_ptr(), inputs, leaves, buffers, out);
        }
    }
}

/// Writes up to 32 inputs of every sample to `features`: one lane of 16 a sample, in one or two columns.
#[inline(always)]
unsafe fn gather_inputs<S: Simd>(
    task: &NodeGradient<'_>,
    layer: &LayerGeometry,
    columns: Range<usize>,
    buffers: Buffers,
) {
    let Buffers { arena, stride, panels, features, column_stride, .. } = buffers;
    for lane in 0..columns.len().div_ceil(16) {
        let first = columns.start + lane * 16;
        // SAFETY: `features` has room for two columns of a lane for each sample; the lanes of a layer are padded to a
        // multiple of 16.
        unsafe {
            let to = features.add(lane * column_stride);
            match task.origin {
                Some((source, samples)) if layer.input_lanes == 0 => {
                    let to = std::slice::from_raw_parts_mut(to.cast::<Lane>(), samples.len());
                    features_of::<S>(source, layer.inputs, samples, first, to);
                    if task.precision == Precision::Bf16 {
                        for lane in to {
                            let lane = lane.0.as_mut_ptr();
                            S::store(lane, S::round_to_bf16(S::load(lane)));
                        }
                    }
                }
                _ => by_sample::<S>(arena.add((layer.input_lanes + first) * 16), stride, panels, to),
            }
        }
    }
}

/// The gradient of the weights from the inputs `columns`, which are in `features`, to the neurons `rows`.
#[inline(always)]
unsafe fn weight_gradient<S: Simd>(
    layer: &LayerGeometry,
    columns: Range<usize>,
    rows: Range<usize>,
    leaves: Leaves,
    buffers: Buffers,
) {
    let Buffers { arena, features, column_stride, out, check, precision, .. } = buffers;
    let lanes = columns.len().div_ceil(16);
    let max = if precision == Precision::Bf16 { most_rows(S::ROWS) } else { S::ROWS };
    let width = if max[1] == 0 { 1 } else { lanes };
    let mut lane = 0;
    while lane < lanes {
        for (row, count) in tiles(rows.len(), max[width - 1]) {
            let row = rows.start + row;
            let at = columns.start + lane * 16;
            // SAFETY: row + count ≤ outputs, and the columns from `at` on are inside the layer's inputs.
            unsafe {
                let delta = arena.add((layer.delta_lanes + row) * 16);
                let inputs = Columns { start: features.add(lane * column_stride), column_stride };
                let out = GradientOut {
                    start: out.add(layer.weights + row * layer.inputs + at),
                    row_stride: layer.inputs,
                    columns: (layer.inputs - at).min(16 * width),
                    check,
                };
                tile_of::<S>((count, width), delta, inputs, leaves, buffers, out);
            }
        }
        lane += width;
    }
}

/// The gradient tile for the precision.
#[inline(always)]
unsafe fn tile_of<S: Simd>(
    (rows, columns): (usize, usize),
    delta: *const f32,
    inputs: Columns,
    leaves: Leaves,
    buffers: Buffers,
    out: GradientOut,
) {
    // SAFETY: passed on.
    unsafe {
        match (buffers.precision, columns) {
            (Precision::Bf16, _) => {
                let memory = (buffers.stack, buffers.packed, buffers.half);
                bf16_tile::gradient_tile::<S>((rows, columns), delta, inputs, leaves, memory, out);
            }
            (Precision::F32, 2) => {
                gradient_tile_rows::<S, 2>(rows, delta, inputs, leaves, buffers.stack, out);
            }
            (Precision::F32, _) => {
                gradient_tile_rows::<S, 1>(rows, delta, inputs, leaves, buffers.stack, out);
            }
        }
    }
}

/// Turns 16 lanes of each panel (16 neurons or inputs) into one lane of those 16 for each sample.
#[inline(always)]
unsafe fn by_sample<S: Simd>(from: *const f32, stride: usize, panels: usize, to: *mut f32) {
    for panel in 0..panels {
        // SAFETY: the caller vouches for 16 lanes in each panel, and for room for 16 lanes a panel.
        unsafe { S::transpose(from.add(panel * stride), to.add(panel * 256)) }
    }
}
