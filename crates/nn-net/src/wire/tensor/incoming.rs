//! Tensors that arrive.

use std::ops::Range;

use bytes::Bytes;
use crc32fast::Hasher;
use nn_engine::{Encoding, Part};

use super::shapes::{BLOCK, Direction, Shapes, layer_of};
use crate::proto as pb;
use crate::wire::error::TensorError;
use crate::wire::numbers_in_chunk;

/// What is done with numbers that arrive: [`Encoding::decode`] or [`Encoding::add`].
type Take = fn(Encoding, &[u8], &mut [f32]);

/// A tensor that is arriving: its header, and how much of it has arrived.
#[derive(Debug)]
pub(crate) struct Incoming {
    part: Part,
    encoding: Encoding,
    elements: usize,
    total: u32,
    crc32: u32,
    next: u32,
    whole: Hasher,
}

impl Incoming {
    /// Compares a header with the model.
    pub(crate) fn new(
        shapes: &Shapes,
        direction: Direction,
        header: &pb::TensorHeader,
    ) -> Result<Self, TensorError> {
        let part = header.layer.map_or(Part::All, Part::Layer);
        let Some(range) = shapes.range(part) else {
            return Err(TensorError::Layer { got: header.layer.unwrap_or(0), want: shapes.layers() });
        };
        if header.elements != range.len() as u64 {
            return Err(TensorError::Length { got: header.elements, want: range.len() });
        }
        let encoding = shapes.encoding(direction, part);
        let total = range.len().div_ceil(numbers_in_chunk(encoding)) as u32;
        if header.chunks != total {
            return Err(TensorError::Chunks { got: header.chunks, want: total });
        }
        let (elements, crc32) = (range.len(), header.crc32);
        Ok(Self { part, encoding, elements, total, crc32, next: 0, whole: Hasher::new() })
    }

    pub(crate) fn part(&self) -> Part {
        self.part
    }

    pub(crate) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Checks the next chunk, and gives its blocks.
    pub(crate) fn chunk(&mut self, chunk: pb::TensorChunk) -> Result<Bytes, TensorError> {
        let numbers = self.place(&chunk)?;
        let blocks = self.blocks(&chunk, numbers.len())?;
        let mut crc = Hasher::new();
        crc.update(&chunk.data);
        self.check(crc, &chunk)?;
        Ok(blocks.map_or(chunk.data, Bytes::from))
    }

    /// Checks the next chunk and decodes its numbers to their place in the part.
    pub(crate) fn chunk_into(
        &mut self,
        chunk: &pb::TensorChunk,
        part: &mut [f32],
    ) -> Result<(), TensorError> {
        self.read(chunk, part, Encoding::decode)
    }

    /// Checks the next chunk and adds its numbers to those at their place in the part.
    pub(crate) fn chunk_added(
        &mut self,
        chunk: &pb::TensorChunk,
        part: &mut [f32],
    ) -> Result<(), TensorError> {
        self.read(chunk, part, Encoding::add)
    }

    fn read(&mut self, chunk: &pb::TensorChunk, part: &mut [f32], take: Take) -> Result<(), TensorError> {
        let numbers = self.place(chunk)?;
        let blocks = self.blocks(chunk, numbers.len())?;
        let part = &mut part[numbers];
        let crc = match blocks {
            None => self.take(&chunk.data, part, take),
            Some(blocks) => {
                let mut crc = Hasher::new();
                crc.update(&chunk.data);
                take(self.encoding, &blocks, part);
                crc
            }
        };
        self.check(crc, chunk)
    }

    /// The numbers of the next chunk, as a range of those of the part.
    fn place(&self, chunk: &pb::TensorChunk) -> Result<Range<usize>, TensorError> {
        if chunk.layer != layer_of(self.part) || chunk.total != self.total || chunk.index != self.next {
            return Err(TensorError::Order { got: chunk.index, want: self.next, total: self.total });
        }
        let full = numbers_in_chunk(self.encoding);
        let start = chunk.index as usize * full;
        Ok(start..self.elements.min(start + full))
    }

    /// The blocks of a chunk of so many numbers, if it is compact. Otherwise its bytes are the blocks.
    fn blocks(&self, chunk: &pb::TensorChunk, numbers: usize) -> Result<Option<Vec<u8>>, TensorError> {
        let (index, got, want) = (chunk.index, chunk.data.len(), self.encoding.bytes_for(numbers));
        if chunk.compact {
            // One that is not shorter would only make work.
            let blocks = (got < want).then(|| self.encoding.expanded(&chunk.data, want).ok()).flatten();
            return blocks.map(Some).ok_or(TensorError::NotCompact { index });
        }
        if got == want { Ok(None) } else { Err(TensorError::ChunkLength { index, got, want }) }
    }

    /// Compares the checksum of the next chunk, and of the tensor if it is the last.
    fn check(&mut self, crc: Hasher, chunk: &pb::TensorChunk) -> Result<(), TensorError> {
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

    /// Decodes or adds a chunk, and gives its checksum: block by block, so that each is read from memory once.
    fn take(&self, data: &[u8], numbers: &mut [f32], take: Take) -> Hasher {
        let mut crc = Hasher::new();
        let block = self.encoding.numbers_in(BLOCK);
        let blocks = numbers.chunks_mut(block).zip(data.chunks(self.encoding.bytes_for(block)));
        for (numbers, bytes) in blocks {
            crc.update(bytes);
            take(self.encoding, bytes, numbers);
        }
        crc
    }

    /// Whether all chunks have arrived.
    pub(crate) fn is_complete(&self) -> bool {
        self.next == self.total
    }
}

/// Extends the checksum of what has arrived by that of the next chunk. Most tensors are one chunk.
fn append_crc(whole: &mut Hasher, next: &Hasher, is_first: bool) {
    if is_first {
        *whole = next.clone();
    } else {
        whole.combine(next);
    }
}
