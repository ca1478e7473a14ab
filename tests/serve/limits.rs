//! Limits: bodies, times, requests and connections; and that rubbish takes neither the server nor the memory.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{Place, npy, npy_f32, png};
use crate::http::{connect, get, head, post, read_reply, send};
use crate::process::until;
use crate::{Server, digits, trained};

const INFER: &str = "/v2/models/model/infer";
const JSON: &str = "application/json";
const KIND: [&str; 1] = ["Content-Type: application/json"];

fn good() -> String {
    json!({ "inputs": [{ "name": "input", "shape": [1, 64], "datatype": "FP32", "data": vec![0.5; 64] }] })
        .to_string()
}

#[test]
fn large_bodies_are_refused_whether_or_not_they_say_so() {
    let server = Server::start(digits(), "--max-body 1");
    let at = &server.address;
    let spaces = |count: usize| good() + &" ".repeat(count - good().len());
    let _ = post(at, INFER, JSON, spaces(1 << 20)).ok();
    let reply = post(at, INFER, JSON, spaces((1 << 20) + 1));
    reply.refused(413, "more than 1048576 bytes");
    assert_eq!(reply.header("connection"), Some("close"));
    // A length that no body has: refused by the head alone.
    for length in ["999999999999999".to_owned(), "2000000".to_owned()] {
        let mut stream = connect(at);
        let length = format!("Content-Length: {length}");
        stream.write_all(head("POST", INFER, &[KIND[0], &length], None).as_bytes()).unwrap();
        read_reply(&mut stream).unwrap().refused(413, "--max-body");
    }
    // Chunks, which say nothing of their sum.
    let mut stream = connect(at);
    let chunked = [KIND[0], "Transfer-Encoding: chunked"];
    stream.write_all(head("POST", INFER, &chunked, None).as_bytes()).unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(1 << 16));
    for _ in 0..17 {
        // The server may close before it has them all.
        let _ = stream.write_all(chunk.as_bytes());
    }
    read_reply(&mut stream).unwrap().refused(413, "more than 1048576 bytes");
    // In chunks that fit it is answered.
    let mut stream = connect(at);
    stream.write_all(head("POST", INFER, &chunked, None).as_bytes()).unwrap();
    for part in good().as_bytes().chunks(50) {
        stream.write_all(format!("{:x}\r\n", part.len()).as_bytes()).unwrap();
        stream.write_all(part).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    let _ = read_reply(&mut stream).unwrap().ok();
    server.ends();
}

#[test]
fn who_is_slow_is_cut_off() {
    let server = Server::start(digits(), "--timeout 2");
    let at = &server.address;
    // A body that does not come.
    let mut stream = connect(at);
    stream.write_all(head("POST", INFER, &KIND, Some(1000)).as_bytes()).unwrap();
    stream.write_all(b"{").unwrap();
    let reply = read_reply(&mut stream).unwrap();
    reply.refused(408, "did not arrive within 1 seconds");
    // A head that does not come, or trickles in.
    let mut silent = connect(at);
    let mut slow = connect(at);
    let from = Instant::now();
    let mut rest = Vec::new();
    slow.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let closed = loop {
        assert!(from.elapsed() < Duration::from_secs(60), "a head may take for ever");
        let written = slow.write_all(b"X");
        match slow.read(&mut [0; 512]) {
            Ok(0) => break true,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && written.is_ok() => {}
            Ok(_) => {}
            Err(_) => break true,
        }
    };
    assert!(closed);
    assert_eq!(silent.read_to_end(&mut rest).unwrap_or(0), 0, "a silent connection gets no answer");
    // It goes on.
    let _ = post(at, INFER, JSON, good()).ok();
    server.ends();
}

#[test]
fn one_request_or_connection_too_many_is_told_so() {
    let server = Server::start(digits(), "--max-requests 1 --max-connections 3");
    let at = &server.address;
    let body = good();
    let mut first = connect(at);
    first.write_all(head("POST", INFER, &KIND, Some(body.len())).as_bytes()).unwrap();
    first.write_all(&body.as_bytes()[..10]).unwrap();
    // The first has its place once its head has been read.
    let busy = until(
        "a busy server",
        || server.process.story(),
        || {
            let reply = post(at, INFER, JSON, &body);
            (reply.status == 429).then_some(reply)
        },
    );
    busy.refused(429, "try again");
    assert_eq!(busy.header("retry-after"), Some("1"));
    // What takes nothing is answered all the same.
    assert_eq!(get(at, "/v2/health/ready").status, 200);

    // Those of the requests above may still have their places, so that one of these has none.
    let mut others = vec![connect(at), connect(at)];
    let full = until(
        "a full server",
        || server.process.story(),
        || {
            others.push(connect(at));
            let mut stream = connect(at);
            let _ = stream.write_all(head("GET", "/v2", &[], None).as_bytes());
            read_reply(&mut stream).filter(|reply| reply.status == 503)
        },
    );
    full.refused(503, "all its connections");
    drop(others);
    first.write_all(&body.as_bytes()[10..]).unwrap();
    let _ = read_reply(&mut first).unwrap().ok();
    until(
        "a free place",
        || server.process.story(),
        || {
            let mut stream = connect(at);
            let _ = stream.write_all(head("GET", "/v2", &[], None).as_bytes());
            read_reply(&mut stream).filter(|reply| reply.status == 200)
        },
    );
    server.ends();
}

#[test]
fn answers_that_nobody_reads_are_given_up() {
    // One number in and ten classes out: answers of eight megabytes, more than sockets buffer, are quickly computed.
    let place = Place::new();
    let _ = place.file("x.npy", npy_f32("(60, 1)", &(0..60).map(|i| i as f32 / 7.0).collect::<Vec<_>>()));
    let _ = place.file("y.npy", npy("|u1", "(60,)", &(0..60).map(|i| i % 10).collect::<Vec<_>>()));
    let options = "--data x.npy --task classification --standardize no --epochs 1";
    let server = Server::start(trained(place, options), "--timeout 4");
    let at = &server.address;
    let rows = vec![0.3; 40_000];
    let input = json!({ "name": "input", "shape": [40_000, 1], "datatype": "FP32", "data": rows });
    let body = json!({ "inputs": [input] });
    let body = body.to_string();
    let mut deaf: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = connect(at);
            stream.write_all(head("POST", INFER, &KIND, Some(body.len())).as_bytes()).unwrap();
            stream.write_all(body.as_bytes()).unwrap();
            stream
        })
        .collect();
    // Each gets the beginning, and is cut off before the end.
    thread::sleep(Duration::from_secs(12));
    for stream in &mut deaf {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        assert!(all.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&all[..all.len().min(1000)]));
        assert!(!all.ends_with(b"}"), "an answer of {} bytes waited to be read", all.len());
    }
    assert_eq!(get(at, "/v2/health/live").status, 200);
    server.ends();
}

/// Requests that are made to hurt, one after the other.
fn rubbish() -> Vec<(&'static str, Vec<u8>)> {
    let mut zeros = png(1200, 1200, &vec![128; 1200 * 1200]);
    zeros.extend(vec![0; 1000]);
    let deep = format!("{{\"inputs\":[{{\"data\":{}", "[".repeat(1 << 20));
    let many = format!("{{\"inputs\":[{{\"data\":[{}0]}}]}}", "0,".repeat(7 << 20));
    let texts = format!("{{\"inputs\":[{{\"data\":[{}\"\"]}}]}}", "\"\",".repeat(5 << 20));
    let nulls = format!("{{\"inputs\":[{{\"data\":[{}0]}}]}}", "null,".repeat(3 << 20));
    let inputs = format!(
        "{{\"inputs\":[{}]}}",
        "{\"name\":\"\",\"shape\":[],\"datatype\":\"\",\"data\":[]},".repeat(200_000)
    );
    let unknown = format!("{{\"more\":{}1{}}}", "{\"a\":".repeat(100), "}".repeat(100));
    let bomb = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        let zeros = vec![b'0'; 1 << 20];
        (0..200).for_each(|_| encoder.write_all(&zeros).unwrap());
        encoder.finish().unwrap()
    };
    let noise: Vec<u8> = (0..1_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let wide = format!("{}\n", "1,".repeat(500_000));
    let wide = wide.clone() + &wide + &wide;
    vec![
        (JSON, deep.into_bytes()),
        (JSON, many.into_bytes()),
        (JSON, texts.into_bytes()),
        (JSON, nulls.into_bytes()),
        (JSON, inputs.into_bytes()),
        (JSON, unknown.into_bytes()),
        (JSON, noise.clone()),
        ("image/png", zeros),
        ("application/octet-stream", bomb),
        ("application/octet-stream", noise),
        ("text/csv", wide.into_bytes()),
    ]
}

#[test]
#[cfg(target_os = "linux")]
fn a_flood_of_rubbish_takes_neither_the_server_nor_the_memory() {
    let server = Server::start(digits(), "--threads 2 --timeout 60");
    let at = server.address.clone();
    let quiet = server.peak();
    let rubbish = rubbish();
    thread::scope(|scope| {
        for client in 0..6 {
            let (at, rubbish) = (&at, &rubbish);
            scope.spawn(move || {
                for (kind, body) in rubbish {
                    let path = if *kind == JSON { INFER } else { "/page/answer" };
                    let reply = send(at, "POST", path, &[&format!("Content-Type: {kind}")], body);
                    assert!(
                        [200, 400, 413, 429, 503].contains(&reply.status),
                        "{kind}: {} {}",
                        reply.status,
                        reply.text()
                    );
                }
                // What is not HTTP at all, heads without end, and promises.
                let mut stream = connect(at);
                let _ = stream.write_all(&rubbish[6].1);
                let mut stream = connect(at);
                let _ = stream.write_all(b"GET / HTTP/1.1\r\nX: ");
                let _ = stream.write_all("x".repeat(1 << 20).as_bytes());
                let mut stream = connect(at);
                let _ = stream.write_all(head("POST", INFER, &KIND, Some(16 << 20)).as_bytes());
                let _ = stream.write_all(&rubbish[6].1[..client * 100]);
            });
        }
    });
    let peak = server.peak();
    // Bodies take 64 MiB together, and each of two threads what one body can become.
    let _ = std::io::stderr()
        .write_all(format!("peak memory: {quiet} MiB quiet, {peak} MiB in the flood\n").as_bytes());
    assert!(peak < quiet + 400, "{quiet} MiB before the flood, and {peak} MiB after");
    let _ = post(&at, INFER, JSON, good()).ok();
    assert!(!server.process.stderr().contains("panicked"), "{}", server.process.stderr());
    server.ends();
}
