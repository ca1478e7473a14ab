//! Who may ask: the names of this machine, tokens, certificates, and the headers that keep other sites out.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring::default_provider};
use serde_json::json;

use crate::http::{connect, get, head, post, read_reply, send};
use crate::{Server, digits};

#[test]
fn every_answer_keeps_other_sites_out() {
    let server = Server::start(digits(), "");
    for path in ["/", "/style.css", "/v2", "/nothing", "/page/model"] {
        let reply = get(&server.address, path);
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{path}");
        }
        assert!(!reply.headers.iter().any(|(name, _)| name.starts_with("access-control-")), "{path}");
    }
    // What a browser asks before it lets another site's page send JSON here: nothing allows it.
    let preflight = ["Origin: http://evil.example", "Access-Control-Request-Method: POST"];
    let reply = send(&server.address, "OPTIONS", "/v2/models/model/infer", &preflight, b"");
    reply.refused(405, "OPTIONS");
    assert!(!reply.headers.iter().any(|(name, _)| name.to_lowercase().starts_with("access-control-")));
    server.ends();
}

#[test]
fn only_names_of_this_machine_are_answered() {
    let server = Server::start(digits(), "");
    for host in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:1", "[::1]:8080"] {
        let reply = send(&server.address, "GET", "/v2/health/live", &[&format!("Host: {host}")], b"");
        assert_eq!(reply.status, 200, "{host}");
    }
    for host in ["evil.example", "evil.example:8080", "localhost.evil.example", "192.168.1.10", "0.0.0.0", ""]
    {
        for path in ["/", "/v2", "/v2/health/live", "/page/model"] {
            let reply = send(&server.address, "GET", path, &[&format!("Host: {host}")], b"");
            reply.refused(403, "localhost and 127.0.0.1 only");
        }
    }
    let two = send(&server.address, "GET", "/v2", &["Host: localhost", "Host: evil.example"], b"");
    two.refused(400, "more than one Host");
    let mut stream = connect(&server.address);
    std::io::Write::write_all(&mut stream, b"GET /v2 HTTP/1.1\r\n\r\n").unwrap();
    read_reply(&mut stream).unwrap().refused(400, "no Host");
    server.ends();
}

#[test]
fn a_token_is_required_where_one_is_set() {
    let place = digits();
    let _ = place.file("token", "correct-horse-battery\n");
    let server = Server::start(place, "--listen 0.0.0.0:0 --token-file token");
    let at = &server.address;
    for public in
        ["/", "/page.js", "/inside.js", "/style.css", "/icon.svg", "/v2/health/live", "/v2/health/ready"]
    {
        assert_eq!(get(at, public).status, 200, "{public}");
    }
    let body =
        json!({ "inputs": [{ "name": "input", "shape": [1, 64], "datatype": "FP32", "data": vec![0; 64] }] });
    let infer = "/v2/models/model/infer";
    for path in ["/page/model", "/v2", "/v2/models/model", "/v2/models/other", "/nothing"] {
        let reply = get(at, path);
        reply.refused(401, "a token is required");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    }
    post(at, infer, "application/json", body.to_string()).refused(401, "a token is required");
    let with = |authorization: &str| {
        let headers = ["Content-Type: application/json", &format!("Authorization: {authorization}")];
        send(at, "POST", infer, &headers, body.to_string().as_bytes())
    };
    for wrong in ["Bearer wrong-horse-battery", "Bearer ", "correct-horse-battery", "Basic Y29ycmVjdA=="] {
        with(wrong).refused(401, "the token is wrong");
    }
    assert_eq!(with("Bearer correct-horse-battery").ok()["model_name"], "model");
    // Beyond this machine it has names that it cannot know.
    assert_eq!(send(at, "GET", "/v2/health/live", &["Host: box.lan:8080"], b"").status, 200);
    let story = server.process.story();
    assert!(story.contains("token travels in clear text") && !story.contains("horse"), "{story}");
    server.ends();
}

#[test]
fn strangers_are_not_served_unless_that_is_asked_for() {
    let place = digits();
    let ran = place.nn("serve --model model/model.safetensors --listen 0.0.0.0:0");
    ran.refused(
        2,
        &["--listen 0.0.0.0:0 is open to other machines", "use the model", "--token-file", "--insecure"],
    );
    let server = Server::start(place, "--listen 0.0.0.0:0 --insecure");
    assert!(server.process.stderr().contains("--insecure: anyone who can reach this port"), "a warning");
    assert_eq!(get(&server.address, "/v2").status, 200);
    server.ends();
}

#[test]
fn it_speaks_tls_with_a_certificate_of_nn_certs() {
    let place = digits();
    let _ = place.nn("certs init --host localhost").ok();
    let server = Server::start(place, "--tls-cert certs/coordinator.pem --tls-key certs/coordinator.key");
    assert!(server.process.stdout().contains(" at https://127.0.0.1:"), "{}", server.process.story());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(server.place.at("certs/ca.pem")).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // What browsers offer: the server must choose the one that it speaks.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let host = ServerName::try_from("localhost").unwrap();
    let client = ClientConnection::new(Arc::new(config), host).unwrap();
    let mut stream = StreamOwned::new(client, connect(&server.address));
    let request = head("GET", "/v2/health/live", &[], None);
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    assert_eq!(read_reply(&mut stream).unwrap().ok(), json!({ "live": true }));
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    // Who does not speak TLS gets nothing.
    let mut plain = connect(&server.address);
    std::io::Write::write_all(&mut plain, request.as_bytes()).unwrap();
    assert!(read_reply(&mut plain).is_none());
    server.ends();
}
