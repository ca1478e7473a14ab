//! Answers to probes. A budget prevents probes from slowing a run down, or from making this machine flood another.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;

use crate::proto as pb;
use crate::wire::probe::{MOST, payload, unix_micros};
use crate::wire::{BUILD, CHUNK};

/// The bytes per second that probes may carry, in both directions and for all callers together.
const BYTES_A_SECOND: u64 = CHUNK as u64;
/// The bytes that they may carry at once, after a pause.
const BYTES_AT_ONCE: u64 = 32 * CHUNK as u64;

/// Answers probes.
#[derive(Debug)]
pub(crate) struct Probe {
    arithmetic: String,
    budget: Mutex<Budget>,
}

/// The bytes that probes may still carry, which grow back with time.
#[derive(Debug)]
struct Budget {
    left: u64,
    at: Instant,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self { left: BYTES_AT_ONCE, at: now }
    }

    /// Takes `bytes` from the budget, or says how long to wait for them.
    fn take(&mut self, bytes: u64, now: Instant) -> Result<(), Duration> {
        let grown = now.saturating_duration_since(self.at).as_secs_f64() * BYTES_A_SECOND as f64;
        if grown >= 1.0 {
            self.left = self.left.saturating_add(grown as u64).min(BYTES_AT_ONCE);
            self.at = now;
        }
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Duration::from_secs_f64((bytes - self.left) as f64 / BYTES_A_SECOND as f64)),
        }
    }
}

impl Probe {
    pub(crate) fn new(arithmetic: String) -> Self {
        Self { arithmetic, budget: Mutex::new(Budget::new(Instant::now())) }
    }

    /// Answers a probe, or says why not.
    pub(crate) fn answer(&self, request: &pb::ProbeRequest) -> Result<pb::ProbeReply, Status> {
        let reply_bytes = request.reply_bytes as usize;
        if request.payload.len() > MOST || reply_bytes > MOST {
            return Err(Status::invalid_argument("a probe carries at most 1 MiB in either direction"));
        }
        let bytes = (request.payload.len() + reply_bytes) as u64;
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.take(bytes, Instant::now()).map_err(|wait| {
            let seconds = wait.as_secs() + 1;
            Status::resource_exhausted(format!(
                "the budget for probes is used up for now; try again in {seconds} s"
            ))
        })?;
        drop(budget);
        Ok(pb::ProbeReply {
            protocol: pb::PROTOCOL,
            build: BUILD.to_owned(),
            arithmetic: self.arithmetic.clone(),
            unix_micros: unix_micros(),
            payload: payload(reply_bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(payload_bytes: usize, reply_bytes: u32) -> pb::ProbeRequest {
        pb::ProbeRequest { payload: vec![1; payload_bytes].into(), reply_bytes }
    }

    #[test]
    fn bytes_come_from_a_budget_that_grows_back() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut budget = Budget::new(start);
        assert_eq!(budget.take(BYTES_AT_ONCE, start), Ok(()));
        assert_eq!(budget.take(0, start), Ok(()), "a ping costs nothing");
        assert_eq!(budget.take(2 * BYTES_A_SECOND, start), Err(Duration::from_secs(2)));
        assert_eq!(budget.take(2 * BYTES_A_SECOND, after(2)), Ok(()));
        assert_eq!(budget.take(1, after(2)).map_err(|wait| wait < Duration::from_millis(1)), Err(true));
        // It does not grow beyond its initial size.
        assert!(budget.take(BYTES_AT_ONCE + 1, after(10_000)).is_err());
        assert_eq!(budget.take(BYTES_AT_ONCE, after(10_000)), Ok(()));
    }

    #[test]
    fn a_probe_does_not_amplify() {
        let probe = Probe::new("arithmetic".to_owned());
        let most = MOST as u32;
        assert_eq!(probe.answer(&request(0, most)).unwrap().payload.len(), MOST);
        for wrong in [request(MOST + 1, 0), request(0, most + 1), request(0, u32::MAX)] {
            assert_eq!(probe.answer(&wrong).unwrap_err().code(), tonic::Code::InvalidArgument);
        }
        let answered = (0..100).take_while(|_| probe.answer(&request(0, most)).is_ok()).count();
        assert!((31..=33).contains(&answered), "{answered}");
        let refused = probe.answer(&request(0, most)).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert!(refused.message().contains("try again in"), "{refused}");
        assert_eq!(probe.answer(&request(0, 0)).unwrap().arithmetic, "arithmetic");
    }
}
