//! A user who types the commands of a document, one after the other, into one folder.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{NAMES, Place, Ran, noise, png};
use crate::document::{Section, ShellCommand, read};
use crate::invocation::{Invocation, Program};
use crate::process::{Process, free, until};

/// Longer than any training here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// The most epochs that a session trains. The longer runs of the documents only leave a user time to look around.
const EPOCHS: u32 = 60;

/// The addresses of the documents; all of them become one address on the loopback interface.
const HOSTS: [&str; 3] = ["127.0.0.1", "0.0.0.0", "192.168.1.10"];

/// A training that ended well, and the test accuracy that it reached.
#[derive(Debug)]
pub(crate) struct Trained {
    pub(crate) invocation: Invocation,
    /// The data set, as `--data` names it.
    pub(crate) data: String,
    pub(crate) accuracy: f64,
}

/// The file that a document shows.
fn toml_of(document: &str) -> String {
    let text = read(document);
    let block = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    block.expect("the document shows a file").to_owned()
}

/// Processes that run beside the commands of a section.
#[derive(Default)]
struct Cluster {
    coordinator: Option<(Invocation, Process)>,
    workers: Vec<Process>,
}

/// The folder in which the commands run.
pub(crate) struct Session {
    place: Place,
}

impl Session {
    /// A folder with the files that the documents take for granted, and MNIST in its cache if there is a copy.
    pub(crate) fn new(mnist: Option<&Path>) -> Self {
        let place = Place::new();
        let [all, new] = [150, 6].map(flowers);
        let _ = place.file("flowers.csv", all);
        let _ = place.file("new-flowers.csv", new);
        let _ = place.file("run.toml", read("deploy/k8s/base/run.toml"));
        let _ = place.file("sweep.toml", toml_of("README.md"));
        if let Some(mnist) = mnist {
            let cache = place.at("cache/mnist");
            fs::create_dir_all(&cache).unwrap();
            for name in NAMES {
                std::os::unix::fs::symlink(mnist.join(name), cache.join(name)).unwrap();
            }
            let _ = place.file("my-seven.png", seven(mnist));
        }
        Self { place }
    }

    /// Whether all commands of a section are ones that a session can run.
    pub(crate) fn can_run(section: &Section) -> bool {
        let ours = ["nn", "nn-coord", "nn-worker", "cargo", "scp"];
        !section.commands.is_empty()
            && section.commands.iter().all(|command| ours.contains(&command.words[0].as_str()))
    }

    /// Runs the commands of a section to their ends: coordinators and workers beside the others, as they would on other
    /// machines. Gives the results of those that train.
    #[track_caller]
    pub(crate) fn run(&self, section: &Section) -> Vec<Trained> {
        let address = free();
        let (mut cluster, mut trained) = (Cluster::default(), Vec::new());
        for command in &section.commands {
            match command.words[0].as_str() {
                "scp" => self.copy(command),
                "cargo" if command.words[1] != "run" => {} // builds, or runs the tests, this one among them
                _ => {
                    let invocation = Invocation::of(command).unwrap_or_else(|| {
                        panic!("{}: teach this test to run {:?}", command.at, command.words)
                    });
                    let invocation =
                        on_loopback(invocation, &address).with_epochs_at_most(EPOCHS).on_one_thread();
                    match invocation.program {
                        Program::Coord if invocation.option("--spawn").is_none() => {
                            self.coordinate(&mut cluster, invocation, &address);
                        }
                        Program::Worker => self.work(&mut cluster, &invocation),
                        Program::Nn if matches!(invocation.subcommand(), Some("serve" | "dashboard")) => {
                            self.serve(invocation);
                        }
                        _ => trained.extend(self.finish(invocation)),
                    }
                }
            }
        }
        if let Some((invocation, process)) = cluster.coordinator {
            let _ = end(process);
            trained.extend(self.trained(invocation));
        }
        cluster.workers.into_iter().for_each(|worker| drop(end(worker)));
        trained
    }

    /// Starts a coordinator, and waits until it listens.
    #[track_caller]
    fn coordinate(&self, cluster: &mut Cluster, invocation: Invocation, address: &str) {
        assert!(cluster.coordinator.is_none(), "{}: a second coordinator", invocation.at);
        let process = self.start(&invocation);
        let _ = until("a coordinator that listens", || process.story(), || TcpStream::connect(address).ok());
        cluster.coordinator = Some((invocation, process));
    }

    /// Starts as many workers as the coordinator waits for.
    fn work(&self, cluster: &mut Cluster, invocation: &Invocation) {
        let number =
            cluster.coordinator.as_ref().and_then(|(coordinator, _)| coordinator.option("--min-workers"));
        let number: usize = number.map_or(1, |number| number.parse().unwrap());
        cluster.workers.extend((0..number).map(|_| self.start(invocation)));
    }

    /// Starts a server, without a browser and on a free port, and ends it once it serves.
    #[track_caller]
    fn serve(&self, mut invocation: Invocation) {
        invocation.arguments.retain(|argument| argument != "--open");
        if invocation.option("--listen").is_none() {
            invocation.arguments.extend(["--listen", "127.0.0.1:0"].map(str::to_owned));
        }
        let process = self.start(&invocation);
        process.says(" at http://127.0.0.1:");
        process.signal("TERM");
        let _ = end(process);
    }

    /// Runs a command to its end.
    #[track_caller]
    fn finish(&self, invocation: Invocation) -> Option<Trained> {
        let ran = end(self.start(&invocation));
        assert!(!ran.stdout.is_empty(), "{}: it prints nothing", invocation.at);
        if invocation.arguments.iter().any(|argument| argument == "my-seven.png") {
            assert!(ran.stdout.contains("Digit 7"), "{}: {ran:#?}", invocation.at);
        }
        self.trained(invocation)
    }

    /// Trains with these options, without a cluster.
    #[track_caller]
    pub(crate) fn train(&self, at: &str, options: &str) -> Trained {
        let arguments = format!("train {options}").split_whitespace().map(str::to_owned).collect();
        let invocation = Invocation { at: at.to_owned(), program: Program::Nn, arguments }
            .with_epochs_at_most(EPOCHS)
            .on_one_thread();
        let _ = end(self.start(&invocation));
        self.trained(invocation).expect("it trains")
    }

    fn start(&self, invocation: &Invocation) -> Process {
        let mut arguments = invocation.arguments.clone();
        // The page is at a port that is free here.
        if let Some(at) = arguments.iter().position(|argument| argument == "--dashboard") {
            arguments.insert(at + 1, "127.0.0.1:0".to_owned());
        }
        Process::start(&self.place, invocation.program.path(), &[], &arguments.join(" "))
    }

    /// The result of a command that trains.
    #[track_caller]
    fn trained(&self, invocation: Invocation) -> Option<Trained> {
        if !invocation.trains() || invocation.arguments.iter().any(|argument| argument == "--print-config") {
            return None;
        }
        let mut out = invocation.configured(&self.place, "out");
        // A default folder that holds a run is followed by one with a number.
        for number in 2.. {
            let next = format!("{}-{number}", invocation.configured(&self.place, "out"));
            if invocation.option("--out").is_some() || !self.place.at(&next).exists() {
                break;
            }
            out = next;
        }
        let summary = self.place.summary(&out);
        assert_eq!(summary["outcome"], "complete", "{invocation:?}");
        let accuracy = summary["test_accuracy"].as_f64().expect("a classification");
        let data = invocation.configured(&self.place, "data");
        Some(Trained { invocation, data, accuracy })
    }

    /// Copies files as `scp` would copy them into the home folder of the other machine, which is the same folder here.
    fn copy(&self, command: &ShellCommand) {
        let [_, files @ .., _] = &command.words[..] else { panic!("{command:?}") };
        for file in files {
            let to = self.place.at(Path::new(file).file_name().unwrap());
            if to != self.place.at(file) {
                let _ = fs::copy(self.place.at(file), to).unwrap();
            }
        }
    }
}

/// The command with the coordinator's address in place of the addresses of the documents.
fn on_loopback(mut invocation: Invocation, address: &str) -> Invocation {
    for argument in &mut invocation.arguments {
        let (scheme, rest) =
            argument.split_once("://").map_or(("", argument.as_str()), |(scheme, rest)| (scheme, rest));
        if HOSTS.contains(&rest.strip_suffix(":7654").unwrap_or(rest)) {
            *argument = if scheme.is_empty() { address.to_owned() } else { format!("{scheme}://{address}") };
        }
    }
    invocation
}

/// Waits for the end of a process, which must be a good one.
#[track_caller]
fn end(mut process: Process) -> Ran {
    let from = Instant::now();
    while process.child.try_wait().unwrap().is_none() {
        assert!(from.elapsed() < PATIENCE, "it does not end: {}", process.story());
        thread::sleep(Duration::from_millis(5));
    }
    process.ends_well()
}

/// A table of flowers of three species, about as far apart as real ones.
fn flowers(rows: usize) -> String {
    let species = [
        ("setosa", [5.0, 3.4, 1.5, 0.2]),
        ("versicolor", [5.9, 2.8, 4.3, 1.3]),
        ("virginica", [6.6, 3.0, 5.6, 2.0]),
    ];
    let mut text = String::from("sepal length,sepal width,petal length,petal width,species\n");
    for row in 0..rows {
        let (name, sizes) = species[row % 3];
        for (column, size) in sizes.iter().enumerate() {
            text += &format!("{:.1},", size + 0.8 * (noise(4 * row + column) - 0.5));
        }
        text += &format!("{name}\n");
    }
    text
}

/// A picture of the first seven among MNIST's test samples, black on white.
fn seven(mnist: &Path) -> Vec<u8> {
    let file = |name: &str| fs::read(mnist.join(name)).unwrap();
    let (labels, images) = (file("t10k-labels-idx1-ubyte"), file("t10k-images-idx3-ubyte"));
    let sample = labels[8..].iter().position(|&label| label == 7).expect("a seven");
    let pixels: Vec<u8> =
        images[16..].chunks_exact(784).nth(sample).unwrap().iter().map(|&ink| 255 - ink).collect();
    png(28, 28, &pixels)
}
