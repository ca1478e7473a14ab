//! Tensors to send.

use bytes::{BufMut, Bytes, BytesMut};
use crc32fast::Hasher;
use nn_engine::{Encoding, Part};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::buffers::{Sealed, Spares};
use super::shapes::{BLOCK, layer_of};
use crate::proto as pb;
use crate::wire::convert::Place;
use crate::wire::outbox::Framed;
use crate::wire::stream::{begin_frame, begin_frame_of, end_frame};
use crate::wire::{CHUNK, numbers_in_chunk};

/// The field that holds a chunk, in `WorkerMessage` as in `CoordinatorMessage`.
const CHUNK_FIELD: u32 = 9;
/// The field of `TensorChunk` that holds its bytes: the last.
const DATA_FIELD: u32 = 5;

/// A tensor's encoded numbers, with the checksum of each chunk.
#[derive(Debug)]
pub(crate) struct Payload {
    encoding: Encoding,
    numbers: usize,
    bytes: Bytes,
    checksums: Vec<Hasher>,
}

impl Payload {
    /// A copy of numbers that change while it is sent.
    pub(crate) fn copied(encoding: Encoding, values: &[f32], spares: &mut Spares) -> Self {
        let mut out = spares.take(encoding.bytes_for(values.len()));
        out.reserve(encoding.bytes_for(values.len()));
        let checksums = values
            .chunks(numbers_in_chunk(encoding))
            .map(|values| {
                let mut checksum = Hasher::new();
                for values in values.chunks(encoding.numbers_in(BLOCK)) {
                    // A block stays in the cache, so that memory is read once and written once.
                    let mut block = [0; BLOCK];
                    let block = &mut block[..encoding.bytes_for(values.len())];
                    encoding.encode(values, block);
                    checksum.update(block);
                    out.put_slice(block);
                }
                checksum
            })
            .collect();
        let bytes = out.freeze();
        spares.keep(&bytes);
        Self { encoding, numbers: values.len(), bytes, checksums }
    }

    /// Numbers that are sent without a copy.
    pub(crate) fn shared(values: Sealed) -> Self {
        let (encoding, numbers) = (values.encoding(), values.len());
        Self::encoded(encoding, numbers, Bytes::from_owner(values))
    }

    /// So many numbers that are encoded already.
    pub(crate) fn encoded(encoding: Encoding, numbers: usize, bytes: Bytes) -> Self {
        debug_assert_eq!(bytes.len(), encoding.bytes_for(numbers));
        let checksums = bytes
            .chunks(chunk_bytes(encoding))
            .map(|bytes| {
                let mut checksum = Hasher::new();
                checksum.update(bytes);
                checksum
            })
            .collect();
        Self { encoding, numbers, bytes, checksums }
    }

    /// The tensor's messages: the header, which `wrap` turns into a message, and the chunks. The bytes around the numbers
    /// are separate pieces; the numbers are not copied.
    pub(crate) fn messages<M: Message>(
        &self,
        place: Place,
        part: Part,
        wrap: impl FnOnce(pb::TensorHeader) -> M,
    ) -> Framed {
        let layer = layer_of(part);
        let total = self.checksums.len() as u32;
        let header =
            pb::TensorHeader { layer, elements: self.numbers as u64, chunks: total, crc32: self.crc32() };
        let mut pieces = Vec::with_capacity(2 * self.checksums.len() + 1);
        let envelope = place.encode();
        let mut out = BytesMut::with_capacity(256 + 64 * self.checksums.len());
        let frame = begin_frame(&mut out);
        encode_infallibly(&wrap(header), &mut out);
        end_frame(&mut out, frame);
        let size = chunk_bytes(self.encoding);
        for (index, checksum) in self.checksums.iter().enumerate() {
            let start = index * size;
            let data = self.bytes.slice(start..self.bytes.len().min(start + size));
            let crc32 = checksum.clone().finalize();
            let chunk = pb::TensorChunk { layer, index: index as u32, total, crc32, data: Bytes::new() };
            begin_chunk(&mut out, &envelope, &chunk, data.len());
            pieces.push(out.split().freeze());
            pieces.push(data);
        }
        if !out.is_empty() {
            pieces.push(out.freeze());
        }
        Framed(pieces)
    }

    /// The checksum of all chunks.
    fn crc32(&self) -> u32 {
        let whole = self.checksums.iter().cloned().reduce(|mut all, next| {
            all.combine(&next);
            all
        });
        whole.map_or(0, Hasher::finalize)
    }
}

/// The bytes of a full chunk.
fn chunk_bytes(encoding: Encoding) -> usize {
    let bytes = encoding.bytes_for(numbers_in_chunk(encoding));
    debug_assert!(bytes <= CHUNK);
    bytes
}

/// Everything of a chunk's message before its `length` bytes of data.
fn begin_chunk(out: &mut BytesMut, envelope: &[u8], chunk: &pb::TensorChunk, length: usize) {
    let inner = chunk.encoded_len() + key_len(DATA_FIELD) + encoded_len_varint(length as u64) + length;
    let message = envelope.len() + key_len(CHUNK_FIELD) + encoded_len_varint(inner as u64) + inner;
    begin_frame_of(out, message);
    out.put_slice(envelope);
    encode_key(CHUNK_FIELD, WireType::LengthDelimited, out);
    encode_varint(inner as u64, out);
    encode_infallibly(chunk, out);
    encode_key(DATA_FIELD, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

fn encode_infallibly<M: Message>(message: &M, out: &mut BytesMut) {
    let Ok(()) = message.encode(out) else { unreachable!("a BytesMut grows") };
}
