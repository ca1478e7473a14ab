//! SIGINT and SIGTERM: the first asks for the end, the second ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Failure, FailureKind};

/// Whether the operator has asked for the end.
#[derive(Debug, Clone)]
pub(crate) struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// From now on, SIGINT and SIGTERM set the flag; the next one ends the process with exit code 130.
    ///
    /// # Errors
    /// When the system does not let signals be handled.
    pub(crate) fn install() -> Result<Self, Failure> {
        // A file that would grow beyond the limit of `ulimit -f` is then an error of the write and not our end.
        #[cfg(unix)]
        signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default())
            .map_err(|error| Failure::failed(format_args!("cannot handle signals: {error}")))?;
        let flag = Arc::new(AtomicBool::new(false));
        let code = i32::from(FailureKind::Interrupted.exit_code());
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // In this order: the first signal finds the flag still unset.
            signal_hook::flag::register_conditional_shutdown(signal, code, flag.clone())
                .and_then(|_| signal_hook::flag::register(signal, flag.clone()))
                .map_err(|error| Failure::failed(format_args!("cannot handle signals: {error}")))?;
        }
        Ok(Self(flag))
    }

    /// Whether a signal has come.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
