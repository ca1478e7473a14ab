//! Measures steps over loopback, with workers in processes of their own:
//! `cargo run --release -p nn-net --example loopback -- --widths 784-30-10 --batch 10 --workers 2` (and `--activation`,
//! `--steps`, `--threads` of each worker, `--own-threads` with which the coordinator computes too, `--io-threads` of each
//! async runtime). It prints one JSON object, with times in
//! microseconds, which `benches/compare_ddp.py` reads. With `--tls` both sides show certificates. `--alone` first times the
//! same steps in this process, and compares the weights.
#![allow(clippy::print_stdout, clippy::disallowed_methods)] // it reads the clock and prints

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nn_core::{Activation, Cost, Dataset, Features, Isa, Model, Output, Targets, Threads};
use nn_engine::local::{self, Observer};
use nn_engine::{
    Cluster, Compute, Encoding, Engine, EpochReport, Manifest, ManifestParts, Recipe, Snapshot, StepReport,
    params_sha256,
};
use nn_net::{
    Authorities, ClientSecurity, Coordinator, CoordinatorHandle, CoordinatorOptions, Door, Finished,
    Identity, Pem, ServerSecurity, WorkerOptions, serve, work,
};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// The first steps, which are not counted: workers join, and the planner learns their speed.
const WARM_UP: usize = 20;

struct Laps {
    start: Instant,
    last: Duration,
    laps: Vec<Duration>,
}

impl Laps {
    fn new() -> Self {
        Self { start: Instant::now(), last: Duration::ZERO, laps: Vec::new() }
    }

    /// The median, the tenth and the ninetieth percentile, in microseconds.
    fn summary(&self) -> [f64; 3] {
        let mut laps = self.laps[self.laps.len().min(WARM_UP)..].to_vec();
        laps.sort_unstable();
        [50, 10, 90].map(|percent| laps.get(laps.len() * percent / 100).map_or(f64::NAN, micros))
    }
}

fn micros(time: &Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

impl Observer for Laps {
    fn now(&mut self) -> Duration {
        self.start.elapsed()
    }

    fn step(&mut self, _: &StepReport) -> ControlFlow<()> {
        let now = self.start.elapsed();
        self.laps.push(now - self.last);
        self.last = now;
        ControlFlow::Continue(())
    }

    fn epoch(&mut self, _: &EpochReport, _: &[f32]) {}

    fn snapshot(&mut self, _: Snapshot) {}
}

/// `--name value` pairs; a name alone means true.
struct Flags(BTreeMap<String, String>);

impl Flags {
    fn parse() -> Self {
        let mut flags = BTreeMap::new();
        let mut name = None;
        for arg in std::env::args().skip(1) {
            if let Some(flag) = arg.strip_prefix("--") {
                flags.insert(flag.to_owned(), "true".to_owned());
                name = Some(flag.to_owned());
            } else if let Some(name) = name.take() {
                flags.insert(name, arg);
            }
        }
        Self(flags)
    }

    fn get<T: FromStr>(&self, name: &str, usual: &str) -> Result<T, String> {
        let text = self.0.get(name).map_or(usual, String::as_str);
        text.parse().map_err(|_| format!("--{name} {text} cannot be used"))
    }
}

/// What to measure.
struct Setup {
    widths: Vec<usize>,
    activation: Activation,
    batch: usize,
    workers: usize,
    steps: usize,
    threads: usize,
    own_threads: usize,
    io_threads: usize,
}

impl Setup {
    fn parse(flags: &Flags) -> Result<Self, Box<dyn Error>> {
        let widths: String = flags.get("widths", "784-30-10")?;
        Ok(Self {
            widths: widths.split('-').map(str::parse).collect::<Result<_, _>>()?,
            activation: match flags.get::<String>("activation", "sigmoid")?.as_str() {
                "relu" => Activation::Relu,
                "tanh" => Activation::Tanh,
                _ => Activation::Sigmoid,
            },
            batch: flags.get("batch", "10")?,
            workers: flags.get("workers", "2")?,
            steps: flags.get("steps", "1000")?,
            threads: flags.get("threads", "1")?,
            own_threads: flags.get("own-threads", "0")?,
            io_threads: flags.get("io-threads", "1")?,
        })
    }

    /// An epoch is a hundred steps.
    fn samples(&self) -> usize {
        self.batch * 100
    }

    fn data(&self) -> Result<Arc<Dataset>, Box<dyn Error>> {
        let (inputs, classes) = (self.widths[0], self.widths[self.widths.len() - 1]);
        let bytes = (0..self.samples() * inputs)
            .map(|i| (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3])
            .collect();
        let labels = (0..self.samples() as u32).map(|i| i % classes as u32).collect();
        let features = Features::U8 { data: bytes, scale: 255.0 };
        Ok(Arc::new(Dataset::new(features, inputs, Targets::Classes { labels, classes }, None)?))
    }

    fn manifest(&self) -> Result<Manifest, Box<dyn Error>> {
        Ok(Manifest::new(ManifestParts {
            model: Model::new(self.widths.clone(), self.activation, Output::Softmax, Cost::CrossEntropy)?,
            recipe: Recipe {
                learning_rate: 0.1,
                batch_size: self.batch,
                shard_size: self.batch.div_ceil(8).min(32),
                epochs: ((self.steps + WARM_UP) as u32).div_ceil(100),
                ..Recipe::book()
            },
            train_samples: self.samples(),
            data_sha256: "00".repeat(32),
            preprocess_sha256: None,
        })?)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    let setup = Setup::parse(&flags)?;
    let connect: String = flags.get("connect", "")?;
    if !connect.is_empty() {
        return run_worker(&connect, &setup, &flags.get::<String>("certs", "")?);
    }
    let (data, manifest) = (setup.data()?, setup.manifest()?);
    let engine = |threads: usize| -> Result<Engine, Box<dyn Error>> {
        let compute = Compute { isa: Isa::best(), threads: Arc::new(Threads::new(threads)?) };
        Ok(Engine::new(manifest.clone(), compute, Duration::ZERO))
    };
    let alone = if flags.get("alone", "false")? {
        let mut alone = engine(setup.threads * setup.workers + setup.own_threads)?;
        let mut laps = Laps::new();
        local::run(&mut alone, &data, &mut laps)?;
        Some((laps.summary()[0], params_sha256(alone.params())))
    } else {
        None
    };
    let before = cpu_seconds();
    let certs = if flags.get("tls", "false")? { Some(certificates()?) } else { None };
    let cluster = Cluster { min_workers: setup.workers, ..Cluster::default() };
    let engine = engine(1)?.with_cluster(cluster);
    let own_worker = match setup.own_threads {
        0 => None,
        threads => Some(Compute { isa: Isa::best(), threads: Arc::new(Threads::new(threads)?) }),
    };
    let options = CoordinatorOptions { own_worker, ..CoordinatorOptions::default() };
    let coordinator = Coordinator::start(engine, data, Laps::new(), options)?;
    runtime(setup.io_threads)?.block_on(serve_workers(
        &setup,
        coordinator.handle(),
        certs.as_ref().map(TempDir::path),
    ))?;
    let finished = coordinator.join()?;
    let cpu = cpu_seconds() - before;
    println!("{}", report(&setup, &finished, alone, cpu));
    Ok(())
}

/// Serves the run to workers in processes of their own, until it is over and they have ended.
async fn serve_workers(
    setup: &Setup,
    handle: CoordinatorHandle,
    certs: Option<&Path>,
) -> Result<(), Box<dyn Error>> {
    let security = match certs {
        None => ServerSecurity::default(),
        Some(folder) => {
            let (identity, authority) = read(folder)?;
            ServerSecurity::default().with_tls(identity, Some(&authority), true)?
        }
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let scheme = if security.has_tls() { "https" } else { "http" };
    let url = format!("{scheme}://{}", listener.local_addr()?);
    let children: Vec<Child> = (0..setup.workers)
        .map(|_| {
            let (threads, io_threads) = (setup.threads.to_string(), setup.io_threads.to_string());
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["--connect", &url, "--threads", &threads, "--io-threads", &io_threads]);
            if let Some(folder) = certs {
                command.arg("--certs").arg(folder);
            }
            command.spawn()
        })
        .collect::<Result<_, _>>()?;
    serve(vec![Door::new(listener, security)], handle, std::future::pending()).await?;
    for mut child in children {
        child.wait()?;
    }
    Ok(())
}

/// The result as JSON. `alone` has the median step and the hash of the weights of the run in this process.
fn report(setup: &Setup, finished: &Finished<Laps>, alone: Option<(f64, String)>, cpu: f64) -> Value {
    let [median, fast, slow] = finished.observer.summary();
    let times = finished.times;
    let per_step = |time: Duration| micros(&time) / times.steps as f64;
    let bytes = |all: u64| all as f64 / times.steps as f64 / setup.workers as f64;
    let params = finished.engine.params();
    json!({
        "steps": times.steps,
        "step_us": median,
        "step_us_tenth": fast,
        "step_us_ninetieth": slow,
        "alone_us": alone.as_ref().map(|(median, _)| median),
        "same_weights": alone.map(|(_, hash)| hash == params_sha256(params)),
        "compute_us": per_step(times.compute),
        "reduce_us": per_step(times.reduce),
        "wait_us": per_step(times.wait),
        "wire_us": per_step(times.wire),
        "bytes_to_a_worker": bytes(times.bytes_sent),
        "bytes_from_a_worker": bytes(times.bytes_received),
        "parameter_bytes": Encoding::F32.bytes_for(params.len()),
        "coordinator_cpu_us": cpu * 1e6 / times.steps as f64,
        "coordinator_peak_mib": peak_mib(),
    })
}

/// The processor time of this process, on systems that count it in hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 =
        after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// The peak memory of this process, in MiB.
fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

fn runtime(threads: usize) -> std::io::Result<Runtime> {
    if threads <= 1 {
        Builder::new_current_thread().enable_all().build()
    } else {
        Builder::new_multi_thread().worker_threads(threads).enable_all().build()
    }
}

/// An authority, and one certificate for both sides, in a folder that is removed at the end.
fn certificates() -> Result<TempDir, Box<dyn Error>> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&key, &authority)?;
    let folder = tempfile::tempdir()?;
    for (name, text) in
        [("ca", authority.pem()), ("certificate", certificate.pem()), ("key", key.serialize_pem())]
    {
        std::fs::write(folder.path().join(name), text)?;
    }
    Ok(folder)
}

fn read(folder: &Path) -> Result<(Identity, Authorities), Box<dyn Error>> {
    let pem = |name: &str| -> std::io::Result<Pem> {
        Ok(Pem { name: name.to_owned(), bytes: std::fs::read(folder.join(name))? })
    };
    Ok((Identity::from_pem(&pem("certificate")?, &pem("key")?)?, Authorities::from_pem(&pem("ca")?)?))
}

fn run_worker(url: &str, setup: &Setup, certs: &str) -> Result<(), Box<dyn Error>> {
    let threads = Arc::new(Threads::new(setup.threads)?);
    let mut options = WorkerOptions::new(vec![url.to_owned()], threads, Isa::best());
    if !certs.is_empty() {
        let (identity, authority) = read(Path::new(certs))?;
        options.dial.security = ClientSecurity::default().with_tls(authority, Some(identity))?;
    }
    runtime(setup.io_threads)?.block_on(work(options, |_| {}, std::future::pending()))?;
    Ok(())
}
