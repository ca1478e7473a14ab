use nn_core::{Activation, Cost, DeltaBits, Model, Output};
use nn_engine::{ManifestParts, Recipe, Rounds};

use super::*;

/// Costs of a run that takes no time but for its steps.
pub(in super::super) fn free(layers: &[usize], step: f64) -> Costs {
    Costs {
        layers: layers.to_vec(),
        step,
        gradient: (0.0, 0.0),
        optimizer: 0.0,
        add: 0.0,
        replica_step: vec![step],
        replica_round: 0.0,
        merge: 0.0,
        outer: 0.0,
        handling: 0.0,
        weights: 1.0,
        compact: Compact::NONE,
    }
}

pub(in super::super) fn network(bytes_a_second: f64) -> Network {
    let (up, down) = (bytes_a_second, bytes_a_second);
    Network { up, down, payload: 1.0, latency: 0.0, worker_speed: 1.0, own_worker: false }
}

fn manifest(widths: &[usize], batch_size: usize, train_samples: usize, rounds: Option<Rounds>) -> Manifest {
    let model = Model::new(widths.to_vec(), Activation::Relu, Output::Softmax, Cost::CrossEntropy).unwrap();
    let recipe =
        Recipe { batch_size, shard_size: batch_size.div_ceil(8), epochs: 2, rounds, ..Recipe::book() };
    let data_sha256 = "00".repeat(32);
    Manifest::new(ManifestParts { model, recipe, train_samples, data_sha256, preprocess_sha256: None })
        .unwrap()
}

fn in_rounds(replicas: u32, steps: Option<u32>) -> Option<Rounds> {
    let delta_bits = DeltaBits::Eight;
    Some(Rounds { replicas, steps, outer_learning_rate: 1.0, outer_momentum: 0.5, delta_bits })
}

#[track_caller]
fn near(found: f64, expected: f64, part: f64) {
    assert!((found / expected - 1.0).abs() <= part, "{found} is not {expected} ± {part}");
}

#[test]
fn a_synchronous_step_by_hand() {
    // 1000 parameters go whole: 4000 bytes at 1 MB/s are 4 ms. A gradient of 8 samples takes 1 + 16 ms, of 4 samples 9.
    let costs = Costs { gradient: (1e-3, 2e-3), optimizer: 2e-3, add: 1e-6, ..free(&[600, 400], 19e-3) };
    let tree = Tree::new(8, 1);
    let found = synchronous(&costs, &tree, 2, &network(1e6));
    // Two nodes up, 8 ms, two additions of 1 ms, a step of 2 ms, weights for two down, 8 ms, and the overhead.
    near(found.seconds, 9e-3 + 8e-3 + 2e-3 + 2e-3 + 8e-3 + OVERHEAD, 1e-9);
    assert_eq!((found.worker_up, found.worker_down), (4000.0, 4000.0));
    assert_eq!((found.coordinator_up, found.coordinator_down, found.computing_workers), (8000.0, 8000.0, 2));
    assert_eq!(found.bound(), Bound::Computing);
    near(found.samples_per_second(), 8.0 / found.seconds, 1e-9);
    // With headers around the same bytes.
    let real = Network { payload: 0.8, ..network(1e6) };
    near(synchronous(&costs, &tree, 2, &real).seconds, found.seconds + 4e-3, 1e-9);
    // Weights as bf16.
    let half = synchronous(&Costs { weights: 0.5, ..costs.clone() }, &tree, 2, &network(1e6));
    near(half.seconds, found.seconds - 4e-3, 1e-9);
    assert_eq!((half.worker_up, half.worker_down), (4000.0, 2000.0));
    // If one of the two is the coordinator's machine, one node travels each way.
    let own = synchronous(&costs, &tree, 2, &Network { own_worker: true, ..network(1e6) });
    near(own.seconds, 9e-3 + 4e-3 + 1e-3 + 2e-3 + 4e-3 + OVERHEAD, 1e-9);
    assert_eq!((own.coordinator_up, own.coordinator_down, own.computing_workers), (4000.0, 4000.0, 2));
    assert_eq!((own.worker_up, own.worker_down), (4000.0, 4000.0));
    // With latency both ways.
    let far = Network { latency: 1e-3, ..network(1e6) };
    near(synchronous(&costs, &tree, 2, &far).seconds, found.seconds + 2e-3, 1e-9);
    // With twice as fast workers, one computes all in less time than a second node takes.
    let quick = Network { worker_speed: 2.0, ..network(1e6) };
    let found = synchronous(&costs, &tree, 2, &quick);
    assert_eq!(found.computing_workers, 1);
    near(found.seconds, 8.5e-3 + 4e-3 + 1e-3 + 2e-3 + 8e-3 + OVERHEAD, 1e-9);
}

#[test]
fn layers_overlap_on_their_way() {
    // Two layers of 200,000 parameters, 0.8 s each at 1 MB/s, one worker whose computing costs nothing: the second one comes
    // up while the first one goes down.
    let found = synchronous(&free(&[200_000, 200_000], 1.0), &Tree::new(8, 1), 1, &network(1e6));
    near(found.seconds, 3.0 * 0.8 + OVERHEAD, 1e-9);
    near(found.link, 1.6, 1e-9);
    // Backpropagation gives the last layer after two thirds of 3 s, the first one after all of them: 3 + 0.8 up + 0.8 down.
    let costs = Costs { gradient: (3.0, 0.0), ..free(&[200_000, 200_000], 3.0) };
    let found = synchronous(&costs, &Tree::new(8, 1), 1, &network(1e6));
    near(found.seconds, 3.0 + 1.6 + OVERHEAD, 1e-9);
}

#[test]
fn a_mini_batch_is_not_divided_if_transfers_cost_more() {
    let costs = Costs { gradient: (0.0, 1e-4), ..free(&[1_000_000], 12.8e-3) };
    let tree = Tree::new(128, 16);
    // 32 ms a node, and 12.8 ms to compute everything.
    let slow = synchronous(&costs, &tree, 4, &network(125e6));
    assert_eq!((slow.workers, slow.computing_workers), (4, 1));
    near(slow.coordinator_down, 4.0 * slow.coordinator_up, 1e-9);
    let fast = synchronous(&costs, &tree, 4, &network(125e9));
    assert_eq!(fast.computing_workers, 4);
    // Thirteen leaves for four workers: the largest share has four, and some shares are several nodes.
    let (largest, nodes) = shares(&Tree::new(13, 1), 4, &network(1e6));
    assert_eq!(largest, 4);
    assert!(nodes > 4, "{nodes}");
    assert_eq!(shares(&Tree::new(16, 2), 4, &network(1e6)), (4, 4));
    assert_eq!(shares(&Tree::new(3, 1), 8, &network(1e6)), (1, 3));
}

#[test]
fn a_round_by_hand() {
    // 784-26-10: 20,680 parameters, two pieces of 16,384 and 4,296. One epoch of 4 · 5 · 32 samples is one round of 5 steps.
    let run = manifest(&[784, 26, 10], 32, 640, in_rounds(4, Some(5)));
    let costs = Costs { replica_round: 1e-3, merge: 1e-8, outer: 2e-8, ..free(&[20_410, 270], 2e-3) };
    let found = rounds(&costs, &run, 4, &network(1e6)).unwrap();
    let (first, second) = (16_384.0, 4_296.0);
    // Blocks of 256 numbers take 257 bytes; the second piece ends with a whole block.
    let bytes = |numbers: f64| (numbers / 256.0).ceil() * 257.0;
    assert_eq!(run.pieces().len(), 2);
    assert_eq!((found.steps, found.samples), (5.0, 640.0));
    near(found.coordinator_up, 4.0 * (bytes(first) + bytes(second)), 1e-9);
    near(found.worker_up, bytes(first) + bytes(second), 1e-9);
    near(found.worker_down, found.worker_up, 1e-9);
    let ready = 5.0 * 2e-3 + 1e-3;
    // The link is the slowest station: pieces follow each other up, and the last one goes down alone.
    let up = 4.0 * (bytes(first) + bytes(second)) / 1e6;
    let last = second * (4.0 * 1e-8 + 2e-8);
    let down = f64::max(
        ready + up + last,
        ready + 4.0 * bytes(first) / 1e6 + first * 6e-8 + 4.0 * bytes(first) / 1e6,
    ) + 4.0 * bytes(second) / 1e6;
    near(found.seconds, down + OVERHEAD, 1e-9);
    // In compact form half of the bytes go up, and three quarters down; each block is read four times, and written once.
    let compact = Compact { up: 0.5, down: 0.75, write: 3e-9, read: 2e-9 };
    let short = rounds(&Costs { compact, ..costs.clone() }, &run, 4, &network(1e6)).unwrap();
    near(short.coordinator_up, found.coordinator_up / 2.0, 1e-9);
    near(short.worker_up, found.worker_up / 2.0, 1e-9);
    near(short.worker_down, found.worker_down * 0.75, 1e-9);
    near(short.summing - found.summing, (bytes(first) + bytes(second)) * (4.0 * 2e-9 + 3e-9), 1e-9);
    // Two workers have two replicas each, and hear of each piece once.
    let two = rounds(&costs, &run, 2, &network(1e12)).unwrap();
    near(two.computing, 2.0 * ready, 1e-9);
    let quick = Network { worker_speed: 4.0, ..network(1e12) };
    near(rounds(&costs, &run, 2, &quick).unwrap().computing, ready / 2.0, 1e-9);
    near(two.coordinator_down, two.coordinator_up / 2.0, 1e-9);
    near(two.worker_up, 2.0 * two.worker_down, 1e-9);
    // Side by side on two threads they take 3 ms a step, not 2 · 2.
    let together = Costs { replica_step: vec![2e-3, 3e-3], ..costs };
    near(rounds(&together, &run, 2, &network(1e12)).unwrap().computing, 5.0 * 3e-3 + 1e-3, 1e-9);
    assert_eq!(rounds(&together, &manifest(&[784, 128, 10], 32, 640, None), 2, &network(1e12)), None);
}

#[test]
fn early_rounds_are_shorter() {
    // MNIST with four replicas: two epochs of 469 steps have 25 rounds, which the engine's own test lists.
    let run = manifest(&[784, 128, 10], 32, 60_000, in_rounds(4, None));
    let found = rounds(&free(&[100_480, 1_290], 0.1e-3), &run, 4, &network(1e15)).unwrap();
    near(found.steps, 938.0 / 25.0, 1e-9);
    near(found.samples, 120_000.0 / 25.0, 1e-9);
    near(found.seconds, 938.0 / 25.0 * 0.1e-3 + OVERHEAD, 1e-6);
}

/// The study's table of gains with full duplex. S and the mean of H are those that its two columns, with and without
/// full duplex, imply at 1 Gbit/s; the faster links follow from them.
#[test]
fn the_studys_table_within_a_tenth() {
    let large = [784, 2500, 2000, 1500, 1000, 500, 10];
    let middle = [784, 512, 256, 10];
    for (widths, step, replicas, speedup, steps, gains) in [
        (&large[..], 60e-3, 2, 1.578, 62, &[(1.0, 1.50), (2.5, 1.54), (10.0, 1.56)][..]),
        (&large, 60e-3, 4, 2.326, 50, &[(1.0, 2.06), (2.5, 2.22), (10.0, 2.37)]),
        (&large, 60e-3, 8, 3.136, 38, &[(1.0, 2.35), (2.5, 2.76), (10.0, 3.02)]),
        (&middle, 1.3e-3, 2, 1.042, 61, &[(1.0, 0.92)]),
        (&middle, 1.3e-3, 4, 1.685, 50, &[(1.0, 1.30)]),
        (&middle, 1.3e-3, 8, 2.107, 61, &[(1.0, 1.45)]),
    ] {
        let batch = 128;
        let samples = replicas as usize * steps as usize * batch;
        let run = manifest(widths, batch, samples, in_rounds(replicas, Some(steps)));
        let costs = free(&[run.model().parameters()], step);
        for &(gigabit, gain) in gains {
            let found = rounds(&costs, &run, replicas, &network(gigabit * 125e6)).unwrap();
            let times = found.samples_per_second() * step / batch as f64;
            near(times * speedup / f64::from(replicas), gain, 0.1);
        }
    }
}

#[test]
fn it_pays_from_the_break_even_on() {
    let costs = Costs { gradient: (0.0, 1e-5), optimizer: 1e-3, ..free(&[1_000_000], 2.28e-3) };
    let tree = Tree::new(128, 16);
    let one = 128.0 / 2.28e-3;
    let link = break_even_link(&network(125e6), one, |network| Some(synchronous(&costs, &tree, 4, network)));
    assert_eq!(link, None, "the overhead alone takes 2 ms");
    let costs = Costs { gradient: (0.0, 1e-3), ..costs };
    let one = 128.0 / 129e-3;
    let at = |link: f64| synchronous(&costs, &tree, 4, &network(link)).samples_per_second() / one;
    let link = break_even_link(&network(125e6), one, |network| Some(synchronous(&costs, &tree, 4, network)))
        .unwrap();
    assert!((1.0..1.02).contains(&at(link)) && at(link / 1.02) < 1.0, "{} at {link}", at(link));
    // On a slow link larger mini-batches pay.
    let slow = network(link / 4.0);
    let batch = break_even_batch(&costs, &tree, 4, &slow).unwrap();
    assert!(batch > 256, "{batch}");
    let alone = |batch: usize| 1e-3 * batch as f64 + 1e-3;
    let with = |batch: usize| {
        synchronous(&costs, &Tree::new(batch, batch.div_ceil(8)), 4, &slow).seconds / alone(batch)
    };
    assert!(with(batch) <= 1.001 && with(batch * 9 / 10) > 0.99, "{batch}");
}

#[test]
fn what_bounds_a_turn() {
    let tree = Tree::new(128, 16);
    let costs = free(&[1000], 1e-3);
    assert_eq!(synchronous(&costs, &tree, 4, &network(1e9)).bound(), Bound::Latency);
    let slow = Costs { gradient: (0.0, 1.0), ..costs.clone() };
    assert_eq!(synchronous(&slow, &tree, 4, &network(1e9)).bound(), Bound::Computing);
    let summing = Costs { add: 1e-3, ..costs.clone() };
    // One node up and four times the weights down, 4000 bytes each, a microsecond a byte.
    let handling = Costs { handling: 1e-6, ..costs.clone() };
    near(synchronous(&handling, &tree, 4, &network(1e9)).summing, 20e-3, 1e-9);
    assert_eq!(synchronous(&summing, &tree, 4, &network(1e9)).bound(), Bound::Summing);
    assert_eq!(synchronous(&costs, &tree, 4, &network(1e4)).bound(), Bound::Link);
}
