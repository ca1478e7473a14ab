use super::*;

fn drawn(text: &str) -> Drawn {
    Drawn::parse("s.toml", text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn runs(text: &str, seeds: Option<u64>, folds: Option<usize>) -> Vec<SweepRun> {
    drawn(text).runs(&TrainOptions::default(), &Origins::of_file("s.toml"), (seeds, folds)).unwrap()
}

fn error(text: &str) -> String {
    let failure = Drawn::parse("s.toml", text).map(|_| ()).unwrap_err();
    assert_eq!(failure.kind().exit_code(), 2);
    failure.to_string()
}

#[test]
fn a_grid_is_all_combinations_in_order() {
    let runs = runs("[grid]\nlearning-rate = [0.1, 3]\nhidden = [[30], [], 7]", Some(2), None);
    let words: Vec<String> = runs.iter().map(SweepRun::in_words).collect();
    assert_eq!(words.len(), 12);
    assert_eq!(words[0], "learning-rate=0.1 hidden=[30] seed=1");
    assert_eq!(words[1], "learning-rate=0.1 hidden=[30] seed=2");
    assert_eq!(words[2], "learning-rate=0.1 hidden=[] seed=1");
    assert_eq!(words[11], "learning-rate=3 hidden=7 seed=2");
    assert_eq!(runs[11].given.learn.learning_rate, Some(3.0));
    assert_eq!((runs[11].configuration, runs[11].given.learn.seed), (5, Some(2)));
    assert_eq!(runs[11].origins.subject("hidden"), "s.toml:3: hidden");
}

#[test]
fn folds_take_each_part_in_turn() {
    let runs = runs("", Some(2), Some(3));
    let folds: Vec<_> = runs.iter().map(|run| (run.fold, run.seed, run.given.format.fold)).collect();
    assert_eq!(folds.len(), 6);
    assert_eq!(folds[0], (Some(1), Some(1), Some(Fold { fold: 1, of: 3 })));
    assert_eq!(folds[5], (Some(3), Some(2), Some(Fold { fold: 3, of: 3 })));
    assert!(runs.iter().all(|run| run.configuration == 0));
}

#[test]
fn draws_depend_on_seed_draw_and_option_alone() {
    let text = |more: &str| {
        format!(
            "[random]\nruns = 50\nlearning-rate = {{ min = 1e-3, max = 10.0, log = true }}\n\
             batch-size = {{ min = 8, max = 11 }}\n{more}"
        )
    };
    let rates = |text: &str| -> Vec<f32> {
        runs(text, None, None).iter().map(|run| run.given.learn.learning_rate.unwrap()).collect()
    };
    let first = rates(&text(""));
    assert_eq!(first, rates(&text("hidden = [[3], [4]]")), "another option changes nothing");
    assert_ne!(first, rates(&text("seed = 5")));
    // Every power of ten is about equally likely: 12.5 of 50 are expected below 0.01.
    let small = first.iter().filter(|rate| **rate < 0.01).count();
    assert!((5..22).contains(&small) && first.iter().all(|rate| (1e-3..=10.0).contains(rate)), "{first:?}");
    let sizes: Vec<usize> =
        runs(&text(""), None, None).iter().map(|run| run.given.learn.batch_size.unwrap()).collect();
    assert!((8..=11).all(|size| sizes.contains(&size)) && sizes.iter().all(|size| (8..=11).contains(size)));
    // What was drawn once is drawn for ever.
    assert_eq!(first[..3], PINNED);
}

/// The first rates of the seed 0.
const PINNED: [f32; 3] = [0.00743, 0.136, 0.4674];

#[test]
fn halving_and_the_options_of_the_sweep_are_read() {
    let drawn = drawn("[halving]\nmin-epochs = 2\n[sweep]\nseeds = 4\nfolds = 3");
    assert_eq!(drawn.halving, Some(Halving { min_epochs: 2, factor: 3 }));
    let (own, origins) = drawn.own("s.toml").unwrap();
    assert_eq!((own.seeds, own.folds, own.parallel), (Some(4), Some(3), None));
    assert_eq!(origins.subject("folds"), "s.toml:5: folds");
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    for (text, parts) in [
        ("[grid]\nlearning-rat = [1]", &["s.toml:2:", "learning-rat", "did you mean \"learning-rate\"?"][..]),
        ("[grid]\nepochs = []", &["s.toml:2: epochs has no values"]),
        ("[grid]\nepochs = [3, 4, 3]", &["epochs has the value 3 twice"]),
        ("[grid]\nepochs = 3", &["epochs must be a list of values", "epochs = [3]"]),
        ("[grid]\nout = ['x']", &["out cannot be swept"]),
        ("\n[grid]", &["s.toml:2: [grid] has no option"]),
        ("[random]\nl2 = [1]", &["s.toml:1: [random] does not say how many runs"]),
        ("[random]\nruns = 0\nl2 = [1]", &["runs must be at least 1"]),
        ("[random]\nruns = 3", &["[random] has no option"]),
        ("[random]\nruns = 'x'", &["s.toml:2: runs must be a whole number"]),
        ("[random]\nruns = 3\nl2 = 7", &["l2 must be a range or a list"]),
        ("[random]\nruns = 3\nl2 = { min = 3, max = 2 }", &["min of l2 must be below max"]),
        ("[random]\nruns = 3\nl2 = { min = 0, max = 2, log = true }", &["min of l2 must be above 0"]),
        ("[random]\nruns = 3\nl2 = { mi = 3, max = 2 }", &["l2 has no \"mi\"", "did you mean \"min\"?"]),
        ("[random]\nruns = 3\nl2 = { min = 3 }", &["l2 needs min and max"]),
        ("[random]\nruns = 3\nl2 = { min = nan, max = 3 }", &["min of l2 must be a number"]),
        ("[halving]\nfactor = 2", &["[halving] does not say"]),
        ("[halving]\nmin-epochs = 2\nfactor = 1", &["s.toml:3: factor must be a whole number, at least 2"]),
        ("[halving]\nmin-epoch = 2", &["did you mean \"min-epochs\"?"]),
        ("[sweep]\nsseeds = 2", &["did you mean \"seeds\"?"]),
        ("[sweep]\nseeds = 'x'", &["s.toml:2: seeds must be a whole number"]),
        ("[grid]\nl2 = [1]\n[random]\nruns = 2\nl2 = [3]", &["s.toml:5: l2 is in [grid] and in [random]"]),
    ] {
        let message = error(text);
        for part in parts {
            assert!(message.contains(part), "{text:?} gave {message:?}, which lacks {part:?}");
        }
    }
}
