//! SIGINT and SIGTERM: the first signal requests a graceful stop, the second ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Failure, FailureKind};

/// Whether the operator has requested a stop.
#[derive(Debug, Clone)]
pub(crate) struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Installs the handlers: the first SIGINT or SIGTERM sets the flag, the next ends the process with exit code 130.
    ///
    /// # Errors
    /// If the system refuses a handler.
    pub(crate) fn install() -> Result<Self, Failure> {
        // With SIGXFSZ handled, a write beyond the limit of `ulimit -f` fails with an error instead of killing the process.
        #[cfg(unix)]
        signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default())
            .map_err(|error| Failure::failed(format_args!("cannot handle signals: {error}")))?;
        let flag = Arc::new(AtomicBool::new(false));
        let code = i32::from(FailureKind::Interrupted.exit_code());
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // The order matters: the first signal must find the flag unset when the conditional shutdown checks it.
            signal_hook::flag::register_conditional_shutdown(signal, code, flag.clone())
                .and_then(|_| signal_hook::flag::register(signal, flag.clone()))
                .map_err(|error| Failure::failed(format_args!("cannot handle signals: {error}")))?;
        }
        Ok(Self(flag))
    }

    /// The flag that something else than a signal sets.
    pub(crate) fn of(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }

    /// Whether a signal has arrived.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Makes an allocation that the system refuses end the process with exit code 1, after the message of the standard
/// library, instead of killing it with SIGABRT.
///
/// A run that needs too much memory is refused before: see `memory`. What remains is what no estimate foresees.
pub(crate) fn fail_on_abort() {
    #[cfg(unix)]
    {
        let code = i32::from(FailureKind::Failed.exit_code());
        let always = Arc::new(AtomicBool::new(true));
        // Without the handler, an abort is still an end.
        let _ = signal_hook::flag::register_conditional_shutdown(signal_hook::consts::SIGABRT, code, always);
    }
}
