//! `nn export` and `nn import`, through the real program: networks of PyTorch and Keras in `tests/cases/onnx`, which `make.py` and
//! `make_operators.py` there have made with what they compute; and our own models, there and back.

mod common;

use std::fs;
use std::path::Path;

use common::{Place, linear_csv, noise};
use nn::store::ModelFile;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
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

/// Layer normalisation in basic operators, numbers of 16 bits, and inputs scaled each by its own numbers give onnxruntime's answers.
#[test]
fn operators_of_other_programs_compute_what_onnxruntime_does() {
    let place = Place::new();
    let expected: Value =
        serde_json::from_slice(&fs::read(Path::new(CASES).join("expected_operators.json")).unwrap()).unwrap();
    for (name, case) in expected.as_object().unwrap() {
        take(&place, name);
        let said = place.nn(&format!("import {name} --out model.safetensors --overwrite")).ok();
        // Where a program rounds every number to 16 bits, one in a thousand is its error.
        let (note, tolerance) = match name.as_str() {
            "torch_script_half.onnx" => ("numbers of 16 bits", 1e-3),
            "torch_script_narrow.onnx" => ("numbers of 16 bits", 1e-5),
            "torch_script_scaled.onnx" => ("with the columns of a table", 1e-5),
            _ => ("", 1e-5),
        };
        assert!(said.stderr.contains(note) && said.stderr.is_empty() == note.is_empty(), "{name}: {said:?}");
        let want: Vec<Vec<f64>> = serde_json::from_value(case["outputs"].clone()).unwrap();
        let got = outputs(&place, "model.safetensors", &case["inputs"]);
        assert_eq!((got.len(), got[0].len()), (8, 3));
        for (got, want) in got.iter().flatten().zip(want.iter().flatten()) {
            assert!((got - want).abs() <= tolerance, "{name}: {got} instead of {want}");
        }
    }
    assert_eq!(expected.as_object().unwrap().len(), 6);
    // The columns go on into training: six of them and the class.
    take(&place, "torch_script_scaled.onnx");
    place.nn("import torch_script_scaled.onnx --out scaled.safetensors --class-names red,green,blue").ok();
    place.file("six.csv", six_csv(["red", "green", "blue"]));
    place.nn("eval --json --model scaled.safetensors --data six.csv").ok();
    place.nn("train --quiet --epochs 1 --from scaled.safetensors --data six.csv --out run").ok();
    place
        .nn("import torch_script_scaled.onnx --out x.safetensors --standardize 0,2")
        .refused(2, &["standardise twice", "leave it out"]);
}

/// An exported model comes back with every byte.
/// The numbers of a state dict, 5 inputs, 4 hidden units and 3 outputs: each has so few digits that all formats hold it exactly.
fn state_dict(dtype: Dtype, encode: fn(f32) -> Vec<u8>) -> Vec<u8> {
    let shapes: [(&str, &[usize]); 4] =
        [("0.weight", &[4, 5]), ("0.bias", &[4]), ("2.weight", &[3, 4]), ("2.bias", &[3])];
    let mut number = 0..;
    let tensors: Vec<(&str, &[usize], Vec<u8>)> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let numbers = number.by_ref().take(shape.iter().product());
            (name, shape, numbers.flat_map(|n: i16| encode(f32::from(n * 11 % 40 - 17) / 16.0)).collect())
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (*name, TensorView::new(dtype, shape.to_vec(), bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

/// PyTorch's `model.half()` and `model.bfloat16()`, saved: the network is that of the same numbers with 32 bits.
#[test]
fn a_state_dict_of_16_bits_is_taken_over_exactly() {
    /// IEEE's binary16, of a number that is neither subnormal nor too large there.
    fn half(x: f32) -> Vec<u8> {
        let bits = x.to_bits();
        let rest = if x == 0.0 { 0 } else { ((bits >> 13) & 0x3_ffff) - (112 << 10) };
        ((bits >> 16 & 0x8000 | rest & 0x7fff) as u16).to_le_bytes().into()
    }
    assert_eq!(
        [half(1.0), half(-0.5), half(0.0)],
        [0x3c00_u16, 0xb800, 0].map(|bits| bits.to_le_bytes().to_vec())
    );
    let place = Place::new();
    place.file("f32.safetensors", state_dict(Dtype::F32, |x| x.to_le_bytes().into()));
    place.file("bf16.safetensors", state_dict(Dtype::BF16, |x| x.to_le_bytes()[2..].into()));
    place.file("f16.safetensors", state_dict(Dtype::F16, half));
    let models = ["f32", "bf16", "f16"].map(|name| {
        let out = format!("{name}-model.safetensors");
        let ran = place.nn(&format!("import {name}.safetensors --activation relu --out {out}")).ok();
        assert_eq!(ran.stderr.contains("16 bits"), name != "f32", "{ran:#?}");
        ModelFile::read(&place.at(&out)).unwrap().params
    });
    assert_eq!(models[0].len(), 39);
    assert!(models[0].contains(&(-17.0 / 16.0)));
    assert_eq!(models[0], models[1]);
    assert_eq!(models[0], models[2]);

    place.file("f64.safetensors", state_dict(Dtype::F64, |x| f64::from(x).to_le_bytes().into()));
    place.nn("import f64.safetensors --activation relu").refused(3, &["F64, not F32, F16 or BF16"]);
}

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

/// Rows of six numbers with one of three answers.
fn six_csv(answers: [&str; 3]) -> String {
    let row = |i: usize| {
        let numbers: Vec<String> = (0..6).map(|at| format!("{:.4}", noise(6 * i + at) * 2.0 - 1.0)).collect();
        format!("{},{}\n", numbers.join(","), answers[i * 7 % 3])
    };
    "a,b,c,d,e,f,kind\n".to_owned() + &(0..90).map(row).collect::<String>()
}

/// A network of PyTorch is trained further, with the same weights for any number of threads.
#[test]
fn an_imported_network_is_trained_further() {
    let place = Place::new();
    take(&place, "torch_script_relu.onnx");
    place.file("six.csv", six_csv(["red", "green", "blue"]));
    place.nn("import torch_script_relu.onnx --out torch.safetensors --output softmax --class-names red,green,blue").ok();
    let report = |model: &str| place.nn(&format!("eval --json --data six.csv --model {model}")).ok().json();
    let train = "train --data six.csv --from torch.safetensors --epochs 3 --out";
    let said = place.nn(&format!("{train} one --threads 1")).ok();
    assert!(said.stdout.contains("weights from torch.safetensors ("), "{said:?}");
    place.nn(&format!("{train} two --threads 2 --quiet")).ok();
    assert_eq!(place.hash("one"), place.hash("two"));
    let (before, after) = (report("torch.safetensors"), report("one/model.safetensors"));
    assert_eq!(after["classes"], before["classes"]);
    assert_ne!(after["loss"], before["loss"]);
    // The result is a run's: it can be replayed, trained further, and has a checkpoint.
    place.nn("train --quiet --data six.csv --from one/model.safetensors --epochs 1 --out three").ok();
    let newest = fs::read_dir(place.at("one/checkpoints")).unwrap().next().unwrap().unwrap().path();
    let newest = newest.to_str().unwrap();
    place.nn(&format!("train --quiet --data six.csv --from {newest} --epochs 1 --out four")).ok();
    assert_eq!(place.hash("three"), place.hash("four"), "a checkpoint is the model that it is");
    // What knows no columns is told which are not numbers of its own.
    let table = six_csv(["red", "green", "blue"]);
    let numbered = table.lines().enumerate().map(|(at, line)| format!("{at},{line}\n")).collect::<String>();
    place.file("seven.csv", numbered);
    let seven = "train --quiet --epochs 3 --from torch.safetensors --data seven.csv";
    place
        .nn(&format!("{seven} --out five"))
        .refused(3, &["the model takes 6 inputs, but the samples have 7"]);
    place.nn(&format!("{seven} --ignore 0 --out five --threads 1")).ok();
    assert_eq!(place.hash("five"), place.hash("one"));
}

/// The first loss of a run is that of its model, and so is the preparation of its inputs.
#[test]
fn a_run_begins_exactly_where_its_model_stands() {
    let place = Place::new();
    place.file("line.csv", linear_csv(80));
    // Other numbers than those that the preparation was fitted to, with the columns in another order.
    let other: Vec<String> = linear_csv(160)
        .lines()
        .skip(81)
        .map(|line| line.split(',').rev().collect::<Vec<_>>().join(","))
        .collect();
    place.file("other.csv", format!("y,c,b,a\n{}\n", other.join("\n")));
    for (name, options, more) in [
        ("digits", "--hidden 12 --standardize yes", ""),
        ("average", "--ema 0.9 --normalization layer --precision bf16", ""),
        ("line", "--data line.csv --hidden 8", "--data other.csv --label-column y"),
    ] {
        place.nn(&format!("train --quiet --epochs 3 --threads 1 --out {name} {options}")).ok();
        let model = format!("{name}/model.safetensors");
        let data = if more.is_empty() { "--data digits" } else { more };
        let before = place.nn(&format!("eval --json --model {model} {data}")).ok().json();
        // Steps too small to change any weight.
        let still =
            "--optimizer sgd --learning-rate 1e-35 --schedule constant --epochs 1 --warmup-steps 0 --quiet";
        place.nn(&format!("train --from {model} {data} {still} --out {name}-still")).ok();
        let still = format!("{name}-still");
        assert_eq!(place.hash(&still), place.hash(name));
        assert_eq!(place.metrics(&still)[0]["test_loss"], before["loss"], "{name}");
        let keys = ["preprocess_sha256", "layers"];
        keys.iter().for_each(|key| assert_eq!(place.summary(&still)[key], place.summary(name)[key]));
        // As the model of a run, it is looked at by the same data without being told.
        assert_eq!(
            place.nn(&format!("eval --json --model {still}/model.safetensors")).ok().json()["loss"],
            before["loss"]
        );
    }
}

#[test]
fn a_run_that_does_not_fit_its_model_is_refused() {
    let place = Place::new();
    take(&place, "torch_script_relu.onnx");
    take(&place, "state_dict.safetensors");
    place.nn("import torch_script_relu.onnx --out torch.safetensors --output softmax --class-names red,green,blue").ok();
    place.file("six.csv", six_csv(["red", "green", "blue"]));
    place.file("pink.csv", six_csv(["red", "green", "pink"]));
    place.file("line.csv", linear_csv(60));
    place.file("other.csv", linear_csv(60).replacen("a,b,c", "a,b,z", 1));
    place.file("words.csv", "a,b,c,y\n".to_owned() + &"0.1,0.2,0.3,yes\n0.3,0.1,0.2,no\n".repeat(20));
    place.nn("train --quiet --epochs 1 --threads 1 --data line.csv --out line").ok();
    place.nn("train --quiet --epochs 1 --threads 1 --out digits").ok();
    let mut infinite = ModelFile::read(&place.at("digits/model.safetensors")).unwrap();
    infinite.params[7] = f32::NAN;
    infinite.write(&place.at("nan.safetensors")).unwrap();
    let before = place.files();
    let (digits, line) = ("--from digits/model.safetensors", "--from line/model.safetensors --data line.csv");
    let torch = "--from torch.safetensors --data six.csv";
    for (arguments, code, parts) in [
        // No model.
        ("--from nowhere.safetensors", 3, &["--from: cannot read the model nowhere.safetensors"][..]),
        ("--from digits", 3, &["digits is a folder", "model.safetensors"]),
        ("--from six.csv --data six.csv", 3, &["not a safetensors file"]),
        ("--from torch_script_relu.onnx", 3, &["not a safetensors file", "`nn import`"]),
        ("--from state_dict.safetensors", 3, &["was not written by nn", "`nn import`"]),
        ("--from nan.safetensors", 3, &["weights that are not finite"]),
        // Another network.
        (
            &format!("{digits} --hidden 20"),
            2,
            &["--hidden is 20, but the model digits/model.safetensors of --from has 30"],
        ),
        (&format!("{digits} --activation relu"), 2, &["--activation is relu", "has sigmoid"]),
        (&format!("{digits} --output softmax"), 2, &["--output is softmax", "has sigmoid"]),
        (&format!("{digits} --cost cross-entropy"), 2, &["--cost is cross-entropy", "has mse"]),
        (&format!("{digits} --normalization layer"), 2, &["--normalization is layer", "has none"]),
        (&format!("{digits} --init xavier"), 2, &["--init has no effect with --from"]),
        (&format!("{digits} --standardize yes"), 2, &["--standardize is yes", "as they are"]),
        (&format!("{digits} --task regression"), 2, &["--task is regression", "has classification"]),
        (&format!("{digits} --classes 11"), 2, &["--classes is 11", "has 10"]),
        (&format!("{digits} --out digits --overwrite"), 2, &["is a file of --out digits", "would replace"]),
        // Another table.
        (&format!("{line} --label-column a"), 2, &["--label-column is a", "has the answer `y`"]),
        (&format!("{line} --ignore b"), 2, &["--ignore is b", "has it as an input"]),
        (&format!("{line} --categorical b"), 2, &["--categorical is b", "has a number there"]),
        (
            &format!("{line} --standardize no"),
            2,
            &["--standardize is no", "has numbers that are standardised"],
        ),
        ("--from line/model.safetensors --data other.csv", 3, &["other.csv", "`c`"]),
        ("--from line/model.safetensors --data words.csv", 3, &["words.csv", "regression needs numbers"]),
        ("--from line/model.safetensors", 3, &["digits does not fit", "prepares the columns of a table"]),
        (&format!("{digits} --data six.csv"), 3, &["six.csv", "the label", "classes, which are 0, 1, 2"]),
        (&format!("{torch} --categorical a"), 2, &["--categorical is a", "no columns by name"]),
        (
            "--from torch.safetensors --data pink.csv",
            3,
            &["the label `pink` is not one of the model's classes, which are red, green, blue"],
        ),
        ("--from torch.safetensors", 3, &["digits does not fit the model", "6 inputs", "64 features"]),
    ] {
        let out = if arguments.contains("--out") { "" } else { "--out run" };
        place.nn(&format!("train --quiet --epochs 1 {out} {arguments}")).refused(code, parts);
        assert_eq!(place.files(), before, "{arguments}");
    }
    // What agrees may be said.
    place.nn(&format!("train --quiet --epochs 1 --out a {digits} --hidden 30 --activation sigmoid --output sigmoid --cost mse")).ok();
    place
        .nn(&format!(
            "train --quiet --epochs 1 --out b {line} --label-column -1 --numeric a,b --standardize yes"
        ))
        .ok();
    // A whole file of options, but for the weights.
    place.nn("train --quiet --config digits/run.toml --from digits/model.safetensors --out c").ok();
    assert_eq!(place.hash("a"), place.hash("c"));
    // Neither is there a plan for what cannot be trained, nor a search.
    for command in ["plan --link 1gbit", "lr-find"] {
        place.nn(&format!("{command} {digits} --hidden 20")).refused(2, &["--hidden is 20"]);
    }
    place.nn(&format!("plan --link 1gbit --workers 2 {digits}")).ok();
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
