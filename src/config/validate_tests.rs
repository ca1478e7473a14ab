//! Tests of [`validate`](super::validate), and of the way back through [`print`](crate::config::print).

use super::*;
use crate::config::{Header, Hidden, file, print, value_of};
use nn_core::{Activation, Init};

const CORES: NonZeroUsize = NonZeroUsize::new(3).unwrap();

/// Checks a file's text as if nothing had been given by flags.
fn checked(text: &str) -> Result<TrainConfig, Failure> {
    let (options, origins) = file::parse("run.toml", text)?;
    validate(&options, &origins, CORES)
}

#[test]
fn with_no_options_it_is_nielsens_first_network_on_the_digits() {
    let config = validate(&TrainOptions::default(), &Origins::default(), CORES).unwrap();
    assert_eq!(config, checked("").unwrap());
    assert_eq!((config.data.as_str(), config.hidden.as_slice()), ("digits", &[30][..]));
    assert_eq!((config.recipe.epochs, config.recipe.batch_size, config.recipe.shard_size), (30, 10, 2));
    assert_eq!(
        (config.activation, config.cost, config.recipe.init),
        (Activation::Sigmoid, Cost::Mse, Init::Scaled)
    );
    assert_eq!((config.output, config.learning_rate), (Some(Output::Sigmoid), Some(3.0)));
    assert_eq!((config.recipe.optimizer, config.recipe.seed, config.threads), (Optimizer::Sgd, 1, CORES));
    assert_eq!(config.recipe.schedule, Schedule { shape: ScheduleShape::Constant, warmup_steps: 0 });
    assert_eq!(config.out.to_str(), Some("runs/digits"));
    assert!(!config.resume && !config.quiet);
}

#[test]
fn defaults_follow_what_is_asked_for() {
    let config =
        checked("activation = 'relu'\ncost = 'cross-entropy'\noptimizer = 'adam'\nbatch-size = 128").unwrap();
    assert_eq!((config.output, config.recipe.init), (Some(Output::Softmax), Init::He));
    assert_eq!((config.learning_rate, config.recipe.shard_size), (Some(0.001), 16));
    let config = checked("data = 'houses.csv'\ntask = 'regression'").unwrap();
    assert_eq!((config.output, config.learning_rate), (Some(Output::Linear), Some(0.01)));
    let config = checked("hidden = 'none'").unwrap();
    assert!(config.hidden.is_empty());
}

#[test]
fn data_of_unknown_task_decides_later() {
    let config = checked("data = 'some.csv'").unwrap();
    assert_eq!((config.output, config.learning_rate), (None, None));
    let classes = config.for_task(Task::Classification).unwrap();
    assert_eq!((classes.output, classes.recipe.learning_rate), (Output::Sigmoid, 3.0));
    let numbers = config.for_task(Task::Regression).unwrap();
    assert_eq!((numbers.output, numbers.recipe.learning_rate), (Output::Linear, 0.01));

    let config = checked("data = 'some.csv'\ncost = 'cross-entropy'").unwrap();
    let refused = config.for_task(Task::Regression).unwrap_err();
    assert!(refused.message().contains("answers of this data are numbers"), "{refused}");
    assert_eq!(refused.kind().exit_code(), 2);
}

#[test]
fn what_cannot_be_is_refused_with_its_key_and_a_remedy() {
    let many = format!("hidden = [{}]", vec!["1"; MAX_HIDDEN_LAYERS + 1].join(","));
    for (text, part) in [
        ("hidden = [30, 0]", "hidden gives layer 2 a width of 0"),
        ("hidden = [1000001]", "a width of 1000001"),
        (&many, "has 1001 layers"),
        ("epochs = 0", "epochs must be at least 1 and at most 1000000, not 0"),
        ("epochs = 1000001", "not 1000001"),
        ("batch-size = 0", "batch-size must be at least 1"),
        ("batch-size = 16777217", "at most 16777216"),
        ("shard-size = 0", "shard-size must be at least 1"),
        ("shard-size = 11", "at most the size of a mini-batch, 10, not 11"),
        ("eval-every = 0", "eval-every must be at least 1"),
        ("threads = 0", "threads must be at least 1 and at most 4096, not 0"),
        ("threads = 4097", "not 4097"),
        ("learning-rate = 0", "learning-rate must be a number above 0 and at most 30000, not 0"),
        ("learning-rate = -0.1", "not -0.1"),
        ("learning-rate = nan", "not NaN"),
        ("learning-rate = inf", "not inf"),
        ("learning-rate = 1e9", "not 1000000000"),
        ("optimizer = 'momentum'\nmomentum = 1.0", "momentum must be a number at least 0 and below 1, not 1"),
        ("optimizer = 'nesterov'\nmomentum = -0.5", "not -0.5"),
        ("optimizer = 'adam'\nbeta1 = 1", "beta1 must be a number at least 0 and below 1"),
        ("optimizer = 'adam'\nbeta2 = nan", "beta2 must be a number"),
        ("optimizer = 'adam'\nepsilon = 0", "epsilon must be a number above 0"),
        ("optimizer = 'adamw'\nweight-decay = -1", "weight-decay must be a number at least 0"),
        ("momentum = 0.9", "momentum has no effect with --optimizer sgd"),
        ("optimizer = 'adam'\nmomentum = 0.9", "momentum has no effect with --optimizer adam"),
        ("optimizer = 'momentum'\nbeta1 = 0.9", "add --optimizer adam or adamw, or remove beta1"),
        ("optimizer = 'adam'\nweight-decay = 0.1", "add --optimizer adamw, or remove weight-decay"),
        ("l2 = -1", "l2 must be a number at least 0"),
        ("step-epochs = 3", "step-epochs has no effect with --schedule constant"),
        ("schedule = 'cosine'\nstep-factor = 0.5", "step-factor has no effect with --schedule cosine"),
        ("schedule = 'step'\ncosine-floor = 0.5", "add --schedule cosine"),
        ("schedule = 'step'\nstep-epochs = 0", "step-epochs must be at least 1"),
        ("schedule = 'step'\nstep-factor = 0", "step-factor must be a number above 0 and at most 1"),
        ("schedule = 'cosine'\ncosine-floor = 1.5", "cosine-floor must be a number at least 0 and at most 1"),
        ("test-fraction = 0", "test-fraction must be a number above 0 and below 1, not 0"),
        ("test-fraction = 1", "not 1"),
        ("test-fraction = nan", "not NaN"),
        ("classes = 1", "classes must be at least 2"),
        ("task = 'regression'\nclasses = 3", "classes has no effect with --task regression"),
        ("task = 'regression'", "regression does not fit --data digits"),
        ("cost = 'cross-entropy'\noutput = 'linear'", "cross-entropy needs probabilities"),
        (
            "data = 'x.csv'\ntask = 'regression'\ncost = 'cross-entropy'",
            "run.toml:3: cost cross-entropy is for classes",
        ),
        ("data = 'x.csv'\ntask = 'regression'\noutput = 'softmax'", "softmax is for classes"),
    ] {
        let failure = checked(text).expect_err(text);
        assert_eq!(failure.kind().exit_code(), 2, "{text}");
        assert!(failure.to_string().contains(part), "{text:?} gave {failure}, which lacks {part:?}");
        assert!(failure.remedy().is_some(), "{text:?} gave {failure}, which has no remedy");
    }
}

#[test]
fn an_error_names_the_line_of_a_file_and_the_flag_otherwise() {
    let failure = checked("seed = 3\n\nbatch-size = 0").unwrap_err();
    assert!(failure.message().starts_with("run.toml:3: batch-size must"), "{failure}");
    let options = TrainOptions { batch_size: Some(0), ..TrainOptions::default() };
    let failure = validate(&options, &Origins::default(), CORES).unwrap_err();
    assert!(failure.message().starts_with("--batch-size must"), "{failure}");
}

#[test]
fn flags_win_over_the_file() {
    let (from_file, mut origins) =
        file::parse("run.toml", "epochs = 5\nbatch-size = 20\nheader = 'yes'").unwrap();
    let mut flags = TrainOptions { epochs: Some(7), ..TrainOptions::default() };
    flags.format.task = Some(Task::Classification);
    origins.overrule(flags.given());
    let options = flags.or(from_file);
    let config = validate(&options, &origins, CORES).unwrap();
    assert_eq!((config.recipe.epochs, config.recipe.batch_size, config.format.header), (7, 20, Header::Yes));
    assert!(!origins.is_from_file("epochs") && origins.is_from_file("batch-size"));
}

#[test]
fn a_flag_that_selects_another_optimizer_drops_the_constants_of_the_file() {
    let (from_file, mut origins) = file::parse("run.toml", "optimizer = 'momentum'\nmomentum = 0.5").unwrap();
    let flags = TrainOptions { optimizer: Some(OptimizerName::Adam), ..TrainOptions::default() };
    origins.overrule(flags.given());
    let config = validate(&flags.or(from_file), &origins, CORES).unwrap();
    assert_eq!(config.optimizer_name(), OptimizerName::Adam);
}

#[test]
fn a_printed_configuration_reads_back_as_itself() {
    for text in [
        "",
        "data = 'a \"quoted\" \\path.csv'\nlabel-column = '-1'\nheader = 'no'\ntest-fraction = 0.3",
        "data = 'x.npz'\ntask = 'regression'\noptimizer = 'adamw'\nweight-decay = 0.1\nbeta1 = 0.8",
        "data = 'x.csv'\nclasses = 7\noptimizer = 'nesterov'\nmomentum = 0.95\nlearning-rate = 1e-7",
        "hidden = [128, 64]\nschedule = 'step'\nstep-epochs = 2\nstep-factor = 0.3\nwarmup-steps = 100",
        "hidden = []\nschedule = 'cosine'\ncosine-floor = 0.01\nseed = 18446744073709551615\nthreads = 2",
        "out = 'my runs/α'\nresume = true\nquiet = true\nl2 = 5\noptimizer = 'adam'\nepsilon = 1e-6",
        "activation = 'relu'\ncost = 'cross-entropy'\nbatch-size = 256\nshard-size = 256\neval-every = 3",
    ] {
        let config = checked(text).unwrap_or_else(|failure| panic!("{text}: {failure}"));
        let printed = print(&config, CORES).unwrap();
        let again = checked(&printed).unwrap_or_else(|failure| panic!("{failure}\n{printed}"));
        assert_eq!(again, config, "{printed}");
    }
}

#[test]
fn a_printed_configuration_has_every_option_and_its_examples_are_valid() {
    let config = checked("").unwrap();
    let printed = print(&config, CORES).unwrap();
    for key in TrainOptions::keys() {
        let set = format!("\n{key} = ");
        let example = format!("\n# {key} = ");
        let lines = printed.matches(&set).count() + printed.matches(&example).count();
        assert_eq!(lines, 1, "{key}:\n{printed}");
        // What is shown as an example must at least be of the right type.
        let value = printed.split(&example).nth(1).and_then(|rest| rest.lines().next());
        if let Some(value) = value {
            file::parse("example", &format!("{key} = {value}")).unwrap();
        }
    }
}

/// The table of defaults is what help shows, and what is in effect: they cannot differ.
#[test]
fn the_table_of_defaults_tells_what_is_in_effect() {
    let config = checked("").unwrap();
    for (key, words) in defaults::table() {
        let Some(value) = value_of(&config, CORES, key) else { continue };
        let value = value.trim_matches(['"', '[', ']']).replace(", ", ",");
        let shown = words.split([';', ':', ',']).next().unwrap();
        let same = match (value.parse::<f64>(), shown.parse::<f64>()) {
            (Ok(value), Ok(shown)) => value == shown,
            _ => value == shown,
        };
        assert!(same, "{key} is {value}, but help says {words}");
    }
    for (text, key) in [
        ("optimizer = 'momentum'", "momentum"),
        ("optimizer = 'adamw'", "beta1"),
        ("optimizer = 'adamw'", "beta2"),
        ("optimizer = 'adamw'", "epsilon"),
        ("optimizer = 'adamw'", "weight-decay"),
        ("schedule = 'step'", "step-epochs"),
        ("schedule = 'step'", "step-factor"),
        ("schedule = 'cosine'", "cosine-floor"),
    ] {
        let value = value_of(&checked(text).unwrap(), CORES, key).unwrap();
        let (value, words) = (value.parse::<f64>().unwrap(), defaults::in_words(key).unwrap());
        assert_eq!(value, words.parse::<f64>().unwrap(), "{key}");
    }
}

#[test]
fn hidden_layers_are_read_from_text() {
    assert_eq!("30".parse(), Ok(Hidden(vec![30])));
    assert_eq!("128, 64".parse(), Ok(Hidden(vec![128, 64])));
    assert_eq!("none".parse(), Ok(Hidden(vec![])));
    for wrong in ["", "30,", "x", "-3", "3.5", "None,3"] {
        assert!(wrong.parse::<Hidden>().is_err(), "{wrong:?}");
    }
}
