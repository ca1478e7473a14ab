//! `nn serve`: real servers over real sockets.

#![cfg(unix)] // processes are stopped by signals
#![allow(clippy::disallowed_methods)] // every wait here is bounded by a clock

#[path = "../common/mod.rs"]
mod common;
mod ends;
mod figures;
mod guard;
mod http;
mod limits;
mod page;
#[allow(dead_code)] // the tests of the cluster use the rest
#[path = "../cluster/process.rs"]
mod process;
mod protocol;
mod tables;

use common::Place;
use process::{Process, until};
use serde_json::Value;

/// A server in a folder of its own, with a model that was trained there.
struct Server {
    place: Place,
    process: Process,
    /// The host and the port.
    address: String,
}

/// The path of the model.
const MODEL: &str = "model/model.safetensors";

/// A folder with a model in `model/`, trained with these options.
#[track_caller]
fn trained(place: Place, options: &str) -> Place {
    let _ = place.nn(&format!("train --quiet --threads 1 --out model {options}")).ok();
    place
}

/// A folder with a small network that reads digits.
fn digits() -> Place {
    trained(Place::new(), "--epochs 3")
}

impl Server {
    /// Serves the model of a folder on a free port.
    #[track_caller]
    fn start(place: Place, arguments: &str) -> Self {
        let listen = if arguments.contains("--listen") { "" } else { "--listen 127.0.0.1:0" };
        let arguments = format!("serve --model {MODEL} {listen} {arguments}");
        let process = Process::start(&place, env!("CARGO_BIN_EXE_nn"), &[], &arguments);
        let url = until(
            "its address",
            || process.story(),
            || {
                let stdout = process.stdout();
                let (_, rest) = stdout.split_once("://")?;
                rest.split_once('\n').map(|(address, _)| address.to_owned())
            },
        );
        Self { place, process, address: url }
    }

    /// The answers of `nn predict` to a file.
    #[track_caller]
    fn predicted(&self, file: &str) -> Vec<Value> {
        let json = self.place.nn(&format!("predict --model {MODEL} --json {file}")).ok().json();
        json["predictions"].as_array().unwrap().clone()
    }

    /// The peak of its memory so far, in MiB.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }

    /// Ends it by a signal, and fails unless it ends well.
    #[track_caller]
    fn ends(mut self) {
        self.process.signal("TERM");
        let _ = self.process.ends_well();
    }
}
