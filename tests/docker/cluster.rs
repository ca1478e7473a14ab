//! A cluster in containers, made with `deploy/compose/compose.yaml` and controlled by Docker's own commands.

use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Place, Ran};

/// A limit on every wait, generous for a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The root of the repository, and the Compose file in it.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const COMPOSE_FILE: &str = "deploy/compose/compose.yaml";

/// A Compose project. When it is dropped, its containers, networks, volumes and images are removed.
pub(crate) struct Cluster {
    project: String,
    /// The command: `docker compose`, or the older `docker-compose`.
    compose: Vec<&'static str>,
    environment: Vec<(&'static str, String)>,
    /// The names of the services of the coordinator and of the workers.
    coordinator: &'static str,
    worker: &'static str,
    /// The options of `nn status` in the coordinator's container.
    ask: &'static str,
    /// Images that the builder left behind.
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

/// Runs `docker` with arguments separated by spaces.
pub(crate) fn docker(arguments: &str) -> Ran {
    run("docker", &arguments.split_whitespace().collect::<Vec<_>>(), &[])
}

/// The output of `docker inspect` for a container or an image.
#[track_caller]
pub(crate) fn inspect(thing: &str) -> Value {
    docker(&format!("inspect {thing}")).ok().json()[0].take()
}

impl Cluster {
    /// A project with a unique name, and values for variables of the Compose file.
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
            "{binaries}/nn, which goes into the image, does not exist (bash .ci/docker compiles it; NN_BINARIES is its folder)"
        );
        let compose = if run("docker", &["compose", "version"], &[]).code == Some(0) {
            vec!["docker", "compose"]
        } else {
            vec!["docker-compose"]
        };
        let project = format!("nn-test-{name}-{}", std::process::id());
        let mut environment = vec![("NN_IMAGE", project.clone()), ("NN_BINARIES", binaries)];
        // These override a tester's own `.env` beside the Compose file.
        for name in
            ["NN_RUN", "NN_RUNS_VOLUME", "NN_DATA_VOLUME", "NN_MIN_WORKERS", "NN_THREADS", "NN_WORKER_CPUS"]
        {
            environment.push((name, String::new()));
        }
        environment.extend(variables.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Self { project, compose, environment, coordinator, worker, ask, leftovers: Vec::new() }
    }

    /// Runs Compose with arguments separated by spaces.
    #[track_caller]
    pub(crate) fn compose(&self, arguments: &str) -> Ran {
        let mut all = self.compose[1..].to_vec();
        all.extend(["-f", COMPOSE_FILE, "-p", &self.project, "--profile", "tls"]);
        all.extend(arguments.split_whitespace());
        run(self.compose[0], &all, &self.environment)
    }

    /// Builds the image.
    pub(crate) fn build(&mut self) {
        let built = self.compose(&format!("build {}", self.coordinator)).ok();
        // The older builder keeps the last image of every stage, and prints their ids.
        let lines = built.stdout.lines().chain(built.stderr.lines());
        self.leftovers = lines.filter_map(|line| line.strip_prefix(" ---> ")).map(str::to_owned).collect();
        self.leftovers.retain(|id| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    /// The name of the image.
    pub(crate) fn image(&self) -> &str {
        &self.project
    }

    /// Starts the coordinator, and scales to this number of workers; `more` holds further options.
    #[track_caller]
    pub(crate) fn up(&self, workers: usize, more: &str) {
        let worker = self.worker;
        let _ = self.compose(&format!("up --detach {more} --scale {worker}={workers} {worker}")).ok();
    }

    /// The containers of a service, running or not, oldest first.
    fn containers(&self, service: &str) -> Vec<String> {
        let label = "label=com.docker.compose";
        let asked = docker(&format!(
            "ps -a -q --filter {label}.project={} --filter {label}.service={service}",
            self.project
        ));
        asked.ok().stdout.lines().rev().map(str::to_owned).collect()
    }

    /// The workers' containers. Their ids of twelve digits are also the workers' names.
    pub(crate) fn workers(&self) -> Vec<String> {
        self.containers(self.worker)
    }

    /// The coordinator's container.
    #[track_caller]
    pub(crate) fn coordinator(&self) -> String {
        let [container] = &self.containers(self.coordinator)[..] else { panic!("{}", self.story()) };
        container.clone()
    }

    /// The network of the containers.
    pub(crate) fn network(&self) -> String {
        format!("{}_default", self.project)
    }

    /// The status of the run; `None` if it cannot be had, as while the coordinator is down.
    pub(crate) fn status(&self) -> Option<Status> {
        let asked = docker(&format!("exec {} nn status --json {}", self.coordinator(), self.ask));
        (asked.code == Some(0)).then(|| Status(asked.json()))
    }

    /// Waits until `found` returns something, at most [`PATIENCE`].
    #[track_caller]
    pub(crate) fn until<T>(&self, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
        let from = Instant::now();
        loop {
            if let Some(found) = found() {
                return found;
            }
            assert!(from.elapsed() < PATIENCE, "this never happened: {what}\n{}", self.story());
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until the status shows that the run is training and `is` holds; fails if the run is over before.
    #[track_caller]
    pub(crate) fn training(&self, what: &str, is: impl Fn(&Status) -> bool) -> Status {
        let status =
            self.until(what, || self.status().filter(|status| status.state() == "training" && is(status)));
        assert!(status.step() < status.total(), "the run was over before {what}\n{}", self.story());
        println!("step {:4} of {}: {what}", status.step(), status.total());
        status
    }

    /// Waits until the run has done this many more steps.
    #[track_caller]
    pub(crate) fn gets_on(&self, steps: u64) -> Status {
        let from = self.training("it trains", |_| true).step();
        self.training("it makes progress", |status| status.step() >= from + steps)
    }

    /// Gives the workers whole processors, so that the run ends soon.
    #[track_caller]
    pub(crate) fn hurry(&self) {
        let _ = docker(&format!("update --cpus 1 {}", self.workers().join(" "))).ok();
    }

    /// Waits until the coordinator's container has exited, and returns its exit code.
    #[track_caller]
    pub(crate) fn ends(&self) -> i64 {
        let container = self.coordinator();
        let (mut from, mut step) = (Instant::now(), 0);
        loop {
            let state = inspect(&container)["State"].take();
            if state["Status"] == "exited" {
                return state["ExitCode"].as_i64().unwrap();
            }
            // A slow machine may take its time, as long as the run makes progress.
            let now = self.status().map_or(step, |status| status.step());
            if now != step {
                (from, step) = (Instant::now(), now);
            }
            assert!(from.elapsed() < PATIENCE, "the run does not end\n{}", self.story());
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// The coordinator's output.
    pub(crate) fn log(&self) -> String {
        let Ran { stdout, stderr, .. } = docker(&format!("logs {}", self.coordinator()));
        stdout + &stderr
    }

    /// Copies the run from its volume to the folder `net` of a place.
    pub(crate) fn fetch(&self, place: &Place) {
        let to = place.at("net");
        let _ = docker(&format!("cp {}:/runs/run {}", self.coordinator(), to.display())).ok();
    }

    /// The containers, their logs and the status, for messages of failed tests.
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
        // Images last, when nothing uses them. Errors about images that are already gone do not matter.
        let gone = self.compose("down --volumes --remove-orphans --timeout 5");
        if gone.code != Some(0) {
            eprintln!("not all of {} could be removed: {gone:#?}", self.project);
        }
        let _ = docker(&format!("rmi --force {}", self.project));
        // An image with a name is somebody else's too, so only nameless ones are removed.
        let nameless = docker("images --quiet --filter dangling=true").stdout;
        for image in self.leftovers.iter().rev().filter(|image| nameless.contains(image.as_str())) {
            let _ = docker(&format!("rmi {image}"));
        }
    }
}

/// The output of `nn status --json`.
#[derive(Debug)]
pub(crate) struct Status(Value);

impl Status {
    fn number(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or_else(|| panic!("{name} is not a number in {:#}", self.0))
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

    /// The number of workers in the run.
    pub(crate) fn workers(&self) -> usize {
        self.0["workers"].as_array().unwrap().len()
    }

    /// Whether a worker of this name is in the run.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0["workers"].as_array().unwrap().iter().any(|worker| worker["name"] == name)
    }
}
