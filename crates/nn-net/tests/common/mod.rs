//! Runs over real sockets on the loopback interface.
#![allow(dead_code, unreachable_pub)] // every test file uses other parts of it

pub mod peer;
pub mod services;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nn_core::{Activation, Cost, Dataset, Features, Isa, Model, Optimizer, Output, Targets, Threads};
use nn_engine::local::{self, Observer};
use nn_engine::{
    Cluster, Compute, Engine, EpochReport, Manifest, ManifestParts, Outcome, Recipe, Snapshot, StepReport,
    params_sha256,
};
use nn_net::{
    Coordinator, CoordinatorHandle, CoordinatorOptions, Door, DoorLimits, ServerSecurity, WorkerEnd,
    WorkerError, WorkerOptions,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// An observer that only keeps time, and pauses after each step if asked to.
pub struct Clock {
    start: Instant,
    pause: Duration,
}

impl Clock {
    pub fn new() -> Self {
        Self::slow(Duration::ZERO)
    }

    pub fn slow(pause: Duration) -> Self {
        #[allow(clippy::disallowed_methods)] // a test may look at the clock
        Self { start: Instant::now(), pause }
    }
}

impl Observer for Clock {
    fn now(&mut self) -> Duration {
        self.start.elapsed()
    }

    fn step(&mut self, _: &StepReport) -> ControlFlow<()> {
        std::thread::sleep(self.pause);
        ControlFlow::Continue(())
    }

    fn epoch(&mut self, _: &EpochReport, _: &[f32]) {}

    fn snapshot(&mut self, _: Snapshot) {}
}

/// A run: the manifest and the data.
pub struct Run {
    pub manifest: Manifest,
    pub data: Arc<Dataset>,
}

impl Run {
    /// A run of a network with these widths on made-up samples.
    pub fn new(widths: &[usize], samples: usize, batch_size: usize, epochs: u32) -> Self {
        Self::with(widths, samples, batch_size, epochs, |_| {})
    }

    pub fn with(
        widths: &[usize],
        samples: usize,
        batch_size: usize,
        epochs: u32,
        change: impl FnOnce(&mut ManifestParts),
    ) -> Self {
        let (inputs, classes) = (widths[0], widths[widths.len() - 1]);
        let bytes = (0..samples * inputs).map(|i| (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3]);
        let labels = (0..samples as u32).map(|i| i.wrapping_mul(7) % classes as u32).collect();
        let data = Dataset::new(
            Features::U8 { data: bytes.collect(), scale: 255.0 },
            inputs,
            Targets::Classes { labels, classes },
            None,
        )
        .unwrap();
        let mut parts = ManifestParts {
            model: Model::new(widths.to_vec(), Activation::Sigmoid, Output::Softmax, Cost::CrossEntropy)
                .unwrap(),
            recipe: Recipe {
                optimizer: Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
                learning_rate: 0.01,
                batch_size,
                shard_size: batch_size.div_ceil(8),
                epochs,
                ..Recipe::book()
            },
            train_samples: samples,
            data_sha256: "ab".repeat(32),
            preprocess_sha256: None,
        };
        change(&mut parts);
        Self { manifest: Manifest::new(parts).unwrap(), data: Arc::new(data) }
    }

    pub fn engine(&self, cluster: Cluster) -> Engine {
        let threads = Arc::new(Threads::new(1).unwrap());
        let compute = Compute { isa: Isa::best(), threads };
        Engine::new(self.manifest.clone(), compute, Duration::ZERO).with_cluster(cluster)
    }

    /// The hash that every execution of the run must end with.
    pub fn expected(&self) -> String {
        let mut engine = self.engine(Cluster::default());
        let outcome = local::run(&mut engine, &self.data, &mut Clock::new()).unwrap();
        assert_eq!(outcome, Outcome::Complete);
        params_sha256(engine.params())
    }

    /// Serves the run without authentication.
    pub async fn serve(&self, min_workers: usize) -> Served {
        self.serve_with(Cluster { min_workers, ..Cluster::default() }, Clock::new(), None).await
    }

    pub async fn serve_with(
        &self,
        cluster: Cluster,
        clock: Clock,
        listener: Option<std::net::SocketAddr>,
    ) -> Served {
        let open = (ServerSecurity::default(), DoorLimits::default());
        self.serve_behind(cluster, clock, listener, open).await
    }

    /// Serves the run behind a door.
    pub async fn serve_behind(
        &self,
        cluster: Cluster,
        clock: Clock,
        listener: Option<std::net::SocketAddr>,
        (security, limits): (ServerSecurity, DoorLimits),
    ) -> Served {
        let heartbeat = Duration::from_millis(200);
        let options = CoordinatorOptions { heartbeat, limits, ..CoordinatorOptions::default() };
        let engine = self.engine(cluster);
        let coordinator = Coordinator::start(engine, self.data.clone(), clock, options).unwrap();
        let address = listener.unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
        let listener = TcpListener::bind(address).await.unwrap();
        let scheme = if security.has_tls() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving =
            tokio::spawn(nn_net::serve(vec![Door::new(listener, security)], coordinator.handle(), async {
                if stopped.await.is_err() {
                    std::future::pending::<()>().await;
                }
            }));
        Served { url, handle: coordinator.handle(), coordinator, serving, stop }
    }
}

/// A running coordinator.
pub struct Served {
    pub url: String,
    pub handle: CoordinatorHandle,
    coordinator: Coordinator<Clock>,
    serving: JoinHandle<Result<(), nn_net::ServeError>>,
    pub stop: tokio::sync::oneshot::Sender<()>,
}

impl Served {
    /// Waits for the end of the run: its outcome, and the hash of its parameters.
    pub async fn finish(self) -> (Outcome, String) {
        let Self { coordinator, serving, handle, stop, .. } = self;
        within(serving).await.unwrap().unwrap();
        drop((handle, stop));
        let finished = tokio::task::spawn_blocking(|| coordinator.join()).await.unwrap().unwrap();
        (finished.outcome, params_sha256(finished.engine.params()))
    }

    /// Ends the run as an operator would.
    pub async fn stop_and_finish(mut self) -> (Outcome, String) {
        let (other, _) = tokio::sync::oneshot::channel();
        let _ = std::mem::replace(&mut self.stop, other).send(());
        self.finish().await
    }

    pub fn options(&self) -> WorkerOptions {
        options(&self.url)
    }
}

pub fn options(url: &str) -> WorkerOptions {
    WorkerOptions::new(vec![url.to_owned()], Arc::new(Threads::new(1).unwrap()), Isa::best())
}

pub type Working = JoinHandle<Result<WorkerEnd, WorkerError>>;

/// Starts a worker that works until the run is over.
pub fn worker(options: WorkerOptions) -> Working {
    tokio::spawn(nn_net::work(options, |_| {}, std::future::pending()))
}

/// Waits for a future, but not longer than a minute.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it is ready within a minute")
}
