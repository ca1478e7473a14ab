//! A real HTTP server on the loopback interface, for tests. It can send truncated, wrong and slow responses.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) path: String,
    /// The first byte requested, from `Range: bytes=N-`.
    pub(super) from: Option<usize>,
}

/// A response.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: &'static str,
    pub(super) body: Vec<u8>,
    /// The value of `Content-Range`.
    pub(super) range: Option<String>,
    /// The value of `Content-Length`; `None` for a response that ends with the connection.
    pub(super) length: Option<usize>,
    /// The time for which the connection stays open after the body, without sending anything.
    pub(super) stall: Duration,
}

impl Answer {
    pub(super) fn status(status: &'static str) -> Self {
        Self { status, body: Vec::new(), range: None, length: Some(0), stall: Duration::ZERO }
    }

    pub(super) fn whole(body: &[u8]) -> Self {
        Self { body: body.to_vec(), length: Some(body.len()), ..Self::status("200 OK") }
    }

    /// The response of a correct server: the requested range, or the whole file.
    pub(super) fn ranged(body: &[u8], asked: &Asked) -> Self {
        match asked.from {
            None => Self::whole(body),
            Some(from) if from >= body.len() => Self::status("416 Range Not Satisfiable"),
            Some(from) => Self {
                status: "206 Partial Content",
                range: Some(format!("bytes {from}-{}/{}", body.len() - 1, body.len())),
                ..Self::whole(&body[from..])
            },
        }
    }

    /// Sends only `n` bytes of the promised length, then closes.
    pub(super) fn cut(mut self, n: usize) -> Self {
        self.body.truncate(n);
        self
    }
}

/// A server that runs until the test process ends.
pub(super) struct Server {
    pub(super) base: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Starts a server. `answer` receives each request and the number of requests before it.
    pub(super) fn start(answer: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/data", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                thread::spawn(move || {
                    let _ = serve(&stream, &log, &*answer);
                });
            }
        });
        Self { base, asked }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(
    stream: &TcpStream,
    log: &Mutex<Vec<Asked>>,
    answer: &dyn Fn(&Asked, usize) -> Answer,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_string();
    let mut from = None;
    for line in lines {
        let line = line?.to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().ok();
        }
    }
    let asked = Asked { path, from };
    let before = {
        let mut log = log.lock().unwrap();
        log.push(asked.clone());
        log.len() - 1
    };
    let answer = answer(&asked, before);
    let mut head = format!("HTTP/1.1 {}\r\nConnection: close\r\n", answer.status);
    if let Some(length) = answer.length {
        head += &format!("Content-Length: {length}\r\n");
    }
    if let Some(range) = answer.range {
        head += &format!("Content-Range: {range}\r\n");
    }
    let mut stream = stream;
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.write_all(&answer.body)?;
    thread::sleep(answer.stall);
    Ok(())
}
