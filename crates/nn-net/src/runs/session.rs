//! One worker's stream, from the coordinator's side.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message as _;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;

use super::desk::{Order, Sample, Sent};
use super::piece::{checked, pieces};
use super::server::RunsServer;
use super::workers::Seat;
use crate::proto as pb;
use crate::server::Visitor;
use crate::wire::BUILD;
use crate::wire::convert::sentence;
use pb::RejectReason;
use pb::runs_from_worker::Body as From;
use pb::runs_to_worker::Body as To;

/// The longest silence at the beginning of a stream.
const HELLO: Duration = Duration::from_secs(10);
/// How often the desk is asked for runs.
const LOOK: Duration = Duration::from_millis(20);
/// The most runs that a worker has at once.
const MOST: u32 = 4096;

/// Why a worker is sent away.
type Refused = (RejectReason, String);

pub(super) struct Session {
    server: RunsServer,
    worker: u64,
    out: mpsc::Sender<Result<pb::RunsToWorker, Status>>,
    /// The worker's runs, and whether each was told to stop.
    runs: BTreeMap<u64, bool>,
    /// Its place in the status, once it is admitted.
    seat: Option<Seat>,
}

/// What a worker sends.
type Message = Result<pb::RunsFromWorker, Status>;

impl Session {
    pub(super) fn new(
        server: RunsServer,
        worker: u64,
        out: mpsc::Sender<Result<pb::RunsToWorker, Status>>,
    ) -> Self {
        Self { server, worker, out, runs: BTreeMap::new(), seat: None }
    }

    /// Runs the session to the end of its stream. The runs that the worker still has are given back.
    pub(super) async fn run(mut self, mut messages: impl Stream<Item = Message> + Unpin, visitor: Visitor) {
        let end = self.talk(&mut messages, &visitor).await;
        let (desk, runs) = (self.server.desk.clone(), std::mem::take(&mut self.runs));
        let _ = spawn_blocking(move || runs.into_keys().for_each(|run| desk.give_back(run))).await;
        if let Err((reason, message)) = end {
            let reject = pb::Reject { reason: reason.into(), message: message.clone() };
            let _ = self.say(To::Reject(reject)).await;
            let _ = self.out.send(Err(Status::failed_precondition(message))).await;
        }
    }

    async fn talk(
        &mut self,
        messages: &mut (impl Stream<Item = Message> + Unpin),
        visitor: &Visitor,
    ) -> Result<(), Refused> {
        let first = tokio::time::timeout(HELLO, messages.next()).await;
        let hello = match first {
            Ok(Some(Ok(pb::RunsFromWorker { body: Some(From::Hello(hello)) }))) => hello,
            Ok(None | Some(Err(_))) => return Ok(()),
            _ => return Err((RejectReason::Message, "begin with RunsHello".to_owned())),
        };
        let slots = self.admit(&hello)? as usize;
        let _at_work = visitor.works();
        let seat = self.server.workers.enter(self.worker, &hello, visitor);
        let name = seat.name().to_owned();
        self.seat = Some(seat);
        if !self.say(To::Welcome(pb::RunsWelcome { worker: self.worker, build: BUILD.to_owned() })).await {
            return Ok(());
        }
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(Ok(message)) => self.receive(message).await?,
                    // The worker has left or is lost.
                    None | Some(Err(_)) => return Ok(()),
                },
                _ = look.tick() => {
                    if let Some(done) = self.server.desk.over() {
                        self.say(To::Over(pb::RunsOver { done })).await;
                        return Ok(());
                    }
                }
            }
            if !self.give(&name, slots).await {
                return Ok(());
            }
        }
    }

    /// Fails unless the worker computes the same bits.
    fn admit(&self, hello: &pb::RunsHello) -> Result<u32, Refused> {
        if hello.protocol != pb::PROTOCOL {
            let message =
                format!("the coordinator speaks protocol {}, the worker {}", pb::PROTOCOL, hello.protocol);
            return Err((RejectReason::Protocol, message));
        }
        if hello.arithmetic != self.server.arithmetic {
            let message =
                "the worker's arithmetic gives other bits than the coordinator's; use the same version of nn";
            return Err((RejectReason::Arithmetic, message.to_owned()));
        }
        if !(1..=MOST).contains(&hello.threads) {
            return Err((RejectReason::Message, format!("a worker has 1 to {MOST} threads")));
        }
        Ok(hello.threads)
    }

    /// Takes in a message about one of the worker's runs.
    async fn receive(&mut self, message: pb::RunsFromWorker) -> Result<(), Refused> {
        let wrong = |text: String| (RejectReason::Message, text);
        if let Some(seat) = &self.seat {
            seat.heard(message.encoded_len());
        }
        let sent = match message.body {
            Some(From::Piece(piece)) => Sent::Piece(checked(piece).map_err(wrong)?),
            Some(From::Ended(pb::RunEnded { run, failure })) => {
                let failure = (!failure.is_empty()).then(|| sentence(&failure));
                Sent::Ended { run, failure }
            }
            Some(From::Hello(_)) | None => return Err(wrong("a message of another kind is due".to_owned())),
        };
        let (run, ended) = match &sent {
            Sent::Piece(piece) => (piece.run, false),
            Sent::Ended { run, .. } => (*run, true),
        };
        if !self.runs.contains_key(&run) {
            return Err(wrong(format!("run {run} is not this worker's")));
        }
        let desk = self.server.desk.clone();
        let received = spawn_blocking(move || desk.receive(sent)).await;
        received.unwrap_or_else(|_| Err("the coordinator has failed".to_owned())).map_err(wrong)?;
        if ended {
            self.runs.remove(&run);
            if let Some(seat) = &self.seat {
                seat.end(run);
            }
        }
        Ok(())
    }

    /// Gives the worker as many runs as it takes, or tells it to stop those that it has. Gives `false` if it is lost.
    async fn give(&mut self, name: &str, slots: usize) -> bool {
        if self.server.desk.stops() {
            let untold: Vec<u64> =
                self.runs.iter().filter(|(_, told)| !**told).map(|(run, _)| *run).collect();
            for run in untold {
                self.runs.insert(run, true);
                if !self.say(To::Stop(pb::RunStop { run })).await {
                    return false;
                }
            }
            return true;
        }
        while self.runs.len() < slots {
            let (desk, name) = (self.server.desk.clone(), name.to_owned());
            let Ok(Some(order)) = spawn_blocking(move || desk.take(&name)).await else { return true };
            self.runs.insert(order.run, false);
            if let Some(seat) = &self.seat {
                seat.begin(order.run);
            }
            if !self.order(order).await {
                return false;
            }
        }
        true
    }

    async fn order(&self, order: Order<Sample>) -> bool {
        let run = order.run;
        let sets = order.sets.iter().map(|set| pb::RunSet {
            data: Some(set.offer()),
            samples: set.dataset().len() as u64,
            inputs: set.dataset().input_width() as u64,
            outputs: set.dataset().output_width() as u64,
        });
        let message = pb::RunOrder {
            run,
            sets: sets.collect(),
            options: order.options,
            about: order.about,
            manifest_hash: order.manifest_hash,
            until_epochs: order.until_epochs.unwrap_or(0),
            files: order.files.len() as u32,
        };
        if !self.say(To::Order(message)).await {
            return false;
        }
        for file in &order.files {
            for piece in pieces(run, &file.name, 0, &file.content) {
                if !self.say(To::Piece(piece)).await {
                    return false;
                }
            }
        }
        true
    }

    async fn say(&self, body: To) -> bool {
        let message = pb::RunsToWorker { body: Some(body) };
        if let Some(seat) = &self.seat {
            seat.sent(message.encoded_len());
        }
        self.out.send(Ok(message)).await.is_ok()
    }
}
