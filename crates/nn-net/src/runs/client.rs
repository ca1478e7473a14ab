//! A worker's connection to a coordinator of whole runs.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;
use tonic::transport::Channel;

use super::desk::{Link, Order, RunFile, Runner};
use super::fetch::Fetcher;
use super::piece::checked;
use crate::client::{ConnectError, RunOver, WorkerError, WorkerEvent, WorkerOptions};
use crate::proto as pb;
use crate::wire::convert::{plain, sentence};
use crate::wire::{BUILD, MAX_MESSAGE};
use pb::runs_client::RunsClient;
use pb::runs_from_worker::Body as Say;
use pb::runs_to_worker::Body as Told;

/// The most bytes of options, or of what is known of the data.
const MAX_TEXT: usize = 2 << 20;
/// The most files with which a run goes on.
const MAX_FILES: u32 = 16;
/// The most bytes of these files: a network of half a billion parameters with its moments, and its log.
const MAX_BYTES: usize = 8 << 30;
/// The longest that the coordinator may take to answer the first message.
const WELCOME: Duration = Duration::from_secs(20);
/// Messages that may wait to be sent. The largest has a mebibyte.
const WAITING: usize = 8;

/// How a connection ended.
pub(crate) enum RunsEnd {
    Over(RunOver),
    Lost(String),
    NotNow(ConnectError),
    ShutDown,
}

/// Why the conversation stops.
pub(super) enum Stop {
    End(RunsEnd),
    Fail(WorkerError),
}

impl From<WorkerError> for Stop {
    fn from(error: WorkerError) -> Self {
        Self::Fail(error)
    }
}

/// An order whose files are arriving.
struct Arriving {
    order: pb::RunOrder,
    files: Vec<RunFile>,
    bytes: usize,
    /// Whether the last file is not complete.
    open: bool,
}

/// Works for a coordinator of whole runs until all are over, the connection breaks, or `shutdown` resolves.
pub(crate) async fn work(
    channel: Channel,
    options: &WorkerOptions,
    (coordinator, arithmetic): (&str, &str),
    tell: &mut impl FnMut(WorkerEvent<'_>),
    shutdown: Pin<&mut impl Future<Output = ()>>,
) -> Result<RunsEnd, WorkerError> {
    let Some(runner) = options.runner.clone() else {
        let why = "it has whole runs to give out, which this program does not take".to_owned();
        let url = coordinator.to_owned();
        return Ok(RunsEnd::NotNow(ConnectError::NotCoordinator { url, why }));
    };
    let (out, outgoing) = mpsc::channel(WAITING);
    let fetcher = Fetcher::new(channel.clone(), options, coordinator);
    let mut session = Session::new(fetcher, runner, out);
    let client = RunsClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
    let stopped = tokio::select! {
        result = session.talk(client, outgoing, arithmetic, tell) => match result {
            Ok(never) => match never {},
            Err(stop) => stop,
        },
        () = shutdown => Stop::End(RunsEnd::ShutDown),
    };
    match stopped {
        Stop::End(end) => Ok(end),
        Stop::Fail(error) => Err(error),
    }
}

pub(super) struct Session {
    fetcher: Fetcher,
    runner: Arc<dyn Runner>,
    out: mpsc::Sender<pb::RunsFromWorker>,
    /// The flags that stop the runs here.
    runs: BTreeMap<u64, Arc<AtomicBool>>,
    arriving: Option<Arriving>,
}

impl Drop for Session {
    fn drop(&mut self) {
        // Runs that go on without their coordinator would be trained twice.
        self.runs.values().for_each(|stop| stop.store(true, Ordering::Relaxed));
    }
}

impl Session {
    pub(super) fn new(
        fetcher: Fetcher,
        runner: Arc<dyn Runner>,
        out: mpsc::Sender<pb::RunsFromWorker>,
    ) -> Self {
        Self { fetcher, runner, out, runs: BTreeMap::new(), arriving: None }
    }

    /// Opens the stream, and talks to its end.
    async fn talk(
        &mut self,
        mut client: RunsClient<Channel>,
        outgoing: mpsc::Receiver<pb::RunsFromWorker>,
        arithmetic: &str,
        tell: &mut impl FnMut(WorkerEvent<'_>),
    ) -> Result<Infallible, Stop> {
        let options = self.fetcher.options.clone();
        let hello = pb::RunsHello {
            protocol: pb::PROTOCOL,
            build: BUILD.to_owned(),
            threads: options.threads.count() as u32,
            arithmetic: arithmetic.to_owned(),
            name: options.name.clone(),
        };
        // There is room for the first message.
        let _ = self.out.try_send(pb::RunsFromWorker { body: Some(Say::Hello(hello)) });
        let request = options.dial.request(ReceiverStream::new(outgoing));
        let coordinator = self.fetcher.coordinator.clone();
        let late = |_| Status::deadline_exceeded("it does not answer");
        let opened = tokio::time::timeout(WELCOME, client.work(request)).await;
        let opened = opened.map_err(late).and_then(|opened| opened);
        let stream = opened.map_err(|status| not_now(&coordinator, &status))?.into_inner();
        self.listen(stream, tell).await
    }

    /// Does what the coordinator says, to the end of its stream.
    pub(super) async fn listen(
        &mut self,
        mut stream: impl Stream<Item = Result<pb::RunsToWorker, Status>> + Unpin,
        tell: &mut impl FnMut(WorkerEvent<'_>),
    ) -> Result<Infallible, Stop> {
        let coordinator = self.fetcher.coordinator.clone();
        let mut welcome = false;
        let (done, mut ended) = mpsc::unbounded_channel::<(u64, Result<(), WorkerError>)>();
        loop {
            let message = tokio::select! {
                message = stream.next() => message.transpose(),
                Some((run, result)) = ended.recv() => {
                    self.runs.remove(&run);
                    result?;
                    continue;
                }
            };
            let body = match message {
                Ok(Some(message)) => message.body,
                Ok(None) => return Err(lost("the coordinator ended the stream")),
                Err(status) if !welcome => return Err(not_now(&coordinator, &status)),
                Err(status) => return Err(lost(status.message())),
            };
            match body {
                Some(Told::Welcome(pb::RunsWelcome { worker, .. })) if !welcome => {
                    welcome = true;
                    tell(WorkerEvent::JoinedRuns { coordinator: &coordinator, worker });
                }
                Some(Told::Reject(reject)) => {
                    let (reason, message) = (reject.reason(), sentence(&reject.message));
                    return Err(WorkerError::Rejected { coordinator, reason, message }.into());
                }
                Some(Told::Over(pb::RunsOver { done })) => {
                    let over =
                        RunOver { outcome: pb::Outcome::Complete, steps: done, params_sha256: String::new() };
                    return Err(Stop::End(RunsEnd::Over(over)));
                }
                Some(Told::Stop(pb::RunStop { run })) => {
                    if let Some(stop) = self.runs.get(&run) {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
                Some(Told::Order(order)) if welcome => self.order(order, &done, tell)?,
                Some(Told::Piece(piece)) => self.piece(piece, &done, tell)?,
                _ => return Err(self.violation("a message of another kind was due").into()),
            }
        }
    }

    fn violation(&self, message: impl ToString) -> WorkerError {
        self.fetcher.violation(message)
    }

    /// An order begins; it is complete at once if no files follow.
    fn order(
        &mut self,
        order: pb::RunOrder,
        done: &mpsc::UnboundedSender<(u64, Result<(), WorkerError>)>,
        tell: &mut impl FnMut(WorkerEvent<'_>),
    ) -> Result<(), Stop> {
        if self.arriving.is_some() || self.runs.contains_key(&order.run) {
            return Err(self.violation("an order came within another, or twice").into());
        }
        if self.runs.len() >= self.fetcher.options.threads.count() {
            return Err(self.violation("it orders more runs than this worker has threads").into());
        }
        if order.options.len() > MAX_TEXT || order.about.len() > MAX_TEXT || order.files > MAX_FILES {
            return Err(self.violation("an order is too large").into());
        }
        if !(2..=3).contains(&order.sets.len()) {
            return Err(self
                .violation("an order has sets for training, testing and perhaps validation")
                .into());
        }
        let arriving = Arriving { order, files: Vec::new(), bytes: 0, open: false };
        if arriving.order.files == 0 {
            self.begin(arriving, done, tell);
        } else {
            self.arriving = Some(arriving);
        }
        Ok(())
    }

    /// A piece of a file of the order that is arriving.
    fn piece(
        &mut self,
        piece: pb::RunPiece,
        done: &mpsc::UnboundedSender<(u64, Result<(), WorkerError>)>,
        tell: &mut impl FnMut(WorkerEvent<'_>),
    ) -> Result<(), Stop> {
        let piece = checked(piece).map_err(|error| self.violation(error))?;
        let Some(mut arriving) = self.arriving.take().filter(|arriving| arriving.order.run == piece.run)
        else {
            return Err(self.violation("a piece of a file came without its order").into());
        };
        if !arriving.open {
            arriving.files.push(RunFile { name: plain(&piece.file), content: Vec::new() });
        }
        let too_many = arriving.files.len() > arriving.order.files as usize;
        arriving.bytes += piece.data.len();
        match arriving.files.last_mut() {
            Some(file)
                if file.name == piece.file
                    && file.content.len() as u64 == piece.offset
                    && !too_many
                    && arriving.bytes <= MAX_BYTES =>
            {
                file.content.extend_from_slice(&piece.data);
            }
            _ => return Err(self.violation("the pieces of a file are out of order").into()),
        }
        arriving.open = !piece.complete;
        if piece.complete && arriving.files.len() == arriving.order.files as usize {
            self.begin(arriving, done, tell);
        } else {
            self.arriving = Some(arriving);
        }
        Ok(())
    }

    /// Begins a run on a thread of its own, once its samples are here.
    fn begin(
        &mut self,
        arrived: Arriving,
        done: &mpsc::UnboundedSender<(u64, Result<(), WorkerError>)>,
        tell: &mut impl FnMut(WorkerEvent<'_>),
    ) {
        let Arriving { order, files, .. } = arrived;
        let run = order.run;
        tell(WorkerEvent::Ordered { run });
        let stop = Arc::new(AtomicBool::new(false));
        self.runs.insert(run, stop.clone());
        let (fetcher, runner, out, done) =
            (self.fetcher.clone(), self.runner.clone(), self.out.clone(), done.clone());
        tokio::spawn(async move {
            let sets = match fetcher.sets(&order.sets).await {
                Ok(sets) => sets,
                Err(error) => {
                    let _ = done.send((run, Err(error)));
                    return;
                }
            };
            let order = Order {
                run,
                options: order.options,
                about: order.about,
                manifest_hash: order.manifest_hash,
                sets,
                until_epochs: (order.until_epochs > 0).then_some(order.until_epochs),
                files,
            };
            let link = Link::new(run, out.clone(), stop);
            let trained = tokio::task::spawn_blocking(move || runner.run(order, &link)).await;
            let failure = match trained {
                Ok(Ok(())) => String::new(),
                Ok(Err(failure)) => failure,
                Err(_) => "the run ended with a panic, whose message is on the worker".to_owned(),
            };
            // The run is removed before its end is told, since the next order may follow at once.
            let _ = done.send((run, Ok(())));
            tokio::task::yield_now().await;
            let ended = pb::RunEnded { run, failure };
            let _ = out.send(pb::RunsFromWorker { body: Some(Say::Ended(ended)) }).await;
        });
    }
}

/// The end of a worker that is not admitted for now.
fn not_now(coordinator: &str, status: &Status) -> Stop {
    Stop::End(RunsEnd::NotNow(ConnectError::of_status(coordinator, status)))
}

fn lost(reason: &str) -> Stop {
    let reason = if reason.is_empty() { "the connection broke" } else { reason };
    Stop::End(RunsEnd::Lost(plain(reason)))
}
