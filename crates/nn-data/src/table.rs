//! CSV: rows of numbers, of which one column may be a label.

use csv::{ByteRecord, ReaderBuilder, Trim};

use crate::error::{DataError, shown};
use crate::raw::{Answers, Inputs, Labels, PIXELS, Pixels, Places, Values};
use crate::source::Header;

/// Rows that are inspected to recognise a table's structure.
const SAMPLE: usize = 200;

/// A CSV whose structure was recognised from its first rows.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    file: &'a str,
    bytes: &'a [u8],
    delimiter: u8,
    /// The names of the columns, if line 1 holds them.
    names: Option<Vec<String>>,
    columns: usize,
    first_line: u64,
    /// The first rows, without the header.
    sample: Vec<ByteRecord>,
}

impl<'a> Table<'a> {
    pub(crate) fn open(bytes: &'a [u8], file: &'a str, header: Header) -> Result<Self, DataError> {
        // A byte order mark is not part of the first name.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let delimiter = delimiter(bytes);
        let mut table =
            Self { file, bytes, delimiter, names: None, columns: 0, first_line: 1, sample: Vec::new() };
        let mut records = table.records();
        let mut record = ByteRecord::new();
        let mut sample = Vec::new();
        while sample.len() <= SAMPLE && table.next(&mut records, &mut record)? {
            sample.push(record.clone());
        }
        let Some(first) = sample.first() else { return Err(DataError::Empty { file: file.into() }) };
        table.columns = first.len();
        table.first_line = table.line(first);
        let named = match header {
            Header::Yes => true,
            Header::No => false,
            Header::Auto => looks_like_header(first, sample.get(1)),
        };
        if named {
            let first = sample.remove(0);
            let names = first.iter().map(|name| String::from_utf8_lossy(name).into_owned());
            table.names = Some(names.collect());
        }
        if sample.is_empty() {
            return Err(DataError::OnlyHeader { file: file.into() });
        }
        table.sample = sample;
        Ok(table)
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// A column as shown in messages: its position and name.
    pub(crate) fn column_name(&self, column: usize) -> String {
        match self.names.as_ref().and_then(|names| names.get(column)) {
            Some(name) => format!("{column} (`{}`)", short(name)),
            None => column.to_string(),
        }
    }

    /// Checks that the columns of another table have the same names, if both tables have names.
    pub(crate) fn check_names(&self, other: &Table<'_>) -> Result<(), DataError> {
        let (Some(ours), Some(theirs)) = (&self.names, &other.names) else { return Ok(()) };
        let pairs = ours.iter().zip(theirs);
        match pairs.enumerate().find(|(_, (a, b))| !a.eq_ignore_ascii_case(b)) {
            None => Ok(()),
            Some((column, (first, second))) => Err(DataError::ColumnsDiffer {
                column,
                first: self.file.into(),
                first_name: short(first),
                second: other.file.into(),
                second_name: short(second),
            }),
        }
    }

    /// Whether line 1 is a header.
    pub(crate) fn has_header(&self) -> bool {
        self.names.is_some()
    }

    /// The label column: the `wanted` name or position; else the column called label, target, class or y; else the only
    /// column that is mostly text; else, in a table of pixels (a label and a square number of at least 64 whole numbers
    /// from 0 to 255), the first, or the last if the first is constant; else the last.
    pub(crate) fn label_column(&self, wanted: Option<&str>) -> Result<usize, DataError> {
        if self.columns < 2 {
            return Err(DataError::OneColumn { file: self.file.into() });
        }
        match wanted {
            Some(wanted) => self.find(wanted),
            None => Ok(self.likely_label()),
        }
    }

    fn find(&self, wanted: &str) -> Result<usize, DataError> {
        let names = self.names.as_deref().unwrap_or_default();
        let exact = names.iter().position(|name| name == wanted);
        let by_name = exact.or_else(|| names.iter().position(|name| name.eq_ignore_ascii_case(wanted)));
        let by_position = || {
            let position: i64 = wanted.parse().ok()?;
            let from_end = self.columns as i64 + position;
            let column = usize::try_from(if position < 0 { from_end } else { position }).ok()?;
            (column < self.columns).then_some(column)
        };
        by_name.or_else(by_position).ok_or_else(|| {
            let mut available = format!("{} columns", self.columns);
            if !names.is_empty() {
                let listed: Vec<_> = names.iter().take(12).map(|name| short(name)).collect();
                let more = if names.len() > 12 { ", …" } else { "" };
                available = format!("{available} ({}{more})", listed.join(", "));
            }
            DataError::NoSuchColumn { file: self.file.into(), column: wanted.into(), available }
        })
    }

    fn likely_label(&self) -> usize {
        let last = self.columns - 1;
        let called = |name: &String| {
            ["label", "target", "class", "y"].iter().any(|usual| name.eq_ignore_ascii_case(usual))
        };
        if let Some(at) = self.names.as_ref().and_then(|names| names.iter().position(called)) {
            return at;
        }
        let cells = |column: usize| self.sample.iter().filter_map(move |row| row.get(column));
        // Most cells rather than any: a typo among numbers does not make a column text.
        let is_text = |&c: &usize| 2 * cells(c).filter(|cell| !is_number(cell)).count() > self.sample.len();
        let mut texts = (0..self.columns).filter(is_text);
        if let (Some(only), None) = (texts.next(), texts.next()) {
            return only;
        }
        let pixels = last >= PIXELS && last.isqrt().pow(2) == last;
        let bytes = || (0..self.columns).all(|c| cells(c).all(|cell| byte(cell).is_some()));
        let constant = |column: usize| {
            let mut cells = cells(column);
            let first = cells.next();
            cells.all(|cell| Some(cell) == first)
        };
        if pixels && bytes() && (!constant(0) || constant(last)) { 0 } else { last }
    }

    /// Reads all rows. `label` is the column that is not a feature.
    pub(crate) fn read(&self, label: Option<usize>) -> Result<(Inputs, Option<Labels>), DataError> {
        let mut values = Values::new();
        let (mut texts, mut lines) = (Vec::new(), Vec::new());
        let mut records = self.records();
        let mut record = ByteRecord::new();
        let mut header = self.names.is_some();
        while self.next(&mut records, &mut record)? {
            let line = self.line(&record);
            if record.len() != self.columns {
                return Err(DataError::RaggedRow {
                    file: self.file.into(),
                    line,
                    found: record.len(),
                    first: self.first_line,
                    expected: self.columns,
                });
            }
            if std::mem::take(&mut header) {
                continue;
            }
            for (column, cell) in record.iter().enumerate() {
                if Some(column) == label {
                    texts.push(self.label(cell, line, column)?);
                } else {
                    values.push(self.number(cell, line, column)?);
                }
            }
            lines.push(line);
        }
        let samples = lines.len();
        let labels = match label {
            None => None,
            Some(column) => Some(Labels {
                file: self.file.into(),
                answers: self.answers(texts, &lines, column)?,
                places: Places::Lines(lines),
            }),
        };
        let width = self.columns - usize::from(label.is_some());
        let inputs =
            Inputs { file: self.file.into(), values, samples, width, image: None, pixels: Pixels::ByWidth };
        Ok((inputs, labels))
    }

    fn answers(&self, texts: Vec<String>, lines: &[u64], column: usize) -> Result<Answers, DataError> {
        let numbers: Option<Vec<f64>> = texts.iter().map(|text| text.parse().ok()).collect();
        let Some(data) = numbers else { return Ok(Answers::Text(texts)) };
        // Training uses targets as f32.
        match data.iter().position(|&x| !(x as f32).is_finite()) {
            Some(at) => Err(self.non_finite(lines.get(at).copied().unwrap_or(0), column)),
            None => Ok(Answers::Numbers { data, width: 1 }),
        }
    }

    fn non_finite(&self, line: u64, column: usize) -> DataError {
        let place = format!("line {line}, column {}", self.column_name(column));
        DataError::NonFinite { file: self.file.into(), place }
    }

    fn label(&self, cell: &[u8], line: u64, column: usize) -> Result<String, DataError> {
        if cell.is_empty() {
            let column = self.column_name(column);
            return Err(DataError::EmptyCell { file: self.file.into(), line, column });
        }
        match std::str::from_utf8(cell) {
            Ok(text) => Ok(text.to_string()),
            Err(_) => Err(DataError::NotUtf8 { file: self.file.into(), line }),
        }
    }

    fn number(&self, cell: &[u8], line: u64, column: usize) -> Result<f32, DataError> {
        if let Some(byte) = byte(cell) {
            return Ok(f32::from(byte));
        }
        let number = std::str::from_utf8(cell).ok().and_then(|text| text.parse::<f32>().ok());
        match number {
            Some(number) if number.is_finite() => Ok(number),
            Some(_) => Err(self.non_finite(line, column)),
            None if cell.is_empty() => {
                let column = self.column_name(column);
                Err(DataError::EmptyCell { file: self.file.into(), line, column })
            }
            None => Err(DataError::NotANumber {
                file: self.file.into(),
                line,
                column: self.column_name(column),
                text: short(&String::from_utf8_lossy(cell)),
            }),
        }
    }

    /// The line on which a record starts. The csv crate gives the end of the previous record, so blank lines are added.
    fn line(&self, record: &ByteRecord) -> u64 {
        let Some(position) = record.position() else { return 0 };
        let rest = self.bytes.get(position.byte() as usize..).unwrap_or_default();
        let blank = rest.iter().take_while(|&&b| b == b'\n' || b == b'\r');
        position.line() + blank.filter(|&&b| b == b'\n').count() as u64
    }

    fn records(&self) -> csv::Reader<&'a [u8]> {
        ReaderBuilder::new()
            .has_headers(false)
            .flexible(true) // our own error for a ragged row states its line
            .trim(Trim::All)
            .delimiter(self.delimiter)
            .from_reader(self.bytes)
    }

    fn next(&self, records: &mut csv::Reader<&[u8]>, record: &mut ByteRecord) -> Result<bool, DataError> {
        records.read_byte_record(record).map_err(|e| DataError::Corrupt {
            file: self.file.into(),
            format: "CSV",
            detail: e.to_string(),
        })
    }
}

/// The most frequent separator of the first line.
fn delimiter(bytes: &[u8]) -> u8 {
    let first = bytes.split(|&b| b == b'\n' || b == b'\r').find(|line| !line.is_empty()).unwrap_or_default();
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    for &byte in first {
        quoted ^= byte == b'"';
        if let Some((_, n)) = counts.iter_mut().find(|(d, _)| *d == byte && !quoted) {
            *n += 1;
        }
    }
    let most = counts.iter().map(|&(_, n)| n).max();
    counts.iter().find(|&&(_, n)| Some(n) == most).map_or(b',', |&(d, _)| d)
}

fn looks_like_header(first: &ByteRecord, second: Option<&ByteRecord>) -> bool {
    match second {
        Some(second) => first.iter().zip(second).any(|(a, b)| !is_number(a) && is_number(b)),
        None => !first.iter().any(is_number),
    }
}

fn is_number(cell: &[u8]) -> bool {
    byte(cell).is_some() || std::str::from_utf8(cell).is_ok_and(|text| text.parse::<f32>().is_ok())
}

/// A whole number from 0 to 255 in digits. This is the fast path for images, which consist of such numbers.
fn byte(cell: &[u8]) -> Option<u8> {
    if cell.is_empty() || cell.len() > 3 {
        return None;
    }
    let number =
        cell.iter().try_fold(0u16, |n, &c| c.is_ascii_digit().then(|| n * 10 + u16::from(c - b'0')))?;
    u8::try_from(number).ok()
}

/// A cell's text for a message, shortened: a hostile cell may be as long as its file.
fn short(text: &str) -> String {
    shown(text, 40)
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
