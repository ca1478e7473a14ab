//! Coordinator, machines and network in virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use nn_engine::{
    Action, Assignment, Cluster, Engine, Event, Generation, Join, Part, Release, Step, WorkerId,
};

use crate::faults::{Fault, Weather};
use crate::invariants::{self, Fact, Invariant};
use crate::machine::{Machine, Sent, tamper};
use crate::noise::Noise;
use crate::runs::{Run, compute, runs};
use crate::tally::Tally;

pub(crate) enum ToCoordinator {
    Hello(Join),
    Heartbeat,
    Contribution(Box<Sent>),
}

pub(crate) enum ToWorker {
    Weights(Step, Part, Arc<Vec<f32>>),
    Assign(Assignment),
    Release(Release),
}

enum Item {
    Up(WorkerId, ToCoordinator),
    Down(WorkerId, ToWorker),
    CoordinatorSeesCut(WorkerId),
    WorkerSeesCut(WorkerId),
    Dial(usize),
    Computed(usize, u64),
    HeartbeatDue(usize),
    Tick,
    Fault(u64, Fault),
    Healed,
}

/// A connection.
pub(crate) struct Link {
    machine: usize,
    /// Whether anything gets through.
    pub(crate) cut: bool,
    /// Whether the coordinator knows that it is over.
    pub(crate) closed: bool,
    /// Whether the worker has been sent weights.
    pub(crate) synced: bool,
    /// When the last message in each direction arrives: none overtakes another.
    up: u64,
    down: u64,
}

pub(crate) struct World {
    run: &'static Run,
    pub(crate) noise: Noise,
    weather: Weather,
    talk: bool,
    pub(crate) now: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    items: BTreeMap<u64, Item>,
    scheduled: u64,
    pub(crate) engine: Engine,
    pub(crate) actions: Vec<Action>,
    machines: Vec<Machine>,
    pub(crate) links: BTreeMap<WorkerId, Link>,
    invariants: Vec<Box<dyn Invariant>>,
    pub(crate) tally: Tally,
    healed: bool,
    pub(crate) finished: bool,
}

/// Microseconds after the healing within which the run must be over.
const ENOUGH: u64 = 120_000_000;

impl World {
    pub(crate) fn new(seed: u64, talk: bool) -> Self {
        let mut noise = Noise::new(seed);
        let run = noise.pick(runs());
        let weather = Weather::draw(&mut noise);
        let engine = Engine::new(run.manifest.clone(), compute(), Duration::ZERO).with_cluster(Cluster {
            generation: Generation(1),
            min_workers: weather.min_workers,
            patience: weather.patience,
            link_bytes_per_second: *noise.pick(&[1e4, 1e9]),
            ..Cluster::default()
        });
        Self {
            run,
            noise,
            weather,
            talk,
            now: 0,
            queue: BinaryHeap::new(),
            items: BTreeMap::new(),
            scheduled: 0,
            engine,
            actions: Vec::new(),
            machines: Vec::new(),
            links: BTreeMap::new(),
            invariants: invariants::all(),
            tally: Tally::default(),
            healed: false,
            finished: false,
        }
    }

    /// Runs to the end; an error is the first violation.
    pub(crate) fn run(mut self) -> Result<Tally, String> {
        if self.talk {
            eprintln!("{:?}", self.weather);
        }
        for _ in 0..self.weather.machines {
            self.start_machine();
        }
        for (at, machine, fault) in std::mem::take(&mut self.weather.faults) {
            self.schedule(at, Item::Fault(machine, fault));
        }
        self.schedule(self.weather.healed, Item::Healed);
        self.schedule(0, Item::Tick);
        let until = self.weather.healed + ENOUGH;
        while let Some(Reverse((at, number))) = self.queue.pop() {
            if at > until || self.finished && self.links.values().all(|link| link.cut || link.closed) {
                break;
            }
            self.now = self.now.max(at);
            let Some(item) = self.items.remove(&number) else { continue };
            self.happen(number, item)?;
        }
        let live = |link: &Link| !link.cut && !link.closed && self.machines[link.machine].alive;
        let connected = self.links.iter().filter(|(_, link)| live(link)).map(|(&id, _)| id).collect();
        if !self.finished && self.talk {
            eprintln!("{:#?}", self.engine.status(Duration::from_micros(self.now)));
        }
        self.check(&Fact::End { connected })?;
        Ok(self.tally)
    }

    fn schedule(&mut self, at: u64, item: Item) {
        self.scheduled += 1;
        self.queue.push(Reverse((at, self.scheduled)));
        self.items.insert(self.scheduled, item);
    }

    pub(crate) fn check(&mut self, fact: &Fact) -> Result<(), String> {
        if self.talk && !matches!(fact, Fact::Handled { .. }) {
            eprintln!("{:>10} µs  {fact:?}", self.now);
        }
        for invariant in &mut self.invariants {
            invariant
                .see(self.run, fact)
                .map_err(|error| format!("at {} µs: {}: {error}", self.now, invariant.name()))?;
        }
        Ok(())
    }

    fn start_machine(&mut self) {
        let machine = self.machines.len();
        self.machines.push(Machine::new(self.run, machine as u64, &mut self.noise));
        let at = self.now + self.noise.below(5_000);
        self.schedule(at, Item::Dial(machine));
        self.schedule(at, Item::HeartbeatDue(machine));
    }

    fn delay(&mut self) -> u64 {
        let (low, high, worst) = self.weather.delay;
        let high = if self.noise.percent(3) { worst } else { high };
        self.noise.between(low, high)
    }

    fn up(&mut self, id: WorkerId, message: ToCoordinator) {
        let delay = self.delay();
        let Some(link) = self.links.get_mut(&id) else { return };
        link.up = link.up.max(self.now + delay);
        let at = link.up;
        if !link.cut {
            self.schedule(at, Item::Up(id, message));
        }
    }

    pub(crate) fn down(&mut self, id: WorkerId, message: ToWorker) {
        let delay = self.delay();
        let Some(link) = self.links.get_mut(&id) else { return };
        link.down = link.down.max(self.now + delay);
        let at = link.down;
        if !link.cut {
            self.schedule(at, Item::Down(id, message));
        }
    }

    fn happen(&mut self, number: u64, item: Item) -> Result<(), String> {
        // A process that stands still sees everything later.
        let machine = match &item {
            Item::Down(id, _) | Item::WorkerSeesCut(id) => self.links.get(id).map(|link| link.machine),
            Item::Dial(machine) | Item::Computed(machine, _) | Item::HeartbeatDue(machine) => Some(*machine),
            _ => None,
        };
        if let Some(machine) = machine {
            let machine = &self.machines[machine];
            if !machine.alive {
                return Ok(());
            }
            if machine.hung_until > self.now {
                // In the order in which it would have.
                self.queue.push(Reverse((machine.hung_until, number)));
                self.items.insert(number, item);
                return Ok(());
            }
        }
        match item {
            Item::Up(id, message) => self.arrive(id, message)?,
            Item::Down(id, message) => self.receive(id, message)?,
            Item::CoordinatorSeesCut(id) => {
                if let Some(link) = self.links.get_mut(&id)
                    && !link.closed
                {
                    link.closed = true;
                    self.handle(Event::Left(id))?;
                }
            }
            Item::WorkerSeesCut(id) => self.lose_link(id),
            Item::Dial(machine) => self.dial(machine),
            Item::Computed(machine, token) => self.computed(machine, token)?,
            Item::HeartbeatDue(machine) => {
                if let Some(link) = self.machines[machine].link {
                    self.up(link, ToCoordinator::Heartbeat);
                }
                self.schedule(self.now + 1_000_000, Item::HeartbeatDue(machine));
            }
            Item::Tick => {
                self.handle(Event::Tick)?;
                if !self.finished {
                    self.schedule(self.now + 100_000, Item::Tick);
                }
            }
            Item::Fault(machine, fault) => self.strike(machine, fault),
            Item::Healed => {
                self.healed = true;
                for machine in &mut self.machines {
                    (machine.rubbish, machine.hung_until) = (0, machine.hung_until.min(self.now));
                    machine.micros_per_sample = machine.micros_per_sample.min(2_000);
                }
                while self.machines.iter().filter(|machine| machine.alive && !machine.wedged).count()
                    < self.weather.min_workers
                {
                    self.start_machine();
                }
            }
        }
        Ok(())
    }

    /// A message reaches a worker.
    fn receive(&mut self, id: WorkerId, message: ToWorker) -> Result<(), String> {
        let link = &self.links[&id];
        let machine = link.machine;
        if link.cut || self.machines[machine].link != Some(id) {
            return Ok(());
        }
        match message {
            ToWorker::Weights(step, part, values) => {
                if let Some(weights) = self.machines[machine].take_weights(step, part, &values) {
                    self.check(&Fact::Holds { worker: id, step, weights })?;
                }
            }
            ToWorker::Assign(assignment) => {
                if !self.machines[machine].has_weights(assignment.step) {
                    return Err(format!("{assignment:?} comes before the step's weights"));
                }
                self.machines[machine].take_assignment(assignment);
                self.begin(machine);
            }
            ToWorker::Release(reason) => {
                let own = &mut self.machines[machine];
                own.link = None;
                own.forget();
                match reason {
                    Release::Over(_) => own.alive = false,
                    Release::Quarantined { .. } | Release::Refused(_) => {
                        own.alive = false;
                        self.start_machine();
                    }
                    _ => {
                        let at = self.now + self.noise.between(100, 100_000);
                        self.schedule(at, Item::Dial(machine));
                    }
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, machine: usize) {
        if let Some(micros) = self.machines[machine].begin(self.run) {
            let micros = micros * self.noise.between(80, 140) / 100;
            let token = self.machines[machine].token;
            self.schedule(self.now + micros, Item::Computed(machine, token));
        }
    }

    fn computed(&mut self, machine: usize, token: u64) -> Result<(), String> {
        let own = &mut self.machines[machine];
        if own.token != token || own.wedged {
            return Ok(());
        }
        let parts = own.finish(self.run, &mut self.noise)?;
        let rubbish = own.rubbish;
        let link = own.link;
        for mut sent in parts {
            let Some(link) = link else { break };
            if self.noise.percent(rubbish) {
                let mut right = sent.clone();
                if tamper(&mut sent, &mut self.noise) {
                    if self.noise.percent(50) {
                        std::mem::swap(&mut right, &mut sent);
                    }
                    self.up(link, ToCoordinator::Contribution(Box::new(right)));
                }
            }
            let again = self.noise.percent(self.weather.duplicates).then(|| sent.clone());
            self.up(link, ToCoordinator::Contribution(Box::new(sent)));
            if let (Some(again), Some(up)) = (again, self.links.get(&link).map(|link| link.up)) {
                let spread = *self.noise.pick(&[100, 5_000, 300_000]);
                let at = up + self.noise.below(spread);
                self.schedule(at, Item::Up(link, ToCoordinator::Contribution(Box::new(again))));
            }
        }
        self.begin(machine);
        Ok(())
    }

    fn dial(&mut self, machine: usize) {
        let own = &mut self.machines[machine];
        if own.link.is_some() {
            return;
        }
        own.forget();
        own.incarnation += 1;
        let worker = WorkerId(self.links.len() as u64);
        own.link = Some(worker);
        let join = Join { worker, member: own.member, incarnation: own.incarnation, threads: own.threads };
        let link = Link { machine, cut: false, closed: false, synced: false, up: self.now, down: self.now };
        self.links.insert(worker, link);
        self.up(worker, ToCoordinator::Hello(join));
    }

    fn lose_link(&mut self, id: WorkerId) {
        let machine = self.links[&id].machine;
        let own = &mut self.machines[machine];
        if own.link == Some(id) {
            own.link = None;
            own.forget();
            let at = self.now + self.noise.between(0, 50_000);
            self.schedule(at, Item::Dial(machine));
        }
    }

    fn strike(&mut self, machine: u64, fault: Fault) {
        if self.talk {
            eprintln!("{:>10} µs  {fault:?} for machine {}", self.now, machine % self.machines.len() as u64);
        }
        let machine = (machine % self.machines.len() as u64) as usize;
        let own = &mut self.machines[machine];
        let link = own.link;
        let mut noticed = true;
        match fault {
            Fault::Join => return self.start_machine(),
            Fault::Hang(micros) => return own.hung_until = own.hung_until.max(self.now + micros),
            Fault::Slow(times) => {
                own.micros_per_sample = (own.micros_per_sample * times).min(300_000);
                return;
            }
            Fault::Fast => return own.micros_per_sample = own.micros_per_sample.min(200),
            Fault::Wedge => return own.wedged = true,
            Fault::Rubbish(percent) => return own.rubbish = percent,
            Fault::Cut => {}
            Fault::Vanish => noticed = false,
            Fault::Crash(micros) => {
                own.alive = false;
                noticed = self.noise.percent(60);
                // Another process, on the same machine.
                let fresh = self.machines.len();
                self.machines.push(Machine::new(self.run, fresh as u64, &mut self.noise));
                self.schedule(self.now + micros, Item::Dial(fresh));
                self.schedule(self.now + micros, Item::HeartbeatDue(fresh));
            }
            Fault::Leave => own.alive = false,
        }
        let Some(id) = link else { return };
        if let Some(link) = self.links.get_mut(&id) {
            link.cut = true;
        }
        if noticed {
            let at = self.now + self.noise.below(20_000);
            self.schedule(at, Item::CoordinatorSeesCut(id));
        }
        let at = self.now + if noticed { self.noise.below(20_000) } else { self.noise.below(15_000_000) };
        self.schedule(at, Item::WorkerSeesCut(id));
    }
}
