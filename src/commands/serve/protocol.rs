//! Messages of the Open Inference Protocol (KServe's predict protocol, version 2), in JSON.

use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};

use super::tensor::Data;
use crate::http::Refusal;

/// The types of numbers, and the whole numbers that they hold; `None` for floating point.
const NUMBERS: [(&str, Option<(f64, f64)>); 10] = [
    ("FP32", None),
    ("FP64", None),
    ("INT8", Some((-128.0, 127.0))),
    ("INT16", Some((-32_768.0, 32_767.0))),
    ("INT32", Some((-2_147_483_648.0, 2_147_483_647.0))),
    ("INT64", Some((-EXACT, EXACT))),
    ("UINT8", Some((0.0, 255.0))),
    ("UINT16", Some((0.0, 65_535.0))),
    ("UINT32", Some((0.0, 4_294_967_295.0))),
    ("UINT64", Some((0.0, EXACT))),
];

/// The whole numbers up to here are exact in f64. Larger ones are names rather than numbers, and must be sent as text.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A request for answers. Parameters, which have no effect here, are not read.
#[derive(Debug, Deserialize)]
pub(super) struct Request {
    pub(super) id: Option<String>,
    pub(super) inputs: Vec<Input>,
    /// The outputs that are wanted; all of them if none is named.
    #[serde(default)]
    pub(super) outputs: Vec<Wanted>,
}

/// A tensor.
#[derive(Debug, Deserialize)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) datatype: String,
    pub(super) data: Data,
}

/// The name of an output.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    pub(super) name: String,
}

impl Request {
    /// Reads a request.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(bytes).map_err(|error| {
            let kind = if error.is_data() { "no inference request" } else { "not JSON" };
            Refusal::bad(format_args!("the body is {kind}: {error}"))
        })
    }
}

impl Input {
    /// Refuses data that does not have the tensor's own shape.
    pub(super) fn check_shape(&self) -> Result<(), Refusal> {
        if self.data.fits(&self.shape) {
            return Ok(());
        }
        let Self { name, shape, data, .. } = self;
        Err(Refusal::bad(format_args!(
            "the tensor {name:?} has the shape {shape:?}, but its data has {} elements in {}",
            data.elements.len(),
            data.form()
        )))
    }

    /// Refuses another type than numbers, and numbers that the type does not hold.
    pub(super) fn check_numbers(&self, numbers: &[f64]) -> Result<(), Refusal> {
        let Self { name, datatype, .. } = self;
        let Some((_, range)) = NUMBERS.iter().find(|(known, _)| known == datatype) else {
            return Err(Refusal::bad(format_args!(
                "the tensor {name:?} has the datatype {datatype:?} and holds numbers"
            )));
        };
        let Some((least, most)) = range else { return Ok(()) };
        let fits = |x: &&f64| !x.is_nan() && (x.fract() != 0.0 || **x < *least || **x > *most);
        match numbers.iter().find(fits) {
            Some(wrong) => Err(Refusal::bad(format_args!(
                "the tensor {name:?} has the datatype {datatype} and the number {wrong}, which that does not hold"
            ))),
            None => Ok(()),
        }
    }
}

/// The answers to a request.
#[derive(Debug, Serialize)]
pub(super) struct Response<'a> {
    pub(super) model_name: &'a str,
    pub(super) model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parameters: Option<Parameters>,
    pub(super) outputs: Vec<Tensor<'a>>,
}

/// What there is to say about the samples of a table.
#[derive(Debug, Serialize)]
pub(super) struct Parameters {
    /// What no training sample had, such as an unknown value of a category.
    pub(super) notes: String,
}

/// A tensor of answers.
#[derive(Debug, Serialize)]
pub(super) struct Tensor<'a> {
    pub(super) name: &'static str,
    pub(super) shape: Vec<usize>,
    pub(super) datatype: &'static str,
    pub(super) data: Answers<'a>,
}

/// The data of a tensor of answers.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Answers<'a> {
    Single(Exact<'a>),
    Double(&'a [f64]),
    Texts(Vec<&'a str>),
}

/// Numbers in single precision, written with the digits of double precision, as `nn predict --json` writes them: whoever reads
/// them, in either precision, has the same bits.
#[derive(Debug)]
pub(super) struct Exact<'a>(pub(super) &'a [f32]);

impl Serialize for Exact<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for &number in self.0 {
            list.serialize_element(&f64::from(number))?;
        }
        list.end()
    }
}
