use nn_core::{Activation, Cost, Init, Normalization, Optimizer, Output, initial_parameters};
use nn_engine::{Manifest, Recipe};

use super::*;

pub(in crate::store) fn example(step: u64) -> ModelFile {
    let model = Model::new(vec![4, 3, 2], Activation::Relu, Output::Softmax, Cost::CrossEntropy).unwrap();
    example_of(&model, step)
}

/// A checkpoint of a network on pictures of 2 × 2 in two classes.
pub(crate) fn example_of(model: &Model, step: u64) -> ModelFile {
    let model = model.clone();
    let manifest = ManifestParts {
        model: model.clone(),
        recipe: Recipe {
            init: Init::He,
            optimizer: Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
            learning_rate: 0.001,
            epochs: 3,
            ..Recipe::book()
        },
        train_samples: 23,
        data_sha256: "00".repeat(32),
        preprocess_sha256: None,
    };
    let config_hash = Manifest::new(manifest.clone()).unwrap().hash();
    let params = initial_parameters(&model, Init::He, step);
    ModelFile {
        input: InputInfo {
            data: "squares".to_owned(),
            scale: Some(255.0),
            image: Some((2, 2)),
            classes: Some(vec!["no".to_owned(), "yes".to_owned()]),
            preparation: None,
            picture_files: false,
        },
        run: RunInfo {
            step,
            epoch: EpochSums { loss: 0.1 + 0.2, correct: 7 },
            manifest,
            config_hash,
            generation: Some(2),
            validation: Some(Validation { epoch: 1, samples: 30, correct: 25, loss: 0.7 }),
            best: Some(BestSoFar {
                result: Validation { epoch: 1, samples: 30, correct: 25, loss: 0.1 + 0.2 },
                since: 3,
            }),
            plateau: None,
            unlogged: vec![serde_json::json!({"epoch": 1, "train_loss": 0.1 + 0.2})],
            imported: None,
        },
        moments: [params.iter().map(|x| x * 0.5).collect(), params.iter().map(|x| x * x).collect()],
        average: Vec::new(),
        params,
        model,
    }
}

#[test]
fn a_file_survives_writing_and_reading_and_its_bytes_are_reproducible() {
    let file = example(5);
    let bytes = file.to_bytes().unwrap();
    assert_eq!(bytes, file.to_bytes().unwrap());
    assert_eq!(ModelFile::from_bytes(&bytes, Path::new("x")).unwrap(), file);
    let mut averaged = file.clone();
    averaged.average = file.params.iter().map(|x| x * 0.25).collect();
    let bytes = averaged.to_bytes().unwrap();
    assert_eq!(ModelFile::from_bytes(&bytes, Path::new("x")).unwrap(), averaged);
    let mut judged = file.clone();
    judged.run.plateau = Some(Plateau { best: Some(0.1 + 0.2), since: 1, drops: 2 });
    let bytes = judged.to_bytes().unwrap();
    assert_eq!(ModelFile::from_bytes(&bytes, Path::new("x")).unwrap(), judged);
    let model = ModelFile { moments: Default::default(), ..file };
    assert_eq!(ModelFile::from_bytes(&model.to_bytes().unwrap(), Path::new("x")).unwrap(), model);
}

#[test]
fn a_normalised_network_survives_writing_and_reading() {
    let mut file = example(5);
    file.model = file.model.with_normalization(Normalization::Layer).unwrap();
    file.run.manifest.model = file.model.clone();
    let count = file.model.parameters() as u8;
    file.params = (0..count).map(f32::from).collect();
    file.moments = [file.params.iter().map(|x| x * 0.5).collect(), file.params.clone()];
    let bytes = file.to_bytes().unwrap();
    assert_eq!(ModelFile::from_bytes(&bytes, Path::new("x")).unwrap(), file);
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    // 4·3 weights and 3 biases come before γ and β of the first layer.
    for (name, first) in [("layers.0.norm.weight", 15.0_f32), ("layers.0.norm.bias", 18.0)] {
        let tensor = tensors.tensor(name).unwrap();
        assert_eq!((tensor.shape(), &tensor.data()[..4]), (&[3][..], &first.to_le_bytes()[..]), "{name}");
    }
    assert!(tensors.tensor("layers.1.norm.weight").is_err(), "outputs are not normalised");
}

#[test]
fn every_cut_and_every_changed_bit_is_detected() {
    let file = example(5);
    let bytes = file.to_bytes().unwrap();
    for len in 0..bytes.len() {
        assert!(ModelFile::from_bytes(&bytes[..len], Path::new("x")).is_err(), "{len} bytes");
    }
    let mut changed = bytes.clone();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            changed[at] ^= 1 << bit;
            let read = ModelFile::from_bytes(&changed, Path::new("x"));
            assert!(read.is_err(), "bit {bit} of byte {at} of {}", bytes.len());
            changed[at] = bytes[at];
        }
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(ModelFile::from_bytes(&longer, Path::new("x")).is_err());
}

#[test]
fn tensors_that_belong_to_no_layer_are_detected() {
    let mut file = example(5);
    file.moments[1].clear();
    let mut bytes = file.to_bytes().unwrap();
    assert!(ModelFile::from_bytes(&bytes, Path::new("x")).is_ok());
    // One more tensor, of no bytes, added to the header.
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let more = format!(
        "{},\"x\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[{end},{end}]}}}}",
        std::str::from_utf8(&bytes[8..8 + header]).unwrap().trim_end().strip_suffix('}').unwrap(),
        end = bytes.len() - 8 - header,
    );
    let rest = bytes.split_off(8 + header);
    bytes = [&(more.len() as u64).to_le_bytes()[..], more.as_bytes(), &rest].concat();
    let error = ModelFile::from_bytes(&bytes, Path::new("x")).unwrap_err();
    assert!(error.to_string().contains("9 tensors instead of 8"), "{error}");
}

#[test]
fn foreign_and_future_files_are_named_as_such() {
    let foreign = safetensors::serialize(
        vec![("w", Tensor { shape: vec![1], values: &[1.0] })],
        None::<HashMap<String, String>>,
    );
    let error = ModelFile::from_bytes(&foreign.unwrap(), Path::new("theirs")).unwrap_err();
    assert!(error.to_string().contains("theirs was not written by nn"), "{error}");
    let future = HashMap::from([("nn".to_owned(), "{\"format\": 3, \"more\": 1}".to_owned())]);
    let future = safetensors::serialize(vec![("w", Tensor { shape: vec![1], values: &[1.0] })], Some(future));
    let error = ModelFile::from_bytes(&future.unwrap(), Path::new("x")).unwrap_err();
    assert!(error.to_string().contains("format 3"), "{error}");
}
