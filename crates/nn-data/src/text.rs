//! The text of a table: its encoding, and lines that are not part of the table.

use encoding_rs::{Encoding as Decoder, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::error::DataError;

/// The encoding of a table's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// What a byte order mark says; UTF-16 if every other byte of the start is zero; else UTF-8.
    #[default]
    Auto,
    /// UTF-8.
    Utf8,
    /// UTF-16; a byte order mark decides between the two orders, which is otherwise little-endian.
    Utf16,
    /// Latin-1, and Windows-1252, which has more characters in the places that Latin-1 leaves unused.
    Latin1,
}

/// Bytes of the start of a file that are inspected for UTF-16.
const START: usize = 512;

/// The text as UTF-8, without a byte order mark. Text that is not valid in its encoding is left as it is, for the reader
/// of the lines to name the line.
///
/// # Errors
/// If the file says that it is UTF-16 and is not.
pub(crate) fn decode(bytes: Vec<u8>, file: &str, encoding: Encoding) -> Result<Vec<u8>, DataError> {
    let marked = Decoder::for_bom(&bytes);
    let decoder = match (encoding, marked) {
        (Encoding::Auto | Encoding::Utf16, Some((decoder, _))) => decoder,
        (Encoding::Auto, None) => unmarked_utf16(&bytes).unwrap_or(UTF_8),
        (Encoding::Utf16, None) => unmarked_utf16(&bytes).unwrap_or(UTF_16LE),
        (Encoding::Utf8, _) => UTF_8,
        (Encoding::Latin1, _) => WINDOWS_1252,
    };
    let skip = marked.filter(|(marked, _)| *marked == decoder).map_or(0, |(_, length)| length);
    let mut bytes = bytes;
    bytes.drain(..skip);
    if decoder == UTF_8 {
        return Ok(bytes);
    }
    let (text, malformed) = decoder.decode_without_bom_handling(&bytes);
    if malformed {
        return Err(DataError::BadEncoding { file: file.into(), encoding: decoder.name() });
    }
    Ok(text.into_owned().into_bytes())
}

/// UTF-16 without a mark, recognised by the zeros beside ASCII characters.
fn unmarked_utf16(bytes: &[u8]) -> Option<&'static Decoder> {
    let start = &bytes[..bytes.len().min(START)];
    let pairs = start.len() / 2;
    let zeros = |at: usize| start.iter().skip(at).step_by(2).filter(|byte| **byte == 0).count();
    let most = |count: usize| pairs >= 2 && count * 10 >= pairs * 7;
    match (most(zeros(0)), most(zeros(1))) {
        (false, true) => Some(UTF_16LE),
        (true, false) => Some(UTF_16BE),
        _ => None,
    }
}

/// Whether the start of a file looks like UTF-16 text.
pub(crate) fn is_utf16(start: &[u8]) -> bool {
    matches!(Decoder::for_bom(start), Some((decoder, _)) if decoder != UTF_8)
        || unmarked_utf16(start).is_some()
}

/// The length of the lines before the table: comments that begin with `#`, and the line `sep=;` by which spreadsheets name
/// the delimiter, which is returned too.
///
/// A first line that begins with `#` is a comment only if it has fewer cells than the line after the comments: `#id,a,b` is
/// a header.
pub(crate) fn preamble(bytes: &[u8]) -> (usize, Option<u8>) {
    let mut at = 0;
    let mut separator = None;
    let mut comments = Vec::new();
    loop {
        let rest = &bytes[at..];
        let Some(end) = rest.iter().position(|&b| b == b'\n').map(|end| end + 1) else { break };
        let line = rest[..end].trim_ascii();
        if let [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', delimiter] = line {
            separator = Some(*delimiter);
        } else if line.starts_with(b"#") {
            comments.push(line);
        } else if !line.is_empty() {
            break;
        }
        at += end;
    }
    let cells = |line: &[u8]| line.iter().filter(|b| matches!(b, b',' | b';' | b'\t')).count();
    let first = bytes[at..].split(|&b| b == b'\n').next().unwrap_or_default();
    if let Some(last) = comments.last()
        && cells(last) > 0
        && cells(last) >= cells(first)
    {
        // The line is a header that begins with #, as numpy.savetxt writes it, or the table's first row.
        at = bytes.windows(last.len()).position(|window| window == *last).unwrap_or(at);
    }
    (at, separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, big: bool, mark: bool) -> Vec<u8> {
        let units = mark.then_some(0xfeff).into_iter().chain(text.encode_utf16());
        units.flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
    }

    #[test]
    fn encodings() {
        let text = "a,größe\n1,2\n";
        for (bytes, encoding) in [
            (text.as_bytes().to_vec(), Encoding::Auto),
            ([b"\xef\xbb\xbf", text.as_bytes()].concat(), Encoding::Auto),
            (utf16(text, false, true), Encoding::Auto),
            (utf16(text, true, true), Encoding::Auto),
            (utf16(text, false, false), Encoding::Auto),
            (utf16(text, true, false), Encoding::Auto),
            (utf16(text, false, false), Encoding::Utf16),
            (b"a,gr\xf6\xdfe\n1,2\n".to_vec(), Encoding::Latin1),
        ] {
            assert_eq!(decode(bytes, "t", encoding).unwrap(), text.as_bytes(), "{encoding:?}");
        }
        let odd = [utf16(text, false, true), vec![0xd8]].concat();
        assert!(matches!(decode(odd, "t", Encoding::Auto), Err(DataError::BadEncoding { .. })));
    }

    #[test]
    fn lines_before_the_table() {
        for (text, rest, separator) in [
            ("a,b\n1,2\n", "a,b\n1,2\n", None),
            ("# made by me\na,b\n1,2\n", "a,b\n1,2\n", None),
            ("# one\n\n# two\na,b\n1,2\n", "a,b\n1,2\n", None),
            ("# a,b\n1,2\n", "# a,b\n1,2\n", None),
            ("sep=;\na;b\n1;2\n", "a;b\n1;2\n", Some(b';')),
            ("#only\n", "", None),
        ] {
            let (at, found) = preamble(text.as_bytes());
            assert_eq!((&text[at..], found), (rest, separator), "{text}");
        }
    }
}
