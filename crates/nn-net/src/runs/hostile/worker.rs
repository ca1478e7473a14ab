//! A coordinator that says anything to a worker.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nn_core::{Dataset, Isa, Threads};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;

use super::{OPERATIONS, piece, read};
use crate::client::{WorkerEvent, WorkerOptions};
use crate::fuzzing::fixture::FIXTURE;
use crate::fuzzing::script::Script;
use crate::fuzzing::text::is_plain;
use crate::proto as pb;
use crate::runs::client::{RunsEnd, Session, Stop};
use crate::runs::desk::{Link, Order, Runner};
use crate::runs::fetch::{Asked, Chunks, Fetcher};
use pb::runs_from_worker::Body as Say;
use pb::runs_to_worker::Body as Told;

/// The threads of the worker, and so its runs at once.
const THREADS: usize = 2;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Looks at orders, and sends a file.
#[derive(Debug, Default)]
struct Looks {
    at_once: AtomicUsize,
    /// The first promise that was broken. A panic here would be told to the coordinator.
    broken: Mutex<Option<String>>,
}

impl Runner for Looks {
    fn run(&self, order: Order<Arc<Dataset>>, link: &Link) -> Result<(), String> {
        let before = self.at_once.fetch_add(1, Ordering::SeqCst);
        let bytes: usize = order.files.iter().map(|file| file.content.len()).sum();
        let sets = &order.sets;
        let holds = before < THREADS
            && (2..=3).contains(&sets.len())
            && sets.iter().all(|set| **set == **FIXTURE.set.dataset())
            && order.files.len() <= 16
            && order.files.iter().all(|file| is_plain(&file.name) && file.name.len() <= 128)
            && bytes < 1 << 24;
        if !holds {
            let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
            broken.get_or_insert(format!(
                "{before} runs before run {}, whose order is not what it may be",
                order.run
            ));
        }
        let _ = link.send("metrics.jsonl", 0, b"{}\n");
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        if order.options.is_empty() { Ok(()) } else { Err("it has options".to_owned()) }
    }
}

/// The chunks of the fixture's samples, or others with any flaw.
fn source(flaw: u8) -> Chunks {
    let set = FIXTURE.set.serialised();
    let mut chunk = pb::DataChunk { index: 0, total: 1, crc32: crc32fast::hash(&set), data: set.into() };
    match flaw & 7 {
        1 => chunk.index = 1,
        2 => chunk.crc32 ^= 1,
        3 => chunk.data = chunk.data.slice(1..),
        4 => return Box::pin(tokio_stream::empty()),
        5 => return Box::pin(tokio_stream::iter([Err(Status::not_found("\u{1b}[31mno"))])),
        _ => {}
    }
    Box::pin(tokio_stream::iter([Ok(chunk)]))
}

type Feed = mpsc::UnboundedSender<Result<pb::RunsToWorker, Status>>;

/// A coordinator follows the script. Gives the runs that the worker has done.
pub(super) async fn check(mut script: Script<'_>) -> usize {
    let flaw = script.byte();
    let threads = Arc::new(Threads::new(THREADS).expect("there are threads"));
    let options = WorkerOptions::new(Vec::new(), threads, Isa::best());
    let fetched = Arc::new(move |_: pb::DataRequest| Box::pin(async move { Ok(source(flaw)) }) as Asked);
    let fetcher = Fetcher::of(fetched, &options, "http://192.0.2.1:7654");
    let looks = Arc::new(Looks::default());
    let (out, mut heard) = mpsc::channel(8);
    let mut session = Session::new(fetcher, looks.clone(), out);
    let (feed, fed) = mpsc::unbounded_channel();
    let talk = tokio::spawn(async move {
        let mut tell = |event: WorkerEvent<'_>| {
            assert!(!matches!(event, WorkerEvent::Joined { .. }), "it is no run to divide");
        };
        let end = match session.listen(UnboundedReceiverStream::new(fed), &mut tell).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        match end {
            Stop::End(RunsEnd::Over(_) | RunsEnd::ShutDown) => String::new(),
            Stop::End(RunsEnd::Lost(why)) => why,
            Stop::End(RunsEnd::NotNow(error)) => error.to_string(),
            Stop::Fail(error) => error.to_string(),
        }
    });
    let mut done = 0;
    for _ in 0..OPERATIONS {
        if script.is_over() {
            break;
        }
        // A run that may begin is waited for, so that another can follow.
        if operate(&feed, &mut script) && !hear(&mut heard, &mut done, 1).await {
            break;
        }
    }
    drop(feed);
    let _ = hear(&mut heard, &mut done, usize::MAX).await;
    let said = talk.await.expect("it does not panic");
    assert!(is_plain(&said), "{said:?}");
    let broken = looks.broken.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(*broken, None);
    done
}

/// Hears until so many runs have ended, or the worker has; gives `false` in that case.
async fn hear(heard: &mut mpsc::Receiver<pb::RunsFromWorker>, done: &mut usize, runs: usize) -> bool {
    let mut left = runs;
    while left > 0 {
        let next = tokio::time::timeout(PATIENCE, heard.recv()).await;
        match next.expect("the worker goes on or ends").map(|message| message.body) {
            Some(Some(Say::Ended(ended))) => {
                assert!(is_plain(&ended.failure), "{:?}", ended.failure);
                *done += 1;
                left -= 1;
            }
            Some(_) => {}
            None => return false,
        }
    }
    true
}

/// Performs the next operation of the script; gives `true` if a run, or the end of the worker, follows from it.
fn operate(feed: &Feed, script: &mut Script<'_>) -> bool {
    let operation = script.byte();
    let run = u64::from(operation >> 4);
    let mut follows = false;
    let body = match operation & 15 {
        1 => {
            follows = true;
            Told::Order(order(run))
        }
        2 => Told::Order(pb::RunOrder { files: script.byte().into(), ..order(run) }),
        3 => Told::Piece(piece(run, script)),
        4 => {
            let sets = (0..script.byte() & 3).map(|_| set(script)).collect();
            Told::Order(pb::RunOrder {
                run,
                options: script.text(),
                about: script.text(),
                manifest_hash: script.text(),
                sets,
                until_epochs: script.word().into(),
                files: script.word().into(),
            })
        }
        5 => Told::Stop(pb::RunStop { run }),
        6 => {
            let reason = script.byte().into();
            Told::Reject(pb::Reject { reason, message: script.text() })
        }
        7 => return feed.send(read(script.bytes())).is_err(),
        8 => return feed.send(Ok(pb::RunsToWorker { body: None })).is_err(),
        9 => Told::Over(pb::RunsOver { done: script.word().into() }),
        _ => Told::Welcome(pb::RunsWelcome { worker: run, build: "nn".to_owned() }),
    };
    let sent = feed.send(Ok(pb::RunsToWorker { body: Some(body) }));
    // Whoever does not listen any more has ended.
    follows || sent.is_err()
}

/// An order that a worker may begin at once.
fn order(run: u64) -> pb::RunOrder {
    let data = FIXTURE.set.dataset();
    let set = pb::RunSet {
        data: Some(FIXTURE.set.offer()),
        samples: data.len() as u64,
        inputs: data.input_width() as u64,
        outputs: data.output_width() as u64,
    };
    pb::RunOrder { run, sets: vec![set.clone(), set], ..pb::RunOrder::default() }
}

/// Samples on offer, with any flaw.
fn set(script: &mut Script<'_>) -> pb::RunSet {
    let mut set = order(0).sets.swap_remove(0);
    let how = script.byte();
    if let Some(offer) = set.data.as_mut().filter(|_| how & 15 != 0) {
        match how & 7 {
            1 => offer.sha256 = script.text(),
            2 => offer.bytes = u64::from(script.word()) << (how >> 3),
            3 => offer.chunks = u32::from(script.word()) << (how >> 4),
            4 => set.samples = u64::from(script.word()) << (how >> 3),
            5 => set.inputs = u64::from(script.word()) << (how >> 3),
            6 => set.outputs = u64::from(script.word()) << (how >> 3),
            _ => set.data = None,
        }
    }
    set
}

/// Coordinators that order runs and files, and say what is wrong.
pub(super) fn seeds() -> [Vec<u8>; 5] {
    let file = |run: u8, how: u8| vec![3 | run << 4, how, 3, 0, 1, 2, 3];
    [
        vec![0, 0, 0x01, 0x11, 0x25, 0x21, 9, 3, 0],
        // Two files, the first of which comes whole.
        [vec![0, 0, 0x12, 2], file(1, 0), file(1, 1), vec![0x21]].concat(),
        // Samples that are not as they were offered.
        vec![2, 0, 0x01, 0x11],
        // A run with options, which fails; then one whose samples have another shape.
        [vec![0, 0, 4, 2, 0, 0, 1, 0, 111, 0, 0, 0, 0, 0, 0, 0, 0], vec![0x11, 0x34, 2, 4, 9, 0, 0]].concat(),
        vec![0, 0, 7, 2, 0, 18, 0, 8, 6, 3, 4, 0, 27, 91, 65, 66],
    ]
}
