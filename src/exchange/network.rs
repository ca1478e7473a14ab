//! A network from elsewhere, on its way to a model file.

use nn_core::{
    Activation, Cost, Init, InputScale, LayerLayout, Model, ModelError, Named as _, Normalization, Output,
    Task, check_combination, layout,
};
use nn_data::{Column, ColumnEncoding as Encoding, Preparation, Target};
use nn_engine::{EpochSums, ManifestParts, Recipe};

use super::ImportError;
use crate::store::{Imported, InputInfo, ModelFile, RunInfo};

/// A layer with its parameters.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dense {
    /// What the file calls it, for messages.
    pub(super) name: String,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// `[outputs][inputs]`, row-major.
    pub(super) weights: Vec<f32>,
    /// `[outputs]`
    pub(super) biases: Vec<f32>,
    /// γ and β, `[outputs]` each.
    pub(super) norm: Option<(Vec<f32>, Vec<f32>)>,
}

/// A network as a file of another program has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Network {
    /// First layer first; at least one.
    pub(super) layers: Vec<Dense>,
    /// That of the hidden layers; `None` if the file does not say it, or there are none.
    pub(super) activation: Option<Activation>,
    /// `None` if the file does not say it.
    pub(super) output: Option<Output>,
    /// What the file does to its inputs before all else.
    pub(super) scale: Scale,
    /// What it does to each input by itself, before all else; then `scale` is [`Scale::NONE`].
    pub(super) each: Option<Vec<Feature>>,
    /// The height and width of its pictures, if it says that.
    pub(super) image: Option<(usize, usize)>,
}

/// (x − mean)/deviation, of one input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Feature {
    pub(super) mean: f64,
    pub(super) deviation: f64,
}

/// (x/divisor − mean)/deviation, of each input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub(super) divisor: f64,
    pub(super) mean: f64,
    pub(super) deviation: f64,
}

impl Scale {
    pub(super) const NONE: Self = Self { divisor: 1.0, mean: 0.0, deviation: 1.0 };
}

/// What the user says of a network that is imported.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Said {
    /// The activation of the hidden layers.
    pub activation: Option<Activation>,
    /// The function of the outputs.
    pub output: Option<Output>,
    /// The cost, for training that goes on.
    pub cost: Option<Cost>,
    /// The names of the classes.
    pub classes: Option<Vec<String>>,
    /// The height and width of pictures.
    pub image: Option<(usize, usize)>,
    /// What pixels are divided by before they reach the network.
    pub pixel_scale: Option<f32>,
    /// The mean and deviation that standardise the inputs.
    pub standardize: Option<(f32, f32)>,
}

impl Said {
    /// The flags that were given.
    pub(super) fn flags(&self) -> Vec<&'static str> {
        let Self { activation, output, cost, classes, image, pixel_scale, standardize } = self;
        let given = [
            ("--activation", activation.is_some()),
            ("--output", output.is_some()),
            ("--cost", cost.is_some()),
            ("--class-names", classes.is_some()),
            ("--image", image.is_some()),
            ("--pixel-scale", pixel_scale.is_some()),
            ("--standardize", standardize.is_some()),
        ];
        given.into_iter().filter_map(|(flag, given)| given.then_some(flag)).collect()
    }
}

/// White in most pictures.
const WHITE: f64 = 255.0;

impl Network {
    /// The model file, with what the user says.
    pub(super) fn into_model(self, said: &Said, origin: Imported) -> Result<ModelFile, ImportError> {
        self.check_chain()?;
        let activation = self.activation_with(said)?;
        let output = match (self.output, said.output) {
            (Some(Output::Linear) | None, Some(said)) => said,
            (Some(own), Some(said)) if own != said => {
                return Err(ImportError::Contradiction {
                    flag: "--output",
                    said: said.name(),
                    file: own.name(),
                });
            }
            (Some(own), _) => own,
            (None, None) => Output::Linear,
        };
        let width = self.layers[self.layers.len() - 1].outputs;
        // One output cannot choose between classes.
        let is_classes = said.classes.is_some() || (output != Output::Linear && width > 1);
        let task = if is_classes { Task::Classification } else { Task::Regression };
        let cost = said.cost.unwrap_or(if is_classes && output != Output::Linear {
            Cost::CrossEntropy
        } else {
            Cost::Mse
        });
        check_combination(Some(task), output, cost).map_err(|error| ImportError::Model(error.into()))?;
        let classes = match &said.classes {
            Some(names) if names.len() != width => {
                return Err(ImportError::Classes { names: names.len(), outputs: width });
            }
            Some(names) => Some(names.clone()),
            None => is_classes.then(|| (0..width).map(|class| class.to_string()).collect()),
        };
        let image = said.image.or(self.image);
        let inputs = self.layers[0].inputs;
        if let Some((height, across)) =
            image.filter(|(height, across)| height.checked_mul(*across) != Some(inputs))
        {
            return Err(ImportError::Image { height, width: across, inputs });
        }
        let (scale, standardization) = self.scale_with(said, image.is_some())?;
        let preparation = self.each.as_deref().map(|each| columns(each, task, width));
        let widths = std::iter::once(inputs).chain(self.layers.iter().map(|layer| layer.outputs)).collect();
        let mut model = Model::new(widths, activation, output, cost)?.with_input_scale(standardization);
        let hidden = &self.layers[..self.layers.len() - 1];
        if !hidden.is_empty() && hidden.iter().all(|layer| layer.norm.is_some()) {
            model = model.with_normalization(Normalization::Layer)?;
        } else if let Some(layer) = hidden.iter().find(|layer| layer.norm.is_some()) {
            return Err(ImportError::Layer {
                layer: layer.name.clone(),
                problem: "is normalised, and others are not; nn normalises all hidden layers or none"
                    .to_owned(),
            });
        }
        let mut params = vec![0.0; model.parameters()];
        for (place, layer) in layout(&model).iter().zip(self.layers) {
            put(&mut params, place, layer);
        }
        if params.iter().any(|x| !x.is_finite()) {
            return Err(ImportError::NotFinite);
        }
        let input = InputInfo {
            data: format!("the data of {}", origin.file),
            scale,
            image,
            classes,
            preparation: preparation.clone(),
            picture_files: false,
        };
        // Not a run: its manifest has the network, and no samples that it could have been trained on.
        let manifest = ManifestParts {
            model: model.clone(),
            recipe: Recipe {
                init: if activation.is_rectifier() { Init::He } else { Init::Xavier },
                ..Recipe::book()
            },
            train_samples: 0,
            data_sha256: String::new(),
            preprocess_sha256: preparation.as_ref().map(Preparation::sha256),
        };
        let run = RunInfo {
            step: 0,
            epoch: EpochSums::default(),
            manifest,
            config_hash: String::new(),
            generation: None,
            validation: None,
            best: None,
            plateau: None,
            unlogged: Vec::new(),
            imported: Some(origin),
        };
        Ok(ModelFile { model, input, run, params, moments: Default::default(), average: Vec::new() })
    }

    fn check_chain(&self) -> Result<(), ImportError> {
        let Some(last) = self.layers.last() else { return Err(ImportError::NoLayers) };
        for pair in self.layers.windows(2) {
            if pair[0].outputs != pair[1].inputs {
                let problem = format!(
                    "takes {} numbers, but {} before it gives {}",
                    pair[1].inputs, pair[0].name, pair[0].outputs
                );
                return Err(ImportError::Layer { layer: pair[1].name.clone(), problem });
            }
        }
        if last.norm.is_some() {
            let problem = "gives the outputs and is normalised; nn normalises hidden layers only".to_owned();
            return Err(ImportError::Layer { layer: last.name.clone(), problem });
        }
        Ok(())
    }

    fn activation_with(&self, said: &Said) -> Result<Activation, ImportError> {
        match (self.activation, said.activation) {
            (Some(own), Some(said)) if own != said => {
                Err(ImportError::Contradiction { flag: "--activation", said: said.name(), file: own.name() })
            }
            (Some(activation), _) | (None, Some(activation)) => Ok(activation),
            // Without hidden layers no activation is computed.
            (None, None) if self.layers.len() == 1 => Ok(Activation::Relu),
            (None, None) => Err(ImportError::NoActivation),
        }
    }

    /// What the bytes of pictures are divided by, and the standardisation of what that gives.
    fn scale_with(
        &self,
        said: &Said,
        pictures: bool,
    ) -> Result<(Option<f32>, Option<InputScale>), ImportError> {
        let Scale { divisor, mean, deviation } = self.scale;
        if self.each.is_some() && (pictures || said.pixel_scale.is_some()) {
            return Err(ImportError::EachPixel);
        }
        let of_file = (mean, deviation) != (0.0, 1.0) || self.each.is_some();
        let (mean, deviation) = match said.standardize {
            Some(_) if of_file => return Err(ImportError::Twice),
            Some((mean, deviation)) => (f64::from(mean), f64::from(deviation)),
            None => (mean, deviation),
        };
        // A graph may multiply by the reciprocal, which is rounded.
        let whole = divisor.round();
        let divisor = if (divisor - whole).abs() < 1e-6 * whole { whole } else { divisor };
        // The bytes, divided by `scale`, are then divided by `unit`.
        let (scale, unit) = match (pictures, said.pixel_scale.map(f64::from)) {
            (false, Some(_)) => return Err(ImportError::PixelsWithoutImage),
            (false, None) => (None, divisor),
            (true, Some(scale)) if scale >= 2.0 => (Some(scale), divisor),
            (true, Some(scale)) => (Some(WHITE), scale * divisor / WHITE),
            // A network that divides takes the bytes themselves; others take what is divided already.
            (true, None) if divisor >= 2.0 && !of_file => (Some(divisor), 1.0),
            (true, None) if divisor >= 2.0 => (Some(WHITE), divisor / WHITE),
            (true, None) => (Some(WHITE), divisor),
        };
        let scale = scale.map(|scale| scale as f32);
        let (mean, deviation) = ((mean * unit) as f32, (deviation * unit) as f32);
        let standardized = (mean, deviation) != (0.0, 1.0);
        Ok((scale, standardized.then(|| InputScale::new(mean, deviation)).transpose()?))
    }
}

/// The preparation of inputs that are scaled each by its own numbers: columns of a table, with the answers behind them.
fn columns(each: &[Feature], task: Task, outputs: usize) -> Preparation {
    let inputs = each.len();
    let column = |(position, &Feature { mean, deviation }): (usize, &Feature)| Column {
        position,
        // A missing number stands in the middle, as 0 after the scale.
        encoding: Encoding::Number { median: mean, mean, deviation, missing: false },
    };
    let (answers, targets) = match task {
        Task::Classification => (1, Vec::new()),
        Task::Regression => (outputs, vec![Target { name: None, mean: 0.0, deviation: 1.0 }; outputs]),
    };
    Preparation {
        names: None,
        width: inputs + answers,
        answers: (inputs..inputs + answers).collect(),
        weights: None,
        columns: each.iter().enumerate().map(column).collect(),
        targets,
    }
}

fn put(params: &mut [f32], place: &LayerLayout, layer: Dense) {
    params[place.weights.clone()].copy_from_slice(&layer.weights);
    params[place.biases.clone()].copy_from_slice(&layer.biases);
    if let Some((gains, shifts)) = layer.norm.filter(|_| !place.gains.is_empty()) {
        params[place.gains.clone()].copy_from_slice(&gains);
        params[place.shifts.clone()].copy_from_slice(&shifts);
    }
}

impl From<ModelError> for ImportError {
    fn from(error: ModelError) -> Self {
        Self::Model(error)
    }
}
