//! A worker that says anything to a coordinator.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nn_core::Isa;
use nn_engine::arithmetic_fingerprint;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{FILES, OPERATIONS, piece, read};
use crate::fuzzing::fixture::FIXTURE;
use crate::fuzzing::script::Script;
use crate::fuzzing::text::is_plain;
use crate::proto as pb;
use crate::runs::desk::{Desk, Order, Sample, Sent};
use crate::runs::server::RunsServer;
use crate::runs::session::Session;
use crate::wire::CHUNK;
use pb::runs_from_worker::Body as Say;
use pb::runs_to_worker::Body as Told;

/// The runs of the desk.
const RUNS: u64 = 3;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Gives out runs, and remembers who has them.
#[derive(Default)]
struct TestDesk(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: Vec<u64>,
    given: BTreeSet<u64>,
    done: u64,
    /// The first promise that was broken. A panic here would be taken for a failure of the sweep.
    broken: Option<String>,
}

impl State {
    fn expect(&mut self, holds: bool, what: &str) {
        if !holds {
            self.broken.get_or_insert(what.to_owned());
        }
    }
}

impl TestDesk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk for TestDesk {
    fn take(&self, worker: &str) -> Option<Order<Sample>> {
        let mut state = self.lock();
        state.expect(is_plain(worker), "a worker's name is not plain");
        let run = state.waiting.pop()?;
        state.given.insert(run);
        Some(Order {
            run,
            options: String::new(),
            about: String::new(),
            manifest_hash: String::new(),
            sets: vec![FIXTURE.set.clone(), FIXTURE.set.clone()],
            until_epochs: None,
            files: Vec::new(),
        })
    }

    fn receive(&self, sent: Sent) -> Result<(), String> {
        let mut state = self.lock();
        match sent {
            Sent::Piece(piece) => {
                let given = state.given.contains(&piece.run);
                state.expect(given, "a piece of a run that the worker does not have");
                state.expect(
                    piece.data.len() <= CHUNK && piece.file.len() <= 128,
                    "a piece beyond the limits",
                );
                if FILES[..3].contains(&piece.file.as_str()) {
                    Ok(())
                } else {
                    Err(format!("a run has no file {:?}", piece.file))
                }
            }
            Sent::Ended { run, failure } => {
                let given = state.given.remove(&run);
                state.expect(given, "the end of a run that the worker does not have");
                state.expect(failure.is_none_or(|why| is_plain(&why)), "a failure is not plain");
                state.done += 1;
                Ok(())
            }
        }
    }

    fn give_back(&self, run: u64) {
        let mut state = self.lock();
        let given = state.given.remove(&run);
        state.expect(given, "a run is given back that nobody has");
        state.waiting.push(run);
    }

    fn set(&self, _: &str) -> Option<Sample> {
        None
    }

    fn over(&self) -> Option<u64> {
        let state = self.lock();
        (state.done == RUNS).then_some(RUNS)
    }

    fn stops(&self) -> bool {
        false
    }

    fn status(&self) -> (pb::SweepStatus, Vec<pb::RunProgress>) {
        let state = self.lock();
        let runs = state.given.iter().map(|&run| pb::RunProgress { run, ..Default::default() });
        (pb::SweepStatus { running: state.given.len() as u64, ..Default::default() }, runs.collect())
    }
}

/// The worker's end of the stream.
struct Stranger {
    say: mpsc::Sender<Result<pb::RunsFromWorker, Status>>,
    hear: mpsc::Receiver<Result<pb::RunsToWorker, Status>>,
    orders: usize,
    over: bool,
}

impl Stranger {
    async fn tell(&mut self, message: Result<pb::RunsFromWorker, Status>) {
        // If the session has ended, nobody receives it.
        let _ = self.say.send(message).await;
        tokio::task::yield_now().await;
    }

    /// Hears until there are so many orders, or the stream has ended.
    async fn hear(&mut self, orders: usize) {
        while self.orders < orders && !self.over {
            let next = tokio::time::timeout(PATIENCE, self.hear.recv()).await;
            match next.expect("the session goes on or ends") {
                Some(Ok(pb::RunsToWorker { body: Some(Told::Order(_)) })) => self.orders += 1,
                Some(Ok(pb::RunsToWorker { body: Some(Told::Reject(reject)) })) => {
                    assert!(is_plain(&reject.message), "{:?}", reject.message);
                }
                Some(Ok(_)) => {}
                Some(Err(status)) => assert!(is_plain(status.message()), "{status:?}"),
                None => self.over = true,
            }
        }
    }
}

/// A worker follows the script. Gives the runs that have ended.
pub(super) async fn check(mut script: Script<'_>) -> usize {
    let desk = Arc::new(TestDesk::default());
    desk.lock().waiting = (0..RUNS).rev().collect();
    let server = RunsServer::new(desk.clone(), Isa::best());
    let (out, hear) = mpsc::channel(8);
    let (say, said) = mpsc::channel(1);
    let visitor = server.lobby.anybody().expect("the lobby admits everybody");
    let session = tokio::spawn(Session::new(server.clone(), 1, out).run(ReceiverStream::new(said), visitor));
    let mut stranger = Stranger { say, hear, orders: 0, over: false };
    let mut threads = 0;
    for _ in 0..OPERATIONS {
        if script.is_over() || stranger.over {
            break;
        }
        threads = operate(&mut stranger, &mut script, threads).await;
        for worker in server.status().workers {
            assert!(is_plain(&worker.name) && is_plain(&worker.build), "{worker:?}");
            assert!(worker.runs.len() <= worker.threads as usize, "{worker:?}");
        }
    }
    let Stranger { say, mut hear, .. } = stranger;
    drop(say);
    while tokio::time::timeout(PATIENCE, hear.recv()).await.expect("the session ends").is_some() {}
    session.await.expect("it does not panic");
    let status = server.status();
    assert!(status.workers.is_empty() && !status.waiting_for.is_empty(), "{status:?}");
    let state = desk.lock();
    assert_eq!(state.broken, None);
    assert!(state.given.is_empty(), "runs are lost: {:?}", state.given);
    assert_eq!(state.waiting.len() as u64 + state.done, RUNS);
    usize::try_from(state.done).expect("there are few")
}

/// Performs the next operation of the script, for a worker of so many threads, and gives the number of its threads.
async fn operate(stranger: &mut Stranger, script: &mut Script<'_>, threads: usize) -> usize {
    let operation = script.byte();
    let run = u64::from(operation >> 4);
    let say = match operation & 15 {
        0 | 1 => {
            let mut hello = pb::RunsHello {
                protocol: pb::PROTOCOL,
                build: "nn".to_owned(),
                threads: 1 + u32::from(operation >> 4),
                arithmetic: arithmetic_fingerprint(Isa::best()),
                name: "box".to_owned(),
            };
            if operation & 1 == 1 {
                (hello.name, hello.build, hello.threads) =
                    (script.text(), script.text(), script.word().into());
                if script.byte() & 1 == 1 {
                    hello.arithmetic = script.text();
                }
            }
            let fits = operation & 1 == 0 && threads == 0;
            let more = hello.threads as usize;
            stranger.tell(Ok(pb::RunsFromWorker { body: Some(Say::Hello(hello)) })).await;
            if fits {
                // So that what follows can be about these runs. Something refused may have come first.
                stranger.hear(more.min(RUNS as usize)).await;
                return more;
            }
            return threads;
        }
        2..=5 => Say::Piece(piece(run, script)),
        6 | 7 => Say::Ended(pb::RunEnded { run, failure: script.text() }),
        8 => {
            stranger.tell(read(script.bytes())).await;
            return threads;
        }
        9 => {
            stranger.tell(Ok(pb::RunsFromWorker { body: None })).await;
            return threads;
        }
        _ => Say::Ended(pb::RunEnded { run: run % RUNS, failure: String::new() }),
    };
    stranger.tell(Ok(pb::RunsFromWorker { body: Some(say) })).await;
    threads
}

/// Workers that do all runs, fail with one, send files, and send what is wrong.
pub(super) fn seeds() -> [Vec<u8>; 4] {
    let file = |run: u8, how: u8| vec![2 | run << 4, how, 3, 0, 1, 2, 3];
    [
        // Three runs at once, each with a file.
        [vec![0x20], file(0, 0), vec![0x0a], file(1, 1), file(1, 32), vec![0x1a, 0x26, 2, 0, 111, 112]]
            .concat(),
        // One after the other.
        vec![0x00, 0x0a, 0x1a, 0x2a],
        [vec![0x10], file(0, 16), file(0, 3)].concat(),
        vec![0x01, 3, 0, 27, 91, 65, 1, 0, 7, 2, 0, 0, 8, 2, 0, 18, 0, 0x0a],
    ]
}
