//! A worker's life: session after session, until the run is over.

use std::time::Duration;

use nn_engine::arithmetic_fingerprint;
use tokio::time::Instant;

use super::address::coordinator_url;
use super::cache::Partial;
use super::dial::{Backoff, dial_metered, random};
use super::error::{ConnectError, WorkerError};
use super::event::{RunOver, WorkerEnd, WorkerEvent};
use super::options::WorkerOptions;
use super::session::{Lost, Session, SessionEnd, WorkerIdentity};
use crate::wire::ends::{Ends, Side};

/// Works until the run is over or, with [`WorkerOptions::stay`], until `shutdown` resolves. Broken connections are dialled
/// again. `tell` is called with events for people; it must not block.
///
/// # Errors
/// If going on is pointless.
pub async fn work(
    mut options: WorkerOptions,
    mut tell: impl FnMut(WorkerEvent<'_>),
    shutdown: impl Future<Output = ()>,
) -> Result<WorkerEnd, WorkerError> {
    if options.coordinators.is_empty() {
        return Err(WorkerError::NoCoordinator);
    }
    for coordinator in &mut options.coordinators {
        *coordinator = coordinator_url(coordinator).map_err(|error| WorkerError::Connect { error })?;
    }
    let mut attempts = Attempts::new(&options);
    tokio::pin!(shutdown);
    loop {
        let failure = match attempts.round(&mut tell, shutdown.as_mut()).await? {
            Round::ShutDown => return Ok(WorkerEnd::ShutDown),
            Round::Over(over) if !options.stay => return Ok(WorkerEnd::RunOver(over)),
            Round::Over(_) => {
                attempts.restart();
                None
            }
            Round::Lost(coordinator, lost) => {
                if let Some(limit) = attempts.ends.note(lost.sent, Side::Sender) {
                    tell(WorkerEvent::CutOff(limit));
                }
                let (url, worth_it) = (coordinator.to_owned(), attempts.was_worth_it(&lost));
                (!worth_it).then_some((coordinator, ConnectError::Fruitless { url, why: lost.reason }))
            }
            Round::Failed(coordinator, error) => Some((coordinator, error)),
        };
        let pause = attempts.backoff.next();
        if let Some((coordinator, error)) = failure {
            if attempts.are_over(&error) {
                return Err(WorkerError::Connect { error });
            }
            // Of a broken connection people have been told.
            if !matches!(error, ConnectError::Fruitless { .. }) {
                tell(WorkerEvent::Waiting { coordinator, error: &error, retry_in: pause });
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = &mut shutdown => return Ok(WorkerEnd::ShutDown),
        }
    }
}

/// How a round of attempts ended.
enum Round<'a> {
    ShutDown,
    Over(RunOver),
    /// This coordinator admitted the worker, and the connection was lost.
    Lost(&'a str, Lost),
    /// None of the coordinators admitted the worker; the last one and its reason.
    Failed(&'a str, ConnectError),
}

/// A session that lasts as long is no failure, whatever it brought: the worker may have had nothing to do.
const LASTING: Duration = Duration::from_secs(60);

/// What persists from one session to the next.
struct Attempts<'a> {
    options: &'a WorkerOptions,
    identity: WorkerIdentity,
    /// The part of a training set that arrived before the connection broke.
    partial: Option<Partial>,
    was_admitted: bool,
    backoff: Backoff,
    /// When the worker started, or last had a session that was worth it.
    since: Instant,
    /// Whether the last session was not worth it.
    fruitless: bool,
    /// How connections have ended lately.
    ends: Ends,
}

impl<'a> Attempts<'a> {
    fn new(options: &'a WorkerOptions) -> Self {
        let arithmetic = arithmetic_fingerprint(options.isa);
        Self {
            options,
            identity: WorkerIdentity { member: random(), incarnation: 0, arithmetic },
            partial: None,
            was_admitted: false,
            backoff: Backoff::new(),
            since: Instant::now(),
            fruitless: false,
            ends: Ends::default(),
        }
    }

    /// Tries each coordinator in turn, until one admits the worker.
    async fn round(
        &mut self,
        tell: &mut impl FnMut(WorkerEvent<'_>),
        mut shutdown: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Round<'a>, WorkerError> {
        let mut last = None;
        for coordinator in &self.options.coordinators {
            let dialled = tokio::select! {
                dialled = dial_metered(coordinator, &self.options.dial, self.options.meter.clone()) => dialled,
                () = &mut shutdown => return Ok(Round::ShutDown),
            };
            let channel = match dialled {
                Ok(channel) => channel,
                Err(error) => {
                    last = Some(Round::Failed(coordinator, error));
                    continue;
                }
            };
            self.identity.incarnation += 1;
            let session = Session::new(self.options, &self.identity, coordinator);
            let held = self.chunks();
            match session.run(channel, &mut self.partial, tell, shutdown.as_mut()).await? {
                SessionEnd::ShutDown => return Ok(Round::ShutDown),
                SessionEnd::Over(over) => {
                    self.was_admitted = true;
                    tell(WorkerEvent::RunOver(&over));
                    return Ok(Round::Over(over));
                }
                SessionEnd::Lost(mut lost) => {
                    self.was_admitted = true;
                    lost.earned |= self.chunks() > held;
                    tell(WorkerEvent::Lost { reason: &lost.reason });
                    return Ok(Round::Lost(coordinator, lost));
                }
                SessionEnd::NotNow(error) => last = Some(Round::Failed(coordinator, error)),
            }
        }
        Ok(last.unwrap_or_else(|| unreachable!("there is a coordinator to dial")))
    }

    /// After a session that was worth it, pauses and patience begin anew.
    fn restart(&mut self) {
        (self.backoff, self.since, self.fruitless) = (Backoff::new(), Instant::now(), false);
    }

    /// The chunks of the training set that have arrived.
    fn chunks(&self) -> u32 {
        self.partial.as_ref().map_or(0, Partial::chunks)
    }

    /// Whether a session was worth it: it achieved something, or it lasted. If not, pauses grow; and patience is measured
    /// from the end of the first such session.
    fn was_worth_it(&mut self, lost: &Lost) -> bool {
        let worth_it = lost.earned || lost.lasted >= self.options.retry_for.unwrap_or(LASTING);
        if worth_it {
            self.restart();
        } else if !self.fruitless {
            (self.since, self.fruitless) = (Instant::now(), true);
        }
        worth_it
    }

    /// Whether trying again is pointless, or has taken too long.
    fn are_over(&self, error: &ConnectError) -> bool {
        let hopeless = !error.is_worth_retrying() || (error.is_about_trust() && !self.was_admitted);
        let waited = |most: Duration| self.since.elapsed() >= most;
        hopeless || self.options.retry_for.is_some_and(waited)
    }
}
