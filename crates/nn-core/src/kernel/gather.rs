//! From rows of samples to lanes: copies samples into the arena.

use super::lanes::{Lane, Portable, Simd};
use super::{Isa, Kind};

#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2, Avx512};

/// Rows of features, one a sample.
#[derive(Clone, Copy)]
pub(crate) enum GatherSource<'a> {
    /// `byte as f32 · factor`
    Bytes { data: &'a [u8], factor: f32 },
    /// Numbers, used as they are.
    Floats(&'a [f32]),
}

/// Whether the rows of all samples are inside the source.
pub(super) fn in_range(source: GatherSource<'_>, width: usize, samples: &[u32]) -> bool {
    let len = match source {
        GatherSource::Bytes { data, .. } => data.len(),
        GatherSource::Floats(data) => data.len(),
    };
    samples.iter().all(|&s| (s as usize + 1) * width <= len)
}

/// Writes 16 features from `first` on (fewer at the end of a row) of every sample to `out`, one lane a sample. Unsafe
/// only for the instructions of `S`, which must be enabled.
#[inline(always)]
pub(super) unsafe fn features_of<S: Simd>(
    source: GatherSource<'_>,
    width: usize,
    samples: &[u32],
    first: usize,
    out: &mut [Lane],
) {
    let count = (width - first).min(16);
    for (lane, &sample) in out.iter_mut().zip(samples) {
        let at = sample as usize * width + first;
        match source {
            GatherSource::Bytes { data, factor } => {
                let bytes = &data[at..at + count];
                let mut padded = [0; 16];
                let from = if count == 16 {
                    bytes.as_ptr()
                } else {
                    padded[..count].copy_from_slice(bytes);
                    padded.as_ptr()
                };
                // SAFETY: there are 16 bytes on one side and 16 floats on the other.
                unsafe { S::store(lane.0.as_mut_ptr(), S::load_bytes(from, factor)) }
            }
            GatherSource::Floats(data) => {
                *lane = Lane::ZERO;
                lane.0[..count].copy_from_slice(&data[at..at + count]);
            }
        }
    }
}

/// Writes the features of up to 16 samples to `out`, one lane a feature. The places of missing samples, and the lanes
/// from the last feature up to a multiple of 16, become 0.
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
    // SAFETY: `gather` checks its slices; an `Isa` exists only if the processor has its instructions.
    unsafe {
        match isa.kind() {
            Kind::Portable => gather::<Portable>(source, width, samples, out),
            #[cfg(not(target_arch = "x86_64"))]
            Kind::PortableTiles => gather::<Portable>(source, width, samples, out),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 | Kind::Avx2Tiles => avx2(source, width, samples, out),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 | Kind::Amx => avx512(source, width, samples, out),
        }
    }
}

/// Bytes by which prefetching runs ahead of the conversion: the samples' rows lie anywhere in memory.
const GATHER_AHEAD: usize = 256;

/// [`gather_panel`] with the instructions of `S`, which must be enabled.
#[inline(always)]
unsafe fn gather<S: Simd>(source: GatherSource<'_>, width: usize, samples: &[u32], out: &mut [Lane]) {
    match source {
        GatherSource::Bytes { data, factor } => {
            let nothing = [0_u8; 16];
            for line in (0..width.min(GATHER_AHEAD)).step_by(64) {
                for &sample in samples {
                    // SAFETY: any address may be requested.
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
