//! Whole matrix products and gradients over an arena of sample panels.
//!
//! The arena holds one block of `stride` lanes for each panel of 16 samples: all layers' activations, then all layers'
//! deltas, one lane a neuron (its value for the 16 samples). A forward or backward product reads one run of lanes of a
//! panel and writes another; no panel touches its neighbour, so threads share an arena by whole panels.

use std::sync::atomic::{AtomicBool, Ordering};

use super::lanes::{Lane, Portable, Simd};
use super::tile::{
    Ahead, BY_ROW, BY_TERM, Broadcast, Columns, GradientOut, K_PANEL, Leaves, PLAIN, Panels, SLOT_FLOATS,
    STACK_SLOTS, gradient_tile_rows, product_tile_rows,
};
use super::{Isa, Kind};
use crate::threads::Threads;

#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2, Avx512};

/// A thread's own memory: nothing in it outlives a call.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Inputs of one or two column lanes for every sample, one lane a sample.
    features: Vec<Lane>,
    /// The partial sums of a gradient tile.
    stack: Vec<Lane>,
    /// A tile of weights in the order of use.
    packed: Vec<Lane>,
}

impl Scratch {
    /// Room for nodes of up to `panels` × 16 samples.
    pub(crate) fn new(panels: usize) -> Self {
        Self {
            features: vec![Lane::ZERO; panels * 2 * 16],
            stack: vec![Lane::ZERO; STACK_SLOTS * SLOT_FLOATS / 16],
            packed: vec![Lane::ZERO; K_PANEL * 28 / 16 + 2],
        }
    }
}

/// `out[row] = Σ_k matrix(row, k) · input[k]` for every sample of an arena, row by row in one panel of 16.
pub(crate) struct Product<'a> {
    /// The arena's lanes from one panel to the next.
    pub(crate) stride: usize,
    /// Where in a panel the `terms` input lanes are.
    pub(crate) input: usize,
    /// Where in a panel the `rows` output lanes go.
    pub(crate) output: usize,
    /// Element (row, k) is `matrix[row·row_stride + k·term_stride]`.
    pub(crate) matrix: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) row_stride: usize,
    pub(crate) terms: usize,
    pub(crate) term_stride: usize,
}

/// Computes a [`Product`] for all panels of `arena`.
pub(crate) fn product(isa: Isa, task: &Product<'_>, arena: &mut [Lane], scratch: &mut Scratch) {
    assert!(task.rows > 0 && task.terms > 0 && task.stride > 0);
    assert!(arena.len().is_multiple_of(task.stride));
    let (input_end, output_end) = (task.input + task.terms, task.output + task.rows);
    assert!(input_end <= task.stride && output_end <= task.stride);
    assert!(input_end <= task.output || output_end <= task.input, "input and output overlap");
    assert!((task.rows - 1) * task.row_stride + (task.terms - 1) * task.term_stride < task.matrix.len());

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn avx512(task: &Product<'_>, arena: &mut [Lane], scratch: &mut Scratch) {
        // SAFETY: as for `product_panels`.
        unsafe { product_panels::<Avx512>(task, arena, scratch) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(task: &Product<'_>, arena: &mut [Lane], scratch: &mut Scratch) {
        // SAFETY: as for `product_panels`.
        unsafe { product_panels::<Avx2>(task, arena, scratch) }
    }
    // SAFETY: the bounds are checked above; the instructions are there, or the `Isa` would not be.
    unsafe {
        match isa.kind() {
            Kind::Portable => product_panels::<Portable>(task, arena, scratch),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => avx2(task, arena, scratch),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => avx512(task, arena, scratch),
        }
    }
}

/// `rows` in tiles of at most `max`, as even as they can be: (first row, rows) of each.
#[inline(always)]
fn tiles(rows: usize, max: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = rows.div_ceil(max);
    let (base, longer) = (rows / count, rows % count);
    (0..count).map(move |i| (i * base + i.min(longer), base + usize::from(i < longer)))
}

/// The bounds that [`product`] checks must hold, and the instructions of `S` must be enabled.
#[inline(always)]
unsafe fn product_panels<S: Simd>(task: &Product<'_>, arena: &mut [Lane], scratch: &mut Scratch) {
    let stride = task.stride * 16;
    let panels = arena.len() / task.stride;
    let base = arena.as_mut_ptr().cast::<f32>();
    let pairs = if S::ROWS[1] == 0 { 0 } else { panels / 2 };
    let packed = scratch.packed.as_mut_ptr().cast::<f32>();
    let mut k = 0;
    while k < task.terms {
        let len = K_PANEL.min(task.terms - k);
        let groups = [(S::ROWS[1], 0, pairs), (S::ROWS[0], 2 * pairs, panels - 2 * pairs)];
        for (width, (max, first_panel, count)) in groups.into_iter().enumerate() {
            if count == 0 {
                continue;
            }
            for (row, rows) in tiles(task.rows, max) {
                let corner = row * task.row_stride + k * task.term_stride;
                // SAFETY: row, k and the panels are inside the bounds that the caller checked; what lies ahead is only
                // asked for.
                unsafe {
                    let start = task.matrix.as_ptr().add(corner);
                    let panel = base.add(first_panel * stride);
                    let next = start.wrapping_add(rows * task.row_stride);
                    let ahead = if task.term_stride == 1 {
                        Ahead::new(next, len, task.row_stride)
                    } else {
                        Ahead::new(next.wrapping_add(rows - 1), 1, task.term_stride)
                    };
                    let a = Broadcast { start, row_stride: task.row_stride, k_stride: task.term_stride };
                    let b = Columns { start: panel.add((task.input + k) * 16), column_stride: stride };
                    let out = panel.add((task.output + row) * 16);
                    let readable = task.matrix.len() - corner;
                    let panels = Panels {
                        len,
                        out,
                        out_stride: stride,
                        count,
                        first: k == 0,
                        packed,
                        readable,
                        ahead,
                    };
                    if width == 0 {
                        product_tile_packed::<S, 2>(rows, a, b, panels);
                    } else if S::ROWS[1] == 0 {
                        product_tile_packed::<S, 1>(rows, a, b, panels);
                    } else {
                        // One panel that is left over from the pairs.
                        product_tile_rows::<S, 1, PLAIN>(rows, a, b, panels);
                    }
                }
            }
        }
        k += len;
    }
}

/// [`product_tile_rows`] with the packing that suits the task.
#[inline(always)]
unsafe fn product_tile_packed<S: Simd, const P: usize>(
    rows: usize,
    a: Broadcast,
    b: Columns,
    panels: Panels,
) {
    // SAFETY: passed on.
    unsafe {
        if panels.count == 1 {
            product_tile_rows::<S, P, PLAIN>(rows, a, b, panels);
        } else if a.k_stride == 1 {
            product_tile_rows::<S, P, BY_ROW>(rows, a, b, panels);
        } else {
            product_tile_rows::<S, P, BY_TERM>(rows, a, b, panels);
        }
    }
}

/// Where a layer's numbers are: in a panel of the arena, and in the flat buffer of parameters or gradients.
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
    /// `[outputs]`, behind the weights.
    pub(crate) biases: usize,
}

/// What [`node_gradient`] computes from.
pub(crate) struct NodeGradient<'a> {
    pub(crate) layers: &'a [LayerGeometry],
    pub(crate) arena: &'a [Lane],
    pub(crate) stride: usize,
    /// Samples of the node, the first of them in lane 0 of the first panel.
    pub(crate) samples: usize,
    /// Samples of a leaf.
    pub(crate) shard: usize,
    /// Where the first layer's inputs came from: a row a sample, which is the order that the gradient needs.
    pub(crate) origin: Option<(GatherSource<'a>, &'a [u32])>,
}

/// Neurons in one piece of work: large enough that gathering its inputs costs nothing beside it.
const ROWS_PER_ITEM: usize = 512;

impl LayerGeometry {
    /// Pieces of work along the inputs (two lanes each) and the neurons; one more is the biases.
    fn items(&self) -> (usize, usize) {
        (self.inputs.div_ceil(32), self.outputs.div_ceil(ROWS_PER_ITEM))
    }
}

/// Shares the output among threads, which write disjoint parts of it.
struct SharedOut(*mut f32);
// SAFETY: `node_gradient` gives every (layer, column block, row block) to one thread only.
unsafe impl Sync for SharedOut {}

/// Writes the gradient of a node, summed over its samples leaf by leaf along the canonical tree, to `out`, laid out
/// like the parameters. Returns false if any of it is NaN or infinite. `scratch` decides how many threads may work.
pub(crate) fn node_gradient(
    isa: Isa,
    threads: &Threads,
    task: &NodeGradient<'_>,
    scratch: &mut [Scratch],
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
    }
    if let Some((source, samples)) = task.origin {
        assert!(samples.len() == task.samples && in_range(source, task.layers[0].inputs, samples));
    }
    for own in scratch.iter() {
        assert!(own.features.len() >= panels * 2 * 16);
    }
    let per_layer = |layer: &LayerGeometry| layer.items().0 * layer.items().1 + 1;
    let items = task.layers.iter().map(per_layer).sum();
    let shared = SharedOut(out.as_mut_ptr());
    let finite = AtomicBool::new(true);
    threads.each(scratch, items, |mut item, own| {
        let shared = &shared;
        let layer = task.layers.iter().find(|layer| {
            let mine = per_layer(layer);
            let here = item < mine;
            if !here {
                item -= mine;
            }
            here
        });
        let Some(layer) = layer else { unreachable!("an item beyond the last layer") };
        // SAFETY: all bounds are checked above, and this item is given out once.
        if !unsafe { gradient_item(isa, task, layer, item, own, shared.0) } {
            finite.store(false, Ordering::Relaxed);
        }
    });
    finite.into_inner()
}

/// One piece of work, on the right instructions. The bounds that [`node_gradient`] checks must hold.
unsafe fn gradient_item(
    isa: Isa,
    task: &NodeGradient<'_>,
    layer: &LayerGeometry,
    item: usize,
    own: &mut Scratch,
    out: *mut f32,
) -> bool {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn avx512(
        t: &NodeGradient<'_>,
        l: &LayerGeometry,
        i: usize,
        s: &mut Scratch,
        o: *mut f32,
    ) -> bool {
        // SAFETY: passed on.
        unsafe { gradient_block::<Avx512>(t, l, i, s, o) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(t: &NodeGradient<'_>, l: &LayerGeometry, i: usize, s: &mut Scratch, o: *mut f32) -> bool {
        // SAFETY: passed on.
        unsafe { gradient_block::<Avx2>(t, l, i, s, o) }
    }
    // SAFETY: passed on; the instructions are there, or the `Isa` would not be.
    unsafe {
        match isa.kind() {
            Kind::Portable => gradient_block::<Portable>(task, layer, item, own, out),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => avx2(task, layer, item, own, out),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => avx512(task, layer, item, own, out),
        }
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
    let (column_items, row_items) = layer.items();
    let arena = task.arena.as_ptr().cast::<f32>();
    let stride = task.stride * 16;
    let panels = task.samples.div_ceil(16);
    if let (0, Some((source, samples))) = (layer.input_lanes, task.origin) {
        if item < column_items * row_items {
            for lane in 0..2 {
                let first = item % column_items * 32 + lane * 16;
                if first < layer.inputs {
                    features_of(
                        source,
                        layer.inputs,
                        samples,
                        first,
                        &mut own.features[lane * panels * 16..],
                    );
                }
            }
        }
    }
    let features = own.features.as_mut_ptr().cast::<f32>();
    let stack = own.stack.as_mut_ptr().cast::<f32>();
    let column_stride = panels * 256;
    let leaves = Leaves { samples: task.samples, shard: task.shard, panel_stride: stride };
    let mut checks = [0.0_f32; 16];
    let check = checks.as_mut_ptr();
    if item == column_items * row_items {
        // The biases: their inputs are all 1.
        let ones = [1.0_f32; 16];
        let leaves = Leaves { panel_stride: 0, ..leaves };
        for block in 0..layer.outputs.div_ceil(16) {
            // SAFETY: the lanes of a layer are padded to a multiple of 16.
            unsafe {
                by_sample::<S>(arena.add((layer.delta_lanes + block * 16) * 16), stride, panels, features)
            };
            // SAFETY: `ones` serves every panel, as its stride is 0; the rest is as below.
            unsafe {
                let inputs = Columns { start: features, column_stride };
                let columns = (layer.outputs - block * 16).min(16);
                let out =
                    GradientOut { start: out.add(layer.biases + block * 16), row_stride: 0, columns, check };
                gradient_tile_rows::<S, 1>(1, ones.as_ptr(), inputs, leaves, stack, out);
            }
        }
        return checks == [0.0; 16];
    }
    let (column_item, row_item) = (item % column_items, item / column_items);
    let column = column_item * 32;
    let lanes = (layer.inputs - column).min(32).div_ceil(16);
    let gathered = layer.input_lanes == 0 && task.origin.is_some();
    for lane in 0..if gathered { 0 } else { lanes } {
        // SAFETY: the lanes of a layer are padded to a multiple of 16; `features` has room for two columns.
        unsafe {
            let from = arena.add((layer.input_lanes + column + lane * 16) * 16);
            by_sample::<S>(from, stride, panels, features.add(lane * column_stride));
        }
    }
    let first_row = row_item * ROWS_PER_ITEM;
    let rows_here = ROWS_PER_ITEM.min(layer.outputs - first_row);
    let width = if S::ROWS[1] == 0 { 1 } else { lanes };
    let mut lane = 0;
    while lane < lanes {
        for (row, rows) in tiles(rows_here, S::ROWS[width - 1]) {
            let row = first_row + row;
            let at = column + lane * 16;
            // SAFETY: row + rows ≤ outputs, and the columns from `at` on are inside the layer's inputs.
            unsafe {
                let delta = arena.add((layer.delta_lanes + row) * 16);
                let inputs = Columns { start: features.add(lane * column_stride), column_stride };
                let out = GradientOut {
                    start: out.add(layer.weights + row * layer.inputs + at),
                    row_stride: layer.inputs,
                    columns: (layer.inputs - at).min(16 * width),
                    check,
                };
                if width == 2 {
                    gradient_tile_rows::<S, 2>(rows, delta, inputs, leaves, stack, out);
                } else {
                    gradient_tile_rows::<S, 1>(rows, delta, inputs, leaves, stack, out);
                }
            }
        }
        lane += width;
    }
    checks == [0.0; 16]
}

/// Turns 16 lanes of each panel (16 neurons, or inputs) into one lane of those 16 for each sample.
#[inline(always)]
unsafe fn by_sample<S: Simd>(from: *const f32, stride: usize, panels: usize, to: *mut f32) {
    for panel in 0..panels {
        // SAFETY: the caller vouches for 16 lanes in each panel, and for 16 lanes a panel of room.
        unsafe { S::transpose(from.add(panel * stride), to.add(panel * 256)) }
    }
}

/// Rows of features to gather from.
#[derive(Clone, Copy)]
pub(crate) enum GatherSource<'a> {
    /// `byte as f32 · factor`
    Bytes { data: &'a [u8], factor: f32 },
    /// As they are.
    Floats(&'a [f32]),
}

fn in_range(source: GatherSource<'_>, width: usize, samples: &[u32]) -> bool {
    let len = match source {
        GatherSource::Bytes { data, .. } => data.len(),
        GatherSource::Floats(data) => data.len(),
    };
    samples.iter().all(|&s| (s as usize + 1) * width <= len)
}

/// The same 16 features (or as many as there are from `first` on) of every sample, one lane a sample, from the data.
#[inline(always)]
fn features_of(source: GatherSource<'_>, width: usize, samples: &[u32], first: usize, out: &mut [Lane]) {
    let count = (width - first).min(16);
    for (lane, &sample) in out.iter_mut().zip(samples) {
        let at = sample as usize * width + first;
        match source {
            GatherSource::Bytes { data, factor } => {
                if let Ok(whole) = <&[u8; 16]>::try_from(&data[at..at + count]) {
                    for i in 0..16 {
                        lane.0[i] = f32::from(whole[i]) * factor;
                    }
                } else {
                    *lane = Lane::ZERO;
                    for (x, &byte) in lane.0.iter_mut().zip(&data[at..at + count]) {
                        *x = f32::from(byte) * factor;
                    }
                }
            }
            GatherSource::Floats(data) => {
                *lane = Lane::ZERO;
                lane.0[..count].copy_from_slice(&data[at..at + count]);
            }
        }
    }
}

/// Writes the features of up to 16 samples to `out`, one lane a feature. Lanes of samples that are not there, and of
/// features up to a multiple of 16, become 0.
pub(crate) fn gather_panel(
    isa: Isa,
    source: GatherSource<'_>,
    width: usize,
    samples: &[u32],
    out: &mut [Lane],
) {
    assert!(samples.len() <= 16 && out.len() == width.next_multiple_of(16));
    assert!(in_range(source, width, samples));

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn avx512(source: GatherSource<'_>, width: usize, samples: &[u32], out: &mut [Lane]) {
        // SAFETY: passed on.
        unsafe { gather::<Avx512>(source, width, samples, out) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(source: GatherSource<'_>, width: usize, samples: &[u32], out: &mut [Lane]) {
        // SAFETY: passed on.
        unsafe { gather::<Avx2>(source, width, samples, out) }
    }
    // SAFETY: `gather` checks its slices; the instructions are there, or the `Isa` would not be.
    unsafe {
        match isa.kind() {
            Kind::Portable => gather::<Portable>(source, width, samples, out),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => avx2(source, width, samples, out),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => avx512(source, width, samples, out),
        }
    }
}

/// How far ahead of the conversion the samples' rows are asked for: they are anywhere in memory.
const GATHER_AHEAD: usize = 256;

/// Unsafe only for the instructions of `S`, which must be enabled.
#[inline(always)]
unsafe fn gather<S: Simd>(source: GatherSource<'_>, width: usize, samples: &[u32], out: &mut [Lane]) {
    match source {
        GatherSource::Bytes { data, factor } => {
            let nothing = [0_u8; 16];
            for line in (0..width.min(GATHER_AHEAD)).step_by(64) {
                for &sample in samples {
                    // SAFETY: any address may be asked for.
                    unsafe { S::prefetch(data.as_ptr().wrapping_add(sample as usize * width + line).cast()) }
                }
            }
            for (block, lanes) in out.chunks_exact_mut(16).enumerate() {
                let first = block * 16;
                let mut rows = [nothing.as_ptr(); 16];
                let mut padded = [[0_u8; 16]; 16];
                for ((row, padded), &sample) in rows.iter_mut().zip(&mut padded).zip(samples) {
                    let at = sample as usize * width + first;
                    if block.is_multiple_of(4) {
                        // SAFETY: as above.
                        unsafe { S::prefetch(data.as_ptr().wrapping_add(at + GATHER_AHEAD).cast()) }
                    }
                    *row = if first + 16 <= width {
                        data[at..at + 16].as_ptr()
                    } else {
                        padded[..width - first].copy_from_slice(&data[at..at + width - first]);
                        padded.as_ptr()
                    };
                }
                // SAFETY: each row is 16 bytes, and `lanes` are 16.
                unsafe { S::transpose_bytes(&rows, factor, lanes.as_mut_ptr().cast()) }
            }
        }
        GatherSource::Floats(data) => {
            for (block, lanes) in out.chunks_exact_mut(16).enumerate() {
                let first = block * 16;
                let count = (width - first).min(16);
                let mut rows = [Lane::ZERO; 16];
                for (row, &sample) in rows.iter_mut().zip(samples) {
                    let at = sample as usize * width + first;
                    row.0[..count].copy_from_slice(&data[at..at + count]);
                }
                // SAFETY: both sides are 16 lanes, and they do not overlap.
                unsafe { S::transpose(rows.as_ptr().cast(), lanes.as_mut_ptr().cast()) }
            }
        }
    }
}
