//! Models of tables: their columns are the inputs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::common::{Place, linear_csv, noise};
use crate::http::{get, post};
use crate::{Server, trained};

const INFER: &str = "/v2/models/model/infer";
const JSON: &str = "application/json";

/// A table with words, dates, post codes, numbers and gaps, and two classes.
fn mixed(rows: usize) -> String {
    let mut text = String::from("colour,when,\"size, in \"\"m\"\"\",zip,verdict\n");
    for row in 0..rows {
        let size = noise(row) * 4.0;
        let colour = ["red", "green", "a \"dark\" blue, or so"][row % 3];
        let shown = if row % 11 == 5 { String::new() } else { format!("{size:.3}") };
        let zip = 10_000 + 1000 * (row % 4);
        let verdict = if size + (row % 3) as f64 > 3.0 { "yes" } else { "no" };
        let colour = colour.replace('"', "\"\"");
        let _ = writeln!(text, "\"{colour}\",2024-0{}-1{},{shown},{zip},{verdict}", row % 8 + 1, row % 9);
    }
    text
}

fn tensor(name: &str, datatype: &str, data: Value) -> Value {
    json!({ "name": name, "shape": [data.as_array().unwrap().len()], "datatype": datatype, "data": data })
}

#[test]
fn numbers_are_predicted_in_their_units_as_nn_predict_does() {
    let place = Place::new();
    let _ = place.file("t.csv", linear_csv(80));
    let server = Server::start(trained(place, "--data t.csv --epochs 3"), "");
    let rows: Vec<[f64; 3]> = (0..30).map(|row| [0, 1, 2].map(|c| noise(7 * row + c) * 2.0 - 1.0)).collect();
    let lines = rows.iter().map(|[a, b, c]| format!("{a},{b},{c}\n"));
    let _ = server.place.file("new.csv", format!("a,b,c\n{}", lines.collect::<String>()));
    let want = server.predicted("new.csv");
    let metadata = get(&server.address, "/v2/models/model").ok();
    assert_eq!(metadata["inputs"][0], json!({ "name": "a", "datatype": "FP64", "shape": [-1] }));
    assert_eq!(metadata["outputs"], json!([{ "name": "outputs", "datatype": "FP64", "shape": [-1, 1] }]));
    let column = |at: usize| rows.iter().map(|row| json!(row[at])).collect::<Vec<Value>>();
    let text = |at: usize| rows.iter().map(|row| json!(row[at].to_string())).collect::<Vec<Value>>();
    let inputs = [
        tensor("b", "FP64", column(1).into()),
        tensor("c", "BYTES", text(2).into()),
        tensor("a", "FP64", column(0).into()),
    ];
    let answer = post(&server.address, INFER, JSON, json!({ "inputs": inputs }).to_string()).ok();
    let got = answer["outputs"][0]["data"].as_array().unwrap();
    for (got, want) in got.iter().zip(&want) {
        assert_eq!(got.as_f64().unwrap().to_bits(), want["outputs"][0].as_f64().unwrap().to_bits());
    }
    assert_eq!((got.len(), answer["outputs"].as_array().unwrap().len()), (30, 1));
    server.ends();
}

#[test]
fn words_dates_and_gaps_are_read_as_from_a_file() {
    let place = Place::new();
    let _ = place.file("t.csv", mixed(120));
    let options = "--data t.csv --label-column verdict --categorical zip --epochs 5";
    let server = Server::start(trained(place, options), "");
    let new = "colour,when,\"size, in \"\"m\"\"\",zip\nred,2024-03-14,1.25,11000\n\"a \"\"dark\"\" blue, or \
               so\",2024-05-11,,12000\npurple,,0.1,\n";
    let _ = server.place.file("new.csv", new);
    let want = server.predicted("new.csv");
    let types: Vec<Value> = get(&server.address, "/v2/models/model").ok()["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|input| json!([input["name"], input["datatype"]]))
        .collect();
    let size = "size, in \"m\"";
    let all = json!([["colour", "BYTES"], ["when", "BYTES"], [size, "FP64"], ["zip", "BYTES"]]);
    assert_eq!(Value::from(types), all);
    let inputs = [
        tensor("colour", "BYTES", json!(["red", "a \"dark\" blue, or so", "purple"])),
        tensor("when", "BYTES", json!(["2024-03-14", "2024-05-11", null])),
        tensor(size, "FP64", json!([1.25, null, 0.1])),
        tensor("zip", "INT64", json!([11_000, 12_000, null])),
    ];
    let answer = post(&server.address, INFER, JSON, json!({ "inputs": inputs }).to_string()).ok();
    let outputs: Vec<Value> = answer["outputs"][0]["data"].as_array().unwrap().clone();
    for (row, want) in outputs.chunks_exact(2).zip(&want) {
        assert_eq!(&Value::from(row), &want["outputs"]);
    }
    let classes: Vec<Value> = want.iter().map(|want| want["class"].clone()).collect();
    assert_eq!(answer["outputs"][1]["data"], Value::from(classes));
    let notes = answer["parameters"]["notes"].as_str().unwrap();
    assert!(notes.contains("a value that no training sample has"), "{notes}");

    // The page's form sends the same, and the file itself can be uploaded.
    for (kind, body) in [(JSON, json!({ "inputs": inputs }).to_string()), ("text/csv", new.to_owned())] {
        let page = post(&server.address, "/page/answer", kind, body).ok();
        for (answer, want) in page["answers"].as_array().unwrap().iter().zip(&want) {
            assert_eq!(answer["outputs"], want["outputs"], "{kind}");
        }
        assert_eq!(page["seen"], Value::Null);
        assert!(!page["reasons"][0]["inputs"].as_array().unwrap().is_empty(), "{page}");
    }
    for (change, part) in [
        (tensor("zip", "FP64", json!([1.0, 2.0, 3.0])), "takes BYTES"),
        (tensor("zip", "INT64", json!([1.5, 2, 3])), "1.5, which that does not hold"),
        (tensor("zip", "INT8", json!([1, 2, 128])), "128, which that does not hold"),
        (tensor("zip", "BYTES", json!([1, 2, 3])), "takes BYTES"),
        (tensor("zip", "INT64", json!([1, 2])), "differ in their numbers of samples"),
        (tensor("town", "BYTES", json!(["a", "b", "c"])), "no input \"town\""),
        (tensor("colour", "BYTES", json!(["a", "b", "c"])), "lacks the columns \"zip\""),
    ] {
        let mut inputs = inputs.clone();
        inputs[3] = change;
        post(&server.address, INFER, JSON, json!({ "inputs": inputs }).to_string()).refused(400, part);
    }
    let twice = [&inputs[..], &inputs[..1]].concat();
    post(&server.address, INFER, JSON, json!({ "inputs": twice }).to_string()).refused(400, "there twice");
    let picture = crate::common::png(8, 8, &[0; 64]);
    post(&server.address, "/page/answer", "image/png", picture).refused(400, "was not trained on pictures");
    server.ends();
}
