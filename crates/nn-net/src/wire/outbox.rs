//! The queue of bytes to send on one stream, and the stream's body, which empties it.
//!
//! There is no channel in between: producers append bytes to the queue, and HTTP/2 takes them when the peer has room. So
//! a slow peer can hold no more memory than the queue, which has three bounds:
//!
//! - weights two steps older than new ones are dropped, unless part of them was sent or a node waits for them;
//! - weights that replace all others drop the others, updates to them, and the assignments made with them;
//! - a queue longer than `limit` closes the stream.
//!
//! Weights are shared: their bytes exist once, however many queues hold them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tonic::Status;

use super::CHUNK;

/// A source of whole messages, which are made only when they can be sent.
pub(crate) trait Feed: Send {
    /// The next message, framed.
    fn next(&mut self) -> Option<Bytes>;
}

/// The producers' end of the queue. Clones share it.
#[derive(Clone)]
pub(crate) struct Outbox(Arc<Shared>);

/// The body of a request or a response: the consumer's end of the queue.
pub(crate) struct Outgoing(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Notified when the queue becomes shorter.
    shorter: Condvar,
    limit: usize,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Item>,
    /// Bytes in the queue.
    queued: usize,
    /// Bytes taken from the queue so far.
    sent: u64,
    feed: Option<Box<dyn Feed>>,
    end: Option<End>,
    waker: Option<Waker>,
    /// The body was dropped: nobody takes bytes any more.
    gone: bool,
}

enum End {
    /// After everything queued: the trailers of a response, or nothing.
    Finish(Option<Status>),
    /// Immediately.
    Abort(Status),
    Done,
}

struct Item {
    /// Pieces that are sent as frames of their own, so that a payload arrives in one piece.
    pieces: VecDeque<Bytes>,
    kind: Kind,
    /// Part of it was sent, so the rest must be.
    started: bool,
}

/// What an item of the queue is, which decides when it may be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A message that is never dropped.
    Message,
    /// Nodes to compute with the weights of a step.
    Assignment { step: u64 },
    /// Weights of a step.
    Weights { step: u64 },
    /// What weights change by. Without it all later ones would be wrong, so it is dropped only for new weights.
    Update,
}

/// The queue is full: the peer does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overflow;

impl Outbox {
    /// A queue of at most `limit` bytes, and the body that empties it.
    pub(crate) fn new(limit: usize) -> (Self, Outgoing) {
        let shared = Arc::new(Shared { state: Mutex::default(), shorter: Condvar::new(), limit });
        (Self(shared.clone()), Outgoing(shared))
    }

    /// Appends one or several messages.
    pub(crate) fn push(&self, kind: Kind, pieces: impl Into<Framed>) -> Result<(), Overflow> {
        self.append(kind, pieces.into(), |state| {
            if let Kind::Weights { step: new } = kind {
                // Weights are still wanted while an assignment that uses them is queued.
                let wanted: Vec<u64> = state.queue.iter().filter_map(Item::assignment).collect();
                state.retain(|kind| match kind {
                    Kind::Weights { step } => step + 1 >= new || wanted.contains(&step),
                    _ => true,
                });
            }
        })
    }

    /// Appends weights that replace all earlier ones.
    pub(crate) fn replace(&self, step: u64, pieces: impl Into<Framed>) -> Result<(), Overflow> {
        let drop_others = |state: &mut State| state.retain(|kind| kind == Kind::Message);
        self.append(Kind::Weights { step }, pieces.into(), drop_others)
    }

    fn append(&self, kind: Kind, framed: Framed, make_room: impl FnOnce(&mut State)) -> Result<(), Overflow> {
        let mut state = self.0.lock();
        if state.gone || state.end.is_some() {
            return Ok(());
        }
        make_room(&mut state);
        state.enqueue(kind, framed);
        let overflow = state.queued > self.0.limit;
        let waker = state.waker.take();
        drop(state);
        wake(waker);
        if overflow { Err(Overflow) } else { Ok(()) }
    }

    /// Appends a message once there is room; false if the stream is over. It blocks, so async code must not call it.
    pub(crate) fn push_blocking(&self, framed: Framed) -> bool {
        let length = framed.len();
        let mut state = self.0.lock();
        while !state.queue.is_empty()
            && state.queued + length > self.0.limit
            && !state.gone
            && state.end.is_none()
        {
            state = self.0.shorter.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.gone || state.end.is_some() {
            return false;
        }
        state.enqueue(Kind::Message, framed);
        let waker = state.waker.take();
        drop(state);
        wake(waker);
        true
    }

    /// Sends messages of the feed whenever the queue is empty.
    pub(crate) fn set_feed(&self, feed: Box<dyn Feed>) {
        let mut state = self.0.lock();
        state.feed = Some(feed);
        let waker = state.waker.take();
        drop(state);
        wake(waker);
    }

    /// Ends the stream after everything queued. Only the first end counts.
    pub(crate) fn finish(&self, status: Option<Status>) {
        self.end(End::Finish(status), false);
    }

    /// Appends the last message and ends the stream after it, so that no other can come in between. It has no effect if the
    /// stream has already ended.
    pub(crate) fn finish_with(&self, last: impl Into<Framed>, status: Option<Status>) {
        let mut state = self.0.lock();
        if state.gone || state.end.is_some() {
            return;
        }
        state.enqueue(Kind::Message, last.into());
        state.end = Some(End::Finish(status));
        state.feed = None;
        let waker = state.waker.take();
        drop(state);
        self.0.shorter.notify_all();
        wake(waker);
    }

    /// Ends the stream immediately and drops the queue.
    pub(crate) fn abort(&self, status: Status) {
        self.end(End::Abort(status), true);
    }

    fn end(&self, end: End, overrule: bool) {
        let mut state = self.0.lock();
        if overrule {
            state.queue.clear();
            state.queued = 0;
        }
        if overrule && !matches!(state.end, Some(End::Done)) || state.end.is_none() {
            state.end = Some(end);
            state.feed = None;
        }
        let waker = state.waker.take();
        drop(state);
        self.0.shorter.notify_all();
        wake(waker);
    }

    /// Whether nothing more can be sent.
    pub(crate) fn has_ended(&self) -> bool {
        let state = self.0.lock();
        state.gone || state.end.is_some()
    }

    /// Bytes queued, and bytes sent so far.
    pub(crate) fn figures(&self) -> (usize, u64) {
        let state = self.0.lock();
        (state.queued, state.sent)
    }
}

/// Framed messages, in the pieces in which they are sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Framed(pub(crate) Vec<Bytes>);

impl Framed {
    /// The bytes of all pieces.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }
}

impl From<Bytes> for Framed {
    fn from(bytes: Bytes) -> Self {
        Self(vec![bytes])
    }
}

impl Item {
    fn len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    fn assignment(&self) -> Option<u64> {
        match self.kind {
            Kind::Assignment { step } => Some(step),
            _ => None,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the queue as it was: every change is complete before anything that may panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Drops items that `keep` rejects, except those partly sent.
    fn retain(&mut self, keep: impl Fn(Kind) -> bool) {
        self.queue.retain(|item| item.started || keep(item.kind));
        self.queued = self.queue.iter().map(Item::len).sum();
    }

    fn enqueue(&mut self, kind: Kind, framed: Framed) {
        self.queued += framed.len();
        let pieces: VecDeque<Bytes> = framed.0.into_iter().filter(|piece| !piece.is_empty()).collect();
        if !pieces.is_empty() {
            self.queue.push_back(Item { pieces, kind, started: false });
        }
    }

    /// The next bytes, at most a chunk: HTTP/2 may buffer that much beyond the peer's window.
    fn take(&mut self) -> Option<Bytes> {
        if self.queue.is_empty()
            && let Some(feed) = &mut self.feed
        {
            match feed.next() {
                Some(bytes) => self.enqueue(Kind::Message, bytes.into()),
                None => self.feed = None,
            }
        }
        let item = self.queue.front_mut()?;
        let piece = item.pieces.front_mut()?;
        let bytes = if piece.len() > CHUNK { piece.split_to(CHUNK) } else { item.pieces.pop_front()? };
        item.started = true;
        if item.pieces.is_empty() {
            self.queue.pop_front();
        }
        self.queued -= bytes.len();
        self.sent += bytes.len() as u64;
        Some(bytes)
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut state = self.0.lock();
        if let Some(bytes) = state.take() {
            drop(state);
            self.0.shorter.notify_all();
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match state.end.take() {
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
            Some(end) => {
                state.end = Some(End::Done);
                drop(state);
                Poll::Ready(match end {
                    End::Finish(Some(status)) => {
                        let mut trailers = HeaderMap::new();
                        Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers)))
                    }
                    End::Abort(status) => Some(Err(status)),
                    End::Finish(None) | End::Done => None,
                })
            }
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.gone = true;
        state.queue.clear();
        state.queued = 0;
        state.feed = None;
        drop(state);
        self.0.shorter.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: usize = 3 * CHUNK;

    fn weights() -> Bytes {
        Bytes::from(vec![1; SET])
    }

    fn poll(body: &mut Outgoing) -> Option<Bytes> {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(body).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().ok(),
            _ => None,
        }
    }

    #[test]
    fn a_peer_that_does_not_read_holds_two_sets_of_weights_at_most() {
        let (outbox, mut body) = Outbox::new(3 * SET);
        for step in 0..1000 {
            outbox.push(Kind::Weights { step }, weights()).unwrap();
            assert!(outbox.figures().0 <= 2 * SET, "step {step}");
        }
        // A message that was partly sent is sent to its end.
        poll(&mut body).unwrap();
        for step in 1000..2000 {
            outbox.push(Kind::Weights { step }, weights()).unwrap();
            assert!(outbox.figures().0 <= 3 * SET, "step {step}");
        }
        let mut sent = 0;
        while let Some(bytes) = poll(&mut body) {
            sent += bytes.len();
        }
        assert_eq!(sent, 3 * SET - CHUNK);
        assert_eq!(outbox.figures(), (0, 3 * SET as u64));
    }

    #[test]
    fn weights_that_a_node_waits_for_stay_until_replaced() {
        let (outbox, _body) = Outbox::new(10 * SET);
        outbox.push(Kind::Weights { step: 0 }, weights()).unwrap();
        outbox.push(Kind::Assignment { step: 0 }, Bytes::from_static(b"nodes")).unwrap();
        for step in 1..100 {
            outbox.push(Kind::Weights { step }, weights()).unwrap();
        }
        assert_eq!(outbox.figures().0, 3 * SET + 5);
        outbox.push(Kind::Message, Bytes::from_static(b"a word")).unwrap();
        outbox.replace(100, weights()).unwrap();
        assert_eq!(outbox.figures().0, SET + 6);
    }

    #[test]
    fn more_than_the_limit_overflows_and_nothing_follows_the_end() {
        let (outbox, mut body) = Outbox::new(10);
        assert_eq!(outbox.push(Kind::Message, Bytes::from_static(b"12345678")), Ok(()));
        assert_eq!(outbox.push(Kind::Message, Bytes::from_static(b"12345678")), Err(Overflow));
        outbox.abort(Status::unavailable("slow"));
        outbox.push(Kind::Message, Bytes::from_static(b"not heard")).unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(Some(Err(status))) = Pin::new(&mut body).poll_frame(&mut context) else { panic!() };
        assert_eq!(status.message(), "slow");
        assert!(outbox.has_ended() && poll(&mut body).is_none());
    }

    #[test]
    fn a_producer_waits_for_room() {
        let (outbox, mut body) = Outbox::new(10);
        assert!(outbox.push_blocking(Bytes::from_static(b"1234567890123").into()));
        let producer = outbox.clone();
        let waiting = std::thread::spawn(move || {
            let first = producer.push_blocking(Bytes::from_static(b"12345678").into());
            (first, producer.push_blocking(Bytes::from_static(b"12345678").into()))
        });
        assert_eq!(poll(&mut body).unwrap().len(), 13);
        while outbox.figures().0 == 0 {
            std::thread::yield_now();
        }
        // When the stream breaks, no producer is left waiting.
        drop(body);
        assert_eq!(waiting.join().unwrap(), (true, false));
    }
}
