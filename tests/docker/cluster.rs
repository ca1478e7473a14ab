//! A cluster in containers, as `deploy/compose/compose.yaml` makes it: Docker is asked and told by its own commands.

use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Place, Ran};

/// More than anything here takes on a machine that is busy with other things too.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the repository is, and in it the file that all is made from.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const COMPOSE_FILE: &str = "deploy/compose/compose.yaml";

/// A project of Compose's. When this is dropped, its containers, networks, volumes and images are gone.
pub(crate) struct Cluster {
    project: String,
    /// `docker compose`, or the `docker-compose` before it.
    compose: Vec<&'static str>,
    environment: Vec<(&'static str, String)>,
    /// Services of the coordinator and of the workers.
    coordinator: &'static str,
    worker: &'static str,
    /// What the coordinator is asked for its status with, beside `nn status --json`.
    ask: &'static str,
    /// Images that the builder has left behind.
    leftovers: Vec<String>,
}

/// Runs a program in the repository and waits for its end.
fn run(program: &str, arguments: &[&str], environment: &[(&str, String)]) -> Ran {
    let mut command = Command::new(program);
    command.current_dir(ROOT).args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
    let output: Output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!(
            "cannot run {program}: {error}; this test needs Docker and Compose (bash .ci/docker gets them)"
        )
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// `docker` with arguments, which are parted by spaces.
pub(crate) fn docker(arguments: &str) -> Ran {
    run("docker", &arguments.split_whitespace().collect::<Vec<_>>(), &[])
}

/// What `docker inspect` says of a container or an image.
#[track_caller]
pub(crate) fn inspect(thing: &str) -> Value {
    docker(&format!("inspect {thing}")).ok().json()[0].take()
}

impl Cluster {
    /// A project of a name that nobody else has, with variables of the Compose file.
    pub(crate) fn new(
        name: &str,
        [coordinator, worker]: [&'static str; 2],
        ask: &'static str,
        variables: &[(&'static str, &str)],
    ) -> Self {
        let engine = docker("info --format {{.ServerVersion}}");
        assert_eq!(
            engine.code,
            Some(0),
            "no Docker engine answers (bash .ci/docker starts one): {engine:#?}"
        );
        let binaries = std::env::var("NN_BINARIES").unwrap_or_else(|_| "dist/bin".to_owned());
        assert!(
            std::path::Path::new(ROOT).join(&binaries).join("nn").is_file(),
            "there is no {binaries}/nn to make an image of (bash .ci/docker compiles it; NN_BINARIES is its folder)"
        );
        let compose = if run("docker", &["compose", "version"], &[]).code == Some(0) {
            vec!["docker", "compose"]
        } else {
            vec!["docker-compose"]
        };
        let project = format!("nn-test-{name}-{}", std::process::id());
        let mut environment = vec![("NN_IMAGE", project.clone()), ("NN_BINARIES", binaries)];
        // Whoever has a `.env` of his own beside the file has his reasons, but they are not ours.
        for name in
            ["NN_RUN", "NN_RUNS_VOLUME", "NN_DATA_VOLUME", "NN_MIN_WORKERS", "NN_THREADS", "NN_WORKER_CPUS"]
        {
            environment.push((name, String::new()));
        }
        environment.extend(variables.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Self { project, compose, environment, coordinator, worker, ask, leftovers: Vec::new() }
    }

    /// Compose with arguments, which are parted by spaces.
    #[track_caller]
    pub(crate) fn compose(&self, arguments: &str) -> Ran {
        let mut all = self.compose[1..].to_vec();
        all.extend(["-f", COMPOSE_FILE, "-p", &self.project, "--profile", "tls"]);
        all.extend(arguments.split_whitespace());
        run(self.compose[0], &all, &self.environment)
    }

    /// Makes the image.
    pub(crate) fn build(&mut self) {
        let built = self.compose(&format!("build {}", self.coordinator)).ok();
        // The older builder keeps the last image of every stage, and says their names.
        let lines = built.stdout.lines().chain(built.stderr.lines());
        self.leftovers = lines.filter_map(|line| line.strip_prefix(" ---> ")).map(str::to_owned).collect();
        self.leftovers.retain(|id| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    /// The name of the image.
    pub(crate) fn image(&self) -> &str {
        &self.project
    }

    /// So many workers, and the coordinator, from now on.
    #[track_caller]
    pub(crate) fn up(&self, workers: usize, more: &str) {
        let worker = self.worker;
        let _ = self.compose(&format!("up --detach {more} --scale {worker}={workers} {worker}")).ok();
    }

    /// The containers of a service, whether they run or not, the oldest first.
    fn containers(&self, service: &str) -> Vec<String> {
        let label = "label=com.docker.compose";
        let asked = docker(&format!(
            "ps -a -q --filter {label}.project={} --filter {label}.service={service}",
            self.project
        ));
        asked.ok().stdout.lines().rev().map(str::to_owned).collect()
    }

    /// The workers' containers. The twelve digits are the worker's name, too.
    pub(crate) fn workers(&self) -> Vec<String> {
        self.containers(self.worker)
    }

    /// The coordinator's container.
    #[track_caller]
    pub(crate) fn coordinator(&self) -> String {
        let [container] = &self.containers(self.coordinator)[..] else { panic!("{}", self.story()) };
        container.clone()
    }

    /// The network that they are in.
    pub(crate) fn network(&self) -> String {
        format!("{}_default", self.project)
    }

    /// What `nn status` says; None if it fails, as it does while the coordinator is away.
    pub(crate) fn status(&self) -> Option<Status> {
        let asked = docker(&format!("exec {} nn status --json {}", self.coordinator(), self.ask));
        (asked.code == Some(0)).then(|| Status(asked.json()))
    }

    /// Waits until something is so.
    #[track_caller]
    pub(crate) fn until<T>(&self, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
        let from = Instant::now();
        loop {
            if let Some(found) = found() {
                return found;
            }
            assert!(from.elapsed() < PATIENCE, "this never came: {what}\n{}", self.story());
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until the run is seen to be in its midst, and something is so.
    #[track_caller]
    pub(crate) fn training(&self, what: &str, is: impl Fn(&Status) -> bool) -> Status {
        let status =
            self.until(what, || self.status().filter(|status| status.state() == "training" && is(status)));
        assert!(status.step() < status.total(), "the run was over before {what}\n{}", self.story());
        println!("step {:4} of {}: {what}", status.step(), status.total());
        status
    }

    /// Waits until the run has done so many steps more.
    #[track_caller]
    pub(crate) fn gets_on(&self, steps: u64) -> Status {
        let from = self.training("it trains", |_| true).step();
        self.training("it gets on", |status| status.step() >= from + steps)
    }

    /// Nothing more is to be done to the run: it may end as fast as it can.
    #[track_caller]
    pub(crate) fn hurry(&self) {
        let _ = docker(&format!("update --cpus 1 {}", self.workers().join(" "))).ok();
    }

    /// Waits until the coordinator's container has ended, and gives its exit code.
    #[track_caller]
    pub(crate) fn ends(&self) -> i64 {
        let container = self.coordinator();
        let (mut from, mut step) = (Instant::now(), 0);
        loop {
            let state = inspect(&container)["State"].take();
            if state["Status"] == "exited" {
                return state["ExitCode"].as_i64().unwrap();
            }
            // How long it takes is the machine's affair, as long as it gets on.
            let now = self.status().map_or(step, |status| status.step());
            if now != step {
                (from, step) = (Instant::now(), now);
            }
            assert!(from.elapsed() < PATIENCE, "the run does not end\n{}", self.story());
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// What the coordinator has printed.
    pub(crate) fn log(&self) -> String {
        let Ran { stdout, stderr, .. } = docker(&format!("logs {}", self.coordinator()));
        stdout + &stderr
    }

    /// Copies the run out of its volume, into the folder `net` of a place.
    pub(crate) fn fetch(&self, place: &Place) {
        let to = place.at("net");
        let _ = docker(&format!("cp {}:/runs/run {}", self.coordinator(), to.display())).ok();
    }

    /// All that is known, for people.
    pub(crate) fn story(&self) -> String {
        let label = format!("label=com.docker.compose.project={}", self.project);
        let Ran { stdout: ps, .. } = docker(&format!("ps -a --filter {label}"));
        let Ran { stdout, stderr, .. } = self.compose("logs --no-color --tail 30");
        format!(
            "{ps}{stdout}{stderr}status: {:#?}",
            self.containers(self.coordinator).first().map(|_| self.status())
        )
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            let Ran { stdout, stderr, .. } = self.compose("logs --no-color --tail 50");
            eprintln!("{stdout}{stderr}");
        }
        // Images last: nothing uses them then. What is gone already cannot be removed, which is as well.
        let gone = self.compose("down --volumes --remove-orphans --timeout 5");
        if gone.code != Some(0) {
            eprintln!("not all of {} could be removed: {gone:#?}", self.project);
        }
        let _ = docker(&format!("rmi --force {}", self.project));
        // Somebody else may have given a name to the same.
        let nameless = docker("images --quiet --filter dangling=true").stdout;
        for image in self.leftovers.iter().rev().filter(|image| nameless.contains(image.as_str())) {
            let _ = docker(&format!("rmi {image}"));
        }
    }
}

/// What `nn status --json` said.
#[derive(Debug)]
pub(crate) struct Status(Value);

impl Status {
    fn number(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or_else(|| panic!("{name} is no number in {:#}", self.0))
    }

    pub(crate) fn state(&self) -> &str {
        self.0["state"].as_str().unwrap()
    }

    pub(crate) fn step(&self) -> u64 {
        self.number("step")
    }

    pub(crate) fn total(&self) -> u64 {
        self.number("total_steps")
    }

    /// How often the run was resumed.
    pub(crate) fn generation(&self) -> u64 {
        self.number("generation")
    }

    /// How many take part.
    pub(crate) fn workers(&self) -> usize {
        self.0["workers"].as_array().unwrap().len()
    }

    /// Whether the worker of this name takes part.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0["workers"].as_array().unwrap().iter().any(|worker| worker["name"] == name)
    }
}
