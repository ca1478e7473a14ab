//! What the page asks: pictures and files, and what went on inside the network.

use serde_json::{Value, json};

use crate::common::{idx, png};
use crate::http::{get, post};
use crate::{Server, digits, trained};

/// A page of 280×280 with a thick bar on it, dark on light.
fn bar(size: usize) -> Vec<u8> {
    let inside = |i: usize| {
        let (x, y) = (i % size * 280 / size, i / size * 280 / size);
        (130..155).contains(&x) && (60..230).contains(&y)
    };
    let pixels: Vec<u8> = (0..size * size).map(|i| if inside(i) { 0 } else { 255 }).collect();
    png(size as u32, size as u32, &pixels)
}

#[test]
fn the_page_is_complete_and_asks_nobody_else() {
    let server = Server::start(digits(), "");
    let at = &server.address;
    let page = get(at, "/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let html = page.text();
    assert!(!html.contains("<style") && !html.contains(" style=") && !html.contains(" onclick"), "inline");
    for (file, kind) in [
        ("style.css", "text/css; charset=utf-8"),
        ("page.js", "text/javascript; charset=utf-8"),
        ("inside.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ] {
        let reply = get(at, &format!("/{file}"));
        assert_eq!((reply.status, reply.header("content-type")), (200, Some(kind)), "{file}");
        let text = reply.text().replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("http:") && !text.contains("https:") && !text.contains("@import"), "{file}");
        assert!(html.contains(&format!("\"{file}\"")) || file == "inside.js", "{file} is not used");
    }
    assert!(get(at, "/page.js").text().contains("./inside.js"));
    server.ends();
}

#[test]
fn a_drawing_gets_the_answer_of_nn_predict_and_shows_what_was_seen() {
    let server = Server::start(digits(), "");
    let at = &server.address;
    let model = get(at, "/page/model").ok();
    assert_eq!((&model["image"], &model["widths"][0]), (&json!([8, 8]), &json!(64)));
    let _ = server.place.file("bar.png", bar(280));
    let want = &server.predicted("bar.png")[0];
    let page = post(at, "/page/answer", "image/png", bar(280)).ok();
    assert_eq!(page["answers"][0]["outputs"], want["outputs"]);
    assert_eq!(model["answers"][page["answers"][0]["class"].as_u64().unwrap() as usize], want["class"]);
    assert_eq!(page["about"], page["answers"][0]["class"]);
    let seen: Vec<u64> = page["seen"].as_array().unwrap().iter().map(|x| x.as_u64().unwrap()).collect();
    assert_eq!((seen.len(), seen.iter().max()), (64, Some(&255)), "framed and full");

    let widths: Vec<u64> = model["widths"].as_array().unwrap().iter().map(|x| x.as_u64().unwrap()).collect();
    let layers = page["layers"].as_array().unwrap();
    assert_eq!(layers.len(), widths.len() - 2, "hidden layers");
    let activations = layers[0]["activations"].as_array().unwrap();
    assert_eq!(activations.len() as u64, widths[1]);
    assert!(activations.iter().any(|a| a.as_i64().unwrap().abs() == 100), "{activations:?}");
    let reasons = page["reasons"].as_array().unwrap();
    let pulls: Vec<f64> = reasons.iter().map(|one| one["pull"].as_f64().unwrap().abs()).collect();
    assert!(pulls.len() == 8 && pulls.is_sorted_by(|a, b| a >= b), "{pulls:?}");
    assert_eq!(reasons[0]["weights"].as_array().unwrap().len(), 64);
    // About another class, other units speak, and the answer is the same.
    let other = post(at, "/page/answer?class=3", "image/png", bar(280)).ok();
    assert_eq!((&other["about"], &other["answers"]), (&json!(3), &page["answers"]));
    assert_ne!(other["reasons"], page["reasons"]);
    server.ends();
}

/// The pull of the units of a single hidden layer adds up to the output, but for its bias.
#[test]
fn the_pull_of_a_unit_is_its_activation_times_its_weight() {
    let options = "--epochs 1 --hidden 8 --recipe book --activation relu --cost mse";
    let server = Server::start(trained(crate::common::Place::new(), options), "");
    let page = post(&server.address, "/page/answer?class=4", "image/png", bar(280)).ok();
    let pull: f64 = page["reasons"].as_array().unwrap().iter().map(|one| one["pull"].as_f64().unwrap()).sum();
    let bytes = std::fs::read(server.place.at(crate::MODEL)).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let bias: Vec<u8> = tensors.tensor("layers.1.bias").unwrap().data()[16..20].to_vec();
    let bias = f64::from(f32::from_le_bytes(bias.try_into().unwrap()));
    let output = page["answers"][0]["outputs"][4].as_f64().unwrap();
    let sigmoid = 1.0 / (1.0 + (-(pull + bias)).exp());
    assert!((output - sigmoid).abs() < 1e-5, "{output} and {sigmoid}");
    server.ends();
}

#[test]
fn files_of_samples_are_read_as_nn_predict_reads_them() {
    let server = Server::start(digits(), "");
    let at = &server.address;
    let pixels: Vec<u8> = (0..300 * 64).map(|i| (i * 37 % 17) as u8).collect();
    let csv = |rows: &[u8]| {
        let line = |row: &[u8]| row.iter().map(u8::to_string).collect::<Vec<_>>().join(",") + "\n";
        rows.chunks_exact(64).map(line).collect::<String>()
    };
    let _ = server.place.file("many.csv", csv(&pixels));
    let want = server.predicted("many.csv");
    let bytes = csv(&pixels);
    for (kind, body) in [
        ("text/csv", bytes.clone().into_bytes()),
        ("application/octet-stream", bytes.into_bytes()),
        ("application/octet-stream", idx(&[300, 8, 8], &pixels)),
    ] {
        let page = post(at, "/page/answer", kind, body).ok();
        assert_eq!(page["samples"], 300);
        let answers = page["answers"].as_array().unwrap();
        assert_eq!(answers.len(), 200, "the first of them");
        for (answer, want) in answers.iter().zip(&want) {
            assert_eq!(answer["outputs"], want["outputs"]);
        }
    }
    server.ends();
}

#[test]
fn pictures_and_files_that_are_wrong_are_refused_and_named() {
    let server = Server::start(digits(), "");
    let at = &server.address;
    let good = bar(280);
    let large = png(2500, 1700, &vec![255; 2500 * 1700]);
    for (kind, body, part) in [
        ("image/png", Vec::new(), "the file is empty"),
        ("image/png", png(280, 280, &vec![255; 280 * 280]), "the picture is blank"),
        ("image/png", good[..good.len() / 2].to_vec(), "the picture is damaged or truncated"),
        ("image/png", large, "has 2500×1700 pixels, more than 20000 on a side or 4 million in all"),
        ("image/jpeg", b"\xff\xd8\xff\xe0nonsense".to_vec(), "the picture is damaged"),
        ("text/csv", b"1,2,3\n4,5,6\n".to_vec(), "the file"),
        ("text/csv", b"\0\x01\x02\x03".to_vec(), "the file"),
        ("application/octet-stream", b"GIF89a".to_vec(), "a GIF picture"),
        ("application/octet-stream", b"PK\x03\x04nonsense".to_vec(), "the file"),
        ("application/octet-stream", b"\x1f\x8b\x08\0".to_vec(), "packed with gzip"),
        ("text/csv", b"1,".repeat(600_000), "too many columns"),
        ("application/json", b"{".to_vec(), "not JSON"),
    ] {
        post(at, "/page/answer", kind, body).refused(400, part);
    }
    for query in ["class=x", "class=-1", "class=10", "class="] {
        post(at, &format!("/page/answer?{query}"), "image/png", &good).refused(400, "class");
    }
    post(at, "/page/answer", "image/gif", &good).refused(415, "image/png or image/jpeg");
    let page: Value = post(at, "/page/answer?other=1&class=9", "image/png", &good).ok();
    assert_eq!(page["about"], 9);
    server.ends();
}
