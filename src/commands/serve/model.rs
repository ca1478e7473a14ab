//! The model that is served, and how it is described to programs and to the page.

use nn_core::{Named as _, Output};
use nn_data::{Column as Prepared, ColumnEncoding, LoadOptions, Preparation};
use nn_engine::params_sha256;
use serde_json::{Value, json};

use super::answer::MOST_PIXELS;
use crate::commands::inference::has_units;
use crate::commands::{names, options_for};
use crate::config::{DataOptions, Options as _, Origins};
use crate::failure::Failure;
use crate::metrics::OutputKind;
use crate::show::Names;
use crate::store::ModelFile;

/// The name of the only input of a model that takes numbers as they are.
pub(super) const INPUT: &str = "input";

/// The name of the outputs of the network, or of the numbers that it predicts.
pub(super) const OUTPUTS: &str = "outputs";

/// The name of the most likely class.
pub(super) const CLASS: &str = "class";

/// The most samples of a request, however few outputs there are.
const MOST_SAMPLES: usize = 65_536;

/// The most outputs of a request: an answer of about ten MiB.
const MOST_OUTPUTS: usize = 500_000;

/// A model with a name.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) file: ModelFile,
    pub(super) name: String,
    /// The first digits of `params_sha256`.
    pub(super) version: String,
    /// The names of the classes, or of the numbers of a regression.
    pub(super) names: Names,
    /// How files of samples are read.
    pub(super) options: LoadOptions,
    /// The columns of a prepared table; empty for a model that takes numbers as they are.
    pub(super) columns: Vec<Column>,
}

/// A column of a table, which is one input of the protocol.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    /// Its position in the table.
    pub(super) position: usize,
    pub(super) encoding: ColumnEncoding,
}

impl Column {
    /// The type of its tensor: numbers are `FP64`, as a table is read, and words and dates `BYTES`.
    pub(super) fn datatype(&self) -> &'static str {
        match self.encoding {
            ColumnEncoding::Number { .. } => "FP64",
            ColumnEncoding::Category { .. } | ColumnEncoding::Date { .. } => "BYTES",
        }
    }

    /// The column in the page's form.
    fn field(&self) -> Value {
        match &self.encoding {
            ColumnEncoding::Number { median, .. } => {
                json!({ "name": self.name, "kind": "number", "median": median })
            }
            ColumnEncoding::Category { values, .. } => {
                json!({ "name": self.name, "kind": "category", "values": values })
            }
            ColumnEncoding::Date { pattern, .. } => {
                json!({ "name": self.name, "kind": "date", "pattern": pattern })
            }
        }
    }
}

/// The columns of a table, each with a name that no other has.
fn columns_of(preparation: &Preparation) -> Vec<Column> {
    let names = preparation.names.as_deref().unwrap_or_default();
    let unique =
        |name: &&String| !name.trim().is_empty() && names.iter().filter(|other| other == name).count() == 1;
    let column = |Prepared { position, encoding }: &Prepared| Column {
        name: names.get(*position).filter(unique).cloned().unwrap_or_else(|| format!("column {position}")),
        position: *position,
        encoding: encoding.clone(),
    };
    preparation.columns.iter().map(column).collect()
}

impl Served {
    pub(super) fn new(file: ModelFile, name: &str) -> Result<Self, Failure> {
        let format = DataOptions::default().check(&Origins::default())?;
        let mut options = options_for(&format, &file);
        // A small file can unpack to a large one.
        options.max_bytes = 64 << 20;
        let mut version = params_sha256(file.model_params());
        version.truncate(12);
        Ok(Self {
            name: name.to_owned(),
            version,
            names: names(&file),
            options,
            columns: file.input.preparation.as_ref().map(columns_of).unwrap_or_default(),
            file,
        })
    }

    /// What it is, in a few words.
    pub(super) fn in_words(&self) -> String {
        let widths: Vec<String> = self.file.model.widths().iter().map(usize::to_string).collect();
        format!("{}, trained on {}", widths.join("-"), self.file.input.data)
    }

    /// The most samples of one request.
    pub(super) fn most_samples(&self) -> usize {
        (MOST_OUTPUTS / self.file.model.output_width()).clamp(1, MOST_SAMPLES)
    }

    /// Whether it tells classes apart; else it predicts numbers.
    pub(super) fn has_classes(&self) -> bool {
        self.file.input.classes.is_some()
    }

    /// The type of the tensor of outputs: what they are computed in, or what their units make of them.
    pub(super) fn outputs_datatype(&self) -> &'static str {
        if has_units(&self.file) { "FP64" } else { "FP32" }
    }

    /// The metadata of the Open Inference Protocol.
    pub(super) fn metadata(&self) -> Value {
        let inputs: Vec<Value> = if self.columns.is_empty() {
            let width = self.file.model.input_width();
            vec![json!({ "name": INPUT, "datatype": "FP32", "shape": [-1, width] })]
        } else {
            let input = |column: &Column| json!({ "name": column.name, "datatype": column.datatype(), "shape": [-1] });
            self.columns.iter().map(input).collect()
        };
        let width = self.file.model.output_width();
        let mut outputs =
            vec![json!({ "name": OUTPUTS, "datatype": self.outputs_datatype(), "shape": [-1, width] })];
        if self.has_classes() {
            outputs.push(json!({ "name": CLASS, "datatype": "BYTES", "shape": [-1] }));
        }
        json!({
            "name": self.name,
            "versions": [self.version],
            "platform": "nn_safetensors",
            "inputs": inputs,
            "outputs": outputs,
        })
    }

    /// What the page shows of the model, and needs to know.
    pub(super) fn page(&self, max_body: usize) -> Value {
        let ModelFile { model, input, .. } = &self.file;
        let answers: Vec<String> = (0..model.output_width()).map(|at| self.names.name(at)).collect();
        let fields: Vec<Value> = self.columns.iter().map(Column::field).collect();
        json!({
            "name": self.name,
            "version": self.version,
            "data": input.data,
            "classes": self.has_classes(),
            "answers": answers,
            "probabilities": OutputKind::of(model) == OutputKind::Probabilities,
            "unit_interval": model.output() != Output::Linear,
            "widths": model.widths(),
            "activation": model.activation().name(),
            "parameters": model.parameters(),
            "image": input.image,
            "columns": fields,
            "max_body": max_body,
            "max_pixels": MOST_PIXELS,
        })
    }
}
