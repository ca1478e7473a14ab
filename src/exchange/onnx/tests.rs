//! Graphs that are refused by the name of what is wrong, and bytes that are no graphs at all.

use std::path::Path;

use bytes::Bytes;
use nn_core::{Activation, Cost, Model, Normalization, Output, layout};
use prost::Message;

use super::graph::{Graph, Value};
use super::proto::{Entry, ModelProto, TensorProto, data_type};
use super::to_onnx;
use crate::exchange::{Import, ImportError, Said, from_bytes};
use crate::store::ModelFile;

fn import(bytes: Vec<u8>) -> Result<Import, ImportError> {
    let external = |_: &str, _, _| Err("is in another file".to_owned());
    from_bytes(bytes, Path::new("x.onnx"), &Said::default(), &external)
}

/// A graph of 3 inputs, as a file.
fn file(build: impl FnOnce(&mut Graph) -> String) -> ModelProto {
    let mut graph = Graph::default();
    let _ = graph.input("x", data_type::FLOAT, &[3], "");
    let output = build(&mut graph);
    graph.output(&output, data_type::FLOAT, &[2], "");
    ModelProto { ir_version: 8, graph: Some(graph.finish("g")), ..Default::default() }
}

/// A layer of `outputs` units on `from`, of `inputs` numbers.
fn dense(graph: &mut Graph, from: &str, inputs: usize, outputs: usize) -> String {
    let weights: Vec<f32> = (0..inputs * outputs).map(|i| i as f32 / 8.0 - 0.5).collect();
    let weights = graph.floats("w", &[outputs, inputs], &weights);
    let biases = graph.floats("b", &[outputs], &vec![0.25; outputs]);
    graph.node("Gemm", "dense", &[from, &weights, &biases], &[("transB", Value::Int(1))])
}

#[track_caller]
fn refused(file: &ModelProto, part: &str) {
    let error = import(file.encode_to_vec()).expect_err(part).to_string();
    assert!(error.contains(part), "{error:?} lacks {part:?}");
}

fn models() -> Vec<ModelFile> {
    let mut all = Vec::new();
    for (at, &(_, activation)) in <Activation as nn_core::Named>::NAMES.iter().enumerate() {
        let output = [Output::Softmax, Output::Sigmoid, Output::Linear][at % 3];
        let cost = if output == Output::Linear { Cost::Mse } else { Cost::CrossEntropy };
        let mut model = Model::new(vec![4, 3, 5, 2], activation, output, cost).unwrap();
        if at % 2 == 1 {
            model = model.with_normalization(Normalization::Layer).unwrap();
        }
        let mut file = crate::store::example_of(&model, 5);
        file.params = (0..model.parameters()).map(|i| (i as f32 - 11.0) / 7.0).collect();
        all.push(file.finished());
    }
    all
}

#[test]
fn our_models_come_back_whole_and_as_graphs_with_their_weights() {
    for model in models() {
        let bytes = to_onnx(&model).unwrap();
        assert_eq!(import(bytes.clone()).unwrap().model, model);
        // Without the metadata only the graph speaks.
        let mut bare = ModelProto::decode(Bytes::from(bytes)).unwrap();
        bare.metadata_props.clear();
        let Import { model: again, notes } = import(bare.encode_to_vec()).unwrap();
        assert_eq!(again.params, model.params, "the same bits");
        assert_eq!(again.model.widths(), model.model.widths());
        assert_eq!(again.model.activation(), model.model.activation());
        assert_eq!(again.model.output(), model.model.output());
        assert_eq!(again.model.normalization(), model.model.normalization());
        assert_eq!((again.input.scale, again.input.image), (model.input.scale, model.input.image));
        assert_eq!(notes.len(), 1, "the labels are left out: {notes:?}");
        assert_eq!(again.run.imported.unwrap().producer, format!("nn {}", env!("CARGO_PKG_VERSION")));
    }
}

/// Metadata of ours in a graph that somebody has changed must not hide the change.
#[test]
fn a_changed_graph_counts_and_not_its_metadata() {
    let model = &models()[0];
    let mut changed = ModelProto::decode(Bytes::from(to_onnx(model).unwrap())).unwrap();
    for node in &mut changed.graph.as_mut().unwrap().node {
        if node.op_type == "Sigmoid" {
            node.op_type = "Tanh".to_owned();
        }
    }
    let again = import(changed.encode_to_vec()).unwrap().model;
    assert_eq!((model.model.activation(), again.model.activation()), (Activation::Sigmoid, Activation::Tanh));
    assert!(again.run.imported.is_some());
}

#[test]
fn matmul_with_a_bias_is_a_layer() {
    let keras = file(|graph| {
        let weights = graph.floats("w", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let product = graph.node("MatMul", "product", &["x", &weights], &[]);
        let biases = graph.floats("b", &[2], &[7.0, 8.0]);
        graph.node("Add", "sum", &[&biases, &product], &[])
    });
    let model = import(keras.encode_to_vec()).unwrap().model;
    assert_eq!(model.params, [1.0, 3.0, 5.0, 2.0, 4.0, 6.0, 7.0, 8.0]);
}

#[test]
fn graphs_that_are_no_chain_are_refused_by_name() {
    refused(&file(|_| "x".to_owned()), "no layer with weights");
    refused(&file(|_| "nothing".to_owned()), "no layer with weights");
    refused(
        &file(|graph| {
            let z = dense(graph, "x", 3, 3);
            let a = graph.node("Relu", "a", &[&z], &[]);
            let z = dense(graph, &a, 3, 3);
            let b = graph.node("Tanh", "b", &[&z], &[]);
            dense(graph, &b, 3, 2)
        }),
        "followed by relu, and a later one by another activation",
    );
    refused(
        &file(|graph| {
            let z = dense(graph, "x", 3, 3);
            dense(graph, &z, 3, 2)
        }),
        "\"dense\" (Gemm) is followed by no activation",
    );
    refused(
        &file(|graph| {
            let z = dense(graph, "x", 3, 3);
            let a = graph.node("Relu", "a", &[&z], &[]);
            graph.node("Add", "skip", &[&a, "x"], &[])
        }),
        "\"skip\" (Add) joins what different layers give",
    );
    refused(
        &file(|graph| {
            let z = dense(graph, "x", 3, 3);
            let a = graph.node("HardSwish", "a", &[&z], &[]);
            dense(graph, &a, 3, 2)
        }),
        "\"a\" (HardSwish) is an operator that nn does not import",
    );
    refused(
        &file(|graph| {
            let z = dense(graph, "x", 3, 2);
            graph.node("LogSoftmax", "log", &[&z], &[("axis", Value::Int(-1))])
        }),
        "gives logarithms",
    );
    refused(
        &file(|graph| {
            let z = dense(graph, "x", 3, 2);
            let p = graph.node("Softmax", "p", &[&z], &[("axis", Value::Int(-1))]);
            let one = graph.floats("one", &[], &[1.0]);
            graph.node("Add", "more", &[&p, &one], &[])
        }),
        "follows softmax",
    );
    refused(&file(|graph| dense(graph, "y", 3, 2)), "takes \"y\", which no node before it gives");
    refused(
        &file(|graph| {
            let z = dense(graph, "x", 3, 4);
            let a = graph.node("Relu", "a", &[&z], &[]);
            dense(graph, &a, 3, 2)
        }),
        "takes 3 numbers, but \"dense\" (Gemm) before it gives 4",
    );
    refused(&file(|graph| dense(graph, "x", 4, 2)), "takes 4 numbers, but the input \"x\" has the shape [3]");
    refused(
        &file(|graph| {
            let x = graph.node("Exp", "exp", &["x"], &[]);
            dense(graph, &x, 3, 2)
        }),
        "more than shifted and scaled",
    );
    refused(
        &file(|graph| {
            let z = dense(graph, "x", 3, 3);
            let bias = graph.floats("late", &[3], &[0.0; 3]);
            let late = graph.node("Add", "late.sum", &[&z, &bias], &[]);
            dense(graph, &late, 3, 2)
        }),
        "acts on each unit with a number of its own",
    );
}

#[test]
fn a_small_file_cannot_become_a_large_network() {
    // One matrix, used by many layers.
    let shared = file(|graph| {
        let weights = graph.floats("w", &[3, 3], &[0.5; 9]);
        let mut a = "x".to_owned();
        for _ in 0..50 {
            let z = graph.node("Gemm", "z", &[&a, &weights], &[]);
            a = graph.node("Relu", "a", &[&z], &[]);
        }
        a
    });
    refused(&shared, "has the weights of another node");
    // A function that doubles with each node.
    let doubled = file(|graph| {
        let mut a = dense(graph, "x", 3, 2);
        for _ in 0..60 {
            a = graph.node("Add", "a", &[&a, &a], &[]);
        }
        a
    });
    refused(&doubled, "too large a function");
    let tensor = |change: fn(&mut TensorProto)| {
        let mut file = file(|graph| dense(graph, "x", 3, 2));
        change(&mut file.graph.as_mut().unwrap().initializer[0]);
        file
    };
    refused(&tensor(|tensor| tensor.dims = vec![1 << 40, 1 << 40]), "is too large");
    refused(&tensor(|tensor| tensor.dims = vec![1 << 40, 0]), "not the 0 of its shape");
    refused(&tensor(|tensor| tensor.dims = vec![-2, 3]), "has a negative length");
    refused(&tensor(|tensor| tensor.dims = vec![6]), "not of a matrix");
    refused(&tensor(|tensor| tensor.raw_data = None), "has 0 numbers, not the 6");
    refused(
        &tensor(|tensor| tensor.data_type = data_type::DOUBLE),
        "type DOUBLE; only FLOAT, FLOAT16 and BFLOAT16",
    );
    refused(&tensor(|tensor| tensor.raw_data = Some(Bytes::from([0xff; 24].to_vec()))), "not finite");
    refused(
        &tensor(|tensor| {
            tensor.data_location = 1;
            tensor.external_data =
                vec![Entry { key: "location".to_owned(), value: "/etc/passwd".to_owned() }];
        }),
        "is in another file",
    );
}

/// A graph of 3 inputs that are scaled by vectors, operator by operator, before a layer.
fn scaled(steps: &[(&str, [f32; 3])]) -> ModelProto {
    file(|graph| {
        let mut x = "x".to_owned();
        for (op, numbers) in steps {
            let each = graph.floats("each", &[3], numbers);
            x = graph.node(op, op, &[&x, &each], &[]);
        }
        dense(graph, &x, 3, 2)
    })
}

#[test]
fn inputs_scaled_by_numbers_of_their_own_are_columns() {
    let scales = |file: &ModelProto| -> Vec<(f64, f64)> {
        let Import { model, notes } = import(file.encode_to_vec()).unwrap();
        assert!(notes[0].contains("columns of a table, which are the 3 inputs in order"), "{notes:?}");
        let preparation = model.input.preparation.expect("a preparation");
        assert_eq!(
            (preparation.width, &preparation.answers[..], preparation.targets.len()),
            (5, &[3, 4][..], 2)
        );
        let scale = |column: &nn_data::Column| match column.encoding {
            nn_data::ColumnEncoding::Number { mean, deviation, missing: false, .. } => (mean, deviation),
            _ => panic!("no number: {column:?}"),
        };
        preparation.columns.iter().map(scale).collect()
    };
    let usual = scaled(&[("Sub", [1.0, -2.0, 0.0]), ("Div", [2.0, 3.0, 1.0])]);
    assert_eq!(scales(&usual), [(1.0, 2.0), (-2.0, 3.0), (0.0, 1.0)]);
    // x·0.5 + 1 = (x + 2)/2
    let other = scaled(&[("Mul", [0.5, 0.25, 1.0]), ("Add", [1.0, 0.0, -3.0])]);
    assert_eq!(scales(&other), [(-2.0, 2.0), (0.0, 4.0), (3.0, 1.0)]);
    refused(
        &scaled(&[("Div", [1.0, 0.0, 2.0])]),
        "scales input 1 by 0; a model divides its inputs by finite numbers above 0",
    );
    refused(&scaled(&[("Mul", [1.0, 2.0, -2.0])]), "scales input 2 by -2");
    refused(&scaled(&[("Max", [1.0, 2.0, 3.0])]), "does more to each input than to shift and scale it");
    refused(&scaled(&[("Sub", [0.0; 3]); 9]), "more than 8 steps");
    let said = Said { standardize: Some((0.5, 2.0)), ..Said::default() };
    let external = |_: &str, _, _| Err(String::new());
    let twice = from_bytes(usual.encode_to_vec(), Path::new("x"), &said, &external).unwrap_err();
    assert!(matches!(twice, ImportError::Twice), "{twice}");
    let pixels = Said { image: Some((1, 3)), ..Said::default() };
    let error = from_bytes(usual.encode_to_vec(), Path::new("x"), &pixels, &external).unwrap_err();
    assert!(
        matches!(error, ImportError::EachPixel) && error.remedy().unwrap().contains("--standardize"),
        "{error}"
    );
}

/// A hidden layer of 3 units that is normalised as TensorFlow and others write it, with that ε.
fn normalised(epsilon: f32, axes: &[i64], change: fn(&mut Graph, &str, &str) -> String) -> ModelProto {
    file(|graph| {
        let z = dense(graph, "x", 3, 3);
        let axes = [("axes", Value::Ints(axes))];
        let mean = graph.node("ReduceMean", "mean", &[&z], &axes);
        let centred = graph.node("Sub", "centred", &[&z, &mean], &[]);
        let squares = graph.node("Mul", "squares", &[&centred, &centred], &[]);
        let variance = graph.node("ReduceMean", "variance", &[&squares], &axes);
        let epsilon = graph.floats("epsilon", &[], &[epsilon]);
        let sum = graph.node("Add", "sum", &[&variance, &epsilon], &[]);
        let deviation = graph.node("Sqrt", "deviation", &[&sum], &[]);
        let normal = change(graph, &centred, &deviation);
        let a = graph.node("Relu", "a", &[&normal], &[]);
        dense(graph, &a, 3, 2)
    })
}

#[test]
fn layer_normalisation_in_basic_operators_is_one() {
    let full = |graph: &mut Graph, centred: &str, deviation: &str| {
        let normal = graph.node("Div", "normal", &[centred, deviation], &[]);
        let gains = graph.floats("gains", &[3], &[1.0, -2.0, 3.0]);
        let gained = graph.node("Mul", "gained", &[&normal, &gains], &[]);
        let shifts = graph.floats("shifts", &[3], &[0.5, 0.0, -0.5]);
        graph.node("Add", "shifted", &[&gained, &shifts], &[])
    };
    let plain = |graph: &mut Graph, centred: &str, deviation: &str| {
        graph.node("Div", "normal", &[centred, deviation], &[])
    };
    for (file, gains, shifts) in [
        (normalised(1e-5, &[-1], full), [1.0, -2.0, 3.0], [0.5, 0.0, -0.5]),
        (normalised(1e-5, &[1], plain), [1.0; 3], [0.0; 3]),
    ] {
        let model = import(file.encode_to_vec()).unwrap().model;
        assert_eq!(model.model.normalization(), Normalization::Layer);
        let first = &layout(&model.model)[0];
        assert_eq!(model.params[first.gains.clone()], gains);
        assert_eq!(model.params[first.shifts.clone()], shifts);
    }
    // Keras' ε, unless it is told another.
    refused(&normalised(1e-3, &[-1], full), "adds 0.001 to the variance, and nn 1e-5");
    refused(&normalised(1e-3, &[-1], full), "0.100000 times the weights and biases");
    refused(&normalised(1e-5, &[0], full), "takes a mean that is no part of a layer normalisation");
    refused(
        &normalised(1e-5, &[-1], |_, centred, _| centred.to_owned()),
        "means over its units that make no layer normalisation",
    );
    let twice = |graph: &mut Graph, centred: &str, deviation: &str| {
        let normal = graph.node("Div", "normal", &[centred, deviation], &[]);
        let gains = graph.floats("gains", &[3], &[1.0, -2.0, 3.0]);
        let gained = graph.node("Mul", "gained", &[&normal, &gains], &[]);
        graph.node("Mul", "again", &[&gained, &gains], &[])
    };
    refused(&normalised(1e-5, &[-1], twice), "which only biases and layer normalisation do here");
    let before = |graph: &mut Graph, centred: &str, deviation: &str| {
        let normal = graph.node("Div", "normal", &[centred, deviation], &[]);
        let other = graph.node("Div", "other", &[centred, deviation], &[]);
        graph.node("Add", "both", &[&normal, &other], &[])
    };
    refused(&normalised(1e-5, &[-1], before), "is not right after a dense layer");
}

#[test]
fn numbers_of_16_bits_are_widened() {
    let halves = |kind: i32, bits: [u16; 2], raw: bool| {
        let mut file = file(|graph| dense(graph, "x", 3, 2));
        let biases = &mut file.graph.as_mut().unwrap().initializer[1];
        biases.data_type = kind;
        biases.raw_data =
            raw.then(|| bits.iter().flat_map(|bits| bits.to_le_bytes()).collect::<Vec<u8>>().into());
        biases.int32_data = if raw { Vec::new() } else { bits.map(i32::from).to_vec() };
        file
    };
    for (kind, bits, want) in [
        (data_type::FLOAT16, [0x3555, 0x8001], [0.333_251_95, -(2f32.powi(-24))]),
        (data_type::BFLOAT16, [0x3eab, 0xc040], [0.333_984_38, -3.0]),
    ] {
        for raw in [true, false] {
            let Import { model, notes } = import(halves(kind, bits, raw).encode_to_vec()).unwrap();
            assert_eq!(model.params[6..], want);
            assert!(notes[0].contains("numbers of 16 bits; they are taken over exactly"), "{notes:?}");
        }
    }
    refused(&halves(data_type::FLOAT16, [0x7c00, 0], true), "not finite");
    let mut short = halves(data_type::FLOAT16, [0, 0], true);
    short.graph.as_mut().unwrap().initializer[1].raw_data = Some(Bytes::from_static(&[0; 3]));
    refused(&short, "has 1 numbers, not the 2 of its shape");
}

/// Other files are found beside the model only.
#[test]
fn numbers_elsewhere_on_the_machine_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    std::fs::write(folder.path().join("secret"), [0; 24]).unwrap();
    let path = folder.path().join("in/x.onnx");
    for location in ["../secret", "/etc/passwd", "", "./../secret"] {
        let mut file = file(|graph| dense(graph, "x", 3, 2));
        let tensor = &mut file.graph.as_mut().unwrap().initializer[0];
        tensor.data_location = 1;
        tensor.external_data = vec![Entry { key: "location".to_owned(), value: location.to_owned() }];
        std::fs::write(&path, file.encode_to_vec()).unwrap();
        let error = crate::exchange::import(&path, &Said::default()).unwrap_err().to_string();
        assert!(error.contains("not below the folder of the model"), "{location}: {error}");
    }
}

/// No damage panics, and what is still accepted is a network with finite weights.
#[test]
fn damaged_files_are_refused_or_are_networks() {
    let check = |bytes: &[u8]| {
        if let Ok(Import { model, .. }) = import(bytes.to_vec()) {
            assert_eq!(model.params.len(), model.model.parameters());
            assert_eq!(layout(&model.model).len(), model.model.layers());
            assert!(model.params.iter().all(|x| x.is_finite()));
            let bytes = model.to_bytes().unwrap();
            assert_eq!(ModelFile::from_bytes(&bytes, Path::new("x")).unwrap(), model);
        }
    };
    let own = to_onnx(&models()[1]).unwrap();
    let mut bare = ModelProto::decode(Bytes::from(own.clone())).unwrap();
    bare.metadata_props.clear();
    let state_dict = include_bytes!("../../../tests/cases/onnx/state_dict_norm.safetensors").to_vec();
    let gelu = include_bytes!("../../../tests/cases/onnx/torch_script_gelu.onnx").to_vec();
    let norm = include_bytes!("../../../tests/cases/onnx/tensorflow_norm.onnx").to_vec();
    let scaled = include_bytes!("../../../tests/cases/onnx/torch_script_scaled.onnx").to_vec();
    for bytes in [bare.encode_to_vec(), gelu, state_dict, own, norm, scaled] {
        // Neighbouring bytes are damaged alike, so a part of a longer file's is enough.
        let step = 1 + bytes.len() / 1000;
        for len in (0..bytes.len()).step_by(step) {
            check(&bytes[..len]);
        }
        let mut changed = bytes.clone();
        for at in (0..bytes.len()).step_by(step) {
            for with in [bytes[at] ^ 1, 0xff] {
                changed[at] = with;
                check(&changed);
            }
            changed[at] = bytes[at];
        }
    }
}
