//! What waits to be sent on one stream, and the stream's body, which takes it from there.
//!
//! There is no channel in between: whoever has something to say puts bytes into the queue, and HTTP/2 takes them when
//! the peer has room. So the memory that a slow peer can hold is what the queue holds, and that has three bounds:
//!
//! - weights two steps older than new ones are dropped if nothing of them was sent and no node waits for them;
//! - weights that replace all others drop the others, and what was assigned with them;
//! - what is queued beyond `limit` closes the stream.
//!
//! Weights are shared: their bytes exist once, however many queues they are in.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tonic::Status;

use super::CHUNK;

/// Where whole messages come from that are made only when they can be sent.
pub(crate) trait Feed: Send {
    /// The next message, framed.
    fn next(&mut self) -> Option<Bytes>;
}

/// The producers' end. Clones share the queue.
#[derive(Clone)]
pub(crate) struct Outbox(Arc<Shared>);

/// The body of a request or a response.
pub(crate) struct Outgoing(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Told when the queue has become shorter.
    shorter: Condvar,
    limit: usize,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Item>,
    /// Bytes in the queue, and bytes taken from it.
    queued: usize,
    sent: u64,
    feed: Option<Box<dyn Feed>>,
    end: Option<End>,
    waker: Option<Waker>,
    /// Nobody takes anything any more.
    gone: bool,
}

enum End {
    /// After all that is queued: the trailers of a response, or nothing.
    Finish(Option<Status>),
    /// At once.
    Abort(Status),
    Done,
}

struct Item {
    /// What goes out as frames of its own, so that a payload arrives in one piece.
    pieces: VecDeque<Bytes>,
    kind: Kind,
    /// Some of it was sent, so the rest must be.
    started: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Never dropped.
    Message,
    /// Nodes to compute with the weights of a step.
    Assignment { step: u64 },
    /// Weights of a step.
    Weights { step: u64 },
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

    /// Appends a message, or several.
    pub(crate) fn push(&self, kind: Kind, pieces: impl Into<Framed>) -> Result<(), Overflow> {
        self.append(kind, pieces.into(), |state| {
            if let Kind::Weights { step: new } = kind {
                // Weights whose assignment was not sent yet are still wanted.
                let wanted: Vec<u64> = state.queue.iter().filter_map(Item::assignment).collect();
                state.retain(|kind| match kind {
                    Kind::Weights { step } => step + 1 >= new || wanted.contains(&step),
                    _ => true,
                });
            }
        })
    }

    /// Appends weights that take the place of all that were sent before.
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

    /// Appends a message once there is room; false if the stream is over. It blocks: not for async code.
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

    /// Sends what the feed has whenever the queue is empty.
    pub(crate) fn set_feed(&self, feed: Box<dyn Feed>) {
        let mut state = self.0.lock();
        state.feed = Some(feed);
        let waker = state.waker.take();
        drop(state);
        wake(waker);
    }

    /// Ends the stream after all that is queued. The first end counts.
    pub(crate) fn finish(&self, status: Option<Status>) {
        self.end(End::Finish(status), false);
    }

    /// Ends the stream at once, whatever was said before.
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

    /// Whether nothing more can be said.
    pub(crate) fn has_ended(&self) -> bool {
        let state = self.0.lock();
        state.gone || state.end.is_some()
    }

    /// Bytes that wait, and bytes that were taken.
    pub(crate) fn figures(&self) -> (usize, u64) {
        let state = self.0.lock();
        (state.queued, state.sent)
    }
}

/// Messages, framed, in the pieces that they are sent in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Framed(pub(crate) Vec<Bytes>);

impl Framed {
    /// All bytes.
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
    /// Drops what is not kept, but for what is half sent.
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

    /// The next bytes, at most a chunk: so much may wait in HTTP/2 beyond the peer's window.
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
        // What is half sent is sent to its end, in the middle of a message nothing may be dropped.
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
    fn weights_that_a_node_waits_for_stay_until_they_are_replaced() {
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
    fn more_than_the_limit_is_an_overflow_and_the_end_is_the_end() {
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
        // When the stream breaks, nobody waits for ever.
        drop(body);
        assert_eq!(waiting.join().unwrap(), (true, false));
    }
}
