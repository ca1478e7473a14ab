//! Who is connected, and who must go.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::rate::{Rate, Rates, place};
use crate::security::ServerSecurity;

/// What those who dial are allowed before a worker of theirs is at work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DoorLimits {
    /// How long a connection may take to show that it may be here: TLS, and the first request, with the token.
    pub handshake: Duration,
    /// What it may send until then, in bytes. HTTP/2's greeting and a request with a token are far less; what is not read
    /// takes no memory.
    pub stranger_bytes: usize,
    /// Connections without a worker at work, all together.
    pub guests: usize,
    /// How fast an address may dial. The usual is enough for a few hundred workers behind one.
    pub each: Rate,
    /// How fast all of them may together. A TLS handshake takes about half a millisecond of one core.
    pub all: Rate,
}

impl Default for DoorLimits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            stranger_bytes: 256 * 1024,
            guests: 256,
            each: Rate { burst: 256.0, second: 50.0 },
            all: Rate { burst: 1024.0, second: 200.0 },
        }
    }
}

/// Sorts of refusals that are kept until they are told.
const REFUSALS: usize = 64;

/// Resolves when the connection is to end.
pub(super) type Cut = oneshot::Receiver<()>;

/// Somebody who was not let in, so often since it was told last.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Where from; None for many addresses.
    pub address: Option<IpAddr>,
    /// What it did, as the rest of a sentence: `showed no certificate`.
    pub what: &'static str,
    /// How often.
    pub times: u64,
}

impl Refusal {
    /// So many of a sort.
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

/// All who are connected.
pub(in crate::server) struct Lobby {
    limits: DoorLimits,
    start: Instant,
    state: Mutex<State>,
}

struct State {
    next: u64,
    here: BTreeMap<u64, Entry>,
    /// How many of them have no worker at work.
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
    pub(in crate::server) fn new(limits: DoorLimits) -> Arc<Self> {
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

    /// Nothing in here can leave it half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a connection in, for a start. None: it is turned away.
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
            lobby: self.clone(),
        };
        Some((Visitor(Arc::new(visitor)), cut))
    }

    /// Somebody whose connection is not a socket.
    #[cfg(any(test, fuzzing))]
    pub(in crate::server) fn anybody(self: &Arc<Self>) -> Option<Visitor> {
        let (visitor, _) = self.enter(SocketAddr::from(([192, 0, 2, 1], 9)), &Arc::default())?;
        visitor.is_known();
        Some(visitor)
    }

    /// Ends the connections of strangers who have been here for too long.
    pub(super) fn send_slow_ones_away(&self) {
        let now = self.start.elapsed();
        let mut state = self.state();
        let slow =
            |entry: &Entry| entry.is_stranger && now.saturating_sub(entry.since) >= self.limits.handshake;
        let slow: Vec<u64> = state.here.iter().filter(|(_, entry)| slow(entry)).map(|(&id, _)| id).collect();
        for id in slow {
            state.cut(id, "was silent for too long instead of saying who it is");
        }
    }

    /// Ends the connections of all strangers: there is nothing left for them to come for.
    pub(in crate::server) fn send_strangers_away(&self) {
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

    /// Whom it has turned away since it was asked last, worst first.
    pub(in crate::server) fn take_refusals(&self) -> Vec<Refusal> {
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

    /// How many it has turned away in all.
    pub(in crate::server) fn total_refused(&self) -> u64 {
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

    /// Ends a connection, if it has not been ended yet.
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

    /// Ends one connection without a worker: a stranger if there is one, of the place that has the most, the oldest.
    fn make_room(&mut self) {
        let mut count: HashMap<IpAddr, usize> = HashMap::new();
        let any_stranger = self.here.values().any(|entry| entry.is_stranger && entry.workers == 0);
        let candidate = |entry: &Entry| entry.workers == 0 && (entry.is_stranger || !any_stranger);
        for entry in self.here.values().filter(|entry| candidate(entry)) {
            *count.entry(entry.place).or_default() += 1;
        }
        // Of equally busy places the one with the older connection; ids go up with time.
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

/// Who is at the other end of a connection. Clones are the same one; it leaves the lobby with the last of them.
#[derive(Clone)]
pub(in crate::server) struct Visitor(Arc<VisitorInner>);

struct VisitorInner {
    id: u64,
    address: SocketAddr,
    security: Arc<ServerSecurity>,
    certificate: OnceLock<String>,
    is_stranger: AtomicBool,
    lobby: Arc<Lobby>,
}

impl Drop for VisitorInner {
    fn drop(&mut self) {
        self.lobby.state().forget(self.id);
    }
}

impl Visitor {
    pub(in crate::server) fn address(&self) -> SocketAddr {
        self.0.address
    }

    pub(super) fn security(&self) -> &ServerSecurity {
        &self.0.security
    }

    /// The name in the certificate that it has proved to be its own.
    pub(in crate::server) fn certificate(&self) -> Option<&str> {
        self.0.certificate.get().map(String::as_str)
    }

    /// It has shown a good certificate.
    pub(super) fn is_certified(&self, name: String) {
        let _ = self.0.certificate.set(name);
        if self.0.security.requires_certificates() && self.0.security.token().is_none() {
            self.is_known();
        }
    }

    /// It has shown all that was asked of it.
    pub(super) fn is_known(&self) {
        if self.0.is_stranger.swap(false, Ordering::Relaxed)
            && let Some(entry) = self.0.lobby.state().here.get_mut(&self.0.id)
        {
            entry.is_stranger = false;
        }
    }

    /// What it may send as a stranger.
    pub(super) fn stranger_bytes(&self) -> usize {
        self.0.lobby.limits.stranger_bytes
    }

    pub(super) fn is_stranger(&self) -> bool {
        self.0.is_stranger.load(Ordering::Relaxed)
    }

    /// Counts something that it was refused for.
    pub(super) fn refuse(&self, what: &'static str) {
        self.0.lobby.state().refuse(self.0.address.ip(), what);
    }

    /// It has a worker at work, for as long as what this gives is kept.
    pub(in crate::server) fn works(&self) -> AtWork {
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
pub(in crate::server) struct AtWork(Visitor);

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
