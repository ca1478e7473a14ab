//! Large buffers on large pages.

use super::Lane;

/// Below this, large pages cannot help: a buffer has to hold one whole (2 MiB on x86-64).
#[cfg(target_os = "linux")]
const LARGE_PAGE: usize = 2 << 20;

/// `n` zeros, for parameters, gradients and moments. Where the system offers large pages on request (Linux'
/// `transparent_hugepage=madvise`), they are requested: tiles walk down the rows of a weight matrix, each row on a small
/// page of its own, and looking those up would take longer than the arithmetic.
#[must_use]
pub fn zeroed(n: usize) -> Vec<f32> {
    // Fresh memory from the system is zero already, so that nothing is touched before the advice is given.
    let mut buffer = vec![0.0; n];
    advise(buffer.as_mut_ptr().cast(), n * size_of::<f32>());
    buffer
}

/// `n` lanes of zeros, likewise.
pub(crate) fn zeroed_lanes(n: usize) -> Vec<Lane> {
    let mut buffer: Vec<Lane> = Vec::with_capacity(n);
    advise(buffer.as_mut_ptr().cast(), n * size_of::<Lane>());
    buffer.resize(n, Lane::ZERO);
    buffer
}

/// Asks for large pages for the whole ones among `bytes` bytes at `start`. It is a hint: nothing depends on the answer.
#[cfg(target_os = "linux")]
fn advise(start: *mut u8, bytes: usize) {
    let skip = start.align_offset(LARGE_PAGE);
    let whole = bytes.saturating_sub(skip) / LARGE_PAGE * LARGE_PAGE;
    if whole > 0 {
        // SAFETY: the range is inside one allocation of ours, and this advice does not change what memory holds.
        let _ = unsafe { libc::madvise(start.wrapping_add(skip).cast(), whole, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn advise(_: *mut u8, _: usize) {}
