//! Processes of a cluster and their output.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Place, Ran, plain};

/// A limit on every wait, generous for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A process of the cluster and its output so far. It is killed when it is dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    what: String,
    printed: [Arc<Mutex<String>>; 2],
    readers: Vec<JoinHandle<()>>,
}

/// Collects the lines of a pipe on a thread.
fn keep(pipe: impl Read + Send + 'static) -> (Arc<Mutex<String>>, JoinHandle<()>) {
    let kept = Arc::new(Mutex::new(String::new()));
    let into = kept.clone();
    let reader = thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let _ = writeln!(into.lock().unwrap(), "{line}");
        }
    });
    (kept, reader)
}

impl Process {
    pub(crate) fn start(place: &Place, program: &str, environment: &[(&str, &str)], arguments: &str) -> Self {
        let mut command = Command::new(program);
        command.current_dir(place.path()).args(arguments.split_whitespace());
        plain(&mut command).env("NN_CACHE_DIR", place.at("cache")).envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdout, a) = keep(child.stdout.take().unwrap());
        let (stderr, b) = keep(child.stderr.take().unwrap());
        let name = Path::new(program).file_name().unwrap().to_string_lossy().into_owned();
        Self { child, what: format!("{name} {arguments}"), printed: [stdout, stderr], readers: vec![a, b] }
    }

    pub(crate) fn stdout(&self) -> String {
        self.printed[0].lock().unwrap().clone()
    }

    pub(crate) fn stderr(&self) -> String {
        self.printed[1].lock().unwrap().clone()
    }

    /// Its command and its output so far, for messages of failed tests.
    pub(crate) fn story(&self) -> String {
        format!("{}\n--- stdout\n{}--- stderr\n{}", self.what, self.stdout(), self.stderr())
    }

    /// Waits until it has printed `words` on either stream.
    #[track_caller]
    pub(crate) fn says(&self, words: &str) {
        let said = || self.stdout().contains(words) || self.stderr().contains(words);
        until(&format!("{words:?}"), || self.story(), || said().then_some(()));
    }

    #[track_caller]
    pub(crate) fn ended(&mut self) -> Ran {
        let ended = |child: &mut Child| child.try_wait().unwrap();
        let from = Instant::now();
        let status: ExitStatus = loop {
            match ended(&mut self.child) {
                Some(status) => break status,
                None if from.elapsed() > PATIENCE => panic!("it does not end: {}", self.story()),
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        Ran { code: status.code(), stdout: self.stdout(), stderr: self.stderr() }
    }

    /// Waits until it ends, and fails unless the exit code is 0.
    #[track_caller]
    pub(crate) fn ends_well(&mut self) -> Ran {
        let ran = self.ended();
        assert_eq!(ran.code, Some(0), "{}", self.story());
        assert!(!ran.stderr.contains("panicked"), "{}", self.story());
        ran
    }

    #[track_caller]
    pub(crate) fn is_running(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "it has ended: {}", self.story());
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `ready` returns something, at most [`PATIENCE`].
#[track_caller]
pub(crate) fn until<T>(what: &str, story: impl Fn() -> String, mut ready: impl FnMut() -> Option<T>) -> T {
    let from = Instant::now();
    loop {
        if let Some(got) = ready() {
            return got;
        }
        assert!(from.elapsed() < PATIENCE, "waited in vain for {what}: {}", story());
        thread::sleep(Duration::from_millis(5));
    }
}

/// A coordinator that listens.
pub(crate) struct Coord {
    pub(crate) process: Process,
    pub(crate) address: String,
}

impl Coord {
    /// A coordinator on a port that the system chooses, which writes to the folder `net`.
    #[track_caller]
    pub(crate) fn start(place: &Place, arguments: &str) -> Self {
        Self::at(place, "127.0.0.1:0", arguments)
    }

    #[track_caller]
    pub(crate) fn at(place: &Place, listen: &str, arguments: &str) -> Self {
        Self::of(place, env!("CARGO_BIN_EXE_nn-coord"), &[], listen, arguments)
    }

    /// A coordinator that is any program, in any environment. It only coordinates, unless the arguments give it threads.
    #[track_caller]
    pub(crate) fn of(
        place: &Place,
        program: &str,
        environment: &[(&str, &str)],
        listen: &str,
        arguments: &str,
    ) -> Self {
        let threads = if arguments.contains("--threads") { "" } else { "--threads 0" };
        let arguments = format!("--listen {listen} {threads} --out net {arguments}");
        let mut process = Process::start(place, program, environment, &arguments);
        let from = Instant::now();
        let address = loop {
            let stdout = process.stdout();
            let tail = stdout.split_once("listening on ").and_then(|(_, tail)| tail.split_once(';'));
            if let Some((address, _)) = tail {
                break address.to_owned();
            }
            process.is_running();
            assert!(from.elapsed() < PATIENCE, "it does not listen: {}", process.story());
            thread::sleep(Duration::from_millis(2));
        };
        Self { process, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn worker(&self, place: &Place, arguments: &str) -> Process {
        worker(place, &[], &self.url(), arguments)
    }

    /// The output of `nn status --json`, or `None` if that fails.
    pub(crate) fn status(&self, place: &Place) -> Option<Value> {
        let ran = place.nn(&format!("status --json --coordinator {}", self.url()));
        (ran.code == Some(0)).then(|| ran.json())
    }

    /// Waits until the log has `n` lines, of steps or epochs, and fails if the run ends before.
    #[track_caller]
    pub(crate) fn epochs(&mut self, place: &Place, n: usize) {
        let from = Instant::now();
        while !place.at("net/metrics.jsonl").exists() || lines(place) < n {
            self.process.is_running();
            assert!(from.elapsed() < PATIENCE, "no {n} epochs: {}", self.process.story());
            thread::sleep(Duration::from_millis(2));
        }
        self.process.is_running();
    }

    /// The index in `names` of the worker with the largest share of the work.
    #[track_caller]
    pub(crate) fn busiest(&self, place: &Place, names: [&str; 2]) -> usize {
        let share = |w: &Value| w["share"].as_f64().unwrap();
        let story = || self.process.story();
        until("a worker with work", story, || {
            let status = self.status(place)?;
            let workers = status["workers"].as_array()?;
            let most = workers.iter().max_by(|a, b| share(a).total_cmp(&share(b)))?;
            names.iter().position(|&name| most["name"] == name && share(most) > 0.0)
        })
    }

    /// Waits until the run ends, and returns the hash of its weights.
    #[track_caller]
    pub(crate) fn hash(mut self, place: &Place) -> String {
        let _ = self.process.ends_well();
        place.hash("net")
    }
}

/// The number of lines of steps and epochs in the log so far.
pub(crate) fn lines(place: &Place) -> usize {
    let text = std::fs::read_to_string(place.at("net/metrics.jsonl")).unwrap_or_default();
    // Events are beside the steps.
    text.lines().filter(|line| !line.contains("\"kind\":\"event\"")).count()
}

pub(crate) fn worker(place: &Place, environment: &[(&str, &str)], url: &str, arguments: &str) -> Process {
    let threads = if arguments.contains("--threads") { "" } else { "--threads 1" };
    let arguments = format!("--coordinator {url} {threads} {arguments}");
    Process::start(place, env!("CARGO_BIN_EXE_nn-worker"), environment, &arguments)
}

/// The hash of the final weights of `nn train` with the same options.
#[track_caller]
pub(crate) fn alone(place: &Place, arguments: &str) -> String {
    let _ = place.nn(&format!("train --quiet --out alone --overwrite {arguments}")).ok();
    place.hash("alone")
}

/// An address on which nothing listens, for now.
pub(crate) fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// The options of a run that is long enough for something to happen in the middle.
pub(crate) const LONG: &str =
    "--recipe book --epochs 300 --batch-size 128 --shard-size 16 --eval-every 1 --hidden 48,32";
