//! Coordinator, machines and network in virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use nn_engine::{Action, Engine, Event, Outcome, Release, WorkerId};

use crate::disk::Disk;
use crate::faults::{Fault, Weather};
use crate::invariants::{self, Fact, Invariant};
use crate::link::{Link, ToCoordinator, ToWorker};
use crate::machine::{Machine, tamper};
use crate::noise::Noise;
use crate::runs::{Run, runs};
use crate::tally::Tally;
use crate::transcript::Transcript;

pub(crate) enum Item {
    Up(WorkerId, ToCoordinator),
    Down(WorkerId, ToWorker),
    CoordinatorSeesCut(WorkerId),
    WorkerSeesCut(WorkerId),
    Dial(usize),
    Computed(usize, u64),
    HeartbeatDue(usize),
    Tick,
    /// A connection breaks, and both ends notice.
    Cut(WorkerId),
    StartCoordinator,
    /// The checkpoint that this generation of the coordinator wrote at this step is safe.
    Safe(u64, u64),
    Fault(u64, Fault),
    Healed,
}

pub(crate) struct World {
    pub(crate) run: &'static Run,
    pub(crate) noise: Noise,
    pub(crate) weather: Weather,
    pub(crate) talk: bool,
    pub(crate) now: u64,
    /// The sum of all jumps of the coordinator's clock.
    pub(crate) skew: i64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    items: BTreeMap<u64, Item>,
    scheduled: u64,
    pub(crate) disk: Disk,
    pub(crate) generation: u64,
    /// Whether the coordinator is up, and until when it stands still.
    pub(crate) up: bool,
    pub(crate) hung_until: u64,
    pub(crate) engine: Engine,
    pub(crate) actions: Vec<Action>,
    pub(crate) machines: Vec<Machine>,
    pub(crate) links: BTreeMap<WorkerId, Link>,
    invariants: Vec<Box<dyn Invariant>>,
    pub(crate) tally: Tally,
    /// The engine's actions, if they are wanted.
    pub(crate) transcript: Option<Transcript>,
    pub(crate) finished: bool,
}

/// Microseconds after the healing within which the run must end. A machine may stand still for another minute, and one
/// that only sends heartbeats while a witness is wanted is released three times before it is excluded.
const ENOUGH: u64 = 900_000_000;

impl World {
    pub(crate) fn new(seed: u64, talk: bool) -> Self {
        let mut noise = Noise::new(seed);
        let run = noise.pick(runs());
        let weather = Weather::draw(&mut noise);
        let engine = weather.engine(run, 0);
        Self {
            run,
            noise,
            weather,
            talk,
            now: 0,
            skew: 0,
            queue: BinaryHeap::new(),
            items: BTreeMap::new(),
            scheduled: 0,
            disk: Disk::default(),
            generation: 0,
            up: false,
            hung_until: 0,
            engine,
            actions: Vec::new(),
            machines: Vec::new(),
            links: BTreeMap::new(),
            invariants: invariants::all(),
            tally: Tally::default(),
            transcript: None,
            finished: false,
        }
    }

    /// Runs to the end, or to the first violation of an invariant.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        if self.talk {
            eprintln!("{:?}", self.weather);
        }
        self.start_coordinator()?;
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
            eprintln!("{:#?}", self.engine.status(self.clock()));
        }
        self.check(&Fact::End { connected })
    }

    pub(crate) fn schedule(&mut self, at: u64, item: Item) {
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

    fn happen(&mut self, number: u64, item: Item) -> Result<(), String> {
        if self.is_dead(&item) {
            return Ok(());
        }
        // A process that stands still sees everything later, in the same order.
        if let Some(until) = self.stands_still(&item) {
            self.queue.push(Reverse((until, number)));
            self.items.insert(number, item);
            return Ok(());
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
            Item::Cut(id) => self.cut(id, true),
            Item::StartCoordinator => self.start_coordinator()?,
            Item::Safe(generation, step) => self.safe(generation, step)?,
            Item::Fault(machine, fault) => self.strike(machine, fault),
            Item::Healed => self.heal(),
        }
        Ok(())
    }

    /// The machine that an item happens to.
    fn machine_of(&self, item: &Item) -> Option<&Machine> {
        let machine = match item {
            Item::Down(id, _) | Item::WorkerSeesCut(id) => self.links.get(id)?.machine,
            Item::Dial(machine) | Item::Computed(machine, _) | Item::HeartbeatDue(machine) => *machine,
            _ => return None,
        };
        Some(&self.machines[machine])
    }

    fn is_dead(&self, item: &Item) -> bool {
        self.machine_of(item).is_some_and(|machine| !machine.alive)
    }

    /// Until when the process that an item happens to stands still.
    fn stands_still(&self, item: &Item) -> Option<u64> {
        let until = match item {
            Item::Up(..) | Item::CoordinatorSeesCut(_) | Item::Tick | Item::Safe(..) => self.hung_until,
            _ => self.machine_of(item)?.hung_until,
        };
        (until > self.now).then_some(until)
    }

    /// Ends all faults.
    fn heal(&mut self) {
        for machine in &mut self.machines {
            machine.rubbish = 0;
            machine.micros_per_sample = machine.micros_per_sample.min(2_000);
        }
        // Enough healthy machines are needed; the run does not wait without limit for the others.
        let wanted = self.weather.min_workers;
        let well = |machine: &&Machine| machine.alive && !machine.wedged && machine.lies == 0;
        while self.machines.iter().filter(well).count() < wanted {
            self.start_machine();
        }
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
                    return Err(format!("{assignment:?} precedes the step's weights"));
                }
                self.machines[machine].take_assignment(assignment);
                self.begin(machine);
            }
            ToWorker::Release(reason) => {
                let own = &mut self.machines[machine];
                own.link = None;
                own.forget();
                match reason {
                    // It waits for the run to resume.
                    Release::Over(Outcome::NoWorkers { .. }) => {
                        let at = self.now + self.noise.between(100, 100_000);
                        self.schedule(at, Item::Dial(machine));
                    }
                    Release::Over(_) => own.alive = false,
                    Release::Quarantined { .. } | Release::Disproved { .. } | Release::Refused(_) => {
                        // Some dial again all the same.
                        own.alive = self.noise.percent(30);
                        let at = self.now + self.noise.between(100, 1_000_000);
                        self.schedule(at, Item::Dial(machine));
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
            self.machines[machine].last = Some(sent.clone());
            if rubbish > 0 && self.noise.percent(rubbish / 10 + 1) {
                self.up(link, ToCoordinator::Garbage);
                continue;
            }
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
}
