//! Connections: messages take time, and never overtake one another within a connection.

use nn_engine::{Join, WorkerId};

use crate::link::{Link, ToCoordinator, ToWorker};
use crate::world::{Item, World};

impl World {
    fn delay(&mut self) -> u64 {
        let (low, high, worst) = self.weather.delay;
        let high = if self.noise.percent(3) { worst } else { high };
        self.noise.between(low, high)
    }

    pub(crate) fn up(&mut self, id: WorkerId, message: ToCoordinator) {
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

    /// A machine connects, if the coordinator is up.
    pub(crate) fn dial(&mut self, machine: usize) {
        if self.machines[machine].link.is_some() {
            return;
        }
        if !self.up {
            let at = self.now + self.noise.between(1_000, 100_000);
            self.schedule(at, Item::Dial(machine));
            return;
        }
        let own = &mut self.machines[machine];
        own.forget();
        own.incarnation += 1;
        let worker = WorkerId(self.links.len() as u64);
        own.link = Some(worker);
        let join = Join { worker, member: own.member, incarnation: own.incarnation, threads: own.threads };
        let left_over = own.last.take();
        let link = Link { machine, cut: false, closed: false, synced: false, up: self.now, down: self.now };
        self.links.insert(worker, link);
        self.up(worker, ToCoordinator::Hello(join));
        // It may still hold a contribution for the coordinator's earlier life.
        if let Some(sent) = left_over
            && sent.assignment.generation.0 != self.generation
            && self.noise.percent(30)
        {
            self.tally.count("sent to a later life");
            self.up(worker, ToCoordinator::Contribution(Box::new(sent)));
        }
    }

    /// A machine notices that its connection is broken.
    pub(crate) fn lose_link(&mut self, id: WorkerId) {
        let machine = self.links[&id].machine;
        let own = &mut self.machines[machine];
        if own.link == Some(id) {
            own.link = None;
            own.forget();
            let at = self.now + self.noise.between(0, 50_000);
            self.schedule(at, Item::Dial(machine));
        }
    }

    /// Breaks a connection. The worker notices later, the coordinator only if `noticed`.
    pub(crate) fn cut(&mut self, id: WorkerId, noticed: bool) {
        if let Some(link) = self.links.get_mut(&id) {
            link.cut = true;
        }
        if noticed {
            let at = self.now + self.noise.below(20_000);
            self.schedule(at, Item::CoordinatorSeesCut(id));
        }
        let within = if noticed { 20_000 } else { 15_000_000 };
        let at = self.now + self.noise.below(within);
        self.schedule(at, Item::WorkerSeesCut(id));
    }
}
