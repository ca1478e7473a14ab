//! Tensors as bytes: `f32`s into messages, and chunks back into tensors.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{BufMut, Bytes, BytesMut};
use crc32fast::Hasher;
use nn_core::{LayerLayout, layout};
use nn_engine::{Manifest, Part};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::CHUNK;
use super::convert::Place;
use super::error::TensorError;
use super::outbox::Framed;
use super::stream::{begin_frame, begin_frame_of, end_frame};
use crate::proto as pb;

/// Which field of `WorkerMessage` and of `CoordinatorMessage` a chunk is in: the same in both.
const CHUNK_FIELD: u32 = 9;
/// Which field of `TensorChunk` its bytes are in: the last.
const DATA_FIELD: u32 = 5;

/// What is converted and checked at a time.
const BLOCK: usize = 4096;

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

/// A tensor's numbers as they are sent, with the checksum of each chunk.
#[derive(Debug)]
pub(crate) struct Payload {
    bytes: Bytes,
    checksums: Vec<Hasher>,
}

impl Payload {
    /// A copy of numbers that will change while it is sent.
    pub(crate) fn copied(values: &[f32], spares: &mut Spares) -> Self {
        let mut out = spares.take(values.len() * 4);
        out.reserve(values.len() * 4);
        let checksums = values
            .chunks(CHUNK / 4)
            .map(|values| {
                let mut checksum = Hasher::new();
                for values in values.chunks(BLOCK / 4) {
                    // By way of a block that stays in the cache, the numbers are read from memory once and written once.
                    let mut block = [0; BLOCK];
                    let block = &mut block[..values.len() * 4];
                    for (to, value) in block.chunks_exact_mut(4).zip(values) {
                        to.copy_from_slice(&value.to_le_bytes());
                    }
                    checksum.update(block);
                    out.put_slice(block);
                }
                checksum
            })
            .collect();
        let bytes = out.freeze();
        spares.keep(&bytes);
        Self { bytes, checksums }
    }

    /// Numbers that nobody changes any more; no copy is made of them.
    pub(crate) fn shared(values: Floats) -> Self {
        let bytes = Bytes::from_owner(values);
        let checksums = bytes
            .chunks(CHUNK)
            .map(|bytes| {
                let mut checksum = Hasher::new();
                checksum.update(bytes);
                checksum
            })
            .collect();
        Self { bytes, checksums }
    }

    /// The messages of the tensor: the header, which `wrap` makes a message of, and the chunks. What is around the
    /// numbers is in pieces of its own; the numbers are sent from where they are.
    pub(crate) fn messages<M: Message>(
        &self,
        place: Place,
        part: Part,
        wrap: impl FnOnce(pb::TensorHeader) -> M,
    ) -> Framed {
        let layer = layer_of(part);
        let total = self.checksums.len() as u32;
        let whole = self.checksums.iter().cloned().reduce(|mut all, next| {
            all.combine(&next);
            all
        });
        let crc32 = whole.map_or(0, Hasher::finalize);
        let elements = (self.bytes.len() / 4) as u64;
        let mut pieces = Vec::with_capacity(2 * self.checksums.len() + 1);
        let envelope = place.encode();
        let mut out = BytesMut::with_capacity(256 + 64 * self.checksums.len());
        let header = begin_frame(&mut out);
        encode_infallibly(&wrap(pb::TensorHeader { layer, elements, chunks: total, crc32 }), &mut out);
        end_frame(&mut out, header);
        for (index, checksum) in self.checksums.iter().enumerate() {
            let start = index * CHUNK;
            let data = self.bytes.slice(start..self.bytes.len().min(start + CHUNK));
            let crc32 = checksum.clone().finalize();
            let chunk = pb::TensorChunk { layer, index: index as u32, total, crc32, data: Bytes::new() };
            let length = data.len() as u64;
            let inner = chunk.encoded_len() + key_len(DATA_FIELD) + encoded_len_varint(length) + data.len();
            let message = envelope.len() + key_len(CHUNK_FIELD) + encoded_len_varint(inner as u64) + inner;
            begin_frame_of(&mut out, message);
            out.put_slice(&envelope);
            encode_key(CHUNK_FIELD, WireType::LengthDelimited, &mut out);
            encode_varint(inner as u64, &mut out);
            encode_infallibly(&chunk, &mut out);
            encode_key(DATA_FIELD, WireType::LengthDelimited, &mut out);
            encode_varint(length, &mut out);
            pieces.push(out.split().freeze());
            pieces.push(data);
        }
        if !out.is_empty() {
            pieces.push(out.freeze());
        }
        Framed(pieces)
    }
}

/// Numbers that can be sent from where they are, and the pool that they go back to once they have been.
#[derive(Debug)]
pub(crate) struct Floats {
    values: Vec<f32>,
    pool: Pool,
}

impl AsRef<[u8]> for Floats {
    fn as_ref(&self) -> &[u8] {
        // In memory as on the wire: `Pool::seal` sees to that where a processor has them the other way round.
        bytemuck::cast_slice(&self.values)
    }
}

impl Drop for Floats {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.values));
    }
}

/// Buffers of numbers, to be used again: fresh memory of some megabytes costs as much as filling it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<Vec<Vec<f32>>>>);

impl Pool {
    /// A buffer of so many numbers, with anything in them.
    pub(crate) fn take(&self, len: usize) -> Vec<f32> {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match free.iter().position(|buffer| buffer.len() == len) {
            Some(at) => free.swap_remove(at),
            None => nn_core::zeroed(len),
        }
    }

    fn give_back(&self, buffer: Vec<f32>) {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < Spares::MOST {
            free.push(buffer);
        }
    }

    /// Numbers that will not be changed any more until they come back.
    pub(crate) fn seal(&self, mut values: Vec<f32>) -> Floats {
        if cfg!(target_endian = "big") {
            for value in &mut values {
                *value = f32::from_bits(value.to_bits().to_le());
            }
        }
        Floats { values, pool: self.clone() }
    }
}

/// The checksum of what came so far and of what comes next. Most tensors are of one chunk.
fn append_crc(whole: &mut Hasher, next: &Hasher, is_first: bool) {
    if is_first {
        *whole = next.clone();
    } else {
        whole.combine(next);
    }
}

fn encode_infallibly<M: Message>(message: &M, out: &mut BytesMut) {
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

    /// Checks the next chunk.
    pub(crate) fn chunk(&mut self, chunk: &pb::TensorChunk) -> Result<(), TensorError> {
        self.read(chunk, None)
    }

    /// Checks the next chunk and copies its numbers to where they belong in the part.
    pub(crate) fn chunk_into(
        &mut self,
        chunk: &pb::TensorChunk,
        part: &mut [f32],
    ) -> Result<(), TensorError> {
        self.read(chunk, Some(part))
    }

    fn read(&mut self, chunk: &pb::TensorChunk, to: Option<&mut [f32]>) -> Result<(), TensorError> {
        if chunk.layer != layer_of(self.part) || chunk.total != self.total || chunk.index != self.next {
            return Err(TensorError::Order { got: chunk.index, want: self.next, total: self.total });
        }
        let start = chunk.index as usize * (CHUNK / 4);
        let want = CHUNK.min((self.elements - start) * 4);
        if chunk.data.len() != want {
            return Err(TensorError::ChunkLength { index: chunk.index, got: chunk.data.len(), want });
        }
        let mut crc = Hasher::new();
        match to {
            None => crc.update(&chunk.data),
            Some(part) => {
                let part = &mut part[start..start + want / 4];
                for (numbers, bytes) in part.chunks_mut(BLOCK / 4).zip(chunk.data.chunks(BLOCK)) {
                    crc.update(bytes);
                    for (number, bytes) in numbers.iter_mut().zip(bytes.chunks_exact(4)) {
                        *number = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                    }
                }
            }
        }
        append_crc(&mut self.whole, &crc, chunk.index == 0);
        if crc.finalize() != chunk.crc32 {
            return Err(TensorError::Checksum { index: chunk.index });
        }
        self.next += 1;
        if self.next == self.total && self.whole.clone().finalize() != self.crc32 {
            return Err(TensorError::TensorChecksum);
        }
        Ok(())
    }

    /// Whether the last chunk was the last.
    pub(crate) fn is_complete(&self) -> bool {
        self.next == self.total
    }
}

/// Memory of messages that were sent, to be used again: fresh memory of some megabytes costs as much as filling it.
#[derive(Debug, Default)]
pub(crate) struct Spares(Vec<Bytes>);

impl Spares {
    /// Some may be on their way for long; they are not waited for.
    const MOST: usize = 16;

    /// An empty buffer with room for so much, as far as there is one.
    pub(crate) fn take(&mut self, bytes: usize) -> BytesMut {
        // The smallest that is large enough, among those that nobody holds.
        let fits = |spare: &&Bytes| spare.is_unique() && spare.len() >= bytes;
        let best = self.0.iter().filter(fits).map(Bytes::len).min();
        let at =
            best.and_then(|best| self.0.iter().position(|spare| spare.is_unique() && spare.len() == best));
        let spare = at.map(|at| self.0.swap_remove(at)).and_then(|spare| spare.try_into_mut().ok());
        let mut buffer = spare.unwrap_or_default();
        buffer.clear();
        buffer
    }

    /// To be used again once all other references are gone.
    pub(crate) fn keep(&mut self, bytes: &Bytes) {
        if self.0.len() == Self::MOST {
            self.0.remove(0);
        }
        self.0.push(bytes.clone());
    }
}

#[cfg(test)]
mod tests {
    use nn_core::{Activation, Cost, Init, Model, Optimizer, Output, Schedule, ScheduleShape};
    use nn_engine::ManifestParts;

    use super::super::convert::weights_header;
    use super::*;
    use pb::coordinator_message::Body;

    fn shapes(widths: &[usize]) -> Shapes {
        let model =
            Model::new(widths.to_vec(), Activation::Relu, Output::Softmax, Cost::CrossEntropy).unwrap();
        let parts = ManifestParts {
            model,
            init: Init::He,
            optimizer: Optimizer::Sgd,
            schedule: Schedule { shape: ScheduleShape::Constant, warmup_steps: 0 },
            learning_rate: 0.1,
            l2: 0.0,
            batch_size: 1,
            shard_size: 1,
            epochs: 1,
            seed: 1,
            train_samples: 1,
            data_sha256: String::new(),
        };
        Shapes::new(&Manifest::new(parts).unwrap())
    }

    /// All framed messages in a buffer, as prost reads them.
    fn messages(mut bytes: &[u8]) -> Vec<pb::CoordinatorMessage> {
        let mut messages = Vec::new();
        while !bytes.is_empty() {
            assert_eq!(bytes[0], 0);
            let length = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize;
            messages.push(pb::CoordinatorMessage::decode(&bytes[5..5 + length]).unwrap());
            bytes = &bytes[5 + length..];
        }
        messages
    }

    /// What is written by hand is what prost reads, chunk by chunk and number by number.
    #[test]
    fn tensors_survive_the_wire() {
        let place = Place { generation: 3, step: 500, attempt: 0 };
        for (widths, part) in [
            (&[3, 2][..], Part::All),
            (&[3, 2], Part::Layer(0)),
            (&[700, 1000, 3], Part::Layer(0)),
            (&[700, 1000, 3], Part::Layer(1)),
            (&[700, 1000, 3], Part::All),
            (&[511, 512, 1], Part::Layer(0)), // exactly one chunk
        ] {
            let shapes = shapes(widths);
            let values: Vec<f32> =
                (0..shapes.range(part).unwrap().len()).map(|i| i as f32 * 0.37 - 5.0).collect();
            let copied = Payload::copied(&values, &mut Spares::default());
            let shared = Payload::shared(Pool::default().seal(values.clone()));
            let framed = copied.messages(place, part, |tensor| weights_header(place, tensor));
            let again = shared.messages(place, part, |tensor| weights_header(place, tensor));
            assert_eq!(framed.0, again.0);
            let mut messages = messages(&framed.0.concat()).into_iter();
            let first = messages.next().unwrap();
            assert_eq!((first.generation, first.step, first.attempt), (3, 500, 0));
            let Some(Body::WeightsHeader(pb::WeightsHeader { tensor: Some(header) })) = first.body else {
                panic!("{first:?}")
            };
            let whole: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            assert_eq!(header.crc32, crc32fast::hash(&whole));
            let mut incoming = Incoming::new(&shapes, &header).unwrap();
            assert_eq!(incoming.part(), part);
            let mut got = vec![0.0; values.len()];
            for message in messages {
                assert_eq!((message.generation, message.step), (3, 500));
                let Some(Body::WeightsChunk(chunk)) = message.body else { panic!() };
                assert!(!incoming.is_complete());
                incoming.chunk_into(&chunk, &mut got).unwrap();
            }
            assert!(incoming.is_complete());
            assert_eq!(got, values);
        }
    }

    #[test]
    fn numbers_that_were_sent_come_back() {
        let pool = Pool::default();
        let values = pool.take(1000);
        let at = values.as_ptr();
        let payload = Payload::shared(pool.seal(values));
        let place = Place { generation: 0, step: 0, attempt: 0 };
        let framed = payload.messages(place, Part::All, |tensor| weights_header(place, tensor));
        assert_eq!(framed.0[1].as_ptr(), at.cast(), "sent from where they are");
        drop(payload);
        let other = pool.take(1000);
        assert_ne!(other.as_ptr(), at, "they are still being sent");
        drop(framed);
        let again = pool.take(1000);
        assert_eq!(again.as_ptr(), at);
    }

    #[test]
    fn memory_is_used_again_once_nobody_holds_it() {
        let mut spares = Spares::default();
        let mut first = spares.take(1000);
        first.put_slice(&[1; 1000]);
        let first = first.freeze();
        let at = first.as_ptr();
        spares.keep(&first);
        assert_eq!(spares.take(500).capacity(), 0, "somebody reads it still");
        drop(first);
        assert_eq!(spares.take(2000).capacity(), 0, "it is too small");
        let again = spares.take(900);
        assert!(again.is_empty() && again.capacity() >= 1000 && again.as_ptr() == at);
    }
}
