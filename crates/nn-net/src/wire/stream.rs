//! gRPC's own framing: a flag, a length, a message.
//!
//! tonic's encoder would copy every payload once for each worker. Here a message becomes bytes once, and every stream
//! that it goes to holds a reference to them.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder};

/// The flag and the length.
pub(crate) const FRAME_HEADER: usize = 5;

/// Leaves room for the header of a message; what it returns is for [`end_frame`].
pub(crate) fn begin_frame(out: &mut BytesMut) -> usize {
    let at = out.len();
    out.put_slice(&[0; FRAME_HEADER]);
    at
}

/// Fills in the header of the message that has been appended since.
pub(crate) fn end_frame(out: &mut BytesMut, at: usize) {
    let length = (out.len() - at - FRAME_HEADER) as u32;
    out[at + 1..at + FRAME_HEADER].copy_from_slice(&length.to_be_bytes());
}

/// A whole message.
pub(crate) fn frame<M: Message>(message: &M) -> Bytes {
    let mut out = BytesMut::with_capacity(message.encoded_len() + FRAME_HEADER);
    let at = begin_frame(&mut out);
    let Ok(()) = message.encode(&mut out) else { unreachable!("a BytesMut grows") };
    end_frame(&mut out, at);
    out.freeze()
}

/// Reads messages; `bytes` fields are slices of what was received.
#[derive(Debug)]
pub(crate) struct Messages<M>(std::marker::PhantomData<fn() -> M>);

impl<M> Messages<M> {
    pub(crate) fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<M: Message + Default> Decoder for Messages<M> {
    type Item = M;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<M>, Status> {
        M::decode(from)
            .map(Some)
            .map_err(|error| Status::invalid_argument(format!("not a message of nn.v1: {error}")))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(64 * 1024, 64 * 1024)
    }
}
