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
