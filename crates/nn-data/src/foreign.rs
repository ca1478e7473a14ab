//! Files that people give by mistake, recognised by their first bytes, with the way to the formats that are read.

/// What the file is, and what to do about it.
pub(crate) type Foreign = (&'static str, &'static str);

const PICTURE: &str = "nn predict takes pictures as PNG or JPEG; training takes many samples with labels, as IDX, CSV, \
                       NPY or NPZ";
const PIPED_PICTURE: &str = "give nn predict the picture as a file, not through a pipe";
const ARRAYS: &str =
    "load it in Python, and save the arrays with numpy.savez(\"data.npz\", x=inputs, y=labels)";
const PANDAS: &str = "load it in Python with pandas, and save it with to_csv(\"data.csv\", index=False)";
const PACKED: &str = "unpack it, or pack it again as zip, tar or gzip";
const SHEET: &str = "open it in a spreadsheet program, and save the sheet as CSV";

/// Recognises a file by its first bytes, after gzip. `piped` says that it came through a pipe.
pub(crate) fn recognise(start: &[u8], piped: bool) -> Option<Foreign> {
    let starts = |magic: &[u8]| start.starts_with(magic);
    let at = |offset: usize, magic: &[u8]| start.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    let ours = if piped { PIPED_PICTURE } else { PICTURE };
    let binary = start.contains(&0);
    Some(match () {
        () if starts(b"\x89PNG\r\n\x1a\n") => ("a PNG picture", ours),
        () if starts(b"\xff\xd8\xff") => ("a JPEG picture", ours),
        () if starts(b"GIF87a") || starts(b"GIF89a") => ("a GIF picture", PICTURE),
        () if starts(b"RIFF") && at(8, b"WEBP") => ("a WebP picture", PICTURE),
        // The size of the header at 14 tells a BMP from a CSV that begins with these letters.
        () if starts(b"BM")
            && matches!(start.get(14..18), Some([12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0])) =>
        {
            ("a BMP picture", PICTURE)
        }
        () if starts(b"II*\0") || starts(b"MM\0*") => ("a TIFF picture", PICTURE),
        () if at(4, b"ftypavi") => ("an AVIF picture", PICTURE),
        () if at(4, b"ftyp") => ("a HEIC picture or a video", PICTURE),
        () if starts(b"%PDF-") => {
            ("a PDF", "take the table or picture out of it, and save that as CSV or PNG")
        }
        () if starts(b"\x89HDF\r\n\x1a\n") => ("HDF5", ARRAYS),
        () if starts(b"MATLAB 5.0 MAT-file") => ("a MATLAB file", ARRAYS),
        () if starts(b"ARROW1") || starts(b"FEA1") => ("Arrow or Feather", PANDAS),
        () if starts(b"ORC") && binary => ("ORC", PANDAS),
        () if starts(b"SQLite format 3\0") => ("an SQLite database", PANDAS),
        () if starts(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") => ("an old Excel workbook (.xls)", SHEET),
        () if starts(b"BZh") && at(4, b"1AY&SY") => ("packed with bzip2", PACKED),
        () if starts(b"\xfd7zXZ\0") => ("packed with xz", PACKED),
        () if starts(b"\x28\xb5\x2f\xfd") => ("packed with zstd", PACKED),
        () if starts(b"7z\xbc\xaf\x27\x1c") => ("a 7z archive", PACKED),
        () if starts(b"Rar!\x1a\x07") => ("a RAR archive", PACKED),
        () if pickle(start) => ("a Python pickle", ARRAYS),
        () if safetensors(start) => {
            ("a model in safetensors", "give it as --model, and a data set as --data")
        }
        () if json(start) => ("JSON", PANDAS),
        () => return None,
    })
}

/// A pickle of protocol 2 or later: its version, then an opcode of a frame or of a first object.
fn pickle(start: &[u8]) -> bool {
    matches!(start, [0x80, 2..=5, b'}' | b']' | b'(' | b'c' | b'\x8a' | b'\x95' | b'X' | b'K' | b'G', ..])
}

/// A model in safetensors: the length of the header, then the header, which is JSON.
fn safetensors(start: &[u8]) -> bool {
    matches!(start, [_, _, _, _, 0, 0, 0, 0, b'{', b'"', ..])
}

/// JSON: an object, or a list. A line of a CSV begins with neither a brace and a quote nor a bracket and a value.
fn json(start: &[u8]) -> bool {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let Some((&open, rest)) = text.split_first() else { return false };
    let next = rest.trim_ascii_start().first().copied();
    match open {
        b'{' => matches!(next, Some(b'"' | b'}')),
        b'[' => matches!(next, Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9')),
        _ => false,
    }
}

/// Recognises a zip archive that is a document, by the names of its members.
pub(crate) fn document(members: &[&str]) -> Option<Foreign> {
    let holds = |name: &str| members.contains(&name);
    let ends = |end: &str| members.iter().any(|name| name.ends_with(end));
    Some(match () {
        () if holds("xl/workbook.xml") || holds("xl/workbook.bin") => ("an Excel workbook", SHEET),
        () if holds("content.xml") && holds("mimetype") => ("an OpenDocument file", SHEET),
        () if holds("word/document.xml") => ("a Word document", "save its table as CSV"),
        () if ends("data.pkl") => ("a PyTorch file", ARRAYS),
        () => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_not_taken_for_something_else() {
        for text in
            ["BM,a\n1,2\n", "BZh,a\n1,2", "{a},b\n1,2", "[a],b\n1,2", "ORC,a\n1,2", "II,b\n", "%a,b\n", ""]
        {
            assert_eq!(recognise(text.as_bytes(), false), None, "{text:?}");
        }
        assert_eq!(recognise(&[0, 0, 8, 3, 0, 0, 0, 1], false), None);
        assert_eq!(recognise(b"PAR1....", false), None, "Parquet has a reader");
    }

    #[test]
    fn documents_are_known_by_their_members() {
        assert_eq!(document(&["[Content_Types].xml", "xl/workbook.xml"]).unwrap().0, "an Excel workbook");
        assert_eq!(document(&["model/data.pkl", "model/version"]).unwrap().0, "a PyTorch file");
        assert_eq!(document(&["x.npy", "y.npy"]), None);
    }
}
