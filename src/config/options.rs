//! The options of a run: everything that a user can say about training, each in one entry.

use std::path::PathBuf;

use nn_core::{Activation, Augmentation, Cost, DeltaBits, Init, Normalization, Output, Precision};
use nn_data::{ClassWeights, LoadOptions, TEST_FRACTION, Validation};
use nn_engine::{MAX_REPLICAS, Recipe, Rounds};

use super::augment::Augment;
use super::choice::{Decimal, Encoding, Header, OptimizerName, RecipeName, ScheduleName, Standardize, Task};
use super::columns::{Delimiter, Names};
use super::dashboard::PageAddress;
use super::defaults::{self, available_threads};
use super::event_folder::EventFolder;
use super::limits::{
    MAX_BATCH_SIZE, MAX_CHECKPOINTS, MAX_CLASSES, MAX_DIVISOR, MAX_DP_NOISE, MAX_EPOCHS, MAX_LEARNING_RATE,
    MAX_NORM, MAX_SECONDS, MAX_STEPS, MAX_THREADS,
};
use super::lists::{Fold, Widths};
use super::metrics::{Metrics, MetricsOptions};
use super::option::{default, derived, unset};
use super::privacy;
use super::recipes;
use super::rounds::{self, RoundSteps};
use super::table::options;
use super::value::Interval;

options! {
    /// How to read data that does not describe itself.
    DataOptions => DataFormat {
        "Data" {
            /// Fraction of the samples kept for testing, if the data has no test samples
            test_fraction: Option<f64> =
                derived(TEST_FRACTION.to_string()).within(Interval::Inside).example(TEST_FRACTION);
            /// Column to predict, by name or position; several numbers with commas between them
            ///
            /// Positions count from 0, negative ones from the end
            label_column: Option<String> = unset().takes("COLUMN").example("label".into()).common();
            /// Whether the first line of a table names its columns
            header: Header = default(Header::Auto).takes("WHETHER");
            /// Task to learn
            task: Option<Task> = derived("decided by the data").takes("TASK").example(Task::Classification);
            /// Number of classes, if some do not occur in the data
            classes: Option<usize> = derived("decided by the data")
                .within(2..=MAX_CLASSES)
                .only_with("task", &[Task::Classification])
                .example(10);
            /// Fraction of the training samples kept for validation: for --early-stopping, --schedule plateau and the best checkpoint
            validation_fraction: Option<f64> =
                derived("none; 0.1 with --early-stopping").within(Interval::Inside).example(0.1);
            /// Part of the training samples held out for validation: 2/5 is the second of five
            ///
            /// The parts have the same mix of classes. Cross-validation takes each in turn: nn sweep --folds
            fold: Option<Fold> = unset().example(Fold { fold: 1, of: 5 });
            /// Table of validation samples, with the columns of the training data
            validation: Option<PathBuf> = unset().of_data().example("validation.csv".into());
            /// Weights of the classes: none, balanced, or such as yes=5,no=1
            class_weights: ClassWeights = default(ClassWeights::None);
            /// Transpose pictures, for data that stores them column by column, as EMNIST does
            transpose: bool = default(false);
            /// IDX data set to read from a folder or archive of several, such as letters
            ///
            /// It is the part of the files' names before train or test
            idx_set: Option<String> = unset().takes("NAME").example("letters".into());
        }
        "Columns of tables" {
            /// Columns to leave out, by name or position
            ignore: Names = default(Names::default()).example(Names(vec!["id".into(), "date".into()]));
            /// Columns whose numbers are names, such as post codes
            categorical: Names = default(Names::default()).example(Names(vec!["zip".into()]));
            /// Columns that are numbers; any text in them counts as missing
            numeric: Names = default(Names::default()).example(Names(vec!["year".into()]));
            /// Column with the weight of each sample
            weight_column: Option<String> = unset().takes("COLUMN").example("weight".into());
            /// Whether to standardise numbers to a mean of 0 and a standard deviation of 1; auto: in tables, not in pictures
            ///
            /// A table has them for each column, and pictures for all pixels together
            standardize: Standardize = default(Standardize::Auto).takes("WHETHER");
            /// Character between cells
            delimiter: Option<Delimiter> = derived("decided by the data").example(Delimiter(b';'));
            /// Character before the fraction of a number
            decimal: Option<Decimal> = derived("decided by the data").example(Decimal::Comma);
            /// Encoding of the text
            encoding: Encoding = default(Encoding::Auto);
        }
    }
}

impl DataFormat {
    /// The options of `nn-data`; `seed` chooses the test samples if the data has none.
    pub fn load_options(&self, seed: u64) -> LoadOptions {
        // Without `..`: an option that is not used must not compile.
        let Self {
            test_fraction,
            label_column,
            header,
            task,
            classes,
            validation_fraction,
            fold,
            validation,
            class_weights,
            ignore,
            categorical,
            numeric,
            weight_column,
            standardize,
            delimiter,
            decimal,
            encoding,
            transpose,
            idx_set,
        } = self.clone();
        LoadOptions {
            test_fraction,
            label_column,
            header,
            task,
            classes,
            validation: match (validation, fold, validation_fraction) {
                (Some(path), ..) => Validation::File(path),
                (None, Some(Fold { fold, of }), _) => Validation::Fold { fold, of },
                (None, None, Some(fraction)) => Validation::Fraction(fraction),
                (None, None, None) => Validation::None,
            },
            class_weights,
            ignore: ignore.0,
            categorical: categorical.0,
            numeric: numeric.0,
            weight_column,
            standardize,
            delimiter: delimiter.map(|Delimiter(character)| character),
            decimal,
            encoding,
            transpose,
            idx_set,
            seed,
            ..LoadOptions::default()
        }
    }
}

options! {
    /// The network and its recipe: with the data, everything that decides the weights.
    LearnOptions => Learn {
        "Network" {
            /// Source of the defaults: auto suits the data, book is Nielsen's first network
            ///
            /// Options that are given override it
            recipe: Option<RecipeName> = derived(recipes::recipe_in_words()).example(RecipeName::Auto).common();
            /// Model to begin with, instead of random weights
            ///
            /// That is a model.safetensors, a checkpoint, or what nn import wrote. The network is the model's, and so is the way in
            /// which it prepares its inputs: the data must be of the same kind, with the same classes. Options of learning are free,
            /// and so is --precision. The optimizer's state begins anew, and the average of --ema begins at these weights
            from: Option<PathBuf> = unset().takes("MODEL").of_data().example("model.safetensors".into()).common();
            /// Hidden layers, such as 128,64, or none
            ///
            /// The widths of the layers in neurons, the first layer first
            hidden: Option<Widths> = derived(recipes::hidden_in_words()).example(Widths(vec![128, 64])).common();
            /// Activation of the hidden layers
            activation: Option<Activation> = derived("sigmoid; auto: relu").example(Activation::Relu).common();
            /// Normalisation of the hidden layers before their activation: none, or layer
            ///
            /// With layer, the weighted inputs of a layer's units are brought to a mean of 0 and a variance of 1 for each sample,
            /// and then scaled and shifted by what each unit learns. It allows higher learning rates
            normalization: Normalization = default(Normalization::None);
            /// Activation of the output layer
            output: Option<Output> = derived(defaults::output_in_words()).example(Output::Linear);
            /// Loss to minimise
            cost: Option<Cost> = derived("mse; auto: cross-entropy for classes").example(Cost::CrossEntropy).common();
            /// Precision of what is multiplied: f32, or bf16 as matrix units have it
            ///
            /// Sums, biases, optimizer and saved weights are f32 in both, and the weights are the same bits on every
            /// processor. It is for processors with AMX, whose matrix unit computes it; without one a step takes 1 to
            /// 1.8 times as long as with f32
            precision: Precision = default(Precision::F32);
            /// Distribution of the initial weights: normal N(0, 1), scaled N(0, 1/inputs), xavier, he
            init: Option<Init> = derived(defaults::init_in_words()).example(Init::Scaled);
        }
        "Training" {
            /// Passes over the training data
            epochs: Option<u32> = derived(recipes::epochs_in_words()).within(1..=MAX_EPOCHS).example(30).common();
            /// Time for the training: as many epochs as take about so many seconds on this machine
            ///
            /// A few steps are measured before the run; --epochs is then the most
            max_seconds: Option<u64> = unset().within(1..=MAX_SECONDS).of_command().example(60);
            /// End the run after N evaluations without improvement on validation samples, and keep the best weights
            early_stopping: Option<u32> = unset().within(1..=MAX_EPOCHS).example(5);
            /// Samples per mini-batch
            ///
            /// Each mini-batch updates the weights once. Beyond 2048 samples it is computed in parts: the memory for activations
            /// stays that of 2048 samples, and the sums of the parts take a few times that of the weights
            batch_size: Option<usize> = derived(recipes::batch_size_in_words())
                .takes("B")
                .within(1..=MAX_BATCH_SIZE)
                .example(32)
                .common();
            /// Train in rounds of H steps: auto for slow networks
            ///
            /// Replicas take so many steps each before their differences are averaged; with auto, H grows from 8 to 64. Without
            /// rounds, every mini-batch is shared among all threads and workers
            rounds: Option<RoundSteps> = unset().example(RoundSteps(None)).common();
            /// Rule that updates the weights
            optimizer: Option<OptimizerName> =
                derived(recipes::optimizer_in_words()).example(OptimizerName::AdamW).common();
            /// Learning rate η
            learning_rate: Option<f32> = derived(defaults::learning_rate_in_words())
                .within(Interval::Positive(MAX_LEARNING_RATE))
                .example(0.01)
                .common();
            /// Samples summed in one piece
            ///
            /// A mini-batch divides among threads and workers in such pieces
            shard_size: Option<usize> =
                derived(defaults::shard_size_in_words()).takes("S").within(1..=MAX_BATCH_SIZE).example(2);
            /// Seed of all randomness
            ///
            /// The same seed gives the same weights, bit for bit
            seed: u64 = default(Recipe::book().seed);
        }
        "Optimizer" {
            /// Momentum coefficient μ
            momentum: f32 = default(0.9)
                .within(Interval::FromZeroBelow(1.0))
                .only_with("optimizer", &[OptimizerName::Momentum, OptimizerName::Nesterov]);
            /// Decay rate of the first moment
            beta1: f32 = default(0.9)
                .within(Interval::FromZeroBelow(1.0))
                .only_with("optimizer", &[OptimizerName::Adam, OptimizerName::AdamW]);
            /// Decay rate of the second moment
            beta2: f32 = default(0.999)
                .within(Interval::FromZeroBelow(1.0))
                .only_with("optimizer", &[OptimizerName::Adam, OptimizerName::AdamW]);
            /// Term added to the root of the second moment
            epsilon: f32 = default(1e-8)
                .within(Interval::Positive(1.0))
                .only_with("optimizer", &[OptimizerName::Adam, OptimizerName::AdamW]);
            /// Decoupled weight decay
            weight_decay: Option<f32> = derived(recipes::weight_decay_in_words())
                .within(Interval::Closed(0.0, 1e6))
                .example(0.01)
                .only_with("optimizer", &[OptimizerName::AdamW]);
            /// L2 regularisation λ, which adds λ/(2n) Σw² to the loss for n training samples
            l2: f32 = default(Recipe::book().l2).within(Interval::Closed(0.0, 1e9));
        }
        "Regularisation" {
            /// Distort pictures at random in training: affine,elastic, or a list such as rotation=10,shift=2
            ///
            /// affine is rotation (degrees), scale, shear and shift (pixels of a picture 28 wide); elastic bends; flip mirrors half of
            /// the pictures. Every sample is distorted anew in every epoch
            augment: Augment = default(Augment::default()).example(Augment(Augmentation::AFFINE));
            /// Probability that a hidden unit is left out of a training step
            ///
            /// Units that stay are scaled up in proportion, and evaluation uses all of them
            dropout: f32 = default(0.0).within(Interval::FromZeroBelow(1.0));
            /// Probability that an input is left out
            input_dropout: f32 = default(0.0).within(Interval::FromZeroBelow(1.0));
            /// Part of each class label that is spread over all classes
            label_smoothing: f32 = default(0.0).within(Interval::FromZeroBelow(1.0));
            /// Largest norm of a single sample's gradient, against outliers; 0 for no limit
            clip_samples: f32 = default(0.0).within(Interval::Closed(0.0, 1e9));
            /// Largest norm of a mini-batch's gradient, over all weights and biases; a longer one is scaled down to it
            ///
            /// The norm is that of the mean gradient of the loss, before the penalty of --l2. With --rounds, each replica clips
            /// the gradients of its own steps
            clip_norm: Option<f32> = unset().within(Interval::Positive(MAX_NORM)).example(1.0);
            /// Largest norm of the weights into a hidden unit; after each step, longer ones are scaled down to it
            ///
            /// Biases do not count, and the output layer has no limit. With --rounds, each replica does so after each of its own
            /// steps
            max_norm: Option<f32> = unset().within(Interval::Positive(MAX_NORM)).example(3.0);
            /// Make the moving average of the weights the model: after each step, X of the average stays
            ///
            /// It is over about the last 1/(1 − X) steps, and early in the run over fewer. It is what is evaluated, chosen by
            /// validation and saved; the accuracy of the weights themselves stands beside it as raw
            ema: Option<f32> = unset().within(Interval::Inside).example(0.999);
        }
        "Privacy" {
            /// Train with differential privacy (DP-SGD): noise of σ times --dp-clip on each number of a mini-batch's gradient
            ///
            /// The run says after each epoch how much privacy is spent, as epsilon for --dp-delta. Who knows the seed can take the
            /// noise away, so it must be one that nobody can guess, and it is left out of the finished model
            dp_noise: Option<f32> = unset().takes("σ").within(Interval::Positive(MAX_DP_NOISE)).example(1.0);
            /// Largest norm of a single sample's gradient with --dp-noise; a longer one is scaled down to it
            dp_clip: Option<f32> = unset().within(Interval::Positive(MAX_NORM)).example(1.0);
            /// Probability δ that the promise of epsilon does not hold
            dp_delta: Option<f32> = derived(privacy::delta_in_words()).within(Interval::Inside).example(1e-5);
        }
        "Schedule" {
            /// Course of the learning rate over the run
            schedule: Option<ScheduleName> =
                derived("constant; auto: cosine; with --rounds: wsd").example(ScheduleName::Cosine);
            /// Steps over which the learning rate rises to its full value
            warmup_steps: Option<u64> =
                derived(recipes::warmup_steps_in_words()).within(0..=MAX_STEPS).example(100);
            /// Epochs between two drops of the learning rate
            step_epochs: u32 =
                default(10).within(1..=MAX_EPOCHS).only_with("schedule", &[ScheduleName::Step]);
            /// Factor by which a drop multiplies the learning rate
            step_factor: f32 = default(0.1)
                .within(Interval::Positive(1.0))
                .only_with("schedule", &[ScheduleName::Step]);
            /// Final rate of the cosine schedule, as a fraction of the learning rate
            cosine_floor: f32 = default(0.0)
                .within(Interval::Closed(0.0, 1.0))
                .only_with("schedule", &[ScheduleName::Cosine]);
            /// Last part of the steps, in which the schedule wsd lowers the rate to 0
            wsd_decay: f32 = default(rounds::WSD_DECAY)
                .within(Interval::Positive(1.0))
                .only_with("schedule", &[ScheduleName::Wsd]);
            /// Part of the steps in which the schedule one-cycle raises the rate to --learning-rate
            one_cycle_rise: f32 = default(0.3)
                .within(Interval::Positive(1.0))
                .only_with("schedule", &[ScheduleName::OneCycle]);
            /// Divisor that gives the first rate of the schedule one-cycle, from --learning-rate
            one_cycle_divisor: f32 = default(25.0)
                .within(Interval::Closed(1.0, MAX_DIVISOR))
                .only_with("schedule", &[ScheduleName::OneCycle]);
            /// Divisor that gives the last rate of the schedule one-cycle, from its first
            one_cycle_final_divisor: f32 = default(1e4)
                .within(Interval::Closed(1.0, MAX_DIVISOR))
                .only_with("schedule", &[ScheduleName::OneCycle]);
            /// Factor by which the schedule plateau multiplies the rate
            plateau_factor: f32 = default(0.1)
                .within(Interval::Inside)
                .only_with("schedule", &[ScheduleName::Plateau]);
            /// Evaluations without a smaller loss on the validation samples, after which the schedule plateau lowers the rate
            ///
            /// One that is smaller by less than a ten-thousandth does not count. With --eval-every N, every Nth epoch is evaluated
            plateau_evaluations: u32 =
                default(5).within(1..=MAX_EPOCHS).only_with("schedule", &[ScheduleName::Plateau]);
        }
        "Rounds" {
            /// Replicas in a round, a power of two; best as many as workers
            replicas: Option<u32> = derived(rounds::REPLICAS.to_string())
                .takes("R")
                .within(1..=u64::from(MAX_REPLICAS))
                .example(rounds::REPLICAS);
            /// Bits of a number on the wire: 32 exact, 8 for any network, 4 for slow links
            delta_bits: Option<DeltaBits> = derived(DeltaBits::Eight.to_string()).example(DeltaBits::Eight);
            /// Learning rate ν of the step at the end of a round
            outer_learning_rate: Option<f32> = derived(format!("{:?}", Rounds::OUTER_LEARNING_RATE))
                .within(Interval::Positive(MAX_LEARNING_RATE))
                .example(Rounds::OUTER_LEARNING_RATE);
            /// Momentum μ of the step at the end of a round
            outer_momentum: Option<f32> = derived(rounds::outer_momentum_in_words())
                .within(Interval::FromZeroBelow(1.0))
                .example(Rounds::outer_momentum_for(rounds::REPLICAS));
        }
    }
}

options! {
    /// Everything that decides how a run goes, for `nn train` as for a coordinator. The keys of a configuration file.
    TrainOptions => Train {
        group format: DataOptions => DataFormat;
        group learn: LearnOptions => Learn;
        group metrics: MetricsOptions => Metrics;
        "Data" {
            /// Data set: digits, mnist, fashion-mnist, or a path
            ///
            /// The digits come with the program. The path is that of a folder, archive, CSV, NPY or NPZ
            data: String = default(defaults::DATA.to_owned()).takes("DATA").of_data().common();
        }
        "Run" {
            /// Folder for the results
            ///
            /// It holds the model, the summary, the metrics, the checkpoints, and the options in run.toml. Where a default
            /// folder holds a run, a new one gets a number: runs/digits-2
            out: Option<PathBuf> = derived(defaults::out_in_words())
                .takes("DIR")
                .example(defaults::default_out(defaults::DATA))
                // Which folder is free depends on what the machine has.
                .of_machine(&defaults::out_in_words())
                .of_command()
                .common();
            /// Resume from the newest checkpoint in the output folder
            ///
            /// Options that are not given are those of that run
            resume: bool = default(false).of_command().common();
            /// Replace the run in the output folder
            overwrite: bool = default(false).of_command();
            /// Threads to compute with
            ///
            /// They change the time, never the result
            threads: usize = default(available_threads().get())
                .takes("T")
                // A coordinator may leave all computing to others. `TrainArgs::check` refuses 0 elsewhere.
                .within(0..=MAX_THREADS)
                .of_machine("all of the machine's")
                .common();
            /// Evaluate on the validation and test samples every N epochs, and after the last one
            eval_every: u32 = default(1).within(1..=MAX_EPOCHS);
            /// Measure the gradient noise scale after each epoch: the size up to which larger mini-batches pay
            ///
            /// From the norms of single samples' gradients, of up to 2048 training samples. It changes nothing in the run
            noise_scale: bool = default(false);
            /// Write event files for TensorBoard, to DIR or to the run's folder
            ///
            /// They have loss, accuracy and all other figures of metrics.jsonl, distributions of weights and gradients, confusion
            /// matrix and mistakes. They change nothing in the run
            tensorboard: Option<EventFolder> = unset().example(EventFolder::OfRun);
            /// Show the run in a browser, live: a page at this address and port, or at 127.0.0.1:8090
            ///
            /// Curves, workers, confusions, mistakes and weights. It changes nothing in the run. Other machines need a token
            /// (--dashboard-token-file), unless --dashboard-insecure is given. Later, nn dashboard shows the run again
            dashboard: Option<PageAddress> = unset().example(PageAddress::usual()).of_command();
            /// File with the token that browsers of the dashboard must show; the page asks for it
            ///
            /// nn certs token makes one
            dashboard_token_file: Option<PathBuf> = unset().example("token".into()).of_command();
            /// Certificate of the dashboard's server, in PEM; it turns TLS on
            dashboard_tls_cert: Option<PathBuf> = unset().example("page.pem".into()).of_command();
            /// Private key of --dashboard-tls-cert, in PEM
            dashboard_tls_key: Option<PathBuf> = unset().example("page.key".into()).of_command();
            /// Let other machines look at the dashboard without a token
            dashboard_insecure: bool = default(false).of_command();
            /// Print only warnings and errors
            quiet: bool = default(false).of_command();
            /// Print JSON for programs instead of text: a line for the run, for each epoch and for the end
            ///
            /// Lines of epochs are those of metrics.jsonl, and the last line is summary.json. Without --quiet there are lines of
            /// progress, too, at most one a second
            json: bool = default(false).of_command();
        }
        "Durability" {
            /// Seconds between two checkpoints; 0 for none by the clock
            checkpoint_seconds: u64 = default(60).within(0..=MAX_SECONDS);
            // The clock suits networks of every size, so there are no checkpoints by steps unless asked for.
            /// Steps (or rounds) between two checkpoints, in addition to those by the clock; 0 for none by steps
            checkpoint_steps: u64 = default(0).within(0..=MAX_STEPS);
            // Should the newest turn out damaged, there are two more.
            /// Newest checkpoints to keep, in addition to the best by validation
            keep_checkpoints: usize = default(3).takes("K").within(1..=MAX_CHECKPOINTS);
            // Every step, so that a difference can be pinned to the step that caused it. It costs up to 8 % of a step if
            // mini-batches are small (0.2 µs of 3 for the default run, 2 of 25 for 784-30-10) or the network is large
            // (5 ms of 130 for 12 million parameters on one thread); every tenth costs a tenth of that.
            /// Log the hash of the weights to metrics.jsonl every N steps (or rounds); 0 for never
            log_steps: u64 = default(1).within(0..=MAX_STEPS);
        }
    }
}

options! {
    /// The configuration file itself.
    ConfigOptions => ConfigSource {
        "Configuration" {
            /// TOML file of options, whose keys are the names of the flags; - for standard input
            config: Option<PathBuf> = unset();
            /// Print the options in effect, with the origin of each, as a file for --config, and exit
            print_config: bool = default(false);
        }
    }
}
