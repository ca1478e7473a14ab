//! Workers that the coordinator starts on its own machine, for a quick trial.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::worker::share_of_threads;
use crate::clock::Clock;
use crate::config::not_for_children;
use crate::failure::Failure;

/// The time that they may take to exit once the run is over.
const GRACE: Duration = Duration::from_secs(15);

/// Workers on this machine. Dropping this kills them, so that none outlives the coordinator.
#[derive(Debug, Default)]
pub(super) struct Children(Vec<Child>);

impl Children {
    /// Starts `count` workers, from the program beside this one. They receive the token through a pipe, which no other
    /// process can read.
    pub(super) fn spawn(count: usize, coordinator: SocketAddr, token: &str) -> Result<Self, Failure> {
        let name = format!("nn-worker{}", std::env::consts::EXE_SUFFIX);
        let program =
            std::env::current_exe().map(|path| path.with_file_name(&name)).unwrap_or_else(|_| name.into());
        let mut children = Self::default();
        for number in 1..=count {
            let mut command = Command::new(&program);
            not_for_children().for_each(|variable| {
                command.env_remove(variable);
            });
            let mut child = command
                .args(["--quiet", "--retry-seconds", "30"])
                .args(["--name", &format!("spawned-{number}")])
                .args(["--threads", &share_of_threads(count).to_string()])
                .args(["--coordinator", &format!("http://{coordinator}")])
                .args(["--token-file", "-"])
                .stdin(Stdio::piped())
                .spawn()
                .map_err(|error| {
                    Failure::failed(format_args!("cannot start {}: {error}", program.display()))
                        .help("put nn-worker beside nn-coord: cargo build --release builds both")
                })?;
            // A worker that has already exited is noticed later.
            if let Some(mut pipe) = child.stdin.take() {
                let _ = pipe.write_all(token.as_bytes());
            }
            children.0.push(child);
        }
        Ok(children)
    }

    /// Waits for the workers to exit. Returns the number of workers that did not and had to be killed.
    pub(super) fn finish(mut self) -> usize {
        let clock = Clock::start();
        loop {
            // An error also means that the worker has exited.
            self.0.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
            if self.0.is_empty() || clock.now() >= GRACE {
                return self.0.len();
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}
