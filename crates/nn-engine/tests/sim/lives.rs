//! The coordinator's lives: it crashes, and resumes from its disk.

use std::time::Duration;

use nn_engine::{Event, Generation, Step, params_sha256};

use crate::faults::Fault;
use crate::invariants::Fact;
use crate::world::{Item, World};

impl World {
    /// The coordinator's clock.
    pub(crate) fn clock(&self) -> Duration {
        // It has been running for days, so that it can be set back several times.
        const BEFORE: i64 = 360_000_000_000;
        Duration::from_micros(u64::try_from(self.now as i64 + BEFORE + self.skew).unwrap_or_default())
    }

    /// The operator starts the coordinator.
    pub(crate) fn start_coordinator(&mut self) -> Result<(), String> {
        self.generation += 1;
        self.up = true;
        self.engine = self.weather.engine(self.run, self.generation);
        if self.generation > 1 {
            match self.disk.newest(&mut self.tally) {
                Some(snapshot) => {
                    self.tally.count("life from a snapshot");
                    self.engine.restore(snapshot).map_err(|error| error.to_string())?;
                }
                None => self.tally.count("life from the beginning"),
            }
        }
        self.check(&Fact::Born {
            generation: Generation(self.generation),
            step: self.engine.steps_done(),
            weights: params_sha256(self.engine.params()),
            audits: self.weather.audit > 0.0,
        })
    }

    /// The coordinator is killed, or its machine loses power. All workers notice, some of them late.
    pub(crate) fn crash_coordinator(&mut self, down: u64) {
        if !self.up || self.finished {
            return;
        }
        self.tally.count("coordinator crash");
        self.disk.crash(&mut self.noise, &mut self.tally);
        self.end_life(down);
    }

    /// The coordinator crashes soon, in the middle of whatever happens then.
    pub(crate) fn crash_soon(&mut self) {
        let within = *self.noise.pick(&[100, 2_000, 50_000]);
        let (at, down) = (self.now + self.noise.below(within), self.noise.below(200_000));
        self.schedule(at, Item::Fault(0, Fault::CoordinatorCrash(down)));
    }

    /// The coordinator has ended because it waited for workers in vain.
    pub(crate) fn give_up(&mut self) {
        self.tally.count("gave up waiting");
        let snapshot = self.engine.snapshot();
        self.disk.write(&snapshot);
        self.disk.synced(snapshot.step);
        let down = self.noise.below(1_000_000);
        self.end_life(down);
    }

    fn end_life(&mut self, down: u64) {
        self.up = false;
        self.actions.clear();
        let open: Vec<_> = self.links.iter().filter(|(_, link)| !link.closed).map(|(&id, _)| id).collect();
        for id in open {
            if let Some(link) = self.links.get_mut(&id) {
                (link.cut, link.closed) = (true, true);
            }
            let within = if self.noise.percent(80) { 20_000 } else { 15_000_000 };
            let at = self.now + self.noise.below(within);
            self.schedule(at, Item::WorkerSeesCut(id));
        }
        self.schedule(self.now + down, Item::StartCoordinator);
    }

    /// Writes a checkpoint for the engine.
    pub(crate) fn write_snapshot(&mut self) {
        let snapshot = self.engine.snapshot();
        self.disk.write(&snapshot);
        let longest = *self.noise.pick(&[1, 1_000, 30_000, 1_000_000]);
        let at = self.now + self.noise.below(longest);
        self.schedule(at, Item::Safe(self.generation, snapshot.step));
    }

    /// A checkpoint becomes safe, unless the coordinator that wrote it is gone.
    pub(crate) fn safe(&mut self, generation: u64, step: u64) -> Result<(), String> {
        if generation != self.generation {
            return Ok(());
        }
        self.tally.count("snapshot safe");
        self.disk.synced(step);
        self.handle(Event::SnapshotWritten(Step(step)))
    }
}
