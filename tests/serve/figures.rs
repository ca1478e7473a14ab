//! The figures for Prometheus, on an address of their own.

use serde_json::json;

use crate::common::{Place, figure, promtool};
use crate::http::{connect, get, post, send};
use crate::process::until;
use crate::{MODEL, Server, digits};

const INFER: &str = "/v2/models/model/infer";
const JSON: &str = "application/json";

/// The address of a server's figures.
#[track_caller]
fn address(server: &Server) -> String {
    let words = "figures for Prometheus are at http://";
    server.process.says(words);
    let stdout = server.process.stdout();
    stdout.split_once(words).unwrap().1.split('/').next().unwrap().to_owned()
}

#[test]
fn prometheus_reads_what_is_asked_and_refused() {
    let server = Server::start(digits(), "--max-connections 3 --metrics-listen 127.0.0.1:0");
    let (at, metrics) = (&server.address, address(&server));
    let samples = |count: usize| {
        let data = vec![0.5; 64 * count];
        json!({ "inputs": [{ "name": "input", "shape": [count, 64], "datatype": "FP32", "data": data }] })
            .to_string()
    };
    let bodies = [samples(3), samples(4), "{".to_owned()];
    let (first, second) = (post(at, INFER, JSON, &bodies[0]), post(at, INFER, JSON, &bodies[1]));
    let _ = (first.ok(), second.ok());
    post(at, INFER, JSON, &bodies[2]).refused(400, "not JSON");
    post(at, INFER, "text/plain", "x").refused(415, "Content-Type");
    post(at, "/v2/models/other/infer", JSON, &bodies[0]).refused(404, "no model");
    send(at, "GET", "/v2", &["Host: evil.example"], b"").refused(403, "localhost");
    get(at, INFER).refused(405, "does not take GET");
    // Only the other address has the figures, and it has nothing else.
    get(at, "/metrics").refused(404, "nothing at /metrics");
    assert_eq!(get(&metrics, "/v2").status, 404);
    // Connections, until one is too many.
    let mut held = Vec::new();
    let story = || server.process.story();
    let text = until("a connection too many", story, || {
        held.push(connect(at));
        let text = get(&metrics, "/metrics").text();
        (figure(&text, "nn_http_refusals_total{reason=\"connections\"}")? > 0.0).then_some(text)
    });
    drop(held);
    let version = &server.place.hash("model")[..8];
    let route = "/v2/models/{name}/infer";
    let requests =
        |route: &str, code: u16| format!("nn_http_requests_total{{route=\"{route}\",code=\"{code}\"}}");
    let refused = |reason: &str| format!("nn_http_refusals_total{{reason=\"{reason}\"}}");
    let sent: usize = bodies.iter().map(String::len).sum();
    for (name, wanted) in [
        (requests(route, 200), 2.0),
        (requests(route, 400), 1.0),
        (requests(route, 404), 1.0),
        (requests(route, 405), 1.0),
        (requests(route, 415), 1.0),
        (requests("/v2", 403), 1.0),
        (requests("other", 404), 1.0),
        (refused("bad_request"), 1.0),
        (refused("media_type"), 1.0),
        (refused("method"), 1.0),
        (refused("host"), 1.0),
        (refused("not_found"), 2.0),
        (format!("nn_http_request_duration_seconds_count{{route=\"{route}\"}}"), 6.0),
        ("nn_http_requests_in_flight".to_owned(), 0.0),
        ("nn_answered_samples_total".to_owned(), 7.0),
        // Bodies that are refused by their head are not read.
        ("nn_http_request_bytes_total".to_owned(), sent as f64),
    ] {
        assert_eq!(figure(&text, &name), Some(wanted), "{name}: {text}");
    }
    assert!(text.contains(&format!("nn_model_info{{model=\"model\",model_version=\"{version}")), "{text}");
    assert!(figure(&text, "nn_http_response_bytes_total").unwrap() > 100.0, "{text}");
    promtool(&text);
    server.ends();
}

#[test]
fn bad_addresses_of_figures_are_refused() {
    let server = Server::start(digits(), "--metrics-listen 127.0.0.1:0");
    let (place, taken) = (&server.place, address(&server));
    let serve = format!("serve --model {MODEL} --listen 127.0.0.1:0");
    let in_use = format!("cannot listen on {taken}: another program uses that port");
    for (options, code, part) in [
        (format!("--metrics-listen {taken}"), 4, &*in_use),
        ("--metrics-listen 0.0.0.0:0".into(), 2, "--metrics-listen 0.0.0.0:0 is open to other machines"),
        ("--metrics-insecure".into(), 2, "--metrics-insecure has no effect without --metrics-listen"),
    ] {
        place.nn(&format!("{serve} {options}")).refused(code, &[part]);
    }
    // Others may read them, if that is said; then any name of this machine will do.
    let open = Server::start(digits(), "--metrics-listen 0.0.0.0:0 --metrics-insecure");
    open.process.says("warning: --metrics-insecure: anyone who can reach this port");
    let port = address(&open).rsplit_once(':').unwrap().1.to_owned();
    let reply = send(&format!("127.0.0.1:{port}"), "GET", "/metrics", &["Host: box.example"], b"");
    assert_eq!(reply.status, 200);
    open.ends();
    server.ends();
}

#[test]
fn options_are_taken_from_variables_as_elsewhere() {
    let place = digits();
    let with = |place: &Place, variables: &[(&str, &str)], arguments: &str| -> crate::common::Ran {
        let arguments = format!("serve {arguments}");
        let mut command = place.command(arguments.split_whitespace());
        command.envs(variables.iter().copied()).output().unwrap().into()
    };
    let model = ("NN_MODEL", MODEL);
    let listen = ("NN_LISTEN", "127.0.0.1:0");
    with(&place, &[listen], "").refused(2, &["--model <FILE>"]);
    with(&place, &[("NN_MODEL", "")], "").refused(2, &["--model <FILE>"]);
    with(&place, &[model, listen, ("NN_TIMEOUT", "0")], "").refused(2, &["NN_TIMEOUT must be at least 1"]);
    with(&place, &[model, listen, ("NN_NAME", "a/b")], "").refused(2, &["NN_NAME \"a/b\" cannot"]);
    with(&place, &[model, listen, ("NN_TLS_CERT", "c")], "").refused(2, &["NN_TLS_CERT needs --tls-key"]);
    // A flag overrides its variable, and a slip is told.
    let ran =
        with(&place, &[("NN_MODEL", "absent"), ("NN_MAX_BODYS", "3"), listen], "--model gone.safetensors");
    assert!(ran.stderr.contains("NN_MAX_BODYS is not an option: did you mean NN_MAX_BODY?"), "{ran:?}");
    ran.refused(3, &["gone.safetensors"]);
    let variables = [model, listen, ("NN_NAME", "of-variable"), ("NN_METRICS_LISTEN", "127.0.0.1:0")];
    let process = crate::process::Process::start(&place, env!("CARGO_BIN_EXE_nn"), &variables, "serve");
    process.says("figures for Prometheus are at http://127.0.0.1:");
    assert!(process.stdout().contains("serving of-variable "), "{}", process.story());
}
