//! Resumable downloads over HTTP.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

use super::spec::FileSpec;
use super::store::{Refused, place};
use crate::fingerprint::hex;
use crate::progress::LoadProgress;

/// Requests for one file before giving up on broken connections.
const TRIES: usize = 5;

/// The most time that one request may take, however slowly bytes arrive.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// The most bytes that gzip may add to a file.
const SLACK: u64 = 1 << 20;

pub(super) struct Client {
    agent: Agent,
}

/// The result of one request.
enum End {
    /// The part holds everything that the server sent.
    Complete,
    /// The connection broke.
    Broken(String),
    /// The server has no bytes beyond those in the part.
    NothingMore,
    /// The server does not have the file.
    Absent(StatusCode),
}

impl Client {
    pub(super) fn new(patience: Duration) -> Self {
        let config = Agent::config_builder()
            .timeout_resolve(Some(patience))
            .timeout_connect(Some(patience))
            .timeout_recv_response(Some(patience))
            .timeout_per_read(Some(patience))
            .timeout_global(Some(LONGEST))
            .http_status_as_error(false)
            .max_redirects(5)
            .user_agent(concat!("nn/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .build();
        Self { agent: config.new_agent() }
    }

    /// Downloads a file from below `base`, verifies it, and places it in the folder.
    pub(super) fn download(
        &self,
        base: &str,
        spec: &FileSpec,
        folder: &Path,
        progress: &dyn LoadProgress,
    ) -> Result<(), String> {
        let base = base.trim_end_matches('/');
        match self.download_url(&format!("{base}/{}.gz", spec.name), spec, folder, progress)? {
            None => Ok(()),
            Some(_) => match self.download_url(&format!("{base}/{}", spec.name), spec, folder, progress)? {
                None => Ok(()),
                Some(status) => Err(format!("it does not have {} ({status})", spec.name)),
            },
        }
    }

    /// Downloads one URL. Returns the status if the server does not have the file.
    fn download_url(
        &self,
        url: &str,
        spec: &FileSpec,
        folder: &Path,
        progress: &dyn LoadProgress,
    ) -> Result<Option<StatusCode>, String> {
        // A part belongs to one URL: two mirrors may have compressed a file differently.
        let of_url = hex(&Sha256::digest(url.as_bytes())[..4]);
        let part = folder.join(format!(".{}.{of_url}.part", spec.name));
        let mut last = String::new();
        // Whether the part comes from more than one request, or from more than one run.
        let mut pieced = length(&part) > 0;
        for _ in 0..TRIES {
            let before = length(&part);
            let end = self.request(url, &part, spec, progress)?;
            match end {
                End::Absent(status) => return Ok(Some(status)),
                End::Broken(reason) => {
                    last = reason;
                    pieced |= length(&part) > 0;
                    if length(&part) == before && before == 0 {
                        break; // not a single byte arrived: this mirror is not worth another try
                    }
                }
                End::Complete | End::NothingMore => {
                    let file = File::open(&part).map_err(|e| cache_error(&e))?;
                    match place(file, spec, folder) {
                        Ok(()) => {
                            let _ = fs::remove_file(&part);
                            return Ok(None);
                        }
                        // The server closed early without having announced a length.
                        Err(refused @ Refused::Short) if matches!(end, End::Complete) => {
                            last = refused.to_string();
                            pieced = true;
                        }
                        Err(refused @ Refused::Io(_)) => return Err(refused.to_string()),
                        Err(refused) => {
                            let _ = fs::remove_file(&part);
                            if !std::mem::take(&mut pieced) {
                                return Err(refused.to_string());
                            }
                            last = refused.to_string(); // the pieces may come from different versions of the file
                        }
                    }
                }
            }
        }
        if last == Refused::Short.to_string() {
            let _ = fs::remove_file(&part);
        }
        Err(last)
    }

    /// Makes one request, for the bytes that the part lacks.
    fn request(
        &self,
        url: &str,
        part: &Path,
        spec: &FileSpec,
        progress: &dyn LoadProgress,
    ) -> Result<End, String> {
        let have = length(part);
        let mut request = self.agent.get(url);
        if have > 0 {
            request = request.header(header::RANGE, format!("bytes={have}-"));
        }
        let response = match request.call() {
            Ok(response) => response,
            Err(error) => return Ok(End::Broken(error.to_string())),
        };
        let start = match response.status() {
            StatusCode::OK => 0, // the whole file, whatever range was requested
            StatusCode::PARTIAL_CONTENT if starts_at(&response) == Some(have) => have,
            StatusCode::PARTIAL_CONTENT => {
                let _ = fs::remove_file(part);
                return Ok(End::Broken("the server sent a different range than requested".into()));
            }
            StatusCode::RANGE_NOT_SATISFIABLE => return Ok(End::NothingMore),
            status @ (StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE) => {
                return Ok(End::Absent(status));
            }
            status => return Err(format!("the server responded with {status}")),
        };
        let mut file = File::options()
            .create(true)
            .write(true)
            .truncate(start == 0)
            .append(start > 0)
            .open(part)
            .map_err(|e| cache_error(&e))?;
        let total = response.body().content_length().map(|rest| start + rest);
        let what = format!("fetching {}", spec.name);
        let mut body = response.into_body().into_reader();
        let (mut done, mut buffer) = (start, vec![0; 64 << 10]);
        loop {
            progress.report(&what, done, total);
            let n = match body.read(&mut buffer) {
                Ok(0) => return Ok(End::Complete),
                Ok(n) => n,
                Err(error) => return Ok(End::Broken(error.to_string())),
            };
            done += n as u64;
            if done > spec.size + SLACK {
                drop(file);
                let _ = fs::remove_file(part);
                return Err(format!("{} is longer than expected", spec.name));
            }
            file.write_all(&buffer[..n]).map_err(|e| cache_error(&e))?;
        }
    }
}

fn cache_error(error: &std::io::Error) -> String {
    format!("cannot write to the cache: {error}")
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// The first byte of `Content-Range: bytes 100-199/200`.
fn starts_at(response: &Response<Body>) -> Option<u64> {
    let range = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.trim().strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}
