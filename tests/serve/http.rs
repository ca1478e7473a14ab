//! A small HTTP client, written out so that tests can also do what no client does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The JSON of an answer that is 200.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// Fails unless the request was refused with this status, and an error as the protocol has it that contains `part`.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, part: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        let json = self.json();
        let error = json["error"].as_str().unwrap_or_else(|| panic!("no error in {json}"));
        assert_eq!(json.as_object().unwrap().len(), 1, "{json}");
        assert!(error.contains(part), "{part:?} is not in {error:?}");
        assert!(!error.contains("panicked") && !error.contains("Err("), "{error}");
    }
}

/// Reads an answer; `None` if the connection was closed instead.
pub(crate) fn read_reply(stream: &mut impl Read) -> Option<Reply> {
    let mut reply = read_head(stream)?;
    let length: usize = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
    reply.body = vec![0; length];
    stream.read_exact(&mut reply.body).ok()?;
    Some(reply)
}

/// Reads the head of an answer.
fn read_head(stream: &mut impl Read) -> Option<Reply> {
    let mut reader = BufReader::with_capacity(1, stream); // no byte more than there is in this answer
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        let _ = reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Some(Reply { status, headers, body: Vec::new() })
}

/// A connection that gives up on a server that hangs.
pub(crate) fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// The head of a request. `headers` are lines; those that every request has are added unless they are there.
pub(crate) fn head(method: &str, path: &str, headers: &[&str], length: Option<usize>) -> String {
    let has = |name: &str| headers.iter().any(|line| line.to_lowercase().starts_with(name));
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    if !has("host:") {
        text += "Host: localhost\r\n";
    }
    if let Some(length) = length {
        text += &format!("Content-Length: {length}\r\n");
    }
    headers.iter().for_each(|line| text += &format!("{line}\r\n"));
    text + "\r\n"
}

/// Sends a request on a connection of its own, and reads the answer.
#[track_caller]
pub(crate) fn send(address: &str, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Reply {
    let mut stream = connect(address);
    let length = (method != "GET" && method != "HEAD").then_some(body.len());
    // A server may refuse a request before it has all of it.
    let _ = stream
        .write_all(head(method, path, headers, length).as_bytes())
        .and_then(|()| stream.write_all(body));
    let reply = if method == "HEAD" { read_head(&mut stream) } else { read_reply(&mut stream) };
    reply.unwrap_or_else(|| panic!("no answer to {method} {path}"))
}

#[track_caller]
pub(crate) fn get(address: &str, path: &str) -> Reply {
    send(address, "GET", path, &[], b"")
}

#[track_caller]
pub(crate) fn post(address: &str, path: &str, kind: &str, body: impl AsRef<[u8]>) -> Reply {
    send(address, "POST", path, &[&format!("Content-Type: {kind}")], body.as_ref())
}
