//! ONNX: models as graphs of operators, which most runtimes read and most trainers write.

mod chain;
mod columns;
mod export;
mod function;
mod graph;
mod inputs;
mod normal;
mod proto;
mod read;
mod tensor;

pub use export::{ExportError, to_onnx};
pub(super) use read::File;

#[cfg(test)]
mod tests;
