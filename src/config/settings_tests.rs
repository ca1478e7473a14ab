//! Tests of [`validate`], and of the way back through [`print`].

use std::collections::BTreeMap;

use nn_core::{Activation, Cost, Init, Normalization, Optimizer, Output, Precision, Schedule, ScheduleShape};

use super::*;
use crate::config::choice::{Choice as _, Header, OptimizerName, ScheduleName};
use crate::config::design::Design;
use crate::config::environment::Environment;
use crate::config::file;
use crate::config::limits::MAX_HIDDEN_LAYERS;
use crate::config::origins::Origin;
use crate::config::print::print;
use crate::config::train::TrainConfig;

/// Checks a file's text as if nothing had been given by flags.
fn checked(text: &str) -> Result<Settings, Failure> {
    let (options, origins) = file::parse("run.toml", text)?;
    validate(&options, &origins)
}

/// Checks flags over a file's text.
fn overruled(flags: TrainOptions, text: &str) -> Result<Settings, Failure> {
    let file = file::parse("run.toml", text)?;
    let (options, origins) = Environment::default().complete(flags, Some(file))?;
    validate(&options, &origins)
}

/// The design for pictures of classes.
fn design(text: &str) -> Design {
    TrainConfig::from(checked(text).unwrap()).for_data(&Facts::DIGITS).unwrap()
}

/// A table with a thousand training samples.
fn table(task: Task) -> Facts {
    Facts { task, pictures: false, samples: 1000 }
}

/// The values of a printed configuration by their keys, with their origins.
fn values(printed: &str) -> BTreeMap<&str, (&str, &str)> {
    let set = printed.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let set = set.map(|line| {
        let (key, rest) = line.split_once(" = ").unwrap();
        (key, rest.rsplit_once("  # ").unwrap())
    });
    set.collect()
}

/// The examples of a printed configuration by their keys.
fn examples(printed: &str) -> BTreeMap<&str, &str> {
    let comments = printed.lines().filter_map(|line| line.strip_prefix("# ")?.split_once(" = "));
    comments.filter(|(key, _)| !key.contains(' ')).collect()
}

#[test]
fn with_no_options_it_is_nielsens_first_network_on_the_digits() {
    let settings = validate(&TrainOptions::default(), &Origins::default()).unwrap();
    assert_eq!(settings.options, checked("").unwrap().options);
    let config = TrainConfig::from(settings);
    assert_eq!(config.data, "digits");
    assert_eq!(config.out.to_str(), Some("runs/digits"));
    assert!(!config.resume && !config.quiet);
    let Design { hidden, activation, normalization, output, cost, precision, recipe } =
        config.for_data(&Facts::DIGITS).unwrap();
    assert_eq!(recipe, nn_engine::Recipe::book());
    assert_eq!((hidden.as_slice(), activation), (&[30][..], Activation::Sigmoid));
    assert_eq!(normalization, Normalization::None);
    assert_eq!((output, cost, precision), (Output::Sigmoid, Cost::Mse, Precision::F32));
}

#[test]
fn defaults_follow_what_is_asked_for() {
    let learn = checked("activation = 'relu'\ncost = 'cross-entropy'\noptimizer = 'adam'\nbatch-size = 128")
        .unwrap()
        .options
        .learn;
    assert_eq!((learn.output, learn.init), (Some(Output::Softmax), Some(Init::He)));
    assert_eq!((learn.learning_rate, learn.shard_size), (Some(0.001), Some(16)));
    assert!(design("hidden = 'none'").hidden.is_empty());
}

#[test]
fn constants_reach_the_optimizer_and_the_schedule() {
    let recipe =
        design("optimizer = 'adamw'\nbeta1 = 0.8\nbeta2 = 0.9\nepsilon = 1e-6\nweight-decay = 0.1").recipe;
    let adamw = Optimizer::AdamW { beta1: 0.8, beta2: 0.9, epsilon: 1e-6, weight_decay: 0.1 };
    assert_eq!(recipe.optimizer, adamw);
    assert_eq!(design("normalization = 'layer'").normalization, Normalization::Layer);
    let recipe = design("dp-noise = 1.5\ndp-clip = 0.5\nseed = 77").recipe;
    assert_eq!((recipe.dp_noise, recipe.regularization.clip_samples), (Some(1.5), 0.5));
    let recipe = design("clip-norm = 0.5\nmax-norm = 3\nema = 0.99").recipe;
    assert_eq!((recipe.clip_norm, recipe.max_norm, recipe.ema), (Some(0.5), Some(3.0), Some(0.99)));
    let recipe = design("schedule = 'step'\nstep-epochs = 2\nstep-factor = 0.5\nwarmup-steps = 7").recipe;
    let shape = ScheduleShape::Step { every_epochs: 2, factor: 0.5 };
    assert_eq!(recipe.schedule, Schedule { shape, warmup_steps: 7 });
    let config = TrainConfig::from(
        checked("schedule = 'plateau'\nplateau-factor = 0.5\nearly-stopping = 9\neval-every = 3").unwrap(),
    );
    let shape = ScheduleShape::Plateau { factor: 0.5, evaluations: 5, every_epochs: 3 };
    let schedule = config.for_data(&Facts::DIGITS).unwrap().recipe.schedule;
    assert_eq!(schedule, Schedule { shape, warmup_steps: 0 });
    // No recipe gives one-cycle a warm-up.
    for more in ["", "\nhidden = 64", "\nrounds = 'auto'"] {
        let recipe = design(&format!("schedule = 'one-cycle'\none-cycle-divisor = 10{more}")).recipe;
        let shape = ScheduleShape::OneCycle { rise: 0.3, divisor: 10.0, final_divisor: 1e4 };
        assert_eq!(recipe.schedule, Schedule { shape, warmup_steps: 0 }, "{more}");
    }
}

#[test]
fn data_decides_what_is_not_given() {
    let settings = checked("data = 'some.csv'").unwrap();
    assert_eq!((settings.options.learn.output, settings.options.learn.learning_rate), (None, None));
    let config = TrainConfig::from(settings);
    let classes = config.for_data(&table(Task::Classification)).unwrap();
    let relu = Activation::Relu;
    assert_eq!(
        (classes.activation, classes.output, classes.cost),
        (relu, Output::Softmax, Cost::CrossEntropy)
    );
    assert!(matches!(classes.recipe.optimizer, Optimizer::AdamW { .. }), "{:?}", classes.recipe);
    let numbers = config.for_data(&table(Task::Regression)).unwrap();
    assert_eq!((numbers.activation, numbers.output, numbers.cost), (relu, Output::Linear, Cost::Mse));
    assert_eq!(
        config.for_data(&Facts::DIGITS).unwrap().recipe,
        nn_engine::Recipe::book(),
        "pictures in a file"
    );

    let config = TrainConfig::from(checked("data = 'some.csv'\ncost = 'cross-entropy'").unwrap());
    let refused = config.for_data(&table(Task::Regression)).unwrap_err();
    assert!(refused.message().starts_with("run.toml:2: cost cross-entropy is for classes"), "{refused}");
    assert_eq!(refused.kind().exit_code(), 2);
}

#[test]
fn the_recipe_is_the_books_for_its_networks_and_auto_for_others() {
    for (text, facts, recipe) in [
        ("", Facts::DIGITS, RecipeName::Book),
        ("hidden = 30", Facts::DIGITS, RecipeName::Book),
        ("hidden = 'none'", Facts::DIGITS, RecipeName::Book),
        ("hidden = [30, 31]", Facts::DIGITS, RecipeName::Auto),
        ("hidden = 512\nrecipe = 'book'", Facts::DIGITS, RecipeName::Book),
        ("recipe = 'auto'", Facts::DIGITS, RecipeName::Auto),
        ("data = 'x.csv'", table(Task::Classification), RecipeName::Auto),
        ("data = 'x.csv'\nrecipe = 'book'", table(Task::Classification), RecipeName::Book),
    ] {
        let config = TrainConfig::from(checked(text).unwrap());
        assert_eq!(config.recipe_for(&facts), recipe, "{text}");
        let design = config.for_data(&facts).unwrap();
        assert_eq!(design.activation == Activation::Sigmoid, recipe == RecipeName::Book, "{text}");
    }
    // What is given stays; a given optimizer has the rate that suits it, not the recipe's.
    let given = design("hidden = 64\noptimizer = 'sgd'\nactivation = 'tanh'\nepochs = 3");
    assert_eq!((given.activation, given.recipe.optimizer), (Activation::Tanh, Optimizer::Sgd));
    assert_eq!((given.recipe.learning_rate, given.recipe.epochs), (0.1, 3));
    // A constant of an optimizer that the recipe does not choose is refused, though only now.
    let failure = checked("hidden = 64\nmomentum = 0.5").unwrap_err();
    assert!(failure.message().contains("momentum has no effect with --optimizer adamw"), "{failure}");
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
        ("threads = 4097", "threads must be at least 0 and at most 4096, not 4097"),
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
        ("clip-norm = 0", "clip-norm must be a number above 0 and at most 1000000000, not 0"),
        ("clip-norm = nan", "not NaN"),
        ("max-norm = 0", "max-norm must be a number above 0 and at most 1000000000, not 0"),
        (
            "max-norm = 3\nhidden = 'none'",
            "max-norm bounds the weights into hidden units, but the network has none",
        ),
        ("ema = 1", "ema must be a number above 0 and below 1, not 1"),
        ("ema = 0", "not 0"),
        ("dp-noise = 1\nseed = 7", "dp-noise needs a limit on each sample's gradient"),
        ("dp-noise = 1\ndp-clip = 1", "add --seed with a secret number"),
        ("dp-clip = 1", "dp-clip has no effect without --dp-noise"),
        ("dp-delta = 1e-5", "add --dp-noise"),
        ("dp-noise = 0\ndp-clip = 1\nseed = 7", "dp-noise must be a number above 0"),
        ("dp-noise = 1\ndp-clip = 1\nseed = 7\nclip-samples = 1", "remove --clip-samples"),
        ("dp-noise = 1\ndp-clip = 1\nseed = 7\nclip-norm = 1", "remove --clip-norm"),
        ("dp-noise = 1\ndp-clip = 1\nseed = 7\nrounds = 'auto'", "remove --rounds"),
        ("dp-noise = 1\ndp-clip = 1\nseed = 7\nprecision = 'bf16'", "use --precision f32"),
        ("step-epochs = 3", "step-epochs has no effect with --schedule constant"),
        ("schedule = 'cosine'\nstep-factor = 0.5", "step-factor has no effect with --schedule cosine"),
        ("schedule = 'step'\ncosine-floor = 0.5", "add --schedule cosine"),
        ("schedule = 'step'\nstep-epochs = 0", "step-epochs must be at least 1"),
        ("schedule = 'step'\nstep-factor = 0", "step-factor must be a number above 0 and at most 1"),
        ("schedule = 'cosine'\ncosine-floor = 1.5", "cosine-floor must be a number at least 0 and at most 1"),
        (
            "schedule = 'one-cycle'\none-cycle-rise = 0",
            "one-cycle-rise must be a number above 0 and at most 1, not 0",
        ),
        (
            "schedule = 'one-cycle'\none-cycle-divisor = 0.5",
            "one-cycle-divisor must be a number at least 1 and at most 1000000000, not 0.5",
        ),
        ("schedule = 'one-cycle'\nwarmup-steps = 7", "warmup-steps does not go with --schedule one-cycle"),
        (
            "schedule = 'plateau'",
            "schedule plateau lowers the rate by the loss on validation samples, but there are none",
        ),
        (
            "schedule = 'plateau'\nvalidation-fraction = 0.1\nrounds = 'auto'",
            "schedule plateau does not go with --rounds",
        ),
        (
            "schedule = 'plateau'\nvalidation-fraction = 0.1\nplateau-factor = 1",
            "plateau-factor must be a number above 0 and below 1",
        ),
        (
            "schedule = 'plateau'\nvalidation-fraction = 0.1\nplateau-evaluations = 0",
            "plateau-evaluations must be at least 1",
        ),
        ("plateau-factor = 0.5", "plateau-factor has no effect with --schedule constant"),
        ("one-cycle-rise = 0.2", "one-cycle-rise has no effect with --schedule constant"),
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
    let mut options = TrainOptions::default();
    options.learn.batch_size = Some(0);
    let failure = validate(&options, &Origins::default()).unwrap_err();
    assert!(failure.message().starts_with("--batch-size must"), "{failure}");
}

#[test]
fn flags_override_the_file() {
    let mut flags = TrainOptions::default();
    flags.learn.epochs = Some(7);
    flags.format.task = Some(Task::Classification);
    let settings = overruled(flags, "epochs = 5\nbatch-size = 20\nheader = 'yes'").unwrap();
    let Settings { options, origins, numbered: _ } = settings;
    let learn = options.learn;
    assert_eq!((learn.epochs, learn.batch_size, options.format.header), (Some(7), Some(20), Header::Yes));
    assert_eq!(origins.of("epochs"), Origin::Flag);
    assert_eq!(origins.of("batch-size"), Origin::Line(2));
    assert_eq!(origins.of("seed"), Origin::Default);
}

#[test]
fn a_flag_that_selects_another_optimizer_drops_the_constants_of_the_file() {
    let mut flags = TrainOptions::default();
    flags.learn.optimizer = Some(OptimizerName::Adam);
    let settings = overruled(flags.clone(), "optimizer = 'momentum'\nmomentum = 0.5").unwrap();
    assert_eq!(settings.options.learn.optimizer, Some(OptimizerName::Adam));
    let printed = print(&settings).unwrap();
    assert_eq!(examples(&printed)["momentum"], "0.9", "{printed}");

    flags.learn.momentum = Some(0.5);
    let failure = overruled(flags, "").unwrap_err();
    assert!(failure.message().contains("--momentum has no effect with --optimizer adam"), "{failure}");
}

/// Every option that says so in its entry is refused where it has no effect, and taken where it has.
#[test]
fn options_of_a_selector_need_its_value() {
    let entries = TrainOptions::entries();
    let constants: Vec<_> = entries.iter().filter(|entry| entry.only_with.is_some()).collect();
    assert_eq!(constants.len(), 15);
    for entry in constants {
        let only = entry.only_with.as_ref().unwrap();
        let selectors = OptimizerName::NAMES.iter().map(|(name, _)| ("optimizer", *name));
        let selectors = selectors.chain(ScheduleName::NAMES.iter().map(|(name, _)| ("schedule", *name)));
        let selectors = selectors.chain(Task::NAMES.iter().map(|(name, _)| ("task", *name)));
        for (selector, name) in selectors.filter(|(selector, _)| *selector == only.selector) {
            let value = match entry.key {
                "step-epochs"
                | "classes"
                | "plateau-evaluations"
                | "one-cycle-divisor"
                | "one-cycle-final-divisor" => "2",
                _ => "0.5",
            };
            let mut text = format!("data = 'x.csv'\n{selector} = '{name}'\n{} = {value}", entry.key);
            if name == "plateau" {
                text += "\nvalidation-fraction = 0.1";
            }
            match checked(&text) {
                Ok(_) => assert!(only.names.contains(&name), "{text}"),
                Err(failure) => {
                    assert!(!only.names.contains(&name), "{text}: {failure}");
                    let says = format!("run.toml:3: {} has no effect with --{selector} {name}", entry.key);
                    assert_eq!(failure.message(), says);
                }
            }
        }
    }
}

#[test]
fn a_printed_configuration_reads_back_as_itself() {
    for text in [
        "",
        "data = 'a \"quoted\" \\path  # x.csv'\nlabel-column = '-1'\nheader = 'no'\ntest-fraction = 0.3",
        "data = 'x.npz'\ntask = 'regression'\noptimizer = 'adamw'\nweight-decay = 0.1\nbeta1 = 0.8",
        "data = 'x.csv'\nclasses = 7\noptimizer = 'nesterov'\nmomentum = 0.95\nlearning-rate = 1e-7",
        "data = 'x.csv'\nbatch-size = 100",
        "hidden = [128, 64]\nschedule = 'step'\nstep-epochs = 2\nstep-factor = 0.3\nwarmup-steps = 100",
        "dp-noise = 1.1\ndp-clip = 0.7\ndp-delta = 1e-6\nseed = 99",
        "normalization = 'layer'\nhidden = [20, 10]",
        "clip-norm = 1.5\nema = 0.999\nmax-norm = 2",
        "schedule = 'plateau'\nplateau-factor = 0.25\nplateau-evaluations = 3\nfold = '1/5'",
        "hidden = [40]\nschedule = 'one-cycle'\none-cycle-rise = 0.4\none-cycle-divisor = 10\none-cycle-final-divisor = 100",
        "hidden = []\nschedule = 'cosine'\ncosine-floor = 0.01\nseed = 18446744073709551615\nthreads = 2",
        "out = 'my runs/α'\nresume = true\nquiet = true\nl2 = 5\noptimizer = 'adam'\nepsilon = 1e-6",
        "activation = 'relu'\ncost = 'cross-entropy'\nbatch-size = 256\nshard-size = 256\neval-every = 3",
    ] {
        let settings = checked(text).unwrap_or_else(|failure| panic!("{text}: {failure}"));
        let printed = print(&settings).unwrap();
        let again = checked(&printed).unwrap_or_else(|failure| panic!("{failure}\n{printed}"));
        assert_eq!(again.options, settings.options, "{printed}");
    }
}

#[test]
fn a_printed_configuration_has_every_option_and_its_examples_are_valid() {
    let printed = print(&checked("").unwrap()).unwrap();
    let (values, examples) = (values(&printed), examples(&printed));
    for entry in TrainOptions::entries() {
        let key = entry.key;
        assert!(values.contains_key(key) ^ examples.contains_key(key), "{key}:\n{printed}");
        // An example must at least be of the right type.
        if let Some(value) = examples.get(key) {
            file::parse("example", &format!("{key} = {value}")).unwrap();
        }
    }
}

#[test]
fn a_printed_configuration_says_where_each_value_comes_from() {
    let mut flags = TrainOptions::default();
    flags.learn.epochs = Some(7);
    let printed = print(&overruled(flags, "epochs = 5\nbatch-size = 20\nthreads = 2").unwrap()).unwrap();
    let values = values(&printed);
    assert_eq!(values["epochs"], ("7", "from --epochs"));
    assert_eq!(values["batch-size"], ("20", "from run.toml:2"));
    assert_eq!(values["threads"], ("2", "from run.toml:3"));
    assert_eq!(values["shard-size"], ("16", "default"));
    assert_eq!(values["seed"], ("1", "default"));
}

/// The defaults in words are those in effect.
#[test]
fn the_defaults_that_help_shows_are_in_effect() {
    let shown: BTreeMap<&str, String> = TrainOptions::entries()
        .into_iter()
        .filter_map(|entry| {
            let words = entry.default?;
            Some((entry.key, words.split([';', ':', ',']).next()?.to_owned()))
        })
        .collect();
    let mut compared = 0;
    for text in [
        "",
        "optimizer = 'momentum'",
        "optimizer = 'adamw'",
        "schedule = 'step'",
        "schedule = 'cosine'",
        "schedule = 'one-cycle'",
    ] {
        let printed = print(&checked(text).unwrap()).unwrap();
        for (key, (value, origin)) in values(&printed) {
            if origin != "default" || !shown.contains_key(key) || key == "learning-rate" && !text.is_empty() {
                continue;
            }
            let (value, words) = (value.trim_matches(['"', '[', ']']), &shown[key]);
            let same = match (value.parse::<f64>(), words.parse::<f64>()) {
                (Ok(value), Ok(words)) => value == words,
                _ => value == words,
            };
            assert!(same, "{key} is {value}, but help says {words}");
            compared += 1;
        }
    }
    assert!(compared > 100, "{compared}");
}
