//! How it begins and ends: ports, browsers, signals.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::common::Place;
use crate::http::{connect, get, head, read_reply};
use crate::process::{Process, until};
use crate::{MODEL, Server, digits};

fn body() -> String {
    json!({ "inputs": [{ "name": "input", "shape": [1, 64], "datatype": "FP32", "data": vec![0.5; 64] }] })
        .to_string()
}

#[test]
fn a_signal_lets_what_is_in_flight_finish() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(digits(), "");
        let body = body();
        let (first, rest) = body.as_bytes().split_at(100);
        let mut half = connect(&server.address);
        let json = ["Content-Type: application/json"];
        half.write_all(head("POST", "/v2/models/model/infer", &json, Some(body.len())).as_bytes()).unwrap();
        half.write_all(first).unwrap();
        let mut idle = connect(&server.address);
        idle.write_all(head("GET", "/v2", &[], None).as_bytes()).unwrap();
        let _ = read_reply(&mut idle).unwrap().ok();

        server.process.signal(signal);
        // New connections are refused, idle ones closed, and the one that has begun goes on.
        let story = || server.process.story();
        until("a closed port", story, || TcpStream::connect(&server.address).err());
        assert!(read_reply(&mut idle).is_none(), "an idle connection stays open");
        server.process.is_running();
        half.write_all(rest).unwrap();
        let reply = read_reply(&mut half).expect("the answer to a request in flight");
        assert_eq!(reply.ok()["model_name"], "model");
        let ran = server.process.ends_well();
        assert_eq!(ran.stderr, "");
    }
}

#[test]
fn a_port_in_use_and_other_wrong_addresses_are_named() {
    let place = digits();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let serve = |listen: &str| place.nn(&format!("serve --model {MODEL} --listen {listen}"));
    serve(&address.to_string()).refused(4, &["another program uses that port", "choose another port"]);
    serve("nonsense").refused(2, &["--listen nonsense is not an address and a port"]);
    serve("192.0.2.1:8080").refused(4, &["this machine does not have that address"]);
    let ran = place.nn("serve --model nothing.safetensors --listen 127.0.0.1:0");
    ran.refused(3, &["cannot read the model nothing.safetensors"]);
    let ran = place.nn("serve --listen 127.0.0.1:0");
    assert_eq!(ran.code, Some(2), "{ran:#?}");
    let ran = place.nn(&format!("serve --model {MODEL} --listen 127.0.0.1:0 --name a/b"));
    ran.refused(2, &["--name \"a/b\" cannot stand in an address"]);
    let ran = place.nn(&format!("serve --model {MODEL} --listen 127.0.0.1:0 --token-file none"));
    ran.refused(2, &["cannot read none"]);
}

/// A folder of programs, which alone are found.
fn programs(place: &Place, script: Option<&str>) -> String {
    std::fs::create_dir_all(place.at("bin")).unwrap();
    if let Some(script) = script {
        let path = place.file("bin/xdg-open", script);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    place.at("bin").display().to_string()
}

#[test]
#[cfg(target_os = "linux")]
fn the_browser_gets_the_address_and_may_be_missing() {
    for script in [Some("#!/bin/sh\necho \"$1\" > opened\n"), Some("#!/bin/sh\nexit 3\n"), None] {
        let place = digits();
        let path = programs(&place, script);
        let arguments = format!("serve --model {MODEL} --listen 127.0.0.1:0 --open");
        let nn = env!("CARGO_BIN_EXE_nn");
        let process = Process::start(&place, nn, &[("PATH", &path)], &arguments);
        process.says("serving model");
        let stdout = process.stdout();
        let url = stdout.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
        if script.is_some_and(|script| script.contains("opened")) {
            let opened = until(
                "the browser",
                || process.story(),
                || std::fs::read_to_string(place.at("opened")).ok().filter(|text| text.ends_with('\n')),
            );
            assert_eq!(opened.trim(), url);
        } else {
            process.says(&format!("no browser could be opened here; open {url} in one"));
        }
        assert_eq!(get(url.strip_prefix("http://").unwrap(), "/v2").status, 200, "it serves all the same");
        process.kill();
    }
}
