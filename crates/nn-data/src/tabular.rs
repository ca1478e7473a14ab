//! Loading tables: columns are surveyed, rows read, samples split, and the columns prepared for the network.

use std::sync::Arc;

use nn_core::{Dataset, Features, Targets};
use sha2::{Digest, Sha256};

use crate::answers::Decoder;
use crate::columns::frame::{Series, add_rows};
use crate::columns::preparation::{Met, scale_of};
use crate::columns::{Column, Encoding, Kind, Preparation, Target};
use crate::error::DataError;
use crate::fingerprint::{add_targets, hex, with_more};
use crate::load::Splits;
use crate::raw::{Answers, Inputs, Labels, Origins, PIXELS, Places, Samples, Values};
use crate::sheet::{Layout, Sheet};
use crate::source::{LoadOptions, Prepare, Standardize};
use crate::split::{TEST_FRACTION, hold_out, hold_out_validation};
use crate::survey::Survey;
use crate::table::{Table, short};
use crate::weights::weigh;

/// The tables of a data set.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) train: Table,
    pub(crate) test: Option<Table>,
    pub(crate) validation: Option<Table>,
    pub(crate) notes: Vec<String>,
}

/// Loads the tables of a data set, with a preparation that is fitted to them or that of a trained model.
pub(crate) fn load(
    tables: Tables,
    survey: Option<Survey>,
    name: String,
    options: &LoadOptions,
) -> Result<Splits, DataError> {
    let Tables { train: table, test, validation, mut notes } = tables;
    let mut layout = match (&survey, &options.prepare) {
        (Some(survey), _) => Layout::of_survey(survey),
        (None, Prepare::With(preparation)) => Layout::of_model(preparation, &table)?,
        (None, _) => return Err(DataError::OneColumn { file: table.file().to_owned() }),
    };
    if let Some(column) = &options.weight_column {
        layout.weight = Some(table.find(column, "--weight-column")?);
    }
    if layout.labels.is_empty() {
        let (file, has) = (table.file().to_owned(), table.available());
        let missing = match &options.prepare {
            Prepare::With(preparation) => {
                preparation.targets_at().iter().map(|&at| preparation.name(at)).collect()
            }
            _ => Vec::new(),
        };
        return Err(DataError::ColumnsMissing { file, missing, has });
    }
    let columns = Columns::of(&table);
    let train = layout.read(&table)?;
    let mut read_other = |other: Option<Table>, what: &str| -> Result<Option<Sheet>, DataError> {
        let Some(other) = other else { return Ok(None) };
        // Only training samples have weights.
        let layout = Layout { weight: None, ..Layout::of_model(&columns.as_model(&layout), &other)? };
        if layout.labels.is_empty() {
            notes.push(format!("{} has no answers, so it is no {what} set and is ignored", other.file()));
            return Ok(None);
        }
        Ok(Some(layout.read(&other)?))
    };
    let test = read_other(test, "test")?;
    let validation = read_other(validation, "validation")?;
    drop(table);
    assemble(Parts { columns, layout, train, test, validation, notes, survey, name }, options)
}

/// The columns of the training table, for the model.
#[derive(Debug)]
struct Columns {
    file: String,
    names: Option<Vec<String>>,
    width: usize,
}

impl Columns {
    fn of(table: &Table) -> Self {
        Self {
            file: table.file().to_owned(),
            names: table.names().map(<[String]>::to_vec),
            width: table.columns(),
        }
    }

    /// The columns as a preparation of nothing, by which another table can be matched.
    fn as_model(&self, layout: &Layout) -> Preparation {
        let encoding = |kind: &Kind| match kind {
            Kind::Category => Encoding::Category { values: Vec::new(), missing: false, other: false },
            Kind::Date { pattern } => {
                Encoding::Date { pattern: pattern.clone(), median: 0.0, parts: Vec::new(), missing: false }
            }
            _ => Encoding::Number { median: 0.0, mean: 0.0, deviation: 1.0, missing: false },
        };
        let feature = |(_, position, kind): &(usize, usize, Kind)| Column {
            position: *position,
            encoding: encoding(kind),
        };
        Preparation {
            names: self.names.clone(),
            width: self.width,
            answers: layout.answers(),
            weights: layout.weight,
            columns: layout.features.iter().map(feature).collect(),
            targets: Vec::new(),
        }
    }
}

/// Everything that was read.
struct Parts {
    columns: Columns,
    layout: Layout,
    train: Sheet,
    test: Option<Sheet>,
    validation: Option<Sheet>,
    notes: Vec<String>,
    survey: Option<Survey>,
    name: String,
}

/// Rows of a sheet that make one of the three sets.
struct Chosen<'a> {
    sheet: &'a Sheet,
    targets: &'a Targets,
    rows: Vec<usize>,
}

fn assemble(parts: Parts, options: &LoadOptions) -> Result<Splits, DataError> {
    let Parts { columns, layout, train, test, validation, mut notes, survey, name } = parts;
    let file = columns.file.clone();
    let all: Vec<&Labels> = [Some(&train), test.as_ref(), validation.as_ref()]
        .into_iter()
        .flatten()
        .filter_map(|s| s.labels.as_ref())
        .collect();
    let decoder = Decoder::decide(&all, options)?;
    let targets = |sheet: &Sheet| -> Result<Targets, DataError> {
        match &sheet.labels {
            Some(labels) => decoder.apply(labels),
            None => Err(DataError::NoLabels { file: file.clone(), column: String::new() }),
        }
    };
    let train_targets = targets(&train)?;
    let test_targets = test.as_ref().map(&targets).transpose()?;
    let validation_targets = validation.as_ref().map(&targets).transpose()?;
    if let Some(survey) = &survey {
        notes.insert(0, target_note(survey, &decoder, &columns, &layout, options));
        notes.extend(survey.notes());
    }
    if train.unanswered > 0 {
        notes.push(format!("left out {} without an answer", rows(train.unanswered)));
    }

    // The three sets.
    let few = || DataError::TooFewSamples { file: file.clone(), samples: train.rows };
    let mut kept: Vec<usize> = (0..train.rows).collect();
    let mut sets = Vec::new();
    if let (Some(sheet), Some(targets)) = (&test, &test_targets) {
        if options.test_fraction.is_some() {
            notes.push("the data has its own test set, so --test-fraction is ignored".into());
        }
        sets.push(Chosen { sheet, targets, rows: (0..sheet.rows).collect() });
    } else {
        let fraction = options.test_fraction.unwrap_or(TEST_FRACTION);
        let (rest, held) = hold_out(&train_targets, kept, fraction, options.seed).ok_or_else(few)?;
        notes.push(format!("{} of {} samples are held out for testing", held.len(), train.rows));
        kept = rest;
        sets.push(Chosen { sheet: &train, targets: &train_targets, rows: held });
    }
    let parts = hold_out_validation(&train_targets, &kept, &options.validation, options.seed);
    match (parts.map_err(|_| few())?, &validation, &validation_targets) {
        (Some((rest, held)), ..) => {
            notes.push(format!("{} more are held out for validation", held.len()));
            kept = rest;
            sets.push(Chosen { sheet: &train, targets: &train_targets, rows: held });
        }
        (_, Some(sheet), Some(targets)) => {
            sets.push(Chosen { sheet, targets, rows: (0..sheet.rows).collect() });
        }
        _ => {}
    }
    sets.insert(0, Chosen { sheet: &train, targets: &train_targets, rows: kept });
    let names = decoder.names();
    let places = train.labels.as_ref().map_or(Places::Samples, |labels| labels.places.clone());
    let origins = Origins::new(file.clone(), places, sets[0].rows.clone());
    refuse_one_class(&select(&train_targets, &sets[0].rows, &[]), names.as_deref(), options, &file)?;

    let preparation = match &options.prepare {
        Prepare::With(preparation) => Arc::clone(preparation),
        _ => Arc::new(fit(&columns, &layout, &sets[0], options)?),
    };
    let weight_column = |set: &Chosen<'_>| -> Option<Vec<f64>> {
        let weights = set.sheet.weights.as_ref()?;
        Some(set.rows.iter().map(|&row| weights[row]).collect())
    };
    let sha256 = fingerprint_of(&sets);
    let (mut datasets, mut unusual) = (Vec::new(), Vec::new());
    for (at, set) in sets.iter().enumerate() {
        let (features, met) = preparation.apply(&set.sheet.series, &set.rows);
        if at > 0 || survey.is_none() {
            unusual.extend(oddities(
                &preparation,
                &met,
                &set.sheet.slips,
                ["training", "test", "validation"][at],
            ));
        }
        let targets = select(set.targets, &set.rows, &preparation.targets);
        let data = Dataset::new(Features::F32(features), preparation.inputs(), targets, None)
            .map_err(|source| DataError::Unusable { file: file.clone(), source })?;
        datasets.push(data);
    }
    let weights = weight_column(&sets[0]);
    let mut datasets = datasets.into_iter();
    let (Some(train), Some(test)) = (datasets.next(), datasets.next()) else { return Err(few()) };
    let train = weigh(train, &options.class_weights, names.as_deref(), weights, &file)?;
    // The validation samples are in the fingerprint already.
    let sha256 = with_more(sha256, &train, None);
    Ok(Splits {
        train,
        test,
        validation: datasets.next(),
        name,
        classes: names,
        sha256,
        origins,
        notes,
        oddities: unusual,
        preparation: Some(preparation),
        survey,
        picture_files: false,
    })
}

/// What the target is, why, and the flag that changes it.
fn target_note(
    survey: &Survey,
    decoder: &Decoder,
    columns: &Columns,
    layout: &Layout,
    options: &LoadOptions,
) -> String {
    let header = if columns.names.is_some() { "line 1 is a header" } else { "there is no header" };
    let name = |&at: &usize| match survey.columns[at].name.as_deref() {
        Some(name) => format!("{at} (`{}`)", short(name)),
        None => at.to_string(),
    };
    let all: Vec<String> = layout.labels.iter().map(name).collect();
    let flag = if options.label_column.is_none() { "; --label-column changes it" } else { "" };
    let task = match (options.task, decoder.names()) {
        (Some(_), Some(names)) => format!("{} classes, as --task says", names.len()),
        (Some(_), None) => "numbers, as --task says".to_owned(),
        (None, Some(names)) => format!("{} classes (--task regression changes it)", names.len()),
        (None, None) if layout.labels.len() > 1 => "numbers".to_owned(),
        (None, None) => "numbers, so a regression (--task classification changes it)".to_owned(),
    };
    format!("{header}; the answer is column {}, {}{flag}: {task}", all.join(" and "), survey.target_reason)
}

/// Refuses a data set in which all samples are of one class.
pub(crate) fn refuse_one_class(
    train: &Targets,
    names: Option<&[String]>,
    options: &LoadOptions,
    file: &str,
) -> Result<(), DataError> {
    let Targets::Classes { labels, .. } = train else { return Ok(()) };
    let (first, known) = (labels.first(), options.class_names.is_some() || options.classes.is_some());
    // A few samples may all be of one class by chance, and the report says what that is worth.
    if known || names.is_some_and(|names| names.len() > 1) || labels.iter().any(|label| Some(label) != first)
    {
        return Ok(());
    }
    let name = first.and_then(|&class| names?.get(class as usize));
    Err(DataError::OneClass { file: file.to_owned(), label: name.map_or(String::new(), |name| short(name)) })
}

/// Fits a preparation to the training samples.
fn fit(
    columns: &Columns,
    layout: &Layout,
    train: &Chosen<'_>,
    options: &LoadOptions,
) -> Result<Preparation, DataError> {
    let standardize = options.standardize != Standardize::No;
    let features = layout.features.iter().zip(&train.sheet.series);
    let fitted = features.map(|((_, position, kind), series)| Column {
        position: *position,
        encoding: Encoding::fit(kind, series, &train.rows, standardize),
    });
    let preparation = Preparation {
        names: columns.names.clone(),
        width: columns.width,
        answers: layout.answers(),
        weights: layout.weight,
        columns: fitted.filter(|column| column.encoding.inputs() > 0).collect(),
        targets: target_scales(columns, layout, train, standardize),
    };
    if preparation.columns.len() < layout.features.len() || preparation.inputs() == 0 {
        // A column without inputs has no value in the training samples.
        let empty = layout
            .features
            .iter()
            .find(|(_, position, _)| preparation.columns.iter().all(|column| column.position != *position));
        let column = empty.map_or(String::new(), |(_, position, _)| preparation.name(*position));
        return Err(DataError::NoFeatures {
            file: columns.file.clone(),
            reason: if column.is_empty() {
                "all are left out: `nn data show` says why, --numeric and --categorical keep a column"
                    .to_owned()
            } else {
                format!("column {column} has no value among the training samples; leave it out with --ignore")
            },
        });
    }
    Ok(preparation)
}

/// The scale of each target of a regression.
fn target_scales(columns: &Columns, layout: &Layout, train: &Chosen<'_>, standardize: bool) -> Vec<Target> {
    let Some(Answers::Numbers { data, width }) = train.sheet.labels.as_ref().map(|labels| &labels.answers)
    else {
        return Vec::new();
    };
    if !matches!(train.targets, Targets::Values { .. }) {
        return Vec::new();
    }
    let target = |at: usize| {
        let values = train.rows.iter().map(|&row| data[row * width + at]);
        let (mean, deviation) = if standardize { scale_of(values) } else { (0.0, 1.0) };
        let name = layout.labels.get(at).and_then(|&position| columns.names.as_ref()?.get(position).cloned());
        Target { name, mean, deviation }
    };
    (0..*width).map(target).collect()
}

/// The targets of some rows, those of a regression in the scale of the network.
fn select(targets: &Targets, rows: &[usize], scales: &[Target]) -> Targets {
    match targets {
        Targets::Classes { labels, classes } => {
            Targets::Classes { labels: rows.iter().map(|&row| labels[row]).collect(), classes: *classes }
        }
        Targets::Values { data, width } => {
            let scaled = |(at, &y): (usize, &f32)| match scales.get(at) {
                Some(target) => target.scaled(f64::from(y)),
                None => y,
            };
            let of_row = |&row: &usize| data[row * width..(row + 1) * width].iter().enumerate().map(scaled);
            Targets::Values { data: rows.iter().flat_map(of_row).collect(), width: *width }
        }
    }
}

/// The fingerprint of the raw table: `nn-data/2`, then for the training, test and validation set its features and its
/// answers as `nn-data/1` has them.
fn fingerprint_of(sets: &[Chosen<'_>]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"nn-data/2\0");
    hash.update([sets.len() as u8]);
    for set in sets {
        add_rows(&mut hash, &set.sheet.series, &set.rows);
        add_targets(&mut hash, &select(set.targets, &set.rows, &[]));
    }
    hex(&hash.finalize())
}

/// Whether arrays are a table of numbers that should be standardised. Numbers from 0 to 1 in the shape of a picture are one.
pub(crate) fn wants_preparation(inputs: &[&Inputs], options: &LoadOptions) -> bool {
    let fits = match options.prepare {
        Prepare::Raw => false,
        Prepare::With(_) => true,
        Prepare::Fit => options.standardize != Standardize::No,
    };
    let is_picture = |inputs: &Inputs| {
        let square = inputs.width >= PIXELS && inputs.width.isqrt().pow(2) == inputs.width;
        let unit = |values: &Values| match values {
            Values::Floats(data) => data.iter().all(|x| (0.0..=1.0).contains(x)),
            Values::Bytes(data) => data.iter().all(|&x| x <= 1),
        };
        inputs.image.is_some() || (options.standardize == Standardize::Auto && square && unit(&inputs.values))
    };
    fits && !inputs.iter().all(|inputs| is_picture(inputs))
}

/// Prepares arrays as a table of numbers without names.
pub(crate) fn load_arrays(
    train: Samples,
    test: Option<Samples>,
    notes: Vec<String>,
    name: String,
    options: &LoadOptions,
) -> Result<Splits, DataError> {
    let width = train.inputs.width;
    let columns = Columns { file: train.inputs.file.clone(), names: None, width };
    let features = (0..width).map(|at| (at, at, Kind::Number)).collect();
    let layout = Layout { features, labels: Vec::new(), weight: None };
    if let Prepare::With(preparation) = &options.prepare
        && preparation.width != width
    {
        return Err(DataError::WrongWidth { file: columns.file, found: width, expected: preparation.width });
    }
    let (train, test) = (sheet_of(train)?, test.map(sheet_of).transpose()?);
    let (validation, survey) = (None, None);
    assemble(Parts { columns, layout, train, test, validation, notes, survey, name }, options)
}

/// The samples of an array, column by column.
fn sheet_of(samples: Samples) -> Result<Sheet, DataError> {
    let Samples { inputs, labels } = samples;
    let (rows, file) = (inputs.samples, inputs.file.clone());
    let series = series_of(inputs)?;
    if labels.answers.len() != rows {
        let (images, labels) = (file, labels);
        let label_count = labels.answers.len();
        return Err(DataError::CountMismatch { images, image_count: rows, labels: labels.file, label_count });
    }
    Ok(Sheet { series, rows, labels: Some(labels), ..Sheet::default() })
}

/// The columns of an array of numbers.
fn series_of(inputs: Inputs) -> Result<Vec<Series>, DataError> {
    let width = inputs.width;
    let data = inputs.values.into_floats();
    if let Some(at) = data.iter().position(|x| x.is_infinite()) {
        let place = format!("sample {}, feature {}", at / width, at % width);
        return Err(DataError::NonFinite { file: inputs.file, place });
    }
    let column = |at: usize| data.iter().skip(at).step_by(width).map(|&x| f64::from(x)).collect();
    Ok((0..width).map(|at| Series::Numbers(column(at))).collect())
}

/// The inputs of a trained model for an array of numbers: one for each column of the model's table but the answers, or one
/// for each that is a feature.
pub(crate) fn ask_array(preparation: &Preparation, inputs: Inputs) -> Result<Asked, DataError> {
    let (rows, width, file) = (inputs.samples, inputs.width, inputs.file.clone());
    let without = preparation.width - preparation.answers.len().min(preparation.width);
    let is_number = |column: &Column| matches!(column.encoding, Encoding::Number { .. });
    if !preparation.columns.iter().all(is_number) {
        return Err(DataError::ArrayForWords { file });
    }
    if width != without && width != preparation.columns.len() {
        return Err(DataError::WrongWidth { file, found: width, expected: without });
    }
    let series = series_of(inputs)?;
    let place = |column: &Column| {
        column.position - preparation.answers.iter().filter(|&&answer| answer < column.position).count()
    };
    let series: Vec<Series> = match width == without {
        true => preparation.columns.iter().filter_map(|column| series.get(place(column)).cloned()).collect(),
        false => series,
    };
    let all: Vec<usize> = (0..rows).collect();
    let (features, met) = preparation.apply(&series, &all);
    Ok(Asked { features, rows, labels: None, notes: oddities(preparation, &met, &[], "asked") })
}

/// What was met that training did not have.
fn oddities(preparation: &Preparation, met: &Met, slips: &[(usize, usize)], set: &str) -> Vec<String> {
    let cells =
        |count: usize| if count == 1 { "1 cell has".to_owned() } else { format!("{count} cells have") };
    let name = |position: usize| preparation.name(position);
    let unknown = met.unknown.iter().map(|&(position, count)| {
        format!(
            "{set} set, column {}: {} a value that no training sample has; it counts as other",
            name(position),
            cells(count)
        )
    });
    let missing = met.missing.iter().map(|&(position, count)| {
        format!("{set} set, column {}: {} no value, and no training sample lacks one; the median or none stands in", name(position), cells(count))
    });
    let slips = slips.iter().map(|&(position, count)| {
        format!("{set} set, column {}: {} no number; it counts as missing", name(position), cells(count))
    });
    unknown.chain(missing).chain(slips).collect()
}

fn rows(count: usize) -> String {
    format!("{count} row{}", if count == 1 { "" } else { "s" })
}

/// Samples without their answers, for prediction; the answers as written, if the table has them.
pub(crate) struct Asked {
    pub(crate) features: Vec<f32>,
    pub(crate) rows: usize,
    pub(crate) labels: Option<Labels>,
    pub(crate) notes: Vec<String>,
}

/// Reads a table for a trained model.
pub(crate) fn ask(preparation: &Preparation, table: &Table) -> Result<Asked, DataError> {
    let mut layout = Layout::of_model(preparation, table)?;
    // A row is to be predicted whether or not it has an answer.
    let labels = std::mem::take(&mut layout.labels);
    layout.weight = None;
    let mut sheet = layout.read(table)?;
    if let [at] = labels[..] {
        let mut texts = Vec::with_capacity(sheet.rows);
        table.rows(|row, line| {
            texts.push(table.text(row.get(at).unwrap_or_default(), line)?.to_owned());
            Ok(())
        })?;
        let answers = Answers::Text(texts);
        sheet.labels = Some(Labels { file: table.file().to_owned(), answers, places: Places::Samples });
    }
    let rows: Vec<usize> = (0..sheet.rows).collect();
    let (features, met) = preparation.apply(&sheet.series, &rows);
    let notes = oddities(preparation, &met, &sheet.slips, "asked");
    Ok(Asked { features, rows: sheet.rows, labels: sheet.labels, notes })
}
