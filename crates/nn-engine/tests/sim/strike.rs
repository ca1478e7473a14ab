//! Faults strike.

use nn_engine::WorkerId;

use crate::faults::Fault;
use crate::machine::Machine;
use crate::world::{Item, World};

impl World {
    pub(crate) fn start_machine(&mut self) {
        let machine = self.machines.len();
        self.machines.push(Machine::new(self.run, machine as u64, &mut self.noise));
        let at = self.now + self.noise.below(5_000);
        self.schedule(at, Item::Dial(machine));
        self.schedule(at, Item::HeartbeatDue(machine));
    }

    pub(crate) fn strike(&mut self, machine: u64, fault: Fault) {
        let machine = (machine % self.machines.len() as u64) as usize;
        if self.talk {
            eprintln!("{:>10} µs  {fault:?} for machine {machine}", self.now);
        }
        if self.finished {
            return;
        }
        let own = &mut self.machines[machine];
        let link = own.link;
        match fault {
            Fault::Join => self.start_machine(),
            Fault::Hang(micros) => {
                own.hung_until = own.hung_until.max(self.now + micros);
                if micros > 10_000_000 {
                    self.tally.count("long pause of a worker");
                }
            }
            Fault::Slow(times) => own.micros_per_sample = (own.micros_per_sample * times).min(300_000),
            Fault::Fast => own.micros_per_sample = own.micros_per_sample.min(200),
            Fault::Wedge => own.wedged = true,
            Fault::Rubbish(percent) => own.rubbish = percent,
            Fault::Lie(percent) => own.lies = percent,
            Fault::Cut => self.break_off(link, true),
            Fault::Vanish => self.break_off(link, false),
            Fault::Crash(micros) => {
                own.alive = false;
                // Another process on the same machine.
                let fresh = self.machines.len();
                self.machines.push(Machine::new(self.run, fresh as u64, &mut self.noise));
                self.schedule(self.now + micros, Item::Dial(fresh));
                self.schedule(self.now + micros, Item::HeartbeatDue(fresh));
                let noticed = self.noise.percent(60);
                self.break_off(link, noticed);
            }
            Fault::Leave => {
                own.alive = false;
                self.break_off(link, true);
            }
            Fault::OneWay { up, micros, heals } => self.mute(link, up, micros, heals),
            Fault::CoordinatorCrash(micros) => self.crash_coordinator(micros),
            Fault::CoordinatorHang(micros) => {
                self.tally.count("pause of the coordinator");
                self.hung_until = self.hung_until.max(self.now + micros);
            }
            Fault::Clock(micros) => {
                self.tally.count(if micros < 0 { "clock set back" } else { "clock set forward" });
                self.skew += micros;
            }
        }
    }

    fn break_off(&mut self, link: Option<WorkerId>, noticed: bool) {
        if let Some(id) = link {
            self.cut(id, noticed);
        }
    }

    /// Holds messages in one direction for a while. Then they all arrive, or the connection breaks.
    fn mute(&mut self, link: Option<WorkerId>, up: bool, micros: u64, heals: bool) {
        let Some(id) = link else { return };
        let Some(link) = self.links.get_mut(&id) else { return };
        let until = self.now + micros;
        if up {
            self.tally.count("nothing gets up");
            link.up = link.up.max(until);
        } else {
            self.tally.count("nothing gets down");
            link.down = link.down.max(until);
        }
        if !heals {
            self.schedule(until.saturating_sub(1), Item::Cut(id));
        }
    }
}
