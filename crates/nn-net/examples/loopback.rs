//! Measures steps over loopback, with workers in processes of their own:
//! `cargo run --release -p nn-net --example loopback -- 784-30-10 10 2` (widths, mini-batch, workers, then optionally steps,
//! threads of each worker, threads of each async runtime).
#![allow(clippy::print_stdout, clippy::disallowed_methods)] // it is for reading the clock and printing

use std::error::Error;
use std::ops::ControlFlow;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nn_core::{
    Activation, Cost, Dataset, Features, Init, Isa, Model, Optimizer, Output, Schedule, ScheduleShape,
    Targets, Threads,
};
use nn_engine::local::{self, Observer};
use nn_engine::{
    Cluster, Compute, Engine, EpochReport, Manifest, ManifestParts, Snapshot, StepReport, params_sha256,
};
use nn_net::{Coordinator, CoordinatorOptions, WorkerOptions, serve, work};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

struct Laps {
    start: Instant,
    last: Duration,
    laps: Vec<Duration>,
}

impl Laps {
    fn new() -> Self {
        Self { start: Instant::now(), last: Duration::ZERO, laps: Vec::new() }
    }

    /// The median, the tenth and the ninetieth percentile, without the first steps, in microseconds.
    fn summary(mut self) -> String {
        self.laps.drain(..self.laps.len().min(10));
        self.laps.sort_unstable();
        let at = |percent: usize| self.laps[self.laps.len() * percent / 100].as_micros();
        format!("median {} µs ({} to {})", at(50), at(10), at(90))
    }
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

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|first| first == "worker") {
        return run_worker(&args[1], args[2].parse()?, args[3].parse()?);
    }
    let widths = args.first().map_or("784-30-10", String::as_str);
    let number = |at: usize, usual: usize| args.get(at).map_or(Ok(usual), |arg| arg.parse());
    let (batch, workers, steps) = (number(1, 10)?, number(2, 2)?, number(3, 1000)?);
    let (threads, io_threads) = (number(4, 1)?, number(5, 1)?);
    let widths: Vec<usize> = widths.split('-').map(str::parse).collect::<Result<_, _>>()?;

    let (inputs, classes) = (widths[0], widths[widths.len() - 1]);
    let samples = batch * 100;
    let bytes =
        (0..samples * inputs).map(|i| (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let labels = (0..samples as u32).map(|i| i % classes as u32).collect();
    let features = Features::U8 { data: bytes, scale: 255.0 };
    let data = Arc::new(Dataset::new(features, inputs, Targets::Classes { labels, classes }, None)?);
    let manifest = Manifest::new(ManifestParts {
        model: Model::new(widths, Activation::Sigmoid, Output::Softmax, Cost::CrossEntropy)?,
        init: Init::Scaled,
        optimizer: Optimizer::Sgd,
        schedule: Schedule { shape: ScheduleShape::Constant, warmup_steps: 0 },
        learning_rate: 0.1,
        l2: 0.0,
        batch_size: batch,
        shard_size: batch.div_ceil(8).min(32),
        epochs: (steps as u32).div_ceil(100),
        seed: 1,
        train_samples: samples,
        data_sha256: "00".repeat(32),
    })?;
    let engine = |threads: usize| -> Result<Engine, Box<dyn Error>> {
        let compute = Compute { isa: Isa::best(), threads: Arc::new(Threads::new(threads)?) };
        Ok(Engine::new(manifest.clone(), compute, Duration::ZERO))
    };

    let mut alone = engine(threads * workers)?;
    let mut laps = Laps::new();
    local::run(&mut alone, &data, &mut laps)?;
    println!("one process, {} threads: {}", threads * workers, laps.summary());

    let cluster = Cluster { min_workers: workers, ..Cluster::default() };
    let options = CoordinatorOptions::default();
    let coordinator = Coordinator::start(engine(1)?.with_cluster(cluster), data, Laps::new(), options)?;
    runtime(io_threads)?.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let children: Vec<Child> = (0..workers)
            .map(|_| {
                let (threads, io_threads) = (threads.to_string(), io_threads.to_string());
                Command::new(std::env::current_exe()?).args(["worker", &url, &threads, &io_threads]).spawn()
            })
            .collect::<Result<_, _>>()?;
        serve(listener, coordinator.handle(), std::future::pending()).await?;
        for mut child in children {
            child.wait()?;
        }
        Ok::<(), Box<dyn Error>>(())
    })?;
    let finished = coordinator.join()?;
    println!("{workers} workers of {threads} threads: {}", finished.observer.summary());
    let (times, all) = (finished.times, finished.times.steps.max(1) as u32);
    println!(
        "a step on average: compute {:?}, reduce {:?}, wait {:?}, wire {:?}; bytes to and from a worker {:.0} and {:.0}, \
         parameters {}",
        times.compute / all,
        times.reduce / all,
        times.wait / all,
        times.wire / all,
        times.bytes_sent as f64 / f64::from(all) / workers as f64,
        times.bytes_received as f64 / f64::from(all) / workers as f64,
        manifest.model().parameters() * 4
    );
    let same = params_sha256(finished.engine.params()) == params_sha256(alone.params());
    println!("the parameters are {}", if same { "the same" } else { "NOT THE SAME" });
    Ok(())
}

fn runtime(threads: usize) -> std::io::Result<Runtime> {
    if threads <= 1 {
        Builder::new_current_thread().enable_all().build()
    } else {
        Builder::new_multi_thread().worker_threads(threads).enable_all().build()
    }
}

fn run_worker(url: &str, threads: usize, io_threads: usize) -> Result<(), Box<dyn Error>> {
    let options = WorkerOptions::new(vec![url.to_owned()], Arc::new(Threads::new(threads)?), Isa::best());
    runtime(io_threads)?.block_on(work(options, |_| {}, std::future::pending()))?;
    Ok(())
}
