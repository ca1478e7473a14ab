//! Reading the rows of a table: which of its columns matter, and their cells, column by column.

use csv::ByteRecord;

use crate::columns::cell;
use crate::columns::frame::{Series, Words};
use crate::columns::{Column, Encoding, Kind, Preparation};
use crate::error::DataError;
use crate::raw::{Answers, Labels, Places};
use crate::survey::Survey;
use crate::table::{Table, short};

/// The rows of a table, read as the preparation needs them.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    /// One entry for each feature.
    pub(crate) series: Vec<Series>,
    pub(crate) rows: usize,
    /// The answers, if the table has them.
    pub(crate) labels: Option<Labels>,
    pub(crate) weights: Option<Vec<f64>>,
    /// Rows that were left out because they have no answer.
    pub(crate) unanswered: usize,
    /// For each feature with any, its position in the model's table and the cells that are no number.
    pub(crate) slips: Vec<(usize, usize)>,
}

/// Where the columns that matter are in a table.
#[derive(Debug)]
pub(crate) struct Layout {
    /// For each feature: its position in this table, that in the model's table, and how it is read.
    pub(crate) features: Vec<(usize, usize, Kind)>,
    pub(crate) labels: Vec<usize>,
    pub(crate) weight: Option<usize>,
}

impl Layout {
    pub(crate) fn of_survey(survey: &Survey) -> Self {
        let feature = |at: usize| (at, at, survey.columns[at].kind.clone());
        Self {
            features: survey.features().into_iter().map(feature).collect(),
            labels: survey.targets(),
            weight: survey.weight(),
        }
    }

    /// Finds the columns of a trained model in a table: by name if both have names, else by position. That of the weights need not
    /// be there.
    pub(crate) fn of_model(preparation: &Preparation, table: &Table) -> Result<Self, DataError> {
        let kind = |column: &Column| match &column.encoding {
            Encoding::Number { .. } => Kind::Number,
            Encoding::Category { .. } => Kind::Category,
            Encoding::Date { pattern, .. } => Kind::Date { pattern: pattern.clone() },
        };
        if let (Some(ours), Some(theirs)) = (&preparation.names, table.names()) {
            let find = |position: usize| named(ours, position, theirs);
            let missing: Vec<String> = preparation
                .columns
                .iter()
                .filter(|column| find(column.position).is_none())
                .map(|column| preparation.name(column.position))
                .collect();
            if !missing.is_empty() {
                let (file, has) = (table.file().to_owned(), table.available());
                return Err(DataError::ColumnsMissing { file, missing, has });
            }
            let feature = |column: &Column| Some((find(column.position)?, column.position, kind(column)));
            let labels: Vec<usize> = preparation.targets_at().iter().filter_map(|&at| find(at)).collect();
            let complete = labels.len() == preparation.targets_at().len();
            return Ok(Self {
                features: preparation.columns.iter().filter_map(feature).collect(),
                labels: if complete { labels } else { Vec::new() },
                weight: preparation.weights.and_then(find),
            });
        }
        let (with, without) = (preparation.width, preparation.width - preparation.answers.len());
        let answered = table.columns() == with;
        if !answered && table.columns() != without {
            return Err(DataError::ColumnCount {
                file: table.file().to_owned(),
                found: table.columns(),
                with,
                without,
                of: match &preparation.names {
                    Some(names) => {
                        names.iter().take(12).map(|name| short(name)).collect::<Vec<_>>().join(", ")
                    }
                    None => "a table without a header".to_owned(),
                },
            });
        }
        let place = |position: usize| match answered {
            true => position,
            false => position - preparation.answers.iter().filter(|&&answer| answer < position).count(),
        };
        let feature = |column: &Column| (place(column.position), column.position, kind(column));
        Ok(Self {
            features: preparation.columns.iter().map(feature).collect(),
            labels: if answered { preparation.targets_at().to_vec() } else { Vec::new() },
            weight: preparation.weights.filter(|_| answered),
        })
    }

    /// Reads the rows of a table. Rows without an answer are left out.
    pub(crate) fn read(&self, table: &Table) -> Result<Sheet, DataError> {
        let mut readers: Vec<Reader> = self.features.iter().map(|(.., kind)| Reader::of(kind)).collect();
        let mut sheet = Sheet::default();
        let (mut texts, mut numbers, mut lines) = (Vec::new(), Vec::new(), Vec::new());
        let mut weights = self.weight.map(|_| Vec::new());
        table.rows(|row, line| {
            if self.labels.iter().any(|&at| row.get(at).is_none_or(cell::is_missing_label)) {
                sheet.unanswered += 1;
                return Ok(());
            }
            for (reader, (at, ..)) in readers.iter_mut().zip(&self.features) {
                reader.push(table, row, *at, line)?;
            }
            match self.labels[..] {
                [] => {}
                [at] => texts.push(table.text(&row[at], line)?.to_owned()),
                _ => {
                    for &at in &self.labels {
                        numbers.push(answer(table, row, at, line)?);
                    }
                }
            }
            if let (Some(at), Some(weights)) = (self.weight, &mut weights) {
                weights.push(weight(table, row, at, line)?);
            }
            lines.push(line);
            Ok(())
        })?;
        sheet.rows = lines.len();
        sheet.weights = weights;
        let answers = match self.labels[..] {
            [] => None,
            [at] => Some(table.answers(texts, &lines, at)?),
            _ => Some(Answers::Numbers { data: numbers, width: self.labels.len() }),
        };
        if let (Some(_), 0, Some(&at)) = (&answers, sheet.rows, self.labels.first()) {
            let (file, column) = (table.file().to_owned(), table.column_name(at));
            return Err(DataError::NoLabels { file, column });
        }
        let places = Places::Lines(lines);
        sheet.labels = answers.map(|answers| Labels { file: table.file().to_owned(), answers, places });
        for (reader, (_, position, _)) in readers.into_iter().zip(&self.features) {
            let (series, slips) = reader.finish();
            sheet.series.push(series);
            sheet.slips.extend((slips > 0).then_some((*position, slips)));
        }
        Ok(sheet)
    }
}

/// The position in `theirs` of the column that is at `position` in `ours`: the same name, and of equal names the same one in
/// order.
fn named(ours: &[String], position: usize, theirs: &[String]) -> Option<usize> {
    let name = ours.get(position)?;
    let before = ours[..position].iter().filter(|other| *other == name).count();
    let exact = theirs.iter().enumerate().filter(|(_, other)| *other == name).nth(before);
    let alike = || {
        let mut alike =
            theirs.iter().enumerate().filter(|(_, other)| other.trim().eq_ignore_ascii_case(name.trim()));
        // A name that fits two columns fits none.
        alike.next().filter(|_| alike.next().is_none())
    };
    exact.or_else(alike).map(|(at, _)| at)
}

/// Reads the cells of one column.
enum Reader {
    Numbers { cells: Vec<f64>, slips: usize },
    Dates { cells: Vec<f64>, slips: usize, pattern: String },
    Words(Words),
}

impl Reader {
    fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Category => Self::Words(Words::default()),
            Kind::Date { pattern } => Self::Dates { cells: Vec::new(), slips: 0, pattern: pattern.clone() },
            _ => Self::Numbers { cells: Vec::new(), slips: 0 },
        }
    }

    fn push(&mut self, table: &Table, row: &ByteRecord, at: usize, line: u64) -> Result<(), DataError> {
        let cell = row.get(at).unwrap_or_default();
        let missing = cell::is_missing(cell);
        match self {
            Self::Words(words) => words.push(if missing { None } else { Some(table.text(cell, line)?) }),
            Self::Numbers { cells, slips } => {
                let number = if missing { None } else { cell::number(cell, table.decimal()) };
                if number.is_some_and(|number| !number.is_finite()) {
                    return Err(table.non_finite(line, at));
                }
                *slips += usize::from(!missing && number.is_none());
                cells.push(number.unwrap_or(f64::NAN));
            }
            Self::Dates { cells, slips, pattern } => {
                let moment = if missing { None } else { cell::moment(cell, pattern) };
                *slips += usize::from(!missing && moment.is_none());
                cells.push(moment.unwrap_or(f64::NAN));
            }
        }
        Ok(())
    }

    fn finish(self) -> (Series, usize) {
        match self {
            Self::Words(words) => (words.finish(), 0),
            Self::Numbers { cells, slips } | Self::Dates { cells, slips, .. } => {
                (Series::Numbers(cells), slips)
            }
        }
    }
}

/// One of several targets, all of which are numbers.
fn answer(table: &Table, row: &ByteRecord, at: usize, line: u64) -> Result<f64, DataError> {
    let cell = row.get(at).unwrap_or_default();
    match cell::number(cell, table.decimal()) {
        Some(number) if (number as f32).is_finite() => Ok(number),
        Some(_) => Err(table.non_finite(line, at)),
        None => Err(DataError::TargetNotANumber {
            file: table.file().to_owned(),
            line,
            column: table.column_name(at),
            text: short(&String::from_utf8_lossy(cell)),
        }),
    }
}

fn weight(table: &Table, row: &ByteRecord, at: usize, line: u64) -> Result<f64, DataError> {
    let cell = row.get(at).unwrap_or_default();
    let number = cell::number(cell, table.decimal()).filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| DataError::BadWeight {
        file: table.file().to_owned(),
        line,
        column: table.column_name(at),
        text: short(&String::from_utf8_lossy(cell)),
    })
}

impl Layout {
    /// The targets first, then the weights.
    pub(crate) fn answers(&self) -> Vec<usize> {
        self.labels.iter().copied().chain(self.weight).collect()
    }
}
