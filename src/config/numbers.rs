//! Numbers of the commands that have no table of options.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;

use super::defaults::available_threads;
use super::limits::MAX_THREADS;
use super::value::{Interval, Value as _};
use crate::failure::Failure;

/// Checks the number that a flag gives.
///
/// # Errors
/// Exit code 2 if `value` is out of `range`.
pub(super) fn check_range(key: &str, value: u64, range: RangeInclusive<u64>) -> Result<usize, Failure> {
    let subject = format!("--{key}");
    value.check(Some(Interval::from(range))).map_err(|wrong| wrong.about(&subject))?;
    usize::try_from(value)
        .map_err(|_| Failure::usage(format_args!("{subject} is too large for this machine, {value}")))
}

/// Checks a number of threads; all threads of the machine if none is given.
pub(super) fn check_threads(threads: Option<u64>) -> Result<NonZeroUsize, Failure> {
    let threads = threads.map(|threads| check_range("threads", threads, 1..=MAX_THREADS)).transpose()?;
    Ok(threads.and_then(NonZeroUsize::new).unwrap_or_else(available_threads))
}
