//! Tensors to send.

use std::ops::Range;

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
/// The field of `TensorChunk` that holds its bytes.
const DATA_FIELD: u32 = 5;

/// A tensor's encoded numbers, in chunks.
#[derive(Debug)]
pub(crate) struct Payload {
    numbers: usize,
    chunks: Vec<Chunk>,
}

/// The bytes of a chunk, as they are sent, and their checksum.
#[derive(Debug)]
struct Chunk {
    data: Bytes,
    checksum: Hasher,
    compact: bool,
}

impl Chunk {
    fn new(data: Bytes, compact: bool) -> Self {
        let mut checksum = Hasher::new();
        checksum.update(&data);
        Self { data, checksum, compact }
    }
}

impl Payload {
    /// A copy of numbers that change while it is sent.
    pub(crate) fn copied(encoding: Encoding, values: &[f32], spares: &mut Spares) -> Self {
        let mut out = spares.take(encoding.bytes_for(values.len()));
        out.reserve(encoding.bytes_for(values.len()));
        let checksums: Vec<Hasher> = values
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
        let chunks = chunks_of(encoding, &bytes).zip(checksums);
        let chunks = chunks.map(|(data, checksum)| Chunk { data, checksum, compact: false }).collect();
        Self { numbers: values.len(), chunks }
    }

    /// Numbers that are sent without a copy.
    pub(crate) fn shared(values: Sealed) -> Self {
        let (encoding, numbers) = (values.encoding(), values.len());
        Self::encoded(encoding, numbers, &Bytes::from_owner(values))
    }

    /// So many numbers that are encoded already.
    pub(crate) fn encoded(encoding: Encoding, numbers: usize, bytes: &Bytes) -> Self {
        debug_assert_eq!(bytes.len(), encoding.bytes_for(numbers));
        Self { numbers, chunks: chunks_of(encoding, bytes).map(|data| Chunk::new(data, false)).collect() }
    }

    /// The same, each chunk compact if that is shorter.
    pub(crate) fn compacted(encoding: Encoding, numbers: usize, bytes: &Bytes) -> Self {
        debug_assert_eq!(bytes.len(), encoding.bytes_for(numbers));
        let chunks = chunks_of(encoding, bytes).map(|data| match encoding.compacted(&data) {
            Some(compact) => Chunk::new(compact.into(), true),
            None => Chunk::new(data, false),
        });
        Self { numbers, chunks: chunks.collect() }
    }

    /// A copy of f32 numbers of which those in the `rounded` ranges are only needed as bf16, each chunk compact if that is shorter.
    pub(crate) fn rounded(values: &[f32], rounded: &[Range<usize>]) -> Self {
        let full = numbers_in_chunk(Encoding::F32);
        let chunks = values.chunks(full).zip((0..).step_by(full)).map(|(numbers, from)| {
            let here = |at: usize| at.clamp(from, from + numbers.len()) - from;
            let rounded: Vec<Range<usize>> =
                rounded.iter().map(|range| here(range.start)..here(range.end)).collect();
            if let Some(compact) = Encoding::compacted_to_bf16(numbers, &rounded) {
                return Chunk::new(compact.into(), true);
            }
            let mut bytes = vec![0; Encoding::F32.bytes_for(numbers.len())];
            Encoding::F32.encode(numbers, &mut bytes);
            Chunk::new(bytes.into(), false)
        });
        Self { numbers: values.len(), chunks: chunks.collect() }
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
        let total = self.chunks.len() as u32;
        let header =
            pb::TensorHeader { layer, elements: self.numbers as u64, chunks: total, crc32: self.crc32() };
        let mut pieces = Vec::with_capacity(2 * self.chunks.len() + 1);
        let envelope = place.encode();
        let mut out = BytesMut::with_capacity(256 + 64 * self.chunks.len());
        let frame = begin_frame(&mut out);
        encode_infallibly(&wrap(header), &mut out);
        end_frame(&mut out, frame);
        for (index, chunk) in self.chunks.iter().enumerate() {
            let (index, crc32, compact) = (index as u32, chunk.checksum.clone().finalize(), chunk.compact);
            let head = pb::TensorChunk { layer, index, total, crc32, data: Bytes::new(), compact };
            begin_chunk(&mut out, &envelope, &head, chunk.data.len());
            pieces.push(out.split().freeze());
            pieces.push(chunk.data.clone());
        }
        if !out.is_empty() {
            pieces.push(out.freeze());
        }
        Framed(pieces)
    }

    /// The checksum of all chunks.
    fn crc32(&self) -> u32 {
        let whole = self.chunks.iter().map(|chunk| chunk.checksum.clone()).reduce(|mut all, next| {
            all.combine(&next);
            all
        });
        whole.map_or(0, Hasher::finalize)
    }
}

/// Encoded numbers as full chunks and a rest.
fn chunks_of(encoding: Encoding, bytes: &Bytes) -> impl Iterator<Item = Bytes> {
    let full = encoding.bytes_for(numbers_in_chunk(encoding));
    debug_assert!(full <= CHUNK);
    (0..bytes.len()).step_by(full).map(move |at| bytes.slice(at..bytes.len().min(at + full)))
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
