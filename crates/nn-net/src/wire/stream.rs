//! gRPC's framing: a flag, a length, a message.
//!
//! tonic's encoder would copy every payload once per worker. Here a message is encoded once, and every stream that sends
//! it holds a reference to the bytes.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body::Body as _;
use prost::Message;
use tonic::body::Body;
use tonic::{Code, Status};

use super::MAX_MESSAGE;

/// The length of the flag and the length field.
pub(crate) const FRAME_HEADER: usize = 5;

/// Leaves room for the header of a message, and returns its position for [`end_frame`].
pub(crate) fn begin_frame(out: &mut BytesMut) -> usize {
    let at = out.len();
    out.put_slice(&[0; FRAME_HEADER]);
    at
}

/// Fills in the header at `at` for the message appended since.
pub(crate) fn end_frame(out: &mut BytesMut, at: usize) {
    let length = (out.len() - at - FRAME_HEADER) as u32;
    out[at + 1..at + FRAME_HEADER].copy_from_slice(&length.to_be_bytes());
}

/// Appends the header of a message of `length` bytes, which follow.
pub(crate) fn begin_frame_of(out: &mut BytesMut, length: usize) {
    out.put_u8(0);
    out.put_u32(length as u32);
}

/// Frames a whole message.
pub(crate) fn frame<M: Message>(message: &M) -> Bytes {
    let mut out = BytesMut::with_capacity(message.encoded_len() + FRAME_HEADER);
    let at = begin_frame(&mut out);
    let Ok(()) = message.encode(&mut out) else { unreachable!("a BytesMut grows") };
    end_frame(&mut out, at);
    out.freeze()
}

/// Reads the messages of a body. tonic's reader copies everything into its own buffer; here the `bytes` of a message
/// are slices of what HTTP/2 has read, if they arrived in one piece.
#[derive(Debug)]
pub(crate) struct Messages<M> {
    body: Body,
    received: Pieces,
    over: bool,
    broken: bool,
    message: PhantomData<fn() -> M>,
}

impl<M: Message + Default> Messages<M> {
    pub(crate) fn new(body: Body) -> Self {
        Self { body, received: Pieces::default(), over: false, broken: false, message: PhantomData }
    }

    /// Whether the connection broke, rather than the peer ending the stream or sending something malformed.
    pub(crate) fn has_broken(&self) -> bool {
        self.broken
    }

    /// The next message; None at the end of the stream. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The status with which the peer or HTTP/2 ended the stream; or a status about a malformed message.
    pub(crate) async fn message(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(message) = self.decode()? {
                return Ok(Some(message));
            }
            if self.over {
                return match self.received.remaining() {
                    0 => Ok(None),
                    _ => Err(Status::internal("the stream ended within a message")),
                };
            }
            match poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await {
                None => self.over = true,
                Some(Err(status)) => {
                    (self.over, self.broken) = (true, true);
                    return Err(status);
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.received.push(data),
                    Err(frame) => {
                        let status = frame.trailers_ref().and_then(Status::from_header_map);
                        if let Some(status) = status.filter(|status| status.code() != Code::Ok) {
                            self.over = true;
                            return Err(status);
                        }
                    }
                },
            }
        }
    }

    /// The first received message, if it is complete.
    fn decode(&mut self) -> Result<Option<M>, Status> {
        let Some([flag, a, b, c, d]) = self.received.first() else { return Ok(None) };
        if flag != 0 {
            return Err(Status::unimplemented("compressed messages are not supported"));
        }
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > MAX_MESSAGE {
            let text = format!("a message of {length} bytes exceeds the limit of {MAX_MESSAGE}");
            return Err(Status::out_of_range(text));
        }
        if self.received.remaining() < FRAME_HEADER + length {
            return Ok(None);
        }
        self.received.advance(FRAME_HEADER);
        M::decode((&mut self.received).take(length))
            .map(Some)
            .map_err(|error| Status::invalid_argument(format!("not a message of nn.v1: {error}")))
    }
}

/// Bytes in the pieces in which they arrived.
#[derive(Debug, Default)]
struct Pieces {
    queue: VecDeque<Bytes>,
    remaining: usize,
}

impl Pieces {
    fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.remaining += bytes.len();
            self.queue.push_back(bytes);
        }
    }

    /// The first `N` bytes, if there are as many.
    fn first<const N: usize>(&self) -> Option<[u8; N]> {
        let mut first = [0; N];
        let mut bytes = self.queue.iter().flatten();
        for to in &mut first {
            *to = *bytes.next()?;
        }
        Some(first)
    }
}

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.queue.front().map_or(&[], |bytes| bytes)
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining);
        self.remaining -= count;
        while let Some(front) = self.queue.front_mut() {
            if front.len() > count {
                front.advance(count);
                break;
            }
            count -= front.len();
            self.queue.pop_front();
        }
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        match self.queue.front_mut() {
            Some(front) if front.len() >= len => {
                let bytes = front.split_to(len);
                self.advance(0);
                self.remaining -= len;
                bytes
            }
            _ => {
                let mut bytes = BytesMut::with_capacity(len);
                bytes.put(self.take(len));
                bytes.freeze()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto as pb;

    /// A body whose data frames have `cut` bytes each.
    fn body(bytes: &[u8], cut: usize) -> Body {
        let frames: Vec<Bytes> = bytes.chunks(cut).map(Bytes::copy_from_slice).collect();
        Body::new(http_body_util::StreamBody::new(tokio_stream::iter(
            frames.into_iter().map(|data| Ok::<_, Status>(http_body::Frame::data(data))),
        )))
    }

    fn chunk(index: u32, length: usize) -> pb::TensorChunk {
        let data = (0..length).map(|i| (i * 7) as u8).collect::<Vec<u8>>().into();
        pb::TensorChunk { layer: Some(1), index, total: 9, crc32: 5, data, compact: false }
    }

    #[tokio::test]
    async fn messages_are_whole_however_their_bytes_are_cut() {
        let sent = [chunk(0, 0), chunk(1, 1000), chunk(2, 1), chunk(3, 70)];
        let bytes: Vec<u8> = sent.iter().flat_map(frame).collect();
        for cut in 1..bytes.len() + 1 {
            let mut messages = Messages::<pb::TensorChunk>::new(body(&bytes, cut));
            for want in &sent {
                assert_eq!(messages.message().await.unwrap().as_ref(), Some(want), "cut at {cut}");
            }
            assert_eq!(messages.message().await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn bytes_that_arrive_in_one_piece_are_not_copied() {
        let bytes = frame(&chunk(0, 1000));
        let at = bytes.as_ptr() as usize + bytes.len() - 1000;
        let once = tokio_stream::once(Ok::<_, Status>(http_body::Frame::data(bytes)));
        let body = Body::new(http_body_util::StreamBody::new(once));
        let got = Messages::<pb::TensorChunk>::new(body).message().await.unwrap().unwrap();
        assert_eq!(got.data.as_ptr() as usize, at);
    }

    #[tokio::test]
    async fn malformed_messages_are_refused() {
        let whole = frame(&chunk(0, 10));
        for (bytes, code) in [
            (&whole[..whole.len() - 1], Code::Internal),
            (&[1, 0, 0, 0, 0][..], Code::Unimplemented),
            (&[0, 255, 0, 0, 0], Code::OutOfRange),
            (&[0, 0, 0, 0, 2, 255, 255], Code::InvalidArgument),
        ] {
            let error = Messages::<pb::TensorChunk>::new(body(bytes, 3)).message().await.unwrap_err();
            assert_eq!(error.code(), code, "{bytes:?}");
        }
    }
}
