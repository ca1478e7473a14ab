//! Parquet: its rows as a table of text, so that everything that holds for the columns of a CSV holds for these.

use parquet::basic::{LogicalType, Type as Physical};
use parquet::data_type::AsBytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use crate::error::{DataError, shown};

const MAGIC: &[u8] = b"PAR1";

/// Whether the bytes are a Parquet file.
pub(crate) fn is_parquet(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// The name of the thread that reads Parquet. The reader panics on some damaged files, which is an error here like any other
/// damage; a program that sets a panic hook leaves out the message for this thread.
pub const PARQUET_THREAD: &str = "parquet";

/// The rows as CSV with a header. A null is an empty cell.
///
/// # Errors
/// If the file is damaged, has columns that are no plain values, or is larger than `limit` as text.
pub(crate) fn as_csv(bytes: Vec<u8>, file: &str, limit: u64) -> Result<Vec<u8>, DataError> {
    let name = file.to_owned();
    let reader = std::thread::Builder::new().name(PARQUET_THREAD.to_owned());
    let reader = reader.spawn(move || read(bytes, &name, limit));
    let reader = reader.map_err(|e| DataError::io("start a thread for", std::path::Path::new(file), e))?;
    reader.join().unwrap_or_else(|_| {
        let detail = "its pages contradict each other".to_owned();
        Err(DataError::Corrupt { file: file.into(), format: "Parquet file", detail })
    })
}

fn read(bytes: Vec<u8>, file: &str, limit: u64) -> Result<Vec<u8>, DataError> {
    let corrupt = |detail: String| {
        // "Disabled feature at compile time: zstd"
        if let Some(codec) = ["zstd", "brotli", "lz4"]
            .iter()
            .find(|codec| detail.contains("Disabled") && detail.contains(*codec))
        {
            return DataError::Codec { file: file.into(), codec };
        }
        DataError::Corrupt { file: file.into(), format: "Parquet file", detail: shown(&detail, 300) }
    };
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).map_err(|e| corrupt(e.to_string()))?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let root = schema.root_schema();
    if let Some(nested) = root.get_fields().iter().find(|field| !field.is_primitive()) {
        return Err(DataError::NestedColumn { file: file.into(), column: shown(nested.name(), 40) });
    }
    let times: Vec<bool> = schema
        .columns()
        .iter()
        .map(|c| {
            matches!(c.logical_type_ref(), Some(LogicalType::Timestamp { .. }))
                || c.physical_type() == Physical::INT96
        })
        .collect();
    let mut out = csv::Writer::from_writer(Vec::new());
    let failed = |e: csv::Error| corrupt(e.to_string());
    out.write_record(root.get_fields().iter().map(|field| field.name())).map_err(failed)?;
    let mut size = 0_u64;
    let mut record = csv::ByteRecord::new();
    for row in reader.get_row_iter(None).map_err(|e| corrupt(e.to_string()))? {
        let row = row.map_err(|e| corrupt(e.to_string()))?;
        record.clear();
        for ((_, field), is_time) in row.get_column_iter().zip(&times) {
            record.push_field(&cell(field, *is_time));
        }
        size += record.as_slice().len() as u64 + record.len() as u64;
        if size > limit {
            return Err(DataError::TooLarge { file: file.into(), claim: String::new(), limit });
        }
        out.write_byte_record(&record).map_err(failed)?;
    }
    out.into_inner().map_err(|e| corrupt(e.to_string()))
}

/// A value as text that reads back to the same value.
fn cell(field: &Field, is_time: bool) -> Vec<u8> {
    match field {
        Field::Null => Vec::new(),
        Field::Str(text) => text.as_bytes().to_vec(),
        Field::Bytes(data) => data.as_bytes().to_vec(),
        Field::Float(x) if x.is_nan() => Vec::new(),
        Field::Double(x) if x.is_nan() => Vec::new(),
        Field::Float(x) => x.to_string().into_bytes(),
        Field::Double(x) => x.to_string().into_bytes(),
        // "1970-01-01 00:00:00 +00:00", or with a fraction.
        other if is_time => other.to_string().replace(" +00:00", "").into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOWERS: &[u8] = include_bytes!("../tests/cases/flowers.parquet");

    #[test]
    fn rows_are_text_that_reads_back() {
        let text = String::from_utf8(as_csv(FLOWERS.to_vec(), "f", 1 << 20).unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 12);
        assert_eq!(lines[0], "name,petals,size,picked,day,wild,label");
        assert_eq!(lines[1], "rose,5,,2024-01-11 09:30:00.000000,2024-01-05,true,a");
        assert_eq!(lines[4], "rose,5,4.5,2024-04-11 09:30:00.000000,2024-04-05,false,b", "a fourth");
        assert!(lines[3].starts_with(",7,3"), "a null is empty: {}", lines[3]);
    }

    #[test]
    fn damage_and_size_are_errors() {
        assert!(matches!(as_csv(FLOWERS.to_vec(), "f", 100), Err(DataError::TooLarge { .. })));
        for end in (4..FLOWERS.len()).step_by(97) {
            assert!(as_csv(FLOWERS[..end].to_vec(), "f", 1 << 20).is_err(), "{end}");
        }
    }
}
