//! `nn export` and `nn import`, through the real program: networks of PyTorch and Keras in `tests/cases/onnx`, which `make.py` there
//! has made with what they compute; and our own models, there and back.

mod common;

use std::fs;
use std::path::Path;

use common::Place;
use serde_json::Value;

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/onnx");

/// Copies a case with the file of its numbers, if it has one.
fn take(place: &Place, name: &str) {
    for name in [name.to_owned(), format!("{name}.data")] {
        if let Ok(bytes) = fs::read(Path::new(CASES).join(&name)) {
            place.file(name, bytes);
        }
    }
}

/// The outputs of a model for rows of numbers.
fn outputs(place: &Place, model: &str, rows: &Value) -> Vec<Vec<f64>> {
    let text: Vec<String> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            row.as_array()
                .unwrap()
                .iter()
                .map(|x| x.as_f64().unwrap().to_string())
                .collect::<Vec<_>>()
                .join(",")
        })
        .collect();
    place.file("rows.csv", text.join("\n") + "\n");
    let answers = place.nn(&format!("predict --json --header no --model {model} rows.csv")).ok().json();
    let outputs = |answer: &Value| serde_json::from_value(answer["outputs"].clone()).unwrap();
    answers["predictions"].as_array().unwrap().iter().map(outputs).collect()
}

/// Networks of other programs compute here what they compute there.
#[test]
fn networks_of_other_programs_keep_their_answers() {
    let place = Place::new();
    let expected: Value =
        serde_json::from_slice(&fs::read(Path::new(CASES).join("expected.json")).unwrap()).unwrap();
    let mut compared = 0;
    for (name, case) in expected.as_object().unwrap() {
        take(&place, name);
        if name == "torch_convolution.onnx" {
            place
                .nn(&format!("import {name}"))
                .refused(3, &["(Conv) is an operator that nn does not import", "chain of Gemm"]);
            continue;
        }
        let more = if name.ends_with(".safetensors") { "--activation tanh" } else { "" };
        place.nn(&format!("import {name} --out model.safetensors --overwrite {more}")).ok();
        let want: Vec<Vec<f64>> = serde_json::from_value(case["outputs"].clone()).unwrap();
        let got = outputs(&place, "model.safetensors", &case["inputs"]);
        assert_eq!(got.len(), want.len());
        for (got, want) in got.iter().flatten().zip(want.iter().flatten()) {
            assert!((got - want).abs() <= 1e-5 * (1.0 + want.abs()), "{name}: {got} instead of {want}");
            compared += 1;
        }
    }
    assert!(compared >= 20 * 8 * 3, "{compared} numbers were compared");
}

/// An exported model comes back with every byte.
#[test]
fn our_own_models_come_back_whole() {
    let place = Place::new();
    let table = "age,sex,joined,bought\n".to_owned()
        + &(0..60)
            .map(|i| {
                let age = if i % 7 == 0 { String::new() } else { (20 + i).to_string() };
                format!(
                    "{age},{},2024-0{}-1{},{}\n",
                    ["m", "f", ""][i % 3],
                    1 + i % 9,
                    i % 10,
                    ["no", "yes"][i % 2]
                )
            })
            .collect::<String>();
    place.file("people.csv", table);
    for (name, options) in [
        ("digits", "--hidden 8 --standardize yes"),
        ("normalised", "--hidden 8,7 --normalization layer --precision bf16 --ema 0.9"),
        ("people", "--data people.csv --hidden 8"),
    ] {
        place.nn(&format!("train --quiet --epochs 1 --threads 1 --out {name} {options}")).ok();
        place.nn(&format!("export --model {name}/model.safetensors --onnx {name}.onnx")).ok();
        place.nn(&format!("import {name}.onnx")).ok();
        let back = fs::read(place.at(format!("{name}.nn.safetensors"))).unwrap();
        assert!(back == fs::read(place.at(format!("{name}/model.safetensors"))).unwrap(), "{name}");
        // The same bytes each time, and a checkpoint is exported as the model that it is.
        place.nn(&format!("export --model {name}/model.safetensors --onnx again.onnx --overwrite")).ok();
        assert!(
            fs::read(place.at("again.onnx")).unwrap() == fs::read(place.at(format!("{name}.onnx"))).unwrap()
        );
        place
            .nn(&format!("import {name}.onnx --overwrite --activation relu"))
            .refused(2, &["--activation has no effect"]);
    }
    let newest = fs::read_dir(place.at("normalised/checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .max()
        .unwrap();
    let newest = newest.to_str().unwrap();
    place.nn(&format!("export --model {newest} --onnx again.onnx --overwrite")).ok();
    assert!(fs::read(place.at("again.onnx")).unwrap() == fs::read(place.at("normalised.onnx")).unwrap());
}

/// What is imported can be evaluated as any model.
#[test]
fn an_imported_network_is_evaluated_on_data() {
    let place = Place::new();
    place.nn("train --quiet --epochs 3 --threads 1 --hidden 16 --out run").ok();
    place.nn("export --model run/model.safetensors --onnx own.onnx").ok();
    // Without our metadata it is a graph like any other: pixels scaled, flattened, two layers.
    let bytes = fs::read(place.at("own.onnx")).unwrap();
    let at = bytes.windows(4).position(|four| four == b"\n\x02nn").expect("the key of the metadata");
    let mut foreign = bytes;
    foreign[at + 2..at + 4].copy_from_slice(b"no");
    place.file("foreign.onnx", foreign);
    let said = place.nn("import foreign.onnx --cost mse").ok();
    assert!(said.stdout.contains("64-16-10") && said.stdout.contains("pictures of 8 x 8"), "{said:?}");
    let [own, imported] = ["run/model.safetensors", "foreign.nn.safetensors"]
        .map(|model| place.nn(&format!("eval --json --data digits --model {model}")).ok().json());
    let accuracy = |report: &Value| report["classification"]["accuracy"].as_f64().expect("an accuracy");
    assert_eq!(accuracy(&own), accuracy(&imported));
    let [own, imported] = [&own, &imported].map(|report| report["loss"].as_f64().unwrap());
    assert!((own - imported).abs() < 1e-5, "{own} and {imported}");
    // There is no run behind it.
    place.nn("replay --checkpoint foreign.nn.safetensors --data digits").refused(2, &["was imported"]);
}

#[test]
fn what_cannot_be_exported_or_imported_is_refused() {
    let place = Place::new();
    for name in ["torch_script_relu.onnx", "torch_external.onnx", "state_dict.safetensors"] {
        take(&place, name);
    }
    place.nn("train --quiet --epochs 1 --threads 1 --hidden none --out run").ok();
    place.file("there.onnx", "mine");
    let model = "--model run/model.safetensors";
    for (arguments, code, part) in [
        (format!("export {model} --onnx there.onnx"), 2, "there.onnx exists already"),
        (format!("export {model} --onnx run"), 2, "run is a folder"),
        (format!("export {model} --onnx /proc/no/x.onnx"), 1, "cannot write /proc/no/x.onnx"),
        ("export --model no.safetensors --onnx x.onnx".to_owned(), 3, "no.safetensors"),
        ("import no.onnx".to_owned(), 3, "cannot read no.onnx"),
        ("import there.onnx".to_owned(), 3, "neither an ONNX file nor"),
        ("import run".to_owned(), 3, "cannot read run"),
        ("import run/model.safetensors".to_owned(), 3, "a model of nn already"),
        ("import state_dict.safetensors".to_owned(), 2, "--activation"),
        (
            "import torch_script_relu.onnx --activation tanh".to_owned(),
            2,
            "--activation says tanh, but the file has relu",
        ),
        ("import torch_script_relu.onnx --output sigmoid".to_owned(), 2, "--output says sigmoid"),
        (
            "import torch_script_relu.onnx --image 28x28".to_owned(),
            2,
            "have 784 pixels, but the network has 6 inputs",
        ),
        ("import torch_script_relu.onnx --image 28".to_owned(), 2, "such as 28x28"),
        ("import torch_script_relu.onnx --pixel-scale 255".to_owned(), 2, "no effect without pictures"),
        ("import torch_script_relu.onnx --pixel-scale 0".to_owned(), 2, "must be a number above 0"),
        ("import torch_script_relu.onnx --standardize 0,0".to_owned(), 2, "deviation above 0"),
        (
            "import torch_script_relu.onnx --class-names a,b".to_owned(),
            2,
            "2 names, but the network has 3 outputs",
        ),
        ("import torch_script_relu.onnx --class-names a,b,a".to_owned(), 2, "a name twice"),
        ("import torch_script_relu.onnx --cost huber".to_owned(), 2, "the Huber loss needs linear outputs"),
        ("import torch_script_relu.onnx --out there.onnx".to_owned(), 2, "exists already"),
    ] {
        place.nn(&arguments).refused(code, &[part]);
        assert!(!place.at("x.onnx").exists());
    }
    fs::remove_file(place.at("torch_external.onnx.data")).unwrap();
    place.nn("import torch_external.onnx").refused(3, &["is in another file", "torch_external.onnx.data"]);
    assert_eq!(fs::read(place.at("there.onnx")).unwrap(), b"mine");
}
