//! Tensors that are columns of a table: they become the table, which is then read as `nn predict` reads one.

use std::fmt::Write as _;

use nn_data::{ColumnEncoding, Decimal, Encoding, Header, Inputs, LoadOptions, read_inputs};

use super::model::{Column, Served};
use super::protocol::Input;
use super::tensor::Elements;
use crate::failure::Failure;
use crate::http::Refusal;

/// Reads the columns of a request as samples.
pub(super) fn samples(served: &Served, inputs: &[Input]) -> Result<Inputs, Refusal> {
    let given: Vec<(&Column, &Input)> = inputs
        .iter()
        .map(|input| match served.columns.iter().find(|column| column.name == input.name) {
            Some(column) => Ok((column, input)),
            None => Err(Refusal::bad(format_args!(
                "the model has no input {:?}; its inputs are the columns {}",
                input.name,
                list(served.columns.iter())
            ))),
        })
        .collect::<Result<_, _>>()?;
    let missing = served.columns.iter().filter(|column| given.iter().all(|(other, _)| other != column));
    let missing = list(missing);
    if !missing.is_empty() {
        return Err(Refusal::bad(format_args!("the request lacks the columns {missing}")));
    }
    if given.len() > served.columns.len() {
        return Err(Refusal::bad("a column is there twice"));
    }
    let rows = rows_of(inputs)?;
    if rows > served.most_samples() {
        let most = served.most_samples();
        return Err(Refusal::bad(format_args!("a request may have at most {most} samples, not {rows}")));
    }
    let table = table(served, &given, rows)?;
    let options = LoadOptions {
        header: Header::Yes,
        delimiter: Some(b','),
        decimal: Some(Decimal::Point),
        encoding: Encoding::Utf8,
        ..served.options.clone()
    };
    let width = served.file.model.input_width();
    Ok(read_inputs("the request", table.into_bytes(), width, &options).map_err(Failure::from)?)
}

fn list<'a>(columns: impl Iterator<Item = &'a Column>) -> String {
    columns.take(12).map(|column| format!("{:?}", column.name)).collect::<Vec<_>>().join(", ")
}

/// The number of samples, which all columns must have.
fn rows_of(inputs: &[Input]) -> Result<usize, Refusal> {
    let mut rows = None;
    for input in inputs {
        let (&[n] | &[n, 1]) = &input.shape[..] else {
            return Err(Refusal::bad(format_args!(
                "the column {:?} has the shape {:?}; it must be [samples] or [samples, 1]",
                input.name, input.shape
            )));
        };
        input.check_shape()?;
        if *rows.get_or_insert(n) != n {
            return Err(Refusal::bad("the columns differ in their numbers of samples"));
        }
    }
    match rows {
        Some(rows) if rows > 0 => Ok(rows),
        _ => Err(Refusal::bad("the request has no samples")),
    }
}

/// The table, with all columns of the one that the model was trained on, so that positions are those of the model. The cells
/// of columns that the model does not use are never looked at.
fn table(served: &Served, given: &[(&Column, &Input)], rows: usize) -> Result<String, Refusal> {
    let Some(preparation) = &served.file.input.preparation else {
        return Err(Refusal::bad("the model takes no columns"));
    };
    let names = preparation.names.as_deref().unwrap_or_default();
    let mut text = String::new();
    for position in 0..preparation.width {
        comma(&mut text, position);
        match names.get(position) {
            Some(name) => quote(&mut text, name),
            None => quote(&mut text, &format!("column {position}")),
        }
    }
    let by_position: Vec<Option<(&Column, &Input)>> = (0..preparation.width)
        .map(|position| given.iter().find(|(column, _)| column.position == position).copied())
        .collect();
    for (column, input) in given {
        check_type(column, input)?;
    }
    for row in 0..rows {
        text.push('\n');
        for (position, given) in by_position.iter().enumerate() {
            comma(&mut text, position);
            match given {
                Some((_, input)) => cell(&mut text, &input.data.elements, row),
                None => text.push('0'),
            }
        }
    }
    text.push('\n');
    Ok(text)
}

/// Refuses types that a column cannot have. A number column takes texts too: they are read as in a file.
fn check_type(column: &Column, input: &Input) -> Result<(), Refusal> {
    let is_number = matches!(column.encoding, ColumnEncoding::Number { .. });
    let wrong = || {
        let (name, datatype) = (&input.name, &input.datatype);
        let wanted = column.datatype();
        Err(Refusal::bad(format_args!(
            "the column {name:?} takes {wanted}, and its data is not that or not {datatype:?}"
        )))
    };
    match &input.data.elements {
        Elements::Missing(_) => Ok(()),
        Elements::Texts(_) if input.datatype == "BYTES" => Ok(()),
        // Whole numbers are the names of some categories, such as post codes.
        Elements::Numbers(_) if !is_number && input.datatype.starts_with("FP") => wrong(),
        Elements::Numbers(numbers) if input.datatype != "BYTES" => input.check_numbers(numbers),
        _ => wrong(),
    }
}

fn comma(text: &mut String, position: usize) {
    if position > 0 {
        text.push(',');
    }
}

/// A cell in quotes, whatever is in it.
fn quote(text: &mut String, cell: &str) {
    text.push('"');
    text.push_str(&cell.replace('"', "\"\""));
    text.push('"');
}

fn cell(text: &mut String, elements: &Elements, row: usize) {
    match elements {
        Elements::Numbers(numbers) if !numbers[row].is_nan() => {
            // Writing to a text cannot fail. The digits are those that read back to the same number.
            let _ = write!(text, "{}", numbers[row]);
        }
        Elements::Texts(texts) => quote(text, texts[row].as_deref().unwrap_or_default()),
        _ => text.push_str("\"\""),
    }
}
