//! `nn sweep`, driven through the real programs: each of its runs is what `nn train` gives, here and on workers.

#![allow(clippy::disallowed_methods)] // tests wait, and give up after a time
#[path = "../common/mod.rs"]
mod common;
mod here;
#[path = "../cluster/process.rs"]
#[allow(dead_code)]
mod process;
mod workers;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use common::{Place, noise};
use serde_json::Value;

/// The state of a sweep.
pub(crate) fn sweep(place: &Place, out: &str) -> Value {
    let path = place.at(out).join("sweep.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

pub(crate) fn runs(sweep: &Value) -> &Vec<Value> {
    sweep["runs"].as_array().unwrap()
}

/// Flowers of two kinds, with overlap.
pub(crate) fn table(rows: usize) -> String {
    let mut text = String::from("a,b,kind\n");
    for row in 0..rows {
        let (a, b) = (noise(2 * row) * 2.0 - 1.0, noise(2 * row + 1) * 2.0 - 1.0);
        let kind = if a + 0.7 * b + 0.4 * (noise(7 * row + 5) - 0.5) > 0.2 { "rose" } else { "tulip" };
        text += &format!("{a:.4},{b:.4},{kind}\n");
    }
    text
}

/// The text at a path of an address.
pub(crate) fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
}
