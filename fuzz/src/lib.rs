//! The initial corpora of the fuzz targets.

use std::fs;
use std::path::Path;

use nn::store::{InputInfo, ModelFile, RunInfo};
use nn_core::{Activation, Cost, Init, Model, Normalization, Optimizer, Output, initial_parameters};
use nn_engine::{EpochSums, Manifest, ManifestParts, Recipe, Snapshot, params_sha256};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Writes a target's seeds to its corpus before libFuzzer reads it. Seeds are valid files from the same code whose output
/// the ordinary tests damage, so the repository needs no corpus.
pub fn plant(target: &str, seeds: &[Vec<u8>]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder).expect("the corpus is writable");
    for (at, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{at:02}")), seed).expect("the corpus is writable");
    }
}

/// Valid configuration files.
pub fn configurations() -> Vec<Vec<u8>> {
    [
        "hidden = [30, 20]\nlearning-rate = 3\nseed = 18446744073709551615\nlabel-column = 4\nepochs = 1_000\n\
         resume = true\ncost = 'cross-entropy'\nl2 = 1e-4\n",
        "data = \"x.csv\"\ntask = 'regression'\noutput = 'linear'\nhidden = 'none'\nheader = 'yes'\n",
        "optimizer = 'adamw'\nbeta1 = 0.9\nbeta2 = 0.999\nepsilon = 1e-8\nweight-decay = 0.01\nthreads = 2\n",
        "schedule = 'step'\nstep-epochs = 3\nstep-factor = 0.5\nwarmup-steps = 9\nbatch-size = 64\nshard-size = 8\n",
        "schedule = 'cosine'\ncosine-floor = 0.1\noptimizer = 'nesterov'\nmomentum = 0.5\nout = \"a/b\"\nquiet = true\nmax-norm = 3\n",
        "schedule = 'one-cycle'\none-cycle-rise = 0.2\none-cycle-divisor = 10\none-cycle-final-divisor = 1e3\n",
        "schedule = 'plateau'\nplateau-factor = 0.5\nplateau-evaluations = 3\nvalidation-fraction = 0.1\n",
        "classes = 10\ntest-fraction = 0.25\ncheckpoint-seconds = 5\ncheckpoint-steps = 7\nkeep-checkpoints = 2\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

/// Small pictures of each kind, after the byte that selects how the target reads them.
pub fn pictures() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let ink = |side: u32| (0..side * side).map(move |i| if i % side == side / 2 { 20_u8 } else { 230 });
    for (color, channels) in [
        (png::ColorType::Grayscale, 1),
        (png::ColorType::GrayscaleAlpha, 2),
        (png::ColorType::Rgb, 3),
        (png::ColorType::Rgba, 4),
    ] {
        let mut bytes = vec![channels];
        let mut encoder = png::Encoder::new(&mut bytes, 9, 9);
        encoder.set_color(color);
        let pixels: Vec<u8> = ink(9).flat_map(|x| vec![x; channels.into()]).collect();
        let mut writer = encoder.write_header().expect("memory");
        writer.write_image_data(&pixels).expect("memory");
        drop(writer);
        seeds.push(bytes);
    }
    for (how, color) in [(0, jpeg_encoder::ColorType::Luma), (3, jpeg_encoder::ColorType::Rgb)] {
        for progressive in [false, true] {
            let mut bytes = vec![how];
            let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 50);
            encoder.set_progressive(progressive);
            let channels = if how == 0 { 1 } else { 3 };
            let pixels: Vec<u8> = ink(12).flat_map(|x| vec![x; channels]).collect();
            encoder.encode(&pixels, 12, 12, color).expect("memory");
            seeds.push(bytes);
        }
    }
    seeds
}

/// The number of pixels that a picture claims to have.
pub fn claims(picture: &[u8]) -> Option<u64> {
    if picture.starts_with(b"\x89PNG") {
        let side = |at: usize| Some(u64::from(u32::from_be_bytes(*picture.get(at..)?.first_chunk()?)));
        return side(16)?.checked_mul(side(20)?);
    }
    // The largest claim of any bytes that could be a frame header.
    let frames = picture.windows(9).filter(|at| at[0] == 0xff && matches!(at[1], 0xc0..=0xcf));
    let pixels = |at: &[u8]| {
        u64::from(u16::from_be_bytes([at[5], at[6]])) * u64::from(u16::from_be_bytes([at[7], at[8]]))
    };
    frames.map(pixels).max()
}

fn model(optimizer: Optimizer, state: usize, ema: Option<f32>, normalization: Normalization) -> ModelFile {
    let model = Model::new(vec![2, 3, 2], Activation::Relu, Output::Softmax, Cost::CrossEntropy)
        .and_then(|model| model.with_normalization(normalization))
        .expect("a small network");
    let manifest = ManifestParts {
        model: model.clone(),
        recipe: Recipe { init: Init::He, optimizer, batch_size: 4, shard_size: 1, epochs: 2, ema, ..Recipe::book() },
        train_samples: 6,
        data_sha256: "00".repeat(32),
        preprocess_sha256: None,
    };
    let config_hash = Manifest::new(manifest.clone()).expect("a small run").hash();
    let params = initial_parameters(&model, Init::He, 1);
    let moments = [0, 1].map(|moment| if moment < state { params.clone() } else { Vec::new() });
    let input = InputInfo {
        data: "x".into(),
        scale: Some(255.0),
        image: Some((1, 2)),
        classes: None,
        preparation: None,
        picture_files: false,
    };
    let run = RunInfo {
        step: 1,
        epoch: EpochSums { loss: 0.5, correct: 2 },
        manifest,
        config_hash,
        generation: (state > 0).then_some(1),
        validation: None,
        best: None,
        plateau: None,
        unlogged: Vec::new(),
        imported: None,
    };
    let average = ema.map_or(Vec::new(), |_| params.clone());
    ModelFile::new(model, input, run, Snapshot { step: 1, params, moments, average, epoch: EpochSums::default(), plateau: None })
}

/// Model files, each once in the parts that [`sealed`] takes and once whole, after the byte that says which.
pub fn models() -> Vec<Vec<u8>> {
    let adam = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
    let momentum = Optimizer::Momentum { momentum: 0.5 };
    let files = [
        model(adam, 2, None, Normalization::None),
        model(momentum, 1, None, Normalization::None),
        model(adam, 0, None, Normalization::None),
        model(momentum, 1, Some(0.9), Normalization::Layer),
    ];
    let mut seeds = Vec::new();
    for file in files {
        let bytes = file.to_bytes().expect("a valid file can be written");
        let length = usize::try_from(u64::from_le_bytes(*bytes.first_chunk().expect("a length"))).expect("small");
        let header: Value = serde_json::from_slice(&bytes[8..8 + length]).expect("JSON");
        let nn = header["__metadata__"]["nn"].as_str().expect("the metadata");
        let mut metadata: Value = serde_json::from_str(nn).expect("JSON");
        let mut tensors = header.clone();
        for object in [&mut metadata, &mut tensors] {
            let object = object.as_object_mut().expect("an object");
            object.remove("metadata_sha256");
            object.remove("__metadata__");
        }
        let (metadata, tensors) = (metadata.to_string(), tensors.to_string());
        let mut seed = vec![0];
        for part in [&metadata, &tensors] {
            seed.extend((part.len() as u16).to_le_bytes());
            seed.extend(part.bytes());
        }
        seed.extend(&bytes[8 + length..]);
        seeds.push(seed);
        seeds.push([&[1], &bytes[..]].concat());
    }
    seeds
}

/// Assembles a model file with correct hashes from a length, the metadata, a length, the headers of the tensors, and the
/// numbers. Bytes that do not have this form are returned unchanged.
pub fn sealed(bytes: &[u8]) -> Vec<u8> {
    try_sealed(bytes).unwrap_or_else(|| bytes.to_vec())
}

fn try_sealed(bytes: &[u8]) -> Option<Vec<u8>> {
    let part = |bytes: &mut &[u8]| -> Option<Vec<u8>> {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (part, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        *bytes = rest;
        Some(part.to_vec())
    };
    let mut rest = bytes;
    let (metadata, tensors) = (part(&mut rest)?, part(&mut rest)?);
    let mut metadata: Value = serde_json::from_slice(&metadata).ok()?;
    let mut tensors: Value = serde_json::from_slice(&tensors).ok()?;
    // The numbers of each buffer, as far as its tensors' headers reach.
    let numbers = |prefix: &str| -> String {
        let mut numbers: Vec<f32> = Vec::new();
        for layer in 0..64 {
            for name in ["weight", "bias"] {
                let offsets = &tensors[format!("{prefix}layers.{layer}.{name}")]["data_offsets"];
                let at = |i: usize| offsets[i].as_u64().and_then(|at| usize::try_from(at).ok());
                let Some(data) = at(0).zip(at(1)).and_then(|(from, to)| rest.get(from..to)) else { continue };
                numbers.extend(data.as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x)));
            }
        }
        params_sha256(&numbers)
    };
    let (params, moments) =
        (numbers(""), [numbers("optimizer.first."), numbers("optimizer.second.")].map(Value::from));
    let object = metadata.as_object_mut()?;
    object.insert("params_sha256".into(), params.into());
    object.insert("moments_sha256".into(), Value::Array(moments.into()));
    if !tensors["average.layers.0.weight"].is_null() {
        object.insert("average_sha256".into(), numbers("average.").into());
    }
    let text = metadata.to_string();
    let hash: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    let nn = format!("{{\"metadata_sha256\":\"{hash}\",{}", &text[1..]);
    let object = tensors.as_object_mut()?;
    object.insert("__metadata__".into(), serde_json::json!({ "nn": nn }));
    let header = tensors.to_string();
    Some([&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), rest].concat())
}

/// Networks of other programs and of ours, each after a byte that says whether the activation is given.
pub fn networks() -> Vec<Vec<u8>> {
    let adam = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
    let ours = nn::exchange::onnx::to_onnx(&model(adam, 0, None, Normalization::Layer)).expect("a small model");
    let seeds = [
        (0, &ours[..]),
        (0, include_bytes!("../../tests/cases/onnx/torch_script_gelu.onnx")),
        (0, include_bytes!("../../tests/cases/onnx/torch_dynamo_pictures.onnx")),
        (0, include_bytes!("../../tests/cases/onnx/keras.onnx")),
        (0, include_bytes!("../../tests/cases/onnx/tensorflow_norm.onnx")),
        (0, include_bytes!("../../tests/cases/onnx/torch_script_scaled.onnx")),
        (0, include_bytes!("../../tests/cases/onnx/torch_script_narrow.onnx")),
        (1, include_bytes!("../../tests/cases/onnx/state_dict_norm.safetensors")),
    ];
    seeds.into_iter().map(|(how, bytes)| [&[how], bytes].concat()).collect()
}
