//! Certificates made with `openssl`, and servers that are not ours: what goes wrong is said in sentences.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Place, Ran};
use crate::process::{Coord, PATIENCE, Process, free, worker};

/// Makes an authority `ca` and, for `host`, a certificate that it signed with `digest`, all with keys on `curve`. False if
/// `openssl` is not installed.
fn made(place: &Place, curve: &str, digest: &str, host: &str) -> bool {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("SKIPPED: openssl is not installed");
        return false;
    }
    let script = format!(
        "set -e
         key() {{ openssl ecparam -name {curve} -genkey -noout -out $1.key; }}
         key ca; key server; chmod 600 *.key
         openssl req -x509 -new -key ca.key -sha256 -days 30 -subj '/CN=an authority' -out ca.pem
         openssl req -new -key server.key -subj '/CN=a coordinator' -out server.csr
         printf 'subjectAltName={host}\\nextendedKeyUsage=serverAuth\\n' >extensions
         openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -{digest} -days 30 \
           -extfile extensions -out server.pem"
    );
    let ran = place.shell(&script).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    true
}

/// A worker that may dial once.
fn dials(place: &Place, url: &str, authority: &str) -> Ran {
    let mut ada = worker(place, &[], url, &format!("--tls-ca {authority} --retry-seconds 0"));
    let ran = ada.ended();
    no_code(&ran.stderr);
    ran
}

/// Checks that no error is a Rust value.
#[track_caller]
fn no_code(text: &str) {
    for bad in
        [" { ", "Context", "Algorithm(", "UnsupportedSig", "OtherError", "ProtocolVersion", "\"\\u", "[48,"]
    {
        assert!(!text.contains(bad), "{bad:?} is for programmers: {text}");
    }
}

/// A coordinator with the certificate that was made, and what a worker says of it.
fn through(place: &Place) -> (Coord, Ran) {
    let coord = Coord::start(place, "--tls-cert server.pem --tls-key server.key");
    let ran = dials(place, &format!("https://{}", coord.address), "ca.pem");
    (coord, ran)
}

#[test]
fn a_signature_that_is_not_supported_is_named() {
    let place = Place::new();
    if !made(&place, "prime256v1", "sha512", "IP:127.0.0.1") {
        return;
    }
    let (coord, ran) = through(&place);
    ran.refused(
        4,
        &["signed with ECDSA/SHA-512, which is not supported; sign it anew with SHA-256", "nn certs"],
    );
    coord.process.says("cannot verify this coordinator's certificate");
}

#[test]
fn the_same_certificate_with_another_digest_is_accepted() {
    let place = Place::new();
    if !made(&place, "prime256v1", "sha256", "IP:127.0.0.1") {
        return;
    }
    let coord = Coord::start(&place, "--tls-cert server.pem --tls-key server.key --epochs 1");
    let mut ada = worker(&place, &[], &format!("https://{}", coord.address), "--tls-ca ca.pem");
    let _ = coord.hash(&place);
    let _ = ada.ends_well();
}

#[test]
fn an_address_that_is_written_as_a_name_is_told_from_an_address() {
    let place = Place::new();
    if !made(&place, "prime256v1", "sha256", "DNS:127.0.0.1") {
        return;
    }
    let (_coord, ran) = through(&place);
    ran.refused(
        4,
        &[
            "127.0.0.1 is in it as a host's name (DNS), not as an address (IP)",
            "subjectAltName=IP:ADDRESS",
            "nn certs coordinator --host",
        ],
    );
}

#[test]
fn a_key_of_another_kind_is_answered_with_the_kinds_that_are_accepted() {
    let place = Place::new();
    if !made(&place, "secp521r1", "sha256", "IP:127.0.0.1") {
        return;
    }
    let arguments = "--listen 127.0.0.1:0 --tls-cert server.pem --tls-key server.key";
    let mut coord = Process::start(&place, env!("CARGO_BIN_EXE_nn-coord"), &[], arguments);
    let ran = coord.ended();
    ran.refused(
        2,
        &["server.key", "ECDSA on P-256 or P-384", "Ed25519", "RSA of 2048 to 4096 bits", "nn certs"],
    );
    no_code(&ran.stderr);
    // An authority with such a key can be named, but what it signed is not accepted, and the message says so.
    place
        .shell(
            "set -e; openssl ecparam -name prime256v1 -genkey -noout -out server.key
                openssl req -new -key server.key -subj '/CN=a coordinator' -out server.csr
                openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -sha256 -days 30 \
                  -extfile extensions -out server.pem; chmod 600 server.key",
        )
        .output()
        .unwrap();
    let (_coord, ran) = through(&place);
    ran.refused(4, &["signed with ECDSA/SHA-256 by a key of the kind P-521, which is not supported"]);
}

#[test]
fn a_certificate_of_version_1_is_called_that() {
    let place = Place::new();
    if !made(&place, "prime256v1", "sha256", "IP:127.0.0.1") {
        return;
    }
    let old =
        "openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out server.pem";
    assert!(place.shell(old).output().unwrap().status.success());
    let facts =
        Command::new("openssl").args(["x509", "-noout", "-text", "-in"]).arg(place.at("server.pem")).output();
    if !String::from_utf8_lossy(&facts.unwrap().stdout).contains("Version: 1") {
        return; // OpenSSL 3.4 makes version 3 anyway
    }
    let arguments = "--listen 127.0.0.1:0 --tls-cert server.pem --tls-key server.key";
    let ran = Process::start(&place, env!("CARGO_BIN_EXE_nn-coord"), &[], arguments).ended();
    ran.refused(2, &["server.pem", "an X.509 certificate of version 1", "subjectAltName"]);
    no_code(&ran.stderr);
}

/// `openssl s_server`, which is killed when it is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_without_tls_1_3_is_called_that() {
    let place = Place::new();
    if !made(&place, "prime256v1", "sha256", "IP:127.0.0.1") {
        return;
    }
    let address = free();
    let server = Command::new("openssl")
        .args([
            "s_server",
            "-tls1_2",
            "-quiet",
            "-cert",
            "server.pem",
            "-key",
            "server.key",
            "-accept",
            &address,
        ])
        .current_dir(place.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _server = Server(server.unwrap());
    let from = Instant::now();
    loop {
        let ran = dials(&place, &format!("https://{address}"), "ca.pem");
        if !ran.stderr.contains("nothing listens") {
            ran.refused(4, &["does not speak TLS 1.3, the only version", "is that nn-coord's port"]);
            return;
        }
        assert!(from.elapsed() < PATIENCE, "openssl does not listen: {ran:?}");
        thread::sleep(Duration::from_millis(20));
    }
}
