//! The Open Inference Protocol: what is served, answers equal to `nn predict`'s, and requests that are wrong.

use serde_json::{Value, json};

use crate::common::noise;
use crate::http::{get, post, send};
use crate::{Server, digits};

const INFER: &str = "/v2/models/model/infer";
const JSON: &str = "application/json";

/// Single-precision numbers between 0 and 1, some of them with awkward digits.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| if i % 7 == 0 { 0.0 } else { noise(i) as f32 / 3.0 }).collect()
}

/// A request for the answers to `samples` of 64 features.
fn request(data: &[f32], shape: &[usize]) -> Value {
    json!({ "inputs": [{ "name": "input", "shape": shape, "datatype": "FP32", "data": data }] })
}

#[test]
fn the_server_and_its_model_describe_themselves() {
    let server = Server::start(digits(), "");
    let at = &server.address;
    let about = get(at, "/v2").ok();
    assert_eq!((&about["name"], &about["extensions"]), (&json!("nn"), &json!([])));
    assert_eq!(get(at, "/v2/health/live").ok(), json!({ "live": true }));
    assert_eq!(get(at, "/v2/health/ready").ok(), json!({ "ready": true }));
    assert_eq!(get(at, "/v2/models/model/ready").ok(), json!({ "name": "model", "ready": true }));
    let hash = server.place.hash("model");
    let metadata = get(at, "/v2/models/model").ok();
    let want = json!({
        "name": "model",
        "versions": [hash[..12]],
        "platform": "nn_safetensors",
        "inputs": [{ "name": "input", "datatype": "FP32", "shape": [-1, 64] }],
        "outputs": [
            { "name": "outputs", "datatype": "FP32", "shape": [-1, 10] },
            { "name": "class", "datatype": "BYTES", "shape": [-1] },
        ],
    });
    assert_eq!(metadata, want);
    let version = format!("/v2/models/model/versions/{}", &hash[..12]);
    assert_eq!(get(at, &version).ok(), want);
    assert_eq!(get(at, &format!("{version}/ready")).ok(), json!({ "name": "model", "ready": true }));
    let body = request(&numbers(64), &[1, 64]).to_string();
    let answer = post(at, &format!("{version}/infer"), JSON, &body).ok();
    assert_eq!(answer, post(at, INFER, JSON, &body).ok());
    get(at, "/v2/models/model/versions/1").refused(404, "has the version");
    // A body is only for those who ask for it.
    let head = send(at, "HEAD", "/v2/health/live", &[], b"");
    assert_eq!((head.status, head.header("content-type")), (200, Some(JSON)));
    server.ends();
}

#[test]
fn answers_are_those_of_nn_predict_bit_for_bit() {
    let server = Server::start(digits(), "--threads 2 --name reader");
    let (samples, infer) = (40, "/v2/models/reader/infer");
    let all = numbers(samples * 64);
    let row = |row: &[f32]| row.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
    let csv: Vec<String> = all.chunks_exact(64).map(row).collect();
    let _ = server.place.file("samples.csv", csv.join("\n") + "\n");
    let want = server.predicted("samples.csv");
    assert_eq!(want.len(), samples);

    let nested: Vec<&[f32]> = all.chunks_exact(64).collect();
    let pictures: Vec<Vec<&[f32]>> = nested.iter().map(|one| one.chunks_exact(8).collect()).collect();
    let forms = [
        request(&all, &[samples, 64]),
        request(&all, &[samples, 8, 8]),
        json!({ "inputs": [{ "name": "input", "shape": [samples, 64], "datatype": "FP32", "data": nested }] }),
        json!({ "inputs": [{ "data": pictures, "datatype": "FP32", "shape": [samples, 8, 8], "name": "input" }] }),
    ];
    for form in forms {
        let answer = post(&server.address, infer, JSON, form.to_string()).ok();
        let outputs = answer["outputs"].as_array().unwrap();
        assert_eq!(outputs[0]["shape"], json!([samples, 10]));
        assert_eq!(outputs[1]["shape"], json!([samples]));
        let numbers: Vec<f64> =
            outputs[0]["data"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        for (sample, want) in want.iter().enumerate() {
            let got = &numbers[sample * 10..sample * 10 + 10];
            for (got, want) in got.iter().zip(want["outputs"].as_array().unwrap()) {
                assert_eq!(got.to_bits(), want.as_f64().unwrap().to_bits(), "sample {sample}");
                assert_eq!(
                    f64::from(*got as f32).to_bits(),
                    got.to_bits(),
                    "not a number of single precision"
                );
            }
            assert_eq!(outputs[1]["data"][sample], want["class"]);
        }
    }
    // One by one the answers are the same as together.
    let one = post(&server.address, infer, JSON, request(&all[64..128], &[1, 64]).to_string()).ok();
    assert_eq!(&one["outputs"][0]["data"], &want[1]["outputs"]);
    server.ends();
}

#[test]
fn a_request_may_have_an_id_and_choose_its_outputs() {
    let server = Server::start(digits(), "");
    let mut body = request(&numbers(128), &[2, 64]);
    body["id"] = json!("forty-two");
    body["parameters"] = json!({ "binary_data_output": true, "more": { "is": ["ignored", null] } });
    body["outputs"] = json!([{ "name": "class", "parameters": { "binary_data": true } }]);
    let answer = post(&server.address, INFER, "Application/JSON; charset=utf-8", body.to_string()).ok();
    assert_eq!((&answer["id"], &answer["model_name"]), (&json!("forty-two"), &json!("model")));
    let outputs = answer["outputs"].as_array().unwrap();
    assert_eq!(outputs.len(), 1);
    assert_eq!((&outputs[0]["name"], &outputs[0]["datatype"]), (&json!("class"), &json!("BYTES")));
    assert!(outputs[0]["data"].as_array().unwrap().iter().all(Value::is_string), "{answer}");
    server.ends();
}

#[test]
fn wrong_requests_are_refused_and_named() {
    let server = Server::start(digits(), "");
    let at = &server.address;
    let good = request(&[0.5; 64], &[1, 64]).to_string();
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from} is not in {good}");
        good.replacen(from, to, 1)
    };
    let deep = "[".repeat(100_000);
    for (body, part) in [
        (String::new(), "not JSON"),
        ("{".to_owned(), "not JSON"),
        ("nonsense".to_owned(), "not JSON"),
        (deep.clone(), "no inference request"),
        (with("[0.5,", &format!("{deep}[0.5,")), "more than 8 dimensions"),
        ("[]".to_owned(), "no inference request"),
        ("{}".to_owned(), "missing field `inputs`"),
        (r#"{"inputs": []}"#.to_owned(), "one input, \"input\", not 0"),
        (with("[0.5,", "[NaN,"), "not JSON"),
        (with("[0.5,", "[1e999,"), "out of range"),
        (with("[0.5,", "[1e39,"), "sample 0 has a value in feature 0"),
        (with("[0.5,", "[null,"), "sample 0 has a value in feature 0"),
        (with("[0.5,", "[\"a\","), "numbers and texts"),
        (with("[0.5,", "[true,"), "no inference request"),
        (with("[0.5,", "["), "63 elements"),
        (with("[1,64]", "[2,64]"), "64 elements"),
        (with("[1,64]", "[64]"), "must have the shape [samples, 64], not [64]"),
        (with("[1,64]", "[64,1]"), "must have the shape [samples, 64], not [64, 1]"),
        (with("[1,64]", "[0,64]"), "64 elements"),
        (with("[1,64]", "[]"), "64 elements"),
        (with("[1,64]", "[-1,64]"), "no inference request"),
        (with("[1,64]", "[18446744073709551615,18446744073709551615]"), "64 elements"),
        (with("[1,64]", "[99999999999999999999999]"), "no inference request"),
        (with("FP32", "INT64"), "the datatype FP32, not \"INT64\""),
        (with("FP32", "fp32"), "the datatype FP32, not \"fp32\""),
        (with("\"input\"", "\"pixels\""), "no input \"pixels\""),
        (with("\"data\"", "\"date\""), "missing field `data`"),
        (with("{\"inputs\"", "{\"outputs\":[{\"name\":\"x\"}],\"inputs\""), "no output \"x\""),
        (with("{\"inputs\"", "{\"id\":7,\"inputs\""), "no inference request"),
    ] {
        let reply = post(at, INFER, JSON, &body);
        assert_eq!(reply.status, 400, "{body:.80}: {}", reply.text());
        reply.refused(400, part);
    }
    let empty = json!({ "inputs": [{ "name": "input", "shape": [0, 64], "datatype": "FP32", "data": [] }] });
    post(at, INFER, JSON, empty.to_string()).refused(400, "no samples");
    let many = json!({ "inputs": [{ "name": "input", "shape": [50_001, 64], "datatype": "FP32", "data": vec![0; 50_001 * 64] }] });
    post(at, INFER, JSON, many.to_string()).refused(400, "at most 50000 samples");

    post(at, "/v2/models/other/infer", JSON, &good).refused(404, "no model \"other\" here, only \"model\"");
    get(at, "/v2/models/%ff").refused(404, "no model");
    get(at, "/v2/models/..%2f..%2fetc%2fpasswd").refused(404, "no model");
    get(at, "/v2/repository/index").refused(404, "nothing at /v2/repository/index");
    get(at, &format!("/{}", "x".repeat(5000))).refused(404, "nothing at /xxx");
    let wrong = get(at, INFER);
    wrong.refused(405, "does not take GET");
    assert_eq!(wrong.header("allow"), Some("POST"));
    send(at, "DELETE", "/v2/models/model", &[], b"").refused(405, "does not take DELETE");
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp", ""]
    {
        post(at, INFER, kind, &good).refused(415, "Content-Type must be application/json");
    }
    send(at, "POST", INFER, &[], good.as_bytes()).refused(415, "Content-Type");
    let gzip = ["Content-Type: application/json", "Content-Encoding: gzip"];
    send(at, "POST", INFER, &gzip, good.as_bytes()).refused(415, "compressed");
    let binary = ["Content-Type: application/json", "Inference-Header-Content-Length: 10"];
    send(at, "POST", INFER, &binary, good.as_bytes()).refused(400, "binary");
    // After all that it answers as ever.
    let _ = post(at, INFER, JSON, &good).ok();
    assert_eq!(server.process.stderr(), "");
    server.ends();
}
