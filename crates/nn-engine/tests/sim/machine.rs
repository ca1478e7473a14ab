//! A worker's machine: it keeps weights by step, computes its nodes one after the other, and sends the results.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use nn_core::{NodeStats, Workspace};
use nn_engine::{
    Assignment, Contribution, Encoding, Generation, Member, Part, Received, Replica, Round, SampleOrder,
    Step, Values, WorkerId, params_sha256,
};

use crate::noise::Noise;
use crate::runs::{Run, compute};

/// A contribution under way, which may arrive twice.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) assignment: Assignment,
    pub(crate) part: Part,
    pub(crate) values: Numbers,
    pub(crate) finite: bool,
    pub(crate) stats: Option<NodeStats>,
    pub(crate) computed_with: String,
    pub(crate) tampered: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Numbers {
    Own(Vec<f32>),
    Wire(Encoding, Vec<Bytes>),
}

impl Sent {
    pub(crate) fn contribution(self, worker: WorkerId) -> Contribution {
        let Assignment { generation, step, attempt, node, .. } = self.assignment;
        let values = match self.values {
            Numbers::Own(values) => Values::Own(values),
            Numbers::Wire(encoding, pieces) => Values::Received(Received::new(encoding, pieces)),
        };
        let (part, finite, stats) = (self.part, self.finite, self.stats);
        Contribution {
            worker,
            generation,
            step,
            attempt,
            node,
            part,
            values,
            finite,
            stats,
            compute: Duration::ZERO,
        }
    }
}

/// How a machine sends its contributions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) by_layer: bool,
    pub(crate) own: bool,
}

#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) member: Member,
    pub(crate) incarnation: u64,
    /// The connection that the machine believes it has.
    pub(crate) link: Option<WorkerId>,
    pub(crate) alive: bool,
    pub(crate) threads: usize,
    pub(crate) micros_per_sample: u64,
    pub(crate) hung_until: u64,
    /// Whether it never finishes a node again.
    pub(crate) wedged: bool,
    pub(crate) style: Style,
    /// The percentage of its contributions that are malformed.
    pub(crate) rubbish: u64,
    /// The percentage of its nodes that are wrong but well-formed.
    pub(crate) lies: u64,
    pub(crate) computing: Option<Assignment>,
    /// Distinguishes the computation under way from abandoned ones.
    pub(crate) token: u64,
    /// The latest contribution, on whichever connection.
    pub(crate) last: Option<Sent>,
    queue: VecDeque<Assignment>,
    weights: BTreeMap<u64, Vec<Option<Vec<f32>>>>,
    pieces: Vec<Range<usize>>,
    /// Whether parts of the weights arrive as what changes.
    updates: bool,
    place: Place,
    order: SampleOrder,
}

/// Where the machine computes.
#[derive(Debug)]
enum Place {
    Nodes(Box<Workspace>),
    Replicas(Box<Replica>),
}

impl Machine {
    pub(crate) fn new(run: &Run, member: u64, noise: &mut Noise) -> Self {
        let compute = compute();
        Self {
            member: Member(member),
            incarnation: 0,
            link: None,
            alive: true,
            threads: noise.between(1, 4) as usize,
            micros_per_sample: *noise.pick(&[50, 200, 500, 2000]),
            hung_until: 0,
            wedged: false,
            style: Style { by_layer: noise.percent(70), own: noise.percent(20) },
            rubbish: 0,
            lies: 0,
            computing: None,
            token: 0,
            last: None,
            queue: VecDeque::new(),
            weights: BTreeMap::new(),
            pieces: run.manifest.pieces(),
            updates: run.manifest.rounds().is_some(),
            place: match run.manifest.rounds() {
                Some(_) => Place::Replicas(Box::new(Replica::new(&run.manifest, compute))),
                None => Place::Nodes(Box::new(run.manifest.workspace(compute))),
            },
            order: SampleOrder::new(&run.manifest),
        }
    }

    /// Drops everything that belongs to the old connection.
    pub(crate) fn forget(&mut self) {
        self.token += 1;
        self.computing = None;
        self.queue.clear();
        self.weights.clear();
    }

    /// Some hash once all weights of the step have arrived.
    pub(crate) fn take_weights(&mut self, step: Step, part: Part, values: &[f32]) -> Option<String> {
        if part == Part::All {
            self.weights.clear();
        }
        let before = match part {
            Part::Layer(piece) if self.updates => {
                let before = step.0.checked_sub(1).and_then(|before| self.weights.get(&before));
                let before = before.and_then(|pieces| pieces[piece as usize].clone());
                Some(before.expect("an update follows the weights that it changes"))
            }
            _ => None,
        };
        let layers = self.weights.entry(step.0).or_insert_with(|| vec![None; self.pieces.len()]);
        match part {
            Part::Layer(layer) => {
                let mut values = values.to_vec();
                values.iter_mut().zip(before.iter().flatten()).for_each(|(x, before)| *x += before);
                layers[layer as usize] = Some(values);
            }
            Part::All => {
                for (to, at) in layers.iter_mut().zip(&self.pieces) {
                    *to = Some(values[at.clone()].to_vec());
                }
            }
        }
        self.all_weights(step).map(|weights| params_sha256(&weights))
    }

    fn all_weights(&self, step: Step) -> Option<Vec<f32>> {
        let layers = self.weights.get(&step.0)?;
        let all: Option<Vec<&[f32]>> = layers.iter().map(|layer| layer.as_deref()).collect();
        Some(all?.concat())
    }

    pub(crate) fn take_assignment(&mut self, assignment: Assignment) {
        let step = assignment.step;
        self.queue.retain(|older| older.step >= step);
        self.weights.retain(|&older, _| older >= step.0);
        self.queue.push_back(assignment);
    }

    /// Begins the next node if the machine is free, and returns the time that it takes in microseconds.
    pub(crate) fn begin(&mut self, run: &Run) -> Option<u64> {
        if self.computing.is_some() {
            return None;
        }
        let assignment = self.queue.pop_front()?;
        self.computing = Some(assignment);
        self.token += 1;
        let samples = run.manifest.tree(assignment.step.0).samples_of(assignment.node).len();
        Some(self.micros_per_sample * samples as u64)
    }

    /// Finishes the computation under way and returns its results.
    pub(crate) fn finish(&mut self, run: &Run, noise: &mut Noise) -> Result<Vec<Sent>, String> {
        let Some(assignment) = self.computing.take() else { return Ok(Vec::new()) };
        let Assignment { step, node, .. } = assignment;
        if self.queue.front().is_some_and(|next| next.step > step) {
            // The machine knows by now that the step is over. It has finished the node, and sends it anyway.
            self.weights.retain(|&older, _| older >= step.0);
        }
        let Some(weights) = self.all_weights(step) else {
            return Ok(Vec::new());
        };
        let computed_with = params_sha256(&weights);
        let workspace = match &mut self.place {
            Place::Nodes(workspace) => workspace,
            Place::Replicas(_) => return Ok(self.finish_replica(run, assignment, &weights, noise)),
        };
        let samples = self.order.batch(&run.manifest, step.0);
        let samples = samples.part(run.manifest.tree(step.0).samples_of(node));
        let mut gradient = vec![0.0; weights.len()];
        let shard = run.manifest.recipe().shard_size;
        let stats = workspace
            .node_gradient(&weights, &run.data, samples, shard, &mut gradient)
            .map_err(|error| error.to_string())?;
        // A lie is one finite number, different for each machine; parts without it are right.
        let lie = noise.percent(self.lies).then(|| noise.below(gradient.len() as u64) as usize);
        if let Some(at) = lie {
            gradient[at] += 1.0 + self.member.0 as f32;
        }
        let style = self.style;
        let sent = |part, range: Range<usize>, stats: Option<NodeStats>, noise: &mut Noise| Sent {
            assignment,
            part,
            values: if style.own {
                Numbers::Own(gradient[range.clone()].to_vec())
            } else {
                Numbers::Wire(Encoding::F32, cut(Encoding::F32, &bytes_of(&gradient[range.clone()]), noise))
            },
            finite: true,
            stats,
            computed_with: computed_with.clone(),
            tampered: lie.is_some_and(|at| range.contains(&at)),
        };
        if !style.by_layer {
            return Ok(vec![sent(Part::All, 0..gradient.len(), Some(stats), noise)]);
        }
        // The last layer's gradient is complete first.
        let layers = self.pieces.iter().enumerate().rev();
        Ok(layers
            .map(|(layer, at)| {
                let stats = (layer == 0).then_some(stats);
                sent(Part::Layer(layer as u32), at.clone(), stats, noise)
            })
            .collect())
    }

    /// [`Machine::finish`] for a replica of a round: its difference piece by piece.
    fn finish_replica(
        &mut self,
        run: &Run,
        assignment: Assignment,
        weights: &[f32],
        noise: &mut Noise,
    ) -> Vec<Sent> {
        let Place::Replicas(replica) = &mut self.place else { unreachable!("a run with rounds") };
        let (manifest, step, leaf) = (&run.manifest, assignment.step.0, assignment.node.index);
        let samples = self.order.batch(manifest, step);
        let round = Round { manifest, data: &run.data, public: weights, step, samples };
        let stats = replica.run(round, leaf, &|| true).unwrap().unwrap();
        let encoding = manifest.contribution_encoding();
        let lie = noise.percent(self.lies).then(|| noise.below(weights.len() as u64) as usize);
        let mut all: Vec<Sent> = (0..)
            .zip(&self.pieces)
            .map(|(piece, range)| {
                let mut bytes = Vec::new();
                let finite = replica.difference(round, leaf, range.clone(), &mut bytes);
                let lie = lie.filter(|at| range.contains(at)).map(|at| at - range.start);
                if let Some(at) = lie {
                    // The last byte of a block is a number; the machine's own bits of it are wrong.
                    let at = encoding.bytes_for(at + 1) - encoding.bytes_for(1) + 1;
                    bytes[at] ^= 1 + self.member.0 as u8;
                }
                Sent {
                    assignment,
                    part: Part::Layer(piece),
                    values: Numbers::Wire(encoding, cut(encoding, &bytes.into(), noise)),
                    finite,
                    stats: None,
                    computed_with: params_sha256(weights),
                    tampered: lie.is_some(),
                }
            })
            .collect();
        // With the last part that is sent.
        all.iter_mut().next_back().into_iter().for_each(|last| last.stats = Some(stats));
        all
    }

    /// Whether it has all weights of this step.
    pub(crate) fn has_weights(&self, step: Step) -> bool {
        self.all_weights(step).is_some()
    }
}

fn bytes_of(values: &[f32]) -> Bytes {
    values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>().into()
}

/// Bytes in a few pieces, cut between blocks.
fn cut(encoding: Encoding, all: &Bytes, noise: &mut Noise) -> Vec<Bytes> {
    let block = encoding.bytes_for(1);
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < all.len() {
        let end = (at + noise.between(1, 40) as usize * block).min(all.len());
        pieces.push(all.slice(at..end));
        at = end;
    }
    pieces
}

/// Makes a contribution wrong in a way that validation can detect. True if the right one has to be sent as well,
/// because the wrong one cannot pass for an answer.
pub(crate) fn tamper(sent: &mut Sent, noise: &mut Noise) -> bool {
    sent.tampered = true;
    let wire = matches!(sent.values, Numbers::Wire(..));
    // Values of the process itself are believed: only received numbers are checked for NaN and infinity.
    match noise.below(if wire { 10 } else { 5 }) {
        0 => sent.assignment.node.level += 20,
        1 => sent.assignment.step.0 += 1000,
        2 => sent.assignment.attempt.0 += 1000,
        3 => sent.part = Part::Layer(99),
        4 => {
            let generation = sent.assignment.generation.0;
            sent.assignment.generation = Generation(generation + 1 - 2 * noise.below(2));
            return true;
        }
        5 => sent.finite = false,
        6 => match &mut sent.stats {
            Some(stats) => stats.samples += 1,
            None => sent.finite = false,
        },
        kind => {
            let Numbers::Wire(encoding, pieces) = &mut sent.values else { return true };
            match kind {
                7 => drop(pieces.pop()),
                8 => pieces[0] = pieces[0].slice(1..),
                _ if *encoding != Encoding::F32 => pieces[0] = [&[255], &pieces[0][1..]].concat().into(),
                _ => pieces[0] = [&f32::NAN.to_le_bytes()[..], &pieces[0][4..]].concat().into(),
            }
        }
    }
    false
}
