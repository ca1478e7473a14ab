//! The connections, and which of them must go.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use nn_engine::MAX_WORKERS;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::rate::{Rate, Rates, place};
use crate::security::ServerSecurity;

/// Limits for connections without a worker at work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DoorLimits {
    /// The time that an unauthenticated connection gets: for TLS, and the first request with the token.
    pub handshake: Duration,
    /// The bytes that an unauthenticated connection may send. HTTP/2's preface and a request with a token are far less; bytes
    /// that are not read take no memory.
    pub stranger_bytes: usize,
    /// The most connections without a worker at work.
    pub guests: usize,
    /// How often one address may dial. The default is enough for a few hundred workers behind one address.
    pub each: Rate,
    /// How often all addresses together may dial. A TLS handshake takes about half a millisecond of one core.
    pub all: Rate,
}

impl Default for DoorLimits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            stranger_bytes: 256 * 1024,
            guests: 256,
            each: Rate { burst: 256.0, second: 50.0 },
            // All workers may dial at once, as they do when a coordinator returns.
            all: Rate { burst: MAX_WORKERS as f64, second: 200.0 },
        }
    }
}

/// The most kinds of refusals that are kept apart until they are reported.
const REFUSALS: usize = 64;

/// Resolves when the connection is cut.
pub(super) type Cut = oneshot::Receiver<()>;

/// Connections refused for one reason since the last report.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The address that they came from; None for many addresses.
    pub address: Option<IpAddr>,
    /// What the client did, as the end of a sentence: `showed no certificate`.
    pub what: &'static str,
    /// The number of connections.
    pub times: u64,
}

impl Refusal {
    /// A refusal of `times` connections.
    #[must_use]
    pub fn new(address: Option<IpAddr>, what: &'static str, times: u64) -> Self {
        Self { address, what, times }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "refused {address}: it {}", self.what)?,
            None => write!(f, "refused others: the last of them {}", self.what)?,
        }
        if self.times > 1 { write!(f, " ({} times)", self.times) } else { Ok(()) }
    }
}

/// All connections.
pub(crate) struct Lobby {
    limits: DoorLimits,
    start: Instant,
    state: Mutex<State>,
}

struct State {
    next: u64,
    here: BTreeMap<u64, Entry>,
    /// The number of connections without a worker at work.
    guests: usize,
    rates: Rates,
    refused: HashMap<(IpAddr, &'static str), u64>,
    refused_elsewhere: Option<(&'static str, u64)>,
    total_refused: u64,
}

struct Entry {
    place: IpAddr,
    since: Duration,
    is_stranger: bool,
    workers: usize,
    cut: Option<oneshot::Sender<()>>,
}

impl fmt::Debug for Lobby {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lobby").finish_non_exhaustive()
    }
}

impl Lobby {
    pub(crate) fn new(limits: DoorLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            start: Instant::now(),
            state: Mutex::new(State {
                next: 0,
                here: BTreeMap::new(),
                guests: 0,
                rates: Rates::new(limits.each, limits.all),
                refused: HashMap::new(),
                refused_elsewhere: None,
                total_refused: 0,
            }),
        })
    }

    /// The state, which no panic can leave half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits a connection as a stranger, or refuses it.
    pub(super) fn enter(
        self: &Arc<Self>,
        address: SocketAddr,
        security: &Arc<ServerSecurity>,
    ) -> Option<(Visitor, Cut)> {
        let now = self.start.elapsed();
        let mut state = self.state();
        if !state.rates.allow(address.ip(), now) {
            state.refuse(address.ip(), "dials too often");
            return None;
        }
        if state.guests >= self.limits.guests {
            state.make_room();
        }
        let id = state.next;
        state.next += 1;
        let (sender, cut) = oneshot::channel();
        let place = place(address.ip());
        let entry = Entry { place, since: now, is_stranger: true, workers: 0, cut: Some(sender) };
        state.here.insert(id, entry);
        state.guests += 1;
        drop(state);
        let visitor = VisitorInner {
            id,
            address,
            security: security.clone(),
            certificate: OnceLock::new(),
            is_stranger: AtomicBool::new(true),
            read: AtomicU64::new(0),
            lobby: self.clone(),
        };
        Some((Visitor(Arc::new(visitor)), cut))
    }

    /// A visitor without a socket.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn anybody(self: &Arc<Self>) -> Option<Visitor> {
        let (visitor, _) = self.enter(SocketAddr::from(([192, 0, 2, 1], 9)), &Arc::default())?;
        visitor.is_known();
        Some(visitor)
    }

    /// Cuts the connections of strangers that have taken too long.
    pub(super) fn disconnect_slow_strangers(&self) {
        let now = self.start.elapsed();
        let mut state = self.state();
        let slow =
            |entry: &Entry| entry.is_stranger && now.saturating_sub(entry.since) >= self.limits.handshake;
        let slow: Vec<u64> = state.here.iter().filter(|(_, entry)| slow(entry)).map(|(&id, _)| id).collect();
        for id in slow {
            state.cut(id, "was silent for too long and did not authenticate");
        }
    }

    /// Cuts the connections of all strangers, once the run is over.
    pub(crate) fn disconnect_strangers(&self) {
        let mut state = self.state();
        let strangers = state.here.iter().filter(|(_, entry)| entry.is_stranger);
        let strangers: Vec<u64> = strangers.map(|(&id, _)| id).collect();
        for id in strangers {
            if let Some(entry) = state.here.get_mut(&id) {
                entry.cut = None;
            }
            state.forget(id);
        }
    }

    /// The refusals since the last call, the most frequent first.
    pub(crate) fn take_refusals(&self) -> Vec<Refusal> {
        let mut state = self.state();
        let refused = std::mem::take(&mut state.refused);
        let elsewhere = state.refused_elsewhere.take();
        drop(state);
        let each = refused.into_iter().map(|((address, what), times)| (Some(address), what, times));
        let mut all: Vec<Refusal> = each
            .chain(elsewhere.map(|(what, times)| (None, what, times)))
            .map(|(address, what, times)| Refusal { address, what, times })
            .collect();
        all.sort_by_key(|refusal| (std::cmp::Reverse(refusal.times), refusal.address));
        all
    }

    /// The number of refusals in all.
    pub(crate) fn total_refused(&self) -> u64 {
        self.state().total_refused
    }
}

impl State {
    fn refuse(&mut self, address: IpAddr, what: &'static str) {
        self.total_refused += 1;
        let key = (address.to_canonical(), what);
        if let Some(times) = self.refused.get_mut(&key) {
            *times += 1;
        } else if self.refused.len() < REFUSALS {
            self.refused.insert(key, 1);
        } else {
            let times = self.refused_elsewhere.map_or(0, |(_, times)| times);
            self.refused_elsewhere = Some((what, times + 1));
        }
    }

    /// Cuts a connection, unless that has been done.
    fn cut(&mut self, id: u64, why: &'static str) {
        let Some(entry) = self.here.get_mut(&id) else { return };
        let place = entry.place;
        if entry.cut.take().is_some() {
            self.forget(id);
            self.refuse(place, why);
        }
    }

    fn forget(&mut self, id: u64) {
        if let Some(entry) = self.here.remove(&id)
            && entry.workers == 0
        {
            self.guests -= 1;
        }
    }

    /// Cuts one connection without a worker: of strangers, if there are any, the oldest one of the busiest address.
    fn make_room(&mut self) {
        let mut count: HashMap<IpAddr, usize> = HashMap::new();
        let any_stranger = self.here.values().any(|entry| entry.is_stranger && entry.workers == 0);
        let candidate = |entry: &Entry| entry.workers == 0 && (entry.is_stranger || !any_stranger);
        for entry in self.here.values().filter(|entry| candidate(entry)) {
            *count.entry(entry.place).or_default() += 1;
        }
        // Among equally busy addresses, the one with the oldest connection; ids increase with time.
        let victim = self
            .here
            .iter()
            .filter(|(_, entry)| candidate(entry))
            .max_by_key(|&(&id, entry)| (count[&entry.place], std::cmp::Reverse(id)));
        if let Some((&id, _)) = victim {
            self.cut(id, "had too many connections without a worker");
        }
    }
}

/// The client at the other end of a connection. It leaves the lobby when its last clone is dropped.
#[derive(Clone)]
pub(crate) struct Visitor(Arc<VisitorInner>);

struct VisitorInner {
    id: u64,
    address: SocketAddr,
    security: Arc<ServerSecurity>,
    certificate: OnceLock<String>,
    is_stranger: AtomicBool,
    /// Bytes read from the connection.
    read: AtomicU64,
    lobby: Arc<Lobby>,
}

impl Drop for VisitorInner {
    fn drop(&mut self) {
        self.lobby.state().forget(self.id);
    }
}

impl Visitor {
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }

    pub(super) fn security(&self) -> &ServerSecurity {
        &self.0.security
    }

    /// The name in the certificate that it has proved to own.
    pub(crate) fn certificate(&self) -> Option<&str> {
        self.0.certificate.get().map(String::as_str)
    }

    /// It has shown a valid certificate.
    pub(super) fn is_certified(&self, name: String) {
        let _ = self.0.certificate.set(name);
        if self.0.security.requires_certificates() && self.0.security.token().is_none() {
            self.is_known();
        }
    }

    /// It has authenticated.
    pub(super) fn is_known(&self) {
        if self.0.is_stranger.swap(false, Ordering::Relaxed)
            && let Some(entry) = self.0.lobby.state().here.get_mut(&self.0.id)
        {
            entry.is_stranger = false;
        }
    }

    /// Counts bytes read from the connection.
    pub(super) fn has_sent(&self, bytes: usize) {
        self.0.read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The bytes read from the connection so far, those of unfinished messages too.
    pub(in crate::server) fn bytes(&self) -> u64 {
        self.0.read.load(Ordering::Relaxed)
    }

    /// The bytes that it may send as a stranger.
    pub(super) fn stranger_bytes(&self) -> usize {
        self.0.lobby.limits.stranger_bytes
    }

    pub(super) fn is_stranger(&self) -> bool {
        self.0.is_stranger.load(Ordering::Relaxed)
    }

    /// Counts a reason for which it was refused.
    pub(super) fn refuse(&self, what: &'static str) {
        self.0.lobby.state().refuse(self.0.address.ip(), what);
    }

    /// It has a worker at work, until the returned guard is dropped.
    pub(crate) fn works(&self) -> AtWork {
        let mut state = self.0.lobby.state();
        if let Some(entry) = state.here.get_mut(&self.0.id) {
            entry.workers += 1;
            if entry.workers == 1 {
                state.guests -= 1;
            }
        }
        AtWork(self.clone())
    }
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitor").field("address", &self.0.address).finish_non_exhaustive()
    }
}

/// A worker at work on a connection.
#[derive(Debug)]
pub(crate) struct AtWork(Visitor);

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut state = self.0.0.lobby.state();
        if let Some(entry) = state.here.get_mut(&self.0.0.id) {
            entry.workers -= 1;
            if entry.workers == 0 {
                state.guests += 1;
            }
        }
    }
}
