//! Tables of text: lines of cells, of which the first may name the columns.

use csv::{ByteRecord, ReaderBuilder, Trim};

use crate::columns::cell::{self, Decimal};
use crate::columns::profile::Profile;
use crate::error::{DataError, shown};
use crate::parquet;
use crate::raw::{Answers, Inputs, Labels, PIXELS, Pixels, Places, Values};
use crate::source::{Header, LoadOptions};
use crate::text;

/// Rows that are inspected to recognise a table's structure.
const SAMPLE: usize = 200;

/// The names of columns that are usually the target.
const TARGETS: [&str; 14] = [
    "label",
    "target",
    "class",
    "y",
    "labels",
    "targets",
    "outcome",
    "response",
    "survived",
    "diagnosis",
    "species",
    "price",
    "churn",
    "quality",
];

/// A table whose structure was recognised from its first rows.
#[derive(Debug)]
pub(crate) struct Table {
    file: String,
    /// UTF-8, or nearly so: invalid text is reported with its line.
    bytes: Vec<u8>,
    /// Where the first row is; the lines before are comments.
    start: usize,
    /// The lines before `start`.
    skipped: u64,
    delimiter: u8,
    decimal: Decimal,
    /// The names of the columns, if the first line holds them.
    names: Option<Vec<String>>,
    columns: usize,
    first_line: u64,
    /// The first rows, without the header.
    sample: Vec<ByteRecord>,
    /// What was detected and not said by an option.
    notes: Vec<String>,
}

impl Table {
    /// Recognises the structure of a table. `known` are the names of the columns of a trained model.
    pub(crate) fn open(
        bytes: Vec<u8>,
        file: &str,
        options: &LoadOptions,
        known: Option<&[String]>,
    ) -> Result<Self, DataError> {
        let is_parquet = parquet::is_parquet(&bytes);
        let bytes = match is_parquet {
            true => parquet::as_csv(bytes, file, options.max_bytes)?,
            false => text::decode(bytes, file, options.encoding)?,
        };
        let (start, separator) = if is_parquet { (0, None) } else { text::preamble(&bytes) };
        let skipped = bytes[..start].iter().filter(|&&b| b == b'\n').count() as u64;
        let delimiter = match (options.delimiter, separator) {
            _ if is_parquet => b',',
            (Some(given), _) => given,
            (None, Some(separator)) => separator,
            (None, None) => delimiter(&bytes[start..]),
        };
        let mut table = Self {
            file: file.to_owned(),
            bytes,
            start,
            skipped,
            delimiter,
            decimal: options.decimal.unwrap_or_default(),
            names: None,
            columns: 0,
            first_line: 1,
            sample: Vec::new(),
            notes: Vec::new(),
        };
        let mut sample = table.first_rows()?;
        let Some(first) = sample.first() else { return Err(DataError::Empty { file: file.into() }) };
        table.first_line = table.line(first);
        if options.decimal.is_none() && has_decimal_commas(&sample, delimiter) {
            table.decimal = Decimal::Comma;
            table.notes.push("numbers have decimal commas (--decimal point changes it)".into());
        }
        let named = match options.header {
            _ if is_parquet => true,
            Header::Yes => true,
            Header::No => false,
            Header::Auto => table.looks_like_header(&sample, known),
        };
        if named {
            let first = sample.remove(0);
            let names = first.iter().map(|name| String::from_utf8_lossy(name).into_owned());
            table.names = Some(names.collect());
        }
        let Some(second) = sample.first() else { return Err(DataError::OnlyHeader { file: file.into() }) };
        table.columns = table.names.as_ref().map_or(second.len(), Vec::len);
        // A delimiter at the end of each line makes a column without a name and without cells.
        let empty = |column: usize| sample.iter().all(|row| row.get(column).is_none_or(<[u8]>::is_empty));
        let unnamed = |column: usize, names: &Option<Vec<String>>| {
            names.as_ref().is_none_or(|names| names.get(column).is_none_or(|name| name.is_empty()))
        };
        while table.columns > 1 && empty(table.columns - 1) && unnamed(table.columns - 1, &table.names) {
            table.columns -= 1;
            table.names.iter_mut().for_each(|names| names.truncate(table.columns));
        }
        table.sample = sample;
        Ok(table)
    }

    fn first_rows(&self) -> Result<Vec<ByteRecord>, DataError> {
        let mut records = self.records();
        let mut record = ByteRecord::new();
        let mut sample = Vec::new();
        while sample.len() <= SAMPLE && self.next(&mut records, &mut record)? {
            sample.push(record.clone());
        }
        Ok(sample)
    }

    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn names(&self) -> Option<&[String]> {
        self.names.as_deref()
    }

    pub(crate) fn decimal(&self) -> Decimal {
        self.decimal
    }

    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The name of a column, if it has one.
    pub(crate) fn name(&self, column: usize) -> Option<&str> {
        self.names.as_ref()?.get(column).map(String::as_str)
    }

    /// A column as shown in messages: its position and name.
    pub(crate) fn column_name(&self, column: usize) -> String {
        match self.name(column) {
            Some(name) => format!("{column} (`{}`)", short(name)),
            None => column.to_string(),
        }
    }

    /// Whether the first line is a header.
    pub(crate) fn has_header(&self) -> bool {
        self.names.is_some()
    }

    /// The target columns, and the reason for people to read: those that are `wanted` by name or position, several with
    /// commas between them; else the column whose name is usual for a target; else the only column that is mostly text, if
    /// it is the first or the last; else, in a table of pixels (a label and a square number of at least 64 whole numbers
    /// from 0 to 255), the first, or the last if the first is constant; else the last.
    pub(crate) fn label_columns(
        &self,
        wanted: Option<&str>,
    ) -> Result<(Vec<usize>, &'static str), DataError> {
        if self.columns < 2 {
            return Err(DataError::OneColumn { file: self.file.clone() });
        }
        let Some(wanted) = wanted else {
            let (at, reason) = self.likely_label();
            return Ok((vec![at], reason));
        };
        // A name may itself contain a comma.
        let found = match self.find(wanted, "--label-column") {
            Ok(column) => vec![column],
            Err(error @ DataError::AmbiguousColumn { .. }) => return Err(error),
            Err(error) if !wanted.contains(',') => return Err(error),
            Err(_) => wanted
                .split(',')
                .map(|wanted| self.find(wanted.trim(), "--label-column"))
                .collect::<Result<_, _>>()?,
        };
        if let Some(at) = (1..found.len()).find(|&at| found[..at].contains(&found[at])) {
            let column = self.column_name(found[at]);
            return Err(DataError::ColumnTwice { file: self.file.clone(), column });
        }
        if found.len() >= self.columns {
            return Err(DataError::OneColumn { file: self.file.clone() });
        }
        Ok((found, "as --label-column says"))
    }

    /// The column that `wanted` names or whose position it is.
    pub(crate) fn find(&self, wanted: &str, option: &'static str) -> Result<usize, DataError> {
        let names = self.names.as_deref().unwrap_or_default();
        let called = |same: &dyn Fn(&str) -> bool| -> Vec<usize> {
            (0..names.len()).filter(|&at| same(&names[at])).collect()
        };
        let mut by_name = called(&|name| name == wanted);
        if by_name.is_empty() {
            by_name = called(&|name| name.eq_ignore_ascii_case(wanted));
        }
        if let [first, second, ..] = by_name[..] {
            return Err(DataError::AmbiguousColumn {
                file: self.file.clone(),
                name: short(wanted),
                first,
                second,
                option,
            });
        }
        let by_position = || {
            let position: i64 = wanted.parse().ok()?;
            let from_end = self.columns as i64 + position;
            let column = usize::try_from(if position < 0 { from_end } else { position }).ok()?;
            (column < self.columns).then_some(column)
        };
        by_name.first().copied().or_else(by_position).ok_or_else(|| DataError::NoSuchColumn {
            file: self.file.clone(),
            column: wanted.into(),
            available: self.available(),
            option,
        })
    }

    /// The columns, for messages.
    pub(crate) fn available(&self) -> String {
        let names = self.names.as_deref().unwrap_or_default();
        if names.is_empty() {
            return format!("{} columns", self.columns);
        }
        let listed: Vec<_> = names.iter().take(12).map(|name| short(name)).collect();
        let more = if names.len() > 12 { ", …" } else { "" };
        format!("{} columns ({}{more})", self.columns, listed.join(", "))
    }

    fn likely_label(&self) -> (usize, &'static str) {
        let last = self.columns - 1;
        let names = self.names.as_deref().unwrap_or_default();
        let called = |usual: &&str| names.iter().position(|name| name.trim().eq_ignore_ascii_case(usual));
        if let Some(at) = TARGETS.iter().find_map(called) {
            return (at, "because of its name");
        }
        let cells = |column: usize| self.sample.iter().filter_map(move |row| row.get(column));
        // Most cells rather than any: a typo among numbers does not make a column text.
        let is_text =
            |&c: &usize| 2 * cells(c).filter(|cell| !self.is_number(cell)).count() > self.sample.len();
        let mut texts = (0..self.columns).filter(is_text);
        if let (Some(only), None) = (texts.next(), texts.next())
            && (only == 0 || only == last)
        {
            return (only, "the only column of text");
        }
        let pixels = last >= PIXELS && last.isqrt().pow(2) == last;
        let bytes = || (0..self.columns).all(|c| cells(c).all(|cell| cell::byte(cell).is_some()));
        let constant = |column: usize| {
            let mut cells = cells(column);
            let first = cells.next();
            cells.all(|cell| Some(cell) == first)
        };
        if pixels && bytes() && (!constant(0) || constant(last)) {
            (0, "the first column, as in tables of pixels")
        } else {
            (last, "the last column")
        }
    }

    /// Calls `each` with every row of data and its line. All rows have [`Table::columns`] cells.
    pub(crate) fn rows(
        &self,
        mut each: impl FnMut(&ByteRecord, u64) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let mut records = self.records();
        let mut record = ByteRecord::new();
        let mut header = self.names.is_some();
        while self.next(&mut records, &mut record)? {
            let line = self.line(&record);
            while record.len() > self.columns && record.get(record.len() - 1) == Some(b"") {
                record.truncate(record.len() - 1);
            }
            if record.len() != self.columns {
                return Err(DataError::RaggedRow {
                    file: self.file.clone(),
                    line,
                    found: record.len(),
                    first: self.first_line,
                    expected: self.columns,
                });
            }
            if !std::mem::take(&mut header) {
                each(&record, line)?;
            }
        }
        Ok(())
    }

    /// The profile of every column.
    pub(crate) fn profiles(&self) -> Result<Vec<Profile>, DataError> {
        let mut profiles = vec![Profile::new(self.decimal); self.columns];
        self.rows(|row, line| {
            row.iter().zip(&mut profiles).for_each(|(cell, profile)| profile.add(cell, line));
            Ok(())
        })?;
        Ok(profiles)
    }

    /// Reads all rows of a table of numbers, without preparation. `label` is the column that is not a feature; columns of
    /// which `skip` is true are left out.
    pub(crate) fn read(
        &self,
        label: Option<usize>,
        skip: &[bool],
    ) -> Result<(Inputs, Option<Labels>), DataError> {
        let mut values = Values::new();
        let (mut texts, mut lines) = (Vec::new(), Vec::new());
        let skipped = |column: usize| skip.get(column).copied().unwrap_or(false);
        self.rows(|row, line| {
            for (column, cell) in row.iter().enumerate() {
                if Some(column) == label {
                    if cell.is_empty() {
                        let column = self.column_name(column);
                        return Err(DataError::EmptyCell { file: self.file.clone(), line, column });
                    }
                    texts.push(self.text(cell, line)?.to_owned());
                } else if !skipped(column) {
                    values.push(self.number(cell, line, column)?);
                }
            }
            lines.push(line);
            Ok(())
        })?;
        let samples = lines.len();
        let labels = match label {
            None => None,
            Some(column) => Some(Labels {
                file: self.file.clone(),
                answers: self.answers(texts, &lines, column)?,
                places: Places::Lines(lines),
            }),
        };
        let width = (0..self.columns).filter(|&c| Some(c) != label && !skipped(c)).count();
        let file = self.file.clone();
        let inputs = Inputs { file, values, samples, width, image: None, pixels: Pixels::ByWidth };
        Ok((inputs, labels))
    }

    /// The labels as numbers, if all of them are, and as text otherwise. Whole numbers that an f64 cannot tell apart stay
    /// text: they are names.
    pub(crate) fn answers(
        &self,
        texts: Vec<String>,
        lines: &[u64],
        column: usize,
    ) -> Result<Answers, DataError> {
        const EXACT: f64 = 9_007_199_254_740_992.0; // 2⁵³
        let number = |text: &String| cell::number(text.as_bytes(), self.decimal);
        let numbers: Option<Vec<f64>> = texts.iter().map(number).collect();
        let Some(data) = numbers else { return Ok(Answers::Text(texts)) };
        // Training uses targets as f32.
        if let Some(at) = data.iter().position(|&x| !(x as f32).is_finite()) {
            return Err(self.non_finite(lines.get(at).copied().unwrap_or(0), column));
        }
        let is_huge = |(x, text): (&f64, &String)| x.abs() >= EXACT && !text.contains(['.', 'e', 'E', ',']);
        if data.iter().zip(&texts).any(is_huge) {
            return Ok(Answers::Text(texts));
        }
        Ok(Answers::Numbers { data, width: 1 })
    }

    pub(crate) fn non_finite(&self, line: u64, column: usize) -> DataError {
        let place = format!("line {line}, column {}", self.column_name(column));
        DataError::NonFinite { file: self.file.clone(), place }
    }

    /// The text of a cell.
    pub(crate) fn text<'a>(&self, cell: &'a [u8], line: u64) -> Result<&'a str, DataError> {
        std::str::from_utf8(cell).map_err(|_| DataError::NotUtf8 { file: self.file.clone(), line })
    }

    fn number(&self, cell: &[u8], line: u64, column: usize) -> Result<f32, DataError> {
        match cell::number(cell, self.decimal).map(|number| number as f32) {
            Some(number) if number.is_finite() => Ok(number),
            Some(_) => Err(self.non_finite(line, column)),
            None if cell.is_empty() => {
                let column = self.column_name(column);
                Err(DataError::EmptyCell { file: self.file.clone(), line, column })
            }
            None => Err(DataError::NotANumber {
                file: self.file.clone(),
                line,
                column: self.column_name(column),
                text: short(&String::from_utf8_lossy(cell)),
            }),
        }
    }

    /// The line on which a record starts. The csv crate gives the end of the previous record, so blank lines are added.
    fn line(&self, record: &ByteRecord) -> u64 {
        let Some(position) = record.position() else { return 0 };
        let rest = self.bytes.get(self.start + position.byte() as usize..).unwrap_or_default();
        let blank = rest.iter().take_while(|&&b| b == b'\n' || b == b'\r');
        self.skipped + position.line() + blank.filter(|&&b| b == b'\n').count() as u64
    }

    fn records(&self) -> csv::Reader<&[u8]> {
        ReaderBuilder::new()
            .has_headers(false)
            .flexible(true) // our own error for a ragged row states its line
            .trim(Trim::All)
            .delimiter(self.delimiter)
            .from_reader(&self.bytes[self.start..])
    }

    fn next(&self, records: &mut csv::Reader<&[u8]>, record: &mut ByteRecord) -> Result<bool, DataError> {
        records.read_byte_record(record).map_err(|e| DataError::Corrupt {
            file: self.file.clone(),
            format: "CSV",
            detail: e.to_string(),
        })
    }

    fn is_number(&self, cell: &[u8]) -> bool {
        cell::number(cell, self.decimal).is_some()
    }

    /// Whether the first row names the columns: it has a known name, or text above a number, or it counts the columns.
    fn looks_like_header(&self, rows: &[ByteRecord], known: Option<&[String]>) -> bool {
        let Some(first) = rows.first() else { return false };
        let names = || first.iter().filter_map(|cell| std::str::from_utf8(cell).ok());
        if let Some(known) = known {
            let is_known = |name: &str| !name.is_empty() && known.iter().any(|known| known == name);
            if names().any(|name| is_known(name) && cell::number(name.as_bytes(), self.decimal).is_none()) {
                return true;
            }
        }
        if counts_columns(first) {
            return true;
        }
        let is_value = |cell: &[u8]| self.is_number(cell) || cell::is_missing(cell);
        match rows.get(1..) {
            Some(rest @ [_, ..]) => {
                first.iter().enumerate().any(|(column, cell)| {
                    // The first value below the name decides.
                    let below =
                        rest.iter().filter_map(|row| row.get(column)).find(|cell| !cell::is_missing(cell));
                    !is_value(cell) && below.is_some_and(|below| self.is_number(below))
                }) || all_text_header(rows)
            }
            _ => !first.iter().any(|cell| self.is_number(cell)),
        }
    }
}

/// Whether a row is 0, 1, 2 … or 1, 2, 3 …, as a table without names gets them from some programs.
fn counts_columns(row: &ByteRecord) -> bool {
    let numbers: Option<Vec<u32>> =
        row.iter().map(|cell| std::str::from_utf8(cell).ok()?.parse().ok()).collect();
    numbers.is_some_and(|numbers| {
        numbers.len() >= 5 && numbers[0] <= 1 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1)
    })
}

/// Whether, in a table of text alone, the first row is a header: none of its cells occurs below it, though others repeat.
fn all_text_header(rows: &[ByteRecord]) -> bool {
    let [first, rest @ ..] = rows else { return false };
    let occurs = |column: usize, cell: &[u8]| rest.iter().any(|row| row.get(column) == Some(cell));
    let distinct = first.iter().enumerate().all(|(column, cell)| !cell.is_empty() && !occurs(column, cell));
    let repeats = |column: usize| {
        let mut cells: Vec<&[u8]> = rest.iter().filter_map(|row| row.get(column)).collect();
        let all = cells.len();
        cells.sort_unstable();
        cells.dedup();
        cells.len() * 3 <= all
    };
    distinct
        && rest.len() >= 6
        && (0..first.len()).filter(|&column| repeats(column)).count() * 2 > first.len()
}

/// Whether a fraction is written with a comma, for certain: the delimiter is another character, some cells are numbers only
/// with a comma, and none only with a point.
fn has_decimal_commas(rows: &[ByteRecord], delimiter: u8) -> bool {
    if delimiter == b',' {
        return false;
    }
    let (mut commas, mut points) = (0, 0);
    for cell in rows.iter().flatten() {
        match (cell::number(cell, Decimal::Point), cell::number(cell, Decimal::Comma)) {
            (None, Some(_)) if cell.contains(&b',') => commas += 1,
            (Some(_), None) => points += 1,
            _ => {}
        }
    }
    commas > 0 && points == 0
}

/// The separator that divides the first lines into the most columns, alike in each.
fn delimiter(bytes: &[u8]) -> u8 {
    let mut lines = bytes.split(|&b| b == b'\n' || b == b'\r').filter(|line| !line.is_empty());
    let count = |line: &[u8], delimiter: u8| {
        let mut quoted = false;
        let mut n = 0;
        for &byte in line {
            quoted ^= byte == b'"';
            n += usize::from(byte == delimiter && !quoted);
        }
        n
    };
    let first = lines.next().unwrap_or_default();
    let second = lines.next();
    let agrees =
        |delimiter: u8| second.is_none_or(|second| count(second, delimiter) == count(first, delimiter));
    let found = |delimiter: u8| (count(first, delimiter) > 0 && agrees(delimiter), count(first, delimiter));
    // The first of equals counts.
    [b',', b';', b'\t', b'|'].into_iter().rev().max_by_key(|&d| found(d)).unwrap_or(b',')
}

/// A cell's text for a message, shortened: a hostile cell may be as long as its file.
pub(crate) fn short(text: &str) -> String {
    shown(text, 40)
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
