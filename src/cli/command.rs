//! The command lines of `nn`, `nn-coord` and `nn-worker`.

use clap::{Arg, CommandFactory, Parser, Subcommand};

use crate::config::{
    BenchArgs, CertsArgs, ColorWhen, CoordArgs, DashboardArgs, DataCommand, DoctorArgs, EvalArgs, ExportArgs,
    FetchArgs, ImportArgs, LrFindArgs, PlanArgs, PredictArgs, ReplayArgs, ReportArgs, RunsCommand,
    ServeOptions, StatusArgs, SweepArgs, TrainArgs, WorkerOptions, choice,
};

/// Train feedforward neural networks, with the same bits on one thread or many machines
///
/// With no options, `nn train` learns to read handwritten digits that come with the program.
#[derive(Debug, Parser)]
#[command(name = "nn", version, arg_required_else_help = true, max_term_width = 110, after_help = EXIT_CODES)]
pub struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of `nn`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a network
    #[command(after_long_help = TRAIN_VARIABLES)]
    Train(Box<TrainArgs>),
    /// Find a learning rate, by a few mini-batches at ever higher rates
    #[command(after_long_help = LR_FIND_EXAMPLE)]
    LrFind(Box<LrFindArgs>),
    /// Train many networks and compare them
    #[command(after_long_help = SWEEP_EXAMPLE)]
    Sweep(Box<SweepArgs>),
    /// Evaluate a model on a test set
    Eval(EvalArgs),
    /// Predict with a trained model
    Predict(PredictArgs),
    /// Serve a model: a page to draw on, and the Open Inference Protocol
    #[command(after_long_help = SERVE_EXAMPLE)]
    Serve(Box<ServeOptions>),

    /// Write a trained model as ONNX, for other programs
    Export(ExportArgs),
    /// Make a model of a network that another program has trained
    #[command(after_long_help = IMPORT_EXAMPLES)]
    Import(ImportArgs),
    /// Repeat steps of a run and compare the weights with its log
    Replay(ReplayArgs),
    /// List runs, or compare them
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Show runs in a browser: curves side by side, confusions, mistakes, weights
    Dashboard(DashboardArgs),
    /// Write runs to a page that needs nothing else: curves, options, results, model cards
    Report(ReportArgs),
    /// Look at data before training
    #[command(subcommand)]
    Data(DataCommand),
    /// Download a public data set
    Fetch(FetchArgs),
    /// Show a coordinator's progress
    Status(StatusArgs),
    /// Say whether a cluster would be faster than this machine, before there is one
    #[command(after_long_help = PLAN_EXAMPLE)]
    Plan(Box<PlanArgs>),
    /// Make the certificates or the token of a cluster
    Certs(CertsArgs),
    /// Check this machine, and the path to a coordinator
    Doctor(DoctorArgs),
    /// Measure training steps on synthetic data
    Bench(BenchArgs),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page of nn, or write all manual pages to a folder
    Man {
        /// Folder for the pages, created if it does not exist
        #[arg(long, value_name = "DIR")]
        out: Option<std::path::PathBuf>,
    },
}

/// Train a network together with workers on other machines
///
/// Takes the options of `nn train` and gives the same weights, bit for bit, by dividing every mini-batch among this
/// machine and the workers that have joined. Workers may join, leave and return at any time.
#[derive(Debug, Parser)]
#[command(name = "nn-coord", version, max_term_width = 110)]
pub struct CoordCli {
    /// The options.
    #[command(flatten)]
    pub args: CoordArgs,
}

/// Compute for a coordinator
///
/// Dials the coordinator until it answers, so either may start first. A worker needs no files: the coordinator sends it the
/// training samples once, and it keeps them for later runs.
#[derive(Debug, Parser)]
#[command(name = "nn-worker", version, max_term_width = 110)]
pub struct WorkerCli {
    /// The options.
    #[command(flatten)]
    pub options: WorkerOptions,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 bad data, 4 network or \
                          peer, 130 interrupted before a checkpoint could be written.";

const SWEEP_EXAMPLE: &str =
    "The file of --config holds the options that all runs share, as that of nn train does, and tables:

  epochs = 30
  validation-fraction = 0.1
  [grid]                       # all combinations of these values
  hidden = [[30], [128, 64]]
  [random]                     # and, for each, 10 draws
  runs = 10
  learning-rate = { min = 1e-3, max = 1.0, log = true }
  [halving]                    # the best third goes on after 3 epochs, the best ninth after 9
  min-epochs = 3
  factor = 3

Without a file, --seeds and --folds repeat one run.";

const TRAIN_VARIABLES: &str = "Every option has an environment variable: NN_EPOCHS for --epochs, NN_BATCH_SIZE for \
                               --batch-size, and so on. A flag overrides the variable, and both override the file of \
                               --config. An empty variable counts as not set.";

const PLAN_EXAMPLE: &str = "It measures a few steps here and computes the rest, for synchronous training and for rounds, \
                            with a coordinator that only coordinates: bytes, times, what bounds them, and samples a second, which are not accuracy. Example: \
                            nn plan --data mnist --hidden 512,256 --workers 4 --link 1gbit. Takes the options of nn \
                            train, and writes nothing.";

const LR_FIND_EXAMPLE: &str = "Smith's range test (2015): the rate rises from step to step until the loss explodes, and the curve shows where it falls. \
                               Takes the options of nn train, such as --data, --hidden and --optimizer, gives the \
                               same curve for any number of threads, and trains no model: it writes nothing but --plot. Example: nn \
                               lr-find --data mnist --hidden 512,256 --plot rates.svg";

const SERVE_EXAMPLE: &str = "The page is at http://127.0.0.1:8080. Programs send JSON: curl -H 'content-type: application/json' -d \
                             @request.json http://127.0.0.1:8080/v2/models/NAME/infer, with a batch of samples as the \
                             tensor that GET /v2/models/NAME describes. The answers are those of nn predict, bit for \
                             bit. SIGTERM and SIGINT let running requests finish, and end it with exit code 0.

Every option has an environment variable: NN_MODEL for --model, NN_MAX_BODY for --max-body, and so on. A flag overrides the \
                             variable. An empty variable counts as not set.";

const IMPORT_EXAMPLES: &str = "It reads chains of dense layers: what torch.onnx.export writes of an nn.Sequential with nn.Linear, the \
                               dense networks of Keras, what nn export wrote, and PyTorch's state_dict. Anything else is refused by \
                               the name of its node. Examples: nn import mlp.onnx --image 28x28 --output softmax; nn import mlp.safetensors \
                               --activation relu.";

const WORKER_VARIABLES: &str = "Every option has an environment variable: NN_NAME for --name, NN_CACHE_DIR for \
                                --cache-dir, and so on. A flag overrides the variable. An empty variable counts as \
                                not set.";

/// The flag that every program and command has.
fn with_color(command: clap::Command) -> clap::Command {
    let argument = Arg::new(COLOR)
        .long(COLOR)
        .value_name("WHEN")
        .value_parser(choice::<ColorWhen>())
        .default_value("auto")
        .global(true)
        .hide_short_help(true)
        .hide_possible_values(true)
        .hide_default_value(true)
        .help("When to use colours: auto, always, never [default: auto]")
        .long_help(
            "When to use colours: auto, always, never. With auto, on a terminal that has them, unless NO_COLOR is set \
             [default: auto]",
        );
    command.arg(argument)
}

/// Its name.
const COLOR: &str = "color";

/// What it says.
pub(super) fn color(matches: &clap::ArgMatches) -> ColorWhen {
    matches.get_one(COLOR).copied().unwrap_or(ColorWhen::Auto)
}

/// The command line of `nn`, for parsing, completions and the manual.
pub(super) fn nn() -> clap::Command {
    // A sweep has a folder of its own, and most often a file.
    let command = with_color(Cli::command()).mut_subcommand("sweep", |sweep| {
        sweep
            .mut_arg("out", |out| {
                let help =
                    "Folder for the results: sweep.json, and a folder for each run [default: runs/sweep]";
                out.help(help).long_help(help)
            })
            .mut_arg("config", |config| config.hide_short_help(false))
    });
    command
        .mut_subcommand("plan", |plan| NOT_OF_PLAN.into_iter().fold(plan, long))
        .mut_subcommand("lr-find", |find| NOT_OF_LR_FIND.into_iter().fold(find, long))
}

/// Options that only the long help of `nn plan` shows.
const NOT_OF_PLAN: [&str; 11] = [
    "tls-ca",
    "tls-cert",
    "tls-key",
    "label-column",
    "recipe",
    "activation",
    "cost",
    "learning-rate",
    "optimizer",
    "out",
    "resume",
];

/// Options that only the long help of `nn lr-find` shows.
const NOT_OF_LR_FIND: [&str; 6] = ["epochs", "learning-rate", "out", "recipe", "resume", "rounds"];

/// Shows an option in the long help only.
fn long(command: clap::Command, key: &str) -> clap::Command {
    command.mut_arg(key, |option| option.hide_short_help(true))
}

/// Training options that only the long help of `nn-coord` shows.
const OF_TRAIN: [&str; 6] = ["activation", "cost", "label-column", "learning-rate", "optimizer", "recipe"];

/// The command line of `nn-coord`.
pub(super) fn coord() -> clap::Command {
    let command = OF_TRAIN.into_iter().fold(with_color(CoordCli::command()), long).mut_arg("threads", |threads| {
        threads
            .help("Threads that compute here; 0 for none [default: all]")
            .long_help(
                "Threads to compute with, beside the workers that join; 0: only coordinate. They change the time, never \
                 the result. This machine takes part in its own run like a worker, but nothing has to travel to it \
                 [default: all of the machine's; with --spawn: 0]",
            )
    });
    command.after_long_help(format!("{TRAIN_VARIABLES}\n\n{EXIT_CODES}"))
}

/// The command line of `nn-worker`.
pub(super) fn worker() -> clap::Command {
    let command = long(with_color(WorkerCli::command()), "label-column");
    command.after_long_help(format!("{WORKER_VARIABLES}\n\n{EXIT_CODES}"))
}
