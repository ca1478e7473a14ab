//! Tensors as bytes: `f32`s into messages, and chunks back into tensors.

use bytes::{BufMut, Bytes, BytesMut};
use crc32fast::Hasher;
use nn_core::{LayerLayout, layout};
use nn_engine::{Manifest, Part};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::CHUNK;
use super::convert::Place;
use super::error::TensorError;
use super::stream::{FRAME_HEADER, begin_frame, end_frame};
use crate::proto as pb;

/// Which field of `WorkerMessage` and of `CoordinatorMessage` a chunk is in: the same in both.
const CHUNK_FIELD: u32 = 9;
/// Which field of `TensorChunk` its checksum and its bytes are in.
const CRC_FIELD: u32 = 4;
const DATA_FIELD: u32 = 5;

/// Where the layers of the run's model are, which every header is compared with.
#[derive(Debug)]
pub(crate) struct Shapes {
    layers: Vec<LayerLayout>,
    total: usize,
}

impl Shapes {
    pub(crate) fn new(manifest: &Manifest) -> Self {
        Self { layers: layout(manifest.model()), total: manifest.model().parameters() }
    }

    /// Layers that have weights.
    pub(crate) fn layers(&self) -> usize {
        self.layers.len()
    }

    /// All parameters.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Where a part is among the parameters.
    pub(crate) fn range(&self, part: Part) -> Option<std::ops::Range<usize>> {
        match part {
            Part::All => Some(0..self.total),
            Part::Layer(layer) => self.layers.get(layer as usize).map(LayerLayout::range),
        }
    }
}

pub(crate) fn layer_of(part: Part) -> Option<u32> {
    match part {
        Part::Layer(layer) => Some(layer),
        Part::All => None,
    }
}

/// Appends a tensor: the header, which `wrap` makes a message of, and the chunks. `wrap` must put the header last, so
/// that its checksum, known when the chunks are written, is the last thing in it.
pub(crate) fn encode_tensor<M: Message>(
    out: &mut BytesMut,
    place: Place,
    part: Part,
    values: &[f32],
    wrap: impl FnOnce(pb::TensorHeader) -> M,
) {
    let layer = layer_of(part);
    let total = (values.len() * 4).div_ceil(CHUNK) as u32;
    out.reserve(values.len() * 4 + 64 * (total as usize + 2));
    // Not 0, which would be left out.
    let header =
        wrap(pb::TensorHeader { layer, elements: values.len() as u64, chunks: total, crc32: u32::MAX });
    let frame = begin_frame(out);
    encode_infallibly(&header, out);
    end_frame(out, frame);
    let header_crc = out.len() - 4;
    let mut whole = Hasher::new();
    let envelope = place.encode();
    for (index, values) in values.chunks(CHUNK / 4).enumerate() {
        let bytes = values.len() * 4;
        let start = pb::TensorChunk { layer, index: index as u32, total, crc32: 0, data: Bytes::new() };
        let inner = start.encoded_len()
            + key_len(CRC_FIELD)
            + 4
            + key_len(DATA_FIELD)
            + encoded_len_varint(bytes as u64)
            + bytes;
        let frame = begin_frame(out);
        out.put_slice(&envelope);
        encode_key(CHUNK_FIELD, WireType::LengthDelimited, out);
        encode_varint(inner as u64, out);
        encode_infallibly(&start, out);
        encode_key(CRC_FIELD, WireType::ThirtyTwoBit, out);
        let crc_at = out.len();
        out.put_u32_le(0);
        encode_key(DATA_FIELD, WireType::LengthDelimited, out);
        encode_varint(bytes as u64, out);
        let data_at = out.len();
        out.resize(data_at + bytes, 0);
        for (to, value) in out[data_at..].chunks_exact_mut(4).zip(values) {
            to.copy_from_slice(&value.to_le_bytes());
        }
        let mut crc = Hasher::new();
        crc.update(&out[data_at..]);
        whole.combine(&crc);
        out[crc_at..crc_at + 4].copy_from_slice(&crc.finalize().to_le_bytes());
        end_frame(out, frame);
    }
    out[header_crc..header_crc + 4].copy_from_slice(&whole.finalize().to_le_bytes());
}

fn encode_infallibly<M: Message>(message: &M, out: &mut BytesMut) {
    debug_assert!(FRAME_HEADER == 5);
    let Ok(()) = message.encode(out) else { unreachable!("a BytesMut grows") };
}

/// A tensor that is arriving: what its header said, and how much of it is there.
#[derive(Debug)]
pub(crate) struct Incoming {
    part: Part,
    elements: usize,
    total: u32,
    crc32: u32,
    next: u32,
    whole: Hasher,
}

impl Incoming {
    /// Compares a header with the model.
    pub(crate) fn new(shapes: &Shapes, header: &pb::TensorHeader) -> Result<Self, TensorError> {
        let part = header.layer.map_or(Part::All, Part::Layer);
        let Some(range) = shapes.range(part) else {
            return Err(TensorError::Layer { got: header.layer.unwrap_or(0), want: shapes.layers() });
        };
        if header.elements != range.len() as u64 {
            return Err(TensorError::Length { got: header.elements, want: range.len() });
        }
        let total = (range.len() * 4).div_ceil(CHUNK) as u32;
        if header.chunks != total {
            return Err(TensorError::Chunks { got: header.chunks, want: total });
        }
        let (elements, crc32) = (range.len(), header.crc32);
        Ok(Self { part, elements, total, crc32, next: 0, whole: Hasher::new() })
    }

    pub(crate) fn part(&self) -> Part {
        self.part
    }

    /// Checks the next chunk; its first number is the one returned.
    pub(crate) fn chunk(&mut self, chunk: &pb::TensorChunk) -> Result<usize, TensorError> {
        if chunk.layer != layer_of(self.part) || chunk.total != self.total || chunk.index != self.next {
            return Err(TensorError::Order { got: chunk.index, want: self.next, total: self.total });
        }
        let start = chunk.index as usize * (CHUNK / 4);
        let want = CHUNK.min((self.elements - start) * 4);
        if chunk.data.len() != want {
            return Err(TensorError::ChunkLength { index: chunk.index, got: chunk.data.len(), want });
        }
        let mut crc = Hasher::new();
        crc.update(&chunk.data);
        self.whole.combine(&crc);
        if crc.finalize() != chunk.crc32 {
            return Err(TensorError::Checksum { index: chunk.index });
        }
        self.next += 1;
        if self.next == self.total && self.whole.clone().finalize() != self.crc32 {
            return Err(TensorError::TensorChecksum);
        }
        Ok(start)
    }

    /// Whether the last chunk was the last.
    pub(crate) fn is_complete(&self) -> bool {
        self.next == self.total
    }
}

/// Little-endian bytes to numbers; whoever calls has compared the lengths.
pub(crate) fn read_f32(bytes: &[u8], to: &mut [f32]) {
    for (to, bytes) in to.iter_mut().zip(bytes.chunks_exact(4)) {
        *to = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
}
