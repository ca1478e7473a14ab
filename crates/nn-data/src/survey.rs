//! A survey of a table's columns: what each is, why, and what training does with it.

use crate::columns::kind::{self, Wish};
use crate::columns::profile::Profile;
use crate::columns::{Decimal, Kind};
use crate::error::DataError;
use crate::raw::PIXELS;
use crate::source::LoadOptions;
use crate::table::{Table, short};

/// What the columns of a table are.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// The path of the table.
    pub file: String,
    /// Rows of data.
    pub rows: usize,
    /// Whether the first line names the columns.
    pub header: bool,
    /// How fractions are written.
    pub decimal: Decimal,
    /// The columns in order.
    pub columns: Vec<ColumnSurvey>,
    /// Why the targets are the targets.
    pub target_reason: &'static str,
}

/// What one column is.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnSurvey {
    /// The name, if the table has a header.
    pub name: Option<String>,
    /// The kind.
    pub kind: Kind,
    /// Why it is of that kind.
    pub reason: String,
    /// Cells without a value.
    pub missing: usize,
    /// Distinct values; a lower bound if there are very many.
    pub distinct: usize,
    /// The least and the greatest number.
    pub range: Option<(f64, f64)>,
    /// Whether all cells are whole numbers from 0 to 255.
    pub(crate) bytes: bool,
    /// Cells of a column of numbers that are none, and count as missing.
    pub(crate) slips: usize,
    /// The line of a number that is not finite.
    pub(crate) infinite: Option<u64>,
}

impl Survey {
    /// Surveys a table.
    ///
    /// # Errors
    /// If a column that an option names does not exist, or the table cannot be read.
    pub(crate) fn of(table: &Table, options: &LoadOptions) -> Result<Self, DataError> {
        let (targets, target_reason) = table.label_columns(options.label_column.as_deref())?;
        let weight = options.weight_column.as_deref().map(|column| table.find(column, "--weight-column"));
        let weight = weight.transpose()?;
        let mut wishes: Vec<Option<Wish>> = vec![None; table.columns()];
        for (columns, option, wish) in [
            (&options.ignore, "--ignore", Wish::Ignore),
            (&options.categorical, "--categorical", Wish::Category),
            (&options.numeric, "--numeric", Wish::Number),
        ] {
            for column in columns {
                let at = table.find(column, option)?;
                let is_taken = wishes[at].is_some() || targets.contains(&at) || weight == Some(at);
                if is_taken {
                    let column = table.column_name(at);
                    return Err(DataError::ColumnTwice { file: table.file().to_owned(), column });
                }
                wishes[at] = Some(wish);
            }
        }
        if let Some(at) = weight.filter(|at| targets.contains(at)) {
            let column = table.column_name(at);
            return Err(DataError::ColumnTwice { file: table.file().to_owned(), column });
        }
        let profiles = table.profiles()?;
        let rows = profiles.first().map_or(0, |profile| profile.rows);
        let decide = |(at, profile): (usize, &Profile)| {
            let (kind, reason) = match () {
                () if targets.contains(&at) => (Kind::Target, target_reason.to_owned()),
                () if weight == Some(at) => (Kind::Weight, "--weight-column".to_owned()),
                () => kind::decide(table.name(at).or(table.has_header().then_some("")), profile, wishes[at]),
            };
            let slips = if kind == Kind::Number { profile.texts() } else { 0 };
            ColumnSurvey {
                slips,
                name: table.name(at).map(str::to_owned),
                kind,
                reason,
                missing: profile.missing,
                distinct: profile.distinct(),
                range: profile.range,
                bytes: profile.bytes,
                infinite: profile.infinite,
            }
        };
        let columns = profiles.iter().enumerate().map(decide).collect();
        let (header, decimal) = (table.has_header(), table.decimal());
        let mut survey =
            Self { file: table.file().to_owned(), rows, header, decimal, columns, target_reason };
        survey.keep_pixels(&wishes);
        Ok(survey)
    }

    /// Pixels that are the same in every picture are kept: in a table of pixels every place counts.
    fn keep_pixels(&mut self, wishes: &[Option<Wish>]) {
        let is_pixel = |(column, wish): (&ColumnSurvey, &Option<Wish>)| {
            matches!(column.kind, Kind::Target | Kind::Identifier | Kind::Ignored)
                || (column.bytes && wish.is_none())
        };
        if self.columns.iter().zip(wishes).all(is_pixel) {
            let bytes = |column: &&mut ColumnSurvey| column.bytes && column.kind == Kind::Constant;
            let count =
                self.columns.iter().filter(|column| column.bytes && column.kind != Kind::Target).count();
            if count >= PIXELS {
                self.columns.iter_mut().filter(bytes).for_each(|column| column.kind = Kind::Number);
            }
        }
    }

    /// The positions of the targets.
    pub(crate) fn targets(&self) -> Vec<usize> {
        self.positions(|kind| *kind == Kind::Target)
    }

    /// The positions of the features.
    pub(crate) fn features(&self) -> Vec<usize> {
        self.positions(Kind::is_feature)
    }

    fn positions(&self, of: impl Fn(&Kind) -> bool) -> Vec<usize> {
        (0..self.columns.len()).filter(|&at| of(&self.columns[at].kind)).collect()
    }

    /// Whether the features are pixels: at least 64 columns of whole numbers from 0 to 255, and no others.
    pub(crate) fn is_pixels(&self) -> bool {
        let features = self.features();
        features.len() >= PIXELS
            && self.targets().len() == 1
            && features.iter().all(|&at| self.columns[at].bytes && self.columns[at].kind == Kind::Number)
    }

    /// Whether all columns but the target are complete numbers that are features, so that the table can do without a
    /// preparation.
    pub(crate) fn is_plain(&self) -> bool {
        let plain = |column: &ColumnSurvey| match column.kind {
            Kind::Target => true,
            Kind::Number => column.missing + column.slips == 0,
            _ => false,
        };
        self.targets().len() == 1 && self.columns.iter().all(plain)
    }

    /// The position of the weights.
    pub(crate) fn weight(&self) -> Option<usize> {
        self.positions(|kind| *kind == Kind::Weight).first().copied()
    }

    /// A column as shown to people: its name, or its position if it has none.
    #[must_use]
    pub fn column_name(&self, position: usize) -> String {
        let name = self.columns.get(position).and_then(|column| column.name.as_deref());
        match name.filter(|name| !name.trim().is_empty()) {
            Some(name) => short(name),
            None => format!("column {position}"),
        }
    }

    /// The decisions about the columns, a few sentences: what is left out, and what is not simply a number.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let count = |wanted: &dyn Fn(&Kind) -> bool| self.columns.iter().filter(|c| wanted(&c.kind)).count();
        let numbers = count(&|kind| *kind == Kind::Number);
        let categories = count(&|kind| *kind == Kind::Category);
        let dates = count(&|kind| matches!(kind, Kind::Date { .. }));
        let parts: Vec<String> = [
            (numbers, "number", "numbers"),
            (categories, "category", "categories"),
            (dates, "date or time", "dates or times"),
        ]
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, one, many)| format!("{count} {}", if count == 1 { one } else { many }))
        .collect();
        notes.push(format!("features: {} (`nn data show` lists them)", parts.join(", ")));
        for (at, column) in self.columns.iter().enumerate() {
            let name = self.column_name(at);
            match &column.kind {
                Kind::Identifier => notes.push(format!(
                    "left out {name}: {} (--numeric or --categorical keeps it)",
                    column.reason
                )),
                Kind::Constant => notes.push(format!("left out {name}: {}", column.reason)),
                Kind::Number if column.slips > 0 => {
                    notes.push(format!("{name}: {}", column.reason));
                }
                Kind::Date { .. } if column.reason.contains("would fit as well") => {
                    notes.push(format!("{name}: {}", column.reason));
                }
                Kind::Category if column.reason.contains("numbers") => {
                    notes.push(format!("{name} is a category: {} (--numeric changes it)", column.reason));
                }
                _ => {}
            }
        }
        const MOST: usize = 12;
        if notes.len() > MOST {
            let more = notes.len() - MOST;
            notes.truncate(MOST);
            notes.push(format!("… and {more} more such columns (`nn data show` lists them)"));
        }
        notes
    }
}
