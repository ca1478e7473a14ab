//! Files in pieces.

use super::desk::Piece;
use crate::proto as pb;
use crate::wire::CHUNK;

/// The longest path of a file in a run's folder.
const MAX_NAME: usize = 128;

/// A file from an offset to its end, in pieces; at least one.
pub(super) fn pieces<'a>(
    run: u64,
    name: &'a str,
    offset: u64,
    content: &'a [u8],
) -> impl Iterator<Item = pb::RunPiece> + use<'a> {
    let count = content.len().div_ceil(CHUNK).max(1);
    (0..count).map(move |index| {
        let start = index * CHUNK;
        let data = &content[start..content.len().min(start + CHUNK)];
        pb::RunPiece {
            run,
            file: name.to_owned(),
            offset: offset + start as u64,
            data: bytes::Bytes::copy_from_slice(data),
            crc32: crc32fast::hash(data),
            complete: index + 1 == count,
        }
    })
}

/// Checks a piece by itself.
///
/// # Errors
/// What is wrong with it.
pub(super) fn checked(piece: pb::RunPiece) -> Result<Piece, String> {
    let pb::RunPiece { run, file, offset, data, crc32, complete } = piece;
    if file.len() > MAX_NAME {
        return Err(format!("a file's name has {} bytes; at most {MAX_NAME} are allowed", file.len()));
    }
    if data.len() > CHUNK {
        return Err(format!("a piece has {} bytes; at most {CHUNK} are allowed", data.len()));
    }
    if crc32fast::hash(&data) != crc32 {
        return Err("the checksum of a piece does not match its bytes".to_owned());
    }
    Ok(Piece { run, file, offset, data, complete })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_sum_of_its_pieces() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let content: Vec<u8> = (0..length).map(|i| (i * 7 % 251) as u8).collect();
            let mut all = Vec::new();
            let sent: Vec<_> = pieces(3, "metrics.jsonl", 10, &content).collect();
            for (at, piece) in sent.iter().enumerate() {
                let piece = checked(piece.clone()).unwrap();
                assert_eq!((piece.run, piece.offset), (3, 10 + all.len() as u64));
                assert_eq!(piece.complete, at + 1 == sent.len());
                all.extend_from_slice(&piece.data);
            }
            assert_eq!(all, content);
        }
    }

    #[test]
    fn damaged_and_oversized_pieces_are_refused() {
        let piece = pieces(1, "x", 0, b"content").next().unwrap();
        assert!(checked(pb::RunPiece { crc32: piece.crc32 ^ 1, ..piece.clone() }).is_err());
        assert!(checked(pb::RunPiece { file: "x".repeat(200), ..piece }).is_err());
        let data: bytes::Bytes = vec![0; CHUNK + 1].into();
        let large = pb::RunPiece { crc32: crc32fast::hash(&data), data, ..Default::default() };
        assert!(checked(large).is_err());
    }
}
