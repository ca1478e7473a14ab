//! Large buffers on large pages.

use super::Lane;

/// The size of a large page (2 MiB on x86-64). A smaller buffer gains nothing.
#[cfg(target_os = "linux")]
const LARGE_PAGE: usize = 2 << 20;

/// `n` zeros, for parameters, gradients and moments, on large pages if the system offers them on request (Linux'
/// `transparent_hugepage=madvise`). Tiles walk down the rows of a weight matrix; with each row on another small page,
/// the page lookups would take longer than the arithmetic.
#[must_use]
pub fn zeroed(n: usize) -> Vec<f32> {
    // Fresh memory from the system is zero already, so nothing touches it before the advice.
    let mut buffer = vec![0.0; n];
    advise(buffer.as_mut_ptr().cast(), n * size_of::<f32>());
    buffer
}

/// `n` lanes of zeros, on large pages as [`zeroed`].
pub(crate) fn zeroed_lanes(n: usize) -> Vec<Lane> {
    let mut buffer: Vec<Lane> = Vec::with_capacity(n);
    advise(buffer.as_mut_ptr().cast(), n * size_of::<Lane>());
    buffer.resize(n, Lane::ZERO);
    buffer
}

/// Requests large pages for those that fit whole into `bytes` bytes at `start`. Nothing depends on the answer.
#[cfg(target_os = "linux")]
fn advise(start: *mut u8, bytes: usize) {
    let skip = start.align_offset(LARGE_PAGE);
    let whole = bytes.saturating_sub(skip) / LARGE_PAGE * LARGE_PAGE;
    if whole > 0 {
        // SAFETY: the range is inside one allocation of ours, and this advice does not change its contents.
        let _ = unsafe { libc::madvise(start.wrapping_add(skip).cast(), whole, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn advise(_: *mut u8, _: usize) {}
