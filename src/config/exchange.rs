//! `nn export` and `nn import`.

use std::collections::HashSet;
use std::path::PathBuf;

use clap::Args;
use nn_core::{Activation, Cost, InputScale, Output};

use super::choice::choice;
use crate::exchange::Said;
use crate::failure::Failure;

/// Flags of `nn export`, which clap checks in full.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ExportArgs {
    /// Trained model: a model.safetensors that nn train wrote, or a checkpoint
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// ONNX file to write
    #[arg(long, value_name = "FILE")]
    pub onnx: PathBuf,
    /// Replace a file that exists
    #[arg(long)]
    pub overwrite: bool,
}

/// Flags of `nn import`.
#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// Network of another program: an ONNX file, or a state dict of PyTorch in a safetensors file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Model to write [default: FILE with the ending .nn.safetensors]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace a file that exists
    #[arg(long)]
    overwrite: bool,
    /// Activation of the hidden layers; a safetensors file does not say it
    #[arg(long, value_name = "NAME", value_parser = choice::<Activation>())]
    activation: Option<Activation>,
    /// Function of the outputs, where the file has none: softmax for a network that gives logits [default: linear]
    #[arg(long, value_name = "NAME", value_parser = choice::<Output>())]
    output: Option<Output>,
    /// Cost for training that goes on [default: cross-entropy for classes, else mse]
    #[arg(long, value_name = "NAME", value_parser = choice::<Cost>())]
    cost: Option<Cost>,
    /// Names of the classes, in the order of the outputs [default: 0, 1 and so on]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    class_names: Option<Vec<String>>,
    /// Height and width of the pictures that the network takes, such as 28x28 [default: what the file says]
    #[arg(long, value_name = "HxW", value_parser = size)]
    image: Option<(usize, usize)>,
    /// Number that pixels are divided by before they reach the network: 1 if it takes bytes as they are [default: 1 if it
    /// divides them itself, else 255]
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pixel_scale: Option<f32>,
    /// Mean and deviation that inputs are standardised by after that, as torchvision's Normalize does
    #[arg(long, value_name = "MEAN,DEVIATION", value_parser = pair, allow_hyphen_values = true)]
    standardize: Option<(f32, f32)>,
}

/// `nn import`, checked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ImportConfig {
    /// The file of another program.
    pub file: PathBuf,
    /// The model to write.
    pub out: PathBuf,
    /// Whether to replace it.
    pub overwrite: bool,
    /// What the user says of the network.
    pub said: Said,
}

impl ImportArgs {
    /// Checks the flags.
    ///
    /// # Errors
    /// Exit code 2, with the flag to blame.
    pub fn check(self) -> Result<ImportConfig, Failure> {
        let Self { file, out, overwrite, activation, output, cost, class_names: classes, image, .. } = self;
        if let Some(scale) = self.pixel_scale.filter(|scale| !(scale.is_finite() && *scale > 0.0)) {
            return Err(Failure::usage(format_args!("--pixel-scale must be a number above 0, not {scale}")));
        }
        if let Some((mean, deviation)) = self.standardize
            && InputScale::new(mean, deviation).is_err()
        {
            return Err(Failure::usage(format_args!(
                "--standardize needs a finite mean and a deviation above 0, not {mean},{deviation}"
            )));
        }
        if let Some(names) = &classes {
            let mut seen = HashSet::new();
            if let Some(name) = names.iter().find(|name| name.is_empty() || !seen.insert(*name)) {
                return Err(Failure::usage(format_args!(
                    "--class-names gives a name twice, or none: {name:?}"
                )));
            }
        }
        let said = Said {
            activation,
            output,
            cost,
            classes,
            image,
            pixel_scale: self.pixel_scale,
            standardize: self.standardize,
        };
        let out = out.unwrap_or_else(|| file.with_extension("nn.safetensors"));
        Ok(ImportConfig { file, out, overwrite, said })
    }
}

fn size(text: &str) -> Result<(usize, usize), String> {
    let parse = |part: &str| part.parse().ok().filter(|&length| (1..=100_000).contains(&length));
    let (height, width) = text.split_once('x').ok_or("expected a height and a width, such as 28x28")?;
    match (parse(height), parse(width)) {
        (Some(height), Some(width)) => Ok((height, width)),
        _ => Err("expected a height and a width, such as 28x28".to_owned()),
    }
}

fn pair(text: &str) -> Result<(f32, f32), String> {
    let numbers =
        text.split_once(',').map(|(mean, deviation)| (mean.trim().parse(), deviation.trim().parse()));
    match numbers {
        Some((Ok(mean), Ok(deviation))) => Ok((mean, deviation)),
        _ => Err("expected two numbers, such as 0.1307,0.3081".to_owned()),
    }
}
