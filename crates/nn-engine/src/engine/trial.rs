//! A node under audit, and the testimonies about it.

use nn_core::Node;
use sha2::{Digest, Sha256};

use super::ids::{Member, Part, WorkerId};
use super::protocol::{Contribution, Values};

/// The hash of all numbers of a node.
pub(super) type Testified = [u8; 32];

/// A node that is held until two workers agree on it.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) node: Node,
    testimonies: Vec<Testimony>,
}

/// One worker's result for a node.
#[derive(Debug)]
pub(super) struct Testimony {
    pub(super) worker: WorkerId,
    pub(super) member: Member,
    pub(super) parts: Vec<Contribution>,
    /// Set once the result is complete.
    pub(super) digest: Option<Testified>,
}

impl Testimony {
    /// Hashes all numbers, layer by layer, however they arrived.
    fn seal(&mut self) {
        // In this order, single layers hash like all layers at once.
        self.parts.sort_by_key(|part| part.part);
        let mut hash = Sha256::new();
        for part in &self.parts {
            match &part.values {
                Values::Own(values) => values.iter().for_each(|x| hash.update(x.to_le_bytes())),
                Values::Received(received) => received.pieces().iter().for_each(|piece| hash.update(piece)),
            }
        }
        // Usually there is one. If others were skipped here, one that is not hashed could count.
        for stats in self.parts.iter().filter_map(|part| part.stats) {
            hash.update(stats.loss.to_bits().to_le_bytes());
            hash.update((stats.correct as u64).to_le_bytes());
        }
        self.digest = Some(hash.finalize().into());
    }
}

impl Trial {
    pub(super) fn new(node: Node) -> Self {
        Self { node, testimonies: Vec::new() }
    }

    /// The complete testimonies.
    fn sealed(&self) -> impl Iterator<Item = &Testimony> {
        self.testimonies.iter().filter(|testimony| testimony.digest.is_some())
    }

    /// Whether there is a complete testimony.
    pub(super) fn has_testimony(&self) -> bool {
        self.sealed().next().is_some()
    }

    /// Whether a member's testimony is complete.
    pub(super) fn has_heard(&self, member: Member) -> bool {
        self.sealed().any(|testimony| testimony.member == member)
    }

    /// Whether a worker has already sent this part, or its member has testified on any connection: dialling again makes
    /// no second witness.
    pub(super) fn knows(&self, worker: WorkerId, member: Member, part: Part) -> bool {
        if self.has_heard(member) {
            return true;
        }
        let own = self.testimonies.iter().filter(|testimony| testimony.worker == worker);
        own.flat_map(|testimony| &testimony.parts).any(|said| said.part == part || said.part == Part::All)
    }

    /// Adds a contribution to its worker's testimony; `last` completes it. Some if two testimonies agree then.
    pub(super) fn testify(&mut self, member: Member, c: Contribution, last: bool) -> Option<Testified> {
        let own = self.testimonies.iter().position(|testimony| testimony.worker == c.worker);
        let own = own.unwrap_or_else(|| {
            self.testimonies.push(Testimony { worker: c.worker, member, parts: Vec::new(), digest: None });
            self.testimonies.len() - 1
        });
        let testimony = &mut self.testimonies[own];
        if c.part == Part::All {
            testimony.parts.clear();
        }
        testimony.parts.push(c);
        if !last {
            return None;
        }
        testimony.seal();
        self.verdict()
    }

    /// The result that two testimonies agree on.
    fn verdict(&self) -> Option<Testified> {
        let said = |digest| self.sealed().filter(|testimony| testimony.digest == digest).count();
        self.sealed().map(|testimony| testimony.digest).find(|&digest| said(digest) > 1).flatten()
    }

    /// The only complete testimony, if there is exactly one.
    pub(super) fn only_testimony(&self) -> Option<Testified> {
        let mut sealed = self.sealed();
        let digest = sealed.next()?.digest;
        digest.filter(|_| sealed.next().is_none())
    }

    /// Drops a worker's testimony, unless it is complete.
    pub(super) fn forget(&mut self, worker: WorkerId) {
        self.testimonies.retain(|testimony| testimony.worker != worker || testimony.digest.is_some());
    }

    pub(super) fn into_testimonies(self) -> Vec<Testimony> {
        self.testimonies
    }
}
