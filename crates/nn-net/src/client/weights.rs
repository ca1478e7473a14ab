//! The weights that a worker holds: those of the current step, and those of the next, which arrive layer by layer. In a run
//! with rounds what arrives is the difference of the two.

use std::sync::Arc;

use nn_engine::Part;

use crate::proto as pb;
use crate::wire::error::{TensorError, WireError};
use crate::wire::tensor::{Direction, Incoming, Shapes};

/// Two sets of weights: nodes of the current step may still be assigned while the next step's weights arrive.
#[derive(Debug)]
pub(super) struct WeightSets {
    shapes: Shapes,
    sets: [Set; 2],
    /// The tensor that is arriving, and the set that it belongs to.
    arriving: Option<(usize, Incoming)>,
}

#[derive(Debug)]
struct Set {
    step: Option<u64>,
    /// The layers that have arrived.
    have: Vec<bool>,
    /// Shared with the compute thread once complete.
    params: Arc<Vec<f32>>,
}

impl WeightSets {
    pub(super) fn new(shapes: Shapes) -> Self {
        let set = || Set { step: None, have: vec![false; shapes.layers()], params: Arc::default() };
        Self { sets: [set(), set()], shapes, arriving: None }
    }

    /// A part of a step's weights is about to arrive.
    pub(super) fn header(&mut self, step: u64, header: &pb::TensorHeader) -> Result<(), WireError> {
        if self.arriving.is_some() {
            return Err(TensorError::Unfinished.into());
        }
        let incoming = Incoming::new(&self.shapes, Direction::Down, header)?;
        let at = match self.sets.iter().position(|set| set.step == Some(step)) {
            Some(at) => at,
            // The older set is replaced: its step is over, or the arriving weights could not exist.
            None => usize::from(self.sets[1].step < self.sets[0].step),
        };
        let set = &mut self.sets[at];
        if set.step.is_some_and(|old| old > step) {
            let value = format!("{step}, after {:?}", set.step);
            return Err(WireError::Impossible { message: "WeightsHeader", field: "step", value });
        }
        if set.step != Some(step) || incoming.part() == Part::All {
            set.step = Some(step);
            set.have.fill(false);
        }
        if Arc::get_mut(&mut set.params).is_none_or(|params| params.is_empty()) {
            // The compute thread still uses the old ones, or there are none yet.
            let kept = set.have.contains(&true);
            // The system provides zeroed memory only when it is written to, so a header alone takes none.
            let params = if kept { set.params.to_vec() } else { nn_core::zeroed(self.shapes.total()) };
            set.params = Arc::new(params);
        }
        if self.is_update(incoming.part()) {
            self.start_from(step, at, incoming.part())?;
        }
        self.arriving = Some((at, incoming));
        Ok(())
    }

    /// All weights before step 0 are `params`.
    pub(super) fn initial(&mut self, params: Vec<f32>) -> Result<(), WireError> {
        if self.arriving.is_some() {
            return Err(TensorError::Unfinished.into());
        }
        if let Some(step) = self.sets.iter().find_map(|set| set.step.filter(|&step| step > 0)) {
            let value = format!("0, after {step}");
            return Err(WireError::Impossible { message: "InitialWeights", field: "step", value });
        }
        let have = vec![true; self.shapes.layers()];
        self.sets[0] = Set { step: Some(0), have, params: Arc::new(params) };
        Ok(())
    }

    /// Whether a part arrives as what changes.
    fn is_update(&self, part: Part) -> bool {
        self.shapes.has_updates() && part != Part::All
    }

    /// Copies a part of the weights before `step` to set `at`, where what changes is added to it.
    fn start_from(&mut self, step: u64, at: usize, part: Part) -> Result<(), WireError> {
        let Some(before) = step.checked_sub(1).and_then(|before| self.of(before)) else {
            let value = format!("{step}, without the weights before it");
            return Err(WireError::Impossible { message: "WeightsHeader", field: "step", value });
        };
        let range = self.shapes.range(part).ok_or(TensorError::NoHeader)?;
        let to = Arc::get_mut(&mut self.sets[at].params).ok_or(TensorError::Unfinished)?;
        to[range.clone()].copy_from_slice(&before[range]);
        Ok(())
    }

    /// The next chunk of the part has arrived.
    pub(super) fn chunk(&mut self, chunk: &pb::TensorChunk) -> Result<(), WireError> {
        let (at, incoming) = self.arriving.as_mut().ok_or(TensorError::NoHeader)?;
        let part = incoming.part();
        let adds = self.shapes.has_updates() && part != Part::All;
        let set = &mut self.sets[*at];
        let range = self.shapes.range(part).ok_or(TensorError::NoHeader)?;
        let to = Arc::get_mut(&mut set.params).ok_or(TensorError::Unfinished)?;
        if adds {
            incoming.chunk_added(chunk, &mut to[range])?;
        } else {
            incoming.chunk_into(chunk, &mut to[range])?;
        }
        if incoming.is_complete() {
            match part {
                Part::All => set.have.fill(true),
                Part::Layer(layer) => set.have[layer as usize] = true,
            }
            self.arriving = None;
        }
        Ok(())
    }

    /// The weights of a step, if they are complete.
    pub(super) fn of(&self, step: u64) -> Option<Arc<Vec<f32>>> {
        let set = self.sets.iter().find(|set| set.step == Some(step))?;
        set.have.iter().all(|&have| have).then(|| set.params.clone())
    }
}
