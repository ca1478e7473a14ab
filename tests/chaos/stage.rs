//! A cluster and the faults injected into it.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::Place;
use crate::nonsense::talk_nonsense;
use crate::process::Process;
use crate::progress::Progress;
use crate::proxy::{Mode, Proxy};
use crate::schedule::{Fault, Kind, Plan, STEPS};
use crate::verdict;

/// A run that makes no progress for this long, although nothing is broken, is stuck.
const STUCK: Duration = Duration::from_secs(60);
/// A limit on the duration of a run with its faults.
const LONGEST: Duration = Duration::from_secs(400);
/// A limit on the time that workers take to end once the run is over.
const FAREWELL: Duration = Duration::from_secs(30);

/// A scheduled action, mostly the end of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    StartWorker(usize),
    /// The worker, and the number of its starts: a process that was started later is left alone.
    ContinueWorker(usize, usize),
    Heal(usize),
    HealAll,
    Cut(usize),
    KillExtra(usize),
    StartCoordinator,
    ContinueCoordinator(usize),
    KillCoordinator,
}

struct Worker {
    process: Option<Process>,
    proxy: Proxy,
    starts: usize,
    cache: String,
    /// Whether bytes of its streams were lost, so that it may take the coordinator for another kind of server.
    deceived: bool,
}

struct Stage<'a> {
    plan: &'a Plan,
    place: Place,
    address: SocketAddr,
    began: Instant,
    coordinator: Option<Process>,
    starts: usize,
    /// The pause before the next start, if the coordinator was sent SIGTERM.
    stopping: Option<Duration>,
    workers: Vec<Worker>,
    extras: Vec<Process>,
    retired: Vec<Process>,
    progress: Progress,
    acts: Vec<(Instant, Act)>,
    next: usize,
    moved: (Instant, u64),
    /// A diary of the run for the report of a failed test.
    diary: Vec<String>,
}

/// Performs a run, and fails unless it ends as if nothing had happened. Returns the kinds of fault that happened.
pub(crate) fn perform(plan: &Plan) -> Vec<Kind> {
    let mut stage = Stage::new(plan);
    let ended = stage.run().and_then(|()| stage.close()).and_then(|()| verdict::check(&stage.place));
    if let Err(trouble) = ended {
        let report = stage.report(&trouble);
        if let Ok(folder) = std::env::var("NN_CHAOS_KEEP") {
            let _ = std::process::Command::new("cp").arg("-r").arg(stage.place.path()).arg(folder).status();
        }
        panic!("{report}");
    }
    let kinds: Vec<Kind> = plan.faults[..stage.next].iter().map(|fault| fault.kind).collect();
    let (refused, reissued) = stage.progress.counts();
    println!(
        "seed {}: as if undisturbed, after {:.1?}, {} starts of the coordinator, {refused} contributions refused and \
         {reissued} nodes reissued: {kinds:?}",
        plan.seed,
        stage.began.elapsed(),
        stage.starts
    );
    kinds
}

/// A free port outside the range of ephemeral ports. Dialling a port of that range on which nothing listens can connect a
/// socket to itself.
fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let next = NEXT.fetch_add(1, Ordering::SeqCst);
        let port = 20_000 + (std::process::id() as u16 % 100) * 100 + next % 100;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl<'a> Stage<'a> {
    fn new(plan: &'a Plan) -> Self {
        let place = Place::new();
        let _ = place.nn(&format!("train --quiet --out alone {}", plan.options())).ok();
        let address = SocketAddr::from(([127, 0, 0, 1], port()));
        let worker = |number: usize| Worker {
            process: None,
            proxy: Proxy::to(address),
            starts: 0,
            cache: format!("cache-{number}"),
            deceived: false,
        };
        let began = Instant::now();
        let mut stage = Self {
            plan,
            place,
            address,
            began,
            coordinator: None,
            starts: 0,
            stopping: None,
            workers: (0..plan.workers).map(worker).collect(),
            extras: Vec::new(),
            retired: Vec::new(),
            progress: Progress::of(address),
            acts: Vec::new(),
            next: 0,
            moved: (began, 0),
            diary: Vec::new(),
        };
        stage.start_coordinator();
        (0..plan.workers).for_each(|worker| stage.start_worker(worker));
        stage
    }

    fn note(&mut self, text: &str) {
        let (time, step) = (self.began.elapsed().as_secs_f64(), self.progress.steps());
        self.diary.push(format!("{time:8.3} s  step {step:5}  {text}"));
        self.moved.0 = Instant::now();
    }

    fn later(&mut self, after: Duration, act: Act) {
        self.acts.push((Instant::now() + after, act));
    }

    fn start_coordinator(&mut self) {
        let resume = if self.starts == 0 { "" } else { "--resume" };
        let arguments = format!(
            "--listen {} --threads 0 --out net --min-workers {} {} {} {resume}",
            self.address,
            self.plan.min_workers,
            verdict::CHECKPOINTS,
            self.plan.options()
        );
        self.starts += 1;
        self.stopping = None;
        self.coordinator = Some(Process::start(&self.place, env!("CARGO_BIN_EXE_nn-coord"), &[], &arguments));
        self.note("the coordinator starts");
    }

    fn start_worker(&mut self, number: usize) {
        let stay = if self.plan.stay { "--stay" } else { "" };
        let worker = &mut self.workers[number];
        let arguments = format!(
            "--coordinator {} --threads 1 --name w{number} --cache-dir {} {stay}",
            worker.proxy.url(),
            worker.cache
        );
        worker.starts += 1;
        let program = env!("CARGO_BIN_EXE_nn-worker");
        worker.process = Some(Process::start(&self.place, program, &[], &arguments));
        self.note(&format!("worker {number} starts"));
    }

    /// Whether the coordinator is listening, and can be hit by a fault.
    fn is_up(&self) -> bool {
        let said = |process: &Process| process.stdout().contains("listening on ");
        self.stopping.is_none() && self.coordinator.as_ref().is_some_and(said)
    }

    fn run(&mut self) -> Result<(), String> {
        loop {
            let now = Instant::now();
            let due: Vec<Act> =
                self.acts.extract_if(.., |(when, _)| *when <= now).map(|(_, act)| act).collect();
            due.into_iter().for_each(|act| self.act(act));
            while let Some(fault) = self.plan.faults.get(self.next)
                && self.progress.steps() >= fault.at
                && self.inject(fault)
            {
                self.next += 1;
            }
            self.look_after_workers()?;
            if self.look_after_coordinator()? {
                return Ok(());
            }
            let steps = self.progress.steps();
            if steps != self.moved.1 {
                self.moved = (Instant::now(), steps);
            }
            if self.moved.0.elapsed() > STUCK && self.acts.is_empty() || self.began.elapsed() > LONGEST {
                return Err("the run makes no progress".to_owned());
            }
            thread::sleep(Duration::from_millis(3));
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::StartWorker(number) => return self.start_worker(number),
            // Two faults may each have scheduled a start.
            Act::StartCoordinator if self.coordinator.is_some() => return,
            Act::StartCoordinator => return self.start_coordinator(),
            Act::KillCoordinator => self.kill_coordinator(),
            Act::Heal(number) => self.workers[number].proxy.heal(),
            Act::HealAll => self.workers.iter().for_each(|worker| worker.proxy.heal()),
            Act::Cut(number) => self.workers[number].proxy.cut(),
            Act::KillExtra(number) => drop(self.extras[number].child.kill()),
            Act::ContinueWorker(number, start) => {
                let worker = &self.workers[number];
                if let Some(process) = worker.process.as_ref().filter(|_| worker.starts == start) {
                    process.signal("CONT");
                }
            }
            Act::ContinueCoordinator(start) => {
                if let Some(process) = self.coordinator.as_ref().filter(|_| self.starts == start) {
                    process.signal("CONT");
                }
            }
        }
        self.note(&format!("{act:?}"));
    }

    fn kill_coordinator(&mut self) {
        if let Some(mut process) = self.coordinator.take() {
            let _ = (process.child.kill(), process.child.wait());
            self.retired.push(process);
        }
    }

    /// Injects a fault. Returns false if its target is not running at the moment.
    fn inject(&mut self, fault: &Fault) -> bool {
        let all = self.workers.len();
        let there = |worker: &usize| self.workers[*worker].process.is_some();
        let Some(number) = (fault.worker..fault.worker + all).map(|n| n % all).find(there) else {
            return false;
        };
        if fault.kind.is_of_coordinator() && !self.is_up() {
            return false;
        }
        self.note(&format!("{:?} (worker {number}, {:?}, then {:?})", fault.kind, fault.lasts, fault.pause));
        let worker = &mut self.workers[number];
        let start = worker.starts;
        match fault.kind {
            Kind::KillWorker | Kind::ReplaceWorker => {
                if let Some(mut process) = worker.process.take() {
                    let _ = (process.child.kill(), process.child.wait());
                    self.retired.push(process);
                }
                if fault.kind == Kind::ReplaceWorker {
                    worker.cache = format!("cache-{number}-{start}");
                }
                self.later(fault.pause, Act::StartWorker(number));
            }
            Kind::StopWorker => worker.process.iter().for_each(|process| process.signal("TERM")),
            Kind::StallWorker => {
                worker.process.iter().for_each(|process| process.signal("STOP"));
                self.later(fault.lasts, Act::ContinueWorker(number, start));
            }
            Kind::KillCoordinator | Kind::KillCoordinatorTwice => {
                self.kill_coordinator();
                self.later(fault.pause, Act::StartCoordinator);
                if fault.kind == Kind::KillCoordinatorTwice {
                    let again = fault.pause + Duration::from_millis(5 + fault.dice % 400);
                    self.later(again, Act::KillCoordinator);
                    self.later(again + fault.lasts / 5, Act::StartCoordinator);
                }
            }
            Kind::StopCoordinator => {
                self.stopping = Some(fault.pause);
                self.coordinator.iter().for_each(|process| process.signal("TERM"));
            }
            Kind::StallCoordinator => {
                self.coordinator.iter().for_each(|process| process.signal("STOP"));
                self.later(fault.lasts, Act::ContinueCoordinator(self.starts));
            }
            Kind::Cut => worker.proxy.cut(),
            Kind::CutOften => {
                worker.proxy.cut();
                (1..5).for_each(|n| self.later(n * Duration::from_millis(400), Act::Cut(number)));
            }
            Kind::CutAll => self.workers.iter().for_each(|worker| worker.proxy.cut()),
            Kind::HoldUp | Kind::HoldDown | Kind::HoldBoth => {
                let mode = |held| if held { Mode::Hold } else { Mode::Pass };
                worker.proxy.set(mode(fault.kind != Kind::HoldDown), mode(fault.kind != Kind::HoldUp));
                self.later(fault.lasts, Act::Heal(number));
            }
            Kind::Partition => {
                self.workers.iter().for_each(|worker| worker.proxy.set(Mode::Hold, Mode::Hold));
                self.later(fault.lasts, Act::HealAll);
            }
            Kind::Delay => {
                worker.proxy.delay(Duration::from_millis(1 + fault.dice % 60));
                self.later(fault.lasts, Act::Heal(number));
            }
            Kind::Lose => {
                worker.deceived = true;
                let mode = |lost| if lost { Mode::Lose } else { Mode::Pass };
                worker.proxy.set(mode(!fault.dice.is_multiple_of(3)), mode(fault.dice % 3 != 1));
                self.later(fault.lasts / 5, Act::Heal(number));
            }
            Kind::Join => {
                let extra = self.extras.len();
                let arguments = format!(
                    "--coordinator http://{} --threads 1 --name x{extra} --cache-dir cache-x{extra}",
                    self.address
                );
                let program = env!("CARGO_BIN_EXE_nn-worker");
                self.extras.push(Process::start(&self.place, program, &[], &arguments));
                if fault.dice.is_multiple_of(2) {
                    self.later(fault.lasts, Act::KillExtra(extra));
                }
            }
            Kind::Garbage => {
                let (address, dice, lasts) = (self.address, fault.dice, fault.lasts);
                thread::spawn(move || talk_nonsense(address, dice, lasts));
            }
        }
        true
    }

    /// Restarts workers that have ended, as an operator or a supervisor would.
    fn look_after_workers(&mut self) -> Result<(), String> {
        for number in 0..self.workers.len() {
            let worker = &mut self.workers[number];
            let Some(process) = &mut worker.process else { continue };
            let Some(status) = process.child.try_wait().unwrap() else { continue };
            let excused = worker.deceived && status.code() == Some(4);
            self.retired.extend(worker.process.take());
            if !excused && status.code() != Some(0) {
                return Err(format!("worker {number} has ended with {status}"));
            }
            self.note(&format!("worker {number} has ended with {status}"));
            self.later(Duration::from_millis(100), Act::StartWorker(number));
        }
        Ok(())
    }

    /// Restarts a coordinator that was stopped. Returns true if the run is over.
    fn look_after_coordinator(&mut self) -> Result<bool, String> {
        let Some(process) = &mut self.coordinator else { return Ok(false) };
        let Some(status) = process.child.try_wait().unwrap() else { return Ok(false) };
        self.retired.extend(self.coordinator.take());
        self.note(&format!("the coordinator has ended with {status}"));
        if status.code() != Some(0) {
            return Err(format!("the coordinator has ended with {status}"));
        }
        if self.place.summary("net")["outcome"] == "complete" {
            return Ok(true);
        }
        let Some(pause) = self.stopping else {
            return Err("the coordinator has ended without being asked to".to_owned());
        };
        self.later(pause, Act::StartCoordinator);
        Ok(false)
    }

    /// After the run, waits until all other processes have ended, and fails unless they ended well.
    fn close(&mut self) -> Result<(), String> {
        self.note("the run is over");
        self.acts.clear();
        let mut rest = Vec::new();
        for worker in &mut self.workers {
            worker.proxy.heal();
            let excused = worker.deceived;
            rest.extend(worker.process.take().map(|process| (process, excused)));
        }
        for mut process in self.extras.drain(..) {
            // It may have been killed.
            match process.child.try_wait().unwrap() {
                Some(status) if status.signal() == Some(9) => self.retired.push(process),
                _ => rest.push((process, false)),
            }
        }
        let tell = |rest: &mut [(Process, bool)], signal: &str| {
            rest.iter_mut()
                .filter_map(|(process, _)| is_running(process).then_some(process))
                .for_each(|process| process.signal(signal));
        };
        tell(&mut rest, "CONT");
        let from = Instant::now();
        let mut asked = false;
        while rest.iter_mut().any(|(process, _)| is_running(process)) {
            if from.elapsed() > FAREWELL {
                self.retired.extend(rest.into_iter().map(|(process, _)| process));
                return Err("a worker does not end".to_owned());
            }
            // Workers that were not connected at the end keep dialling, and so do those that stay.
            if !asked && from.elapsed() > Duration::from_millis(500) {
                asked = true;
                tell(&mut rest, "TERM");
            }
            thread::sleep(Duration::from_millis(3));
        }
        let mut trouble = None;
        for (mut process, excused) in rest {
            let code = process.child.wait().unwrap().code();
            if code != Some(0) && !(excused && code == Some(4)) {
                trouble = Some(format!("a worker has ended with {code:?} after the run"));
            }
            self.retired.push(process);
        }
        if let Some(process) = self.retired.iter().find(|process| process.stderr().contains("panicked")) {
            trouble = Some(format!("a process has panicked: {}", tail(process)));
        }
        trouble.map_or(Ok(()), Err)
    }

    /// The report of a failed run.
    fn report(&mut self, trouble: &str) -> String {
        let plan = self.plan;
        let mut text = format!("{trouble}\n\nseed {}, {} steps: {}\n", plan.seed, STEPS, plan.options());
        let _ = writeln!(
            text,
            "to repeat it: NN_CHAOS_SEED={} cargo test --test chaos -- --nocapture\n",
            plan.seed
        );
        for fault in &plan.faults[self.next..] {
            self.diary.push(format!("did not happen: {fault:?}"));
        }
        for line in &self.diary {
            let _ = writeln!(text, "{line}");
        }
        let there = self.workers.iter().filter_map(|worker| worker.process.as_ref());
        let there = there.chain(&self.coordinator).chain(&self.extras).chain(&self.retired);
        for process in there {
            let _ = writeln!(text, "\n{}", tail(process));
        }
        text
    }
}

fn is_running(process: &mut Process) -> bool {
    process.child.try_wait().unwrap().is_none()
}

/// The command of a process and the end of its output.
fn tail(process: &Process) -> String {
    let story = process.story();
    let lines: Vec<&str> = story.lines().collect();
    let (first, rest) = lines.split_first().map_or(("", &lines[..]), |(first, rest)| (*first, rest));
    format!("{first}\n{}", rest[rest.len().saturating_sub(40)..].join("\n"))
}
