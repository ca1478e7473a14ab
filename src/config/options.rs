//! The options of a run: everything that a user can say about training, each in one entry.

use std::path::PathBuf;

use nn_core::{Activation, Cost, Init, Output};
use nn_data::{LoadOptions, TEST_FRACTION};
use nn_engine::Recipe;

use super::choice::{Header, OptimizerName, ScheduleName, Task};
use super::defaults::{self, available_threads};
use super::limits::{
    MAX_BATCH_SIZE, MAX_CHECKPOINTS, MAX_CLASSES, MAX_EPOCHS, MAX_LEARNING_RATE, MAX_SECONDS, MAX_STEPS,
    MAX_THREADS,
};
use super::lists::Widths;
use super::option::{default, derived, unset};
use super::table::options;
use super::value::Interval;

options! {
    /// How to read data that does not describe itself.
    DataOptions => DataFormat {
        "Data" {
            /// Fraction of the samples kept for testing, if the data has no test samples
            test_fraction: Option<f64> =
                derived(TEST_FRACTION.to_string()).within(Interval::Inside).example(TEST_FRACTION);
            /// CSV column to predict, by name or position
            ///
            /// Positions count from 0, negative ones from the end
            label_column: Option<String> = unset().takes("COLUMN").example("label".into()).common();
            /// Whether the first line of a CSV names its columns
            header: Header = default(Header::Auto).takes("WHETHER");
            /// Task to learn
            task: Option<Task> = derived("decided by the data").takes("TASK").example(Task::Classification);
            /// Number of classes, if some do not occur in the data
            classes: Option<usize> = derived("decided by the data")
                .within(2..=MAX_CLASSES)
                .only_with("task", &[Task::Classification])
                .example(10);
            /// Transpose pictures, for data that stores them column by column, as EMNIST does
            transpose: bool = default(false);
            /// IDX data set to read from a folder or archive of several, such as letters
            ///
            /// It is the part of the files' names before train or test
            idx_set: Option<String> = unset().takes("NAME").example("letters".into());
        }
    }
}

impl DataFormat {
    /// The options of `nn-data`; `seed` chooses the test samples if the data has none.
    pub fn load_options(&self, seed: u64) -> LoadOptions {
        // Without `..`: an option that is not used must not compile.
        let Self { test_fraction, label_column, header, task, classes, transpose, idx_set } = self.clone();
        LoadOptions {
            test_fraction,
            label_column,
            header,
            task,
            classes,
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
            /// Hidden layers, such as 128,64, or none
            ///
            /// The widths of the layers in neurons, the first layer first
            hidden: Widths = default(Widths(vec![30])).common();
            /// Activation of the hidden layers
            activation: Activation = default(Activation::Sigmoid).common();
            /// Activation of the output layer
            output: Option<Output> = derived(defaults::output_in_words()).example(Output::Linear);
            /// Loss to minimise
            cost: Cost = default(Cost::Mse).common();
            /// Distribution of the initial weights: normal N(0, 1), scaled N(0, 1/inputs), xavier, he
            init: Option<Init> = derived(defaults::init_in_words()).example(Init::Scaled);
        }
        "Training" {
            /// Passes over the training data
            epochs: u32 = default(Recipe::book().epochs).within(1..=MAX_EPOCHS).common();
            /// Samples per mini-batch
            ///
            /// Each mini-batch updates the weights once
            batch_size: usize =
                default(Recipe::book().batch_size).takes("B").within(1..=MAX_BATCH_SIZE).common();
            /// Rule that updates the weights
            optimizer: OptimizerName = default(OptimizerName::Sgd).common();
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
            weight_decay: f32 = default(0.01)
                .within(Interval::Closed(0.0, 1e6))
                .only_with("optimizer", &[OptimizerName::AdamW]);
            /// L2 regularisation λ, which adds λ/(2n) Σw² to the loss for n training samples
            l2: f32 = default(Recipe::book().l2).within(Interval::Closed(0.0, 1e9));
        }
        "Schedule" {
            /// Course of the learning rate over the run
            schedule: ScheduleName = default(ScheduleName::Constant);
            /// Steps over which the learning rate rises to its full value
            warmup_steps: u64 = default(Recipe::book().schedule.warmup_steps).within(0..=MAX_STEPS);
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
        }
    }
}

options! {
    /// Everything that decides how a run goes, for `nn train` as for a coordinator. The keys of a configuration file.
    TrainOptions => Train {
        group format: DataOptions => DataFormat;
        group learn: LearnOptions => Learn;
        "Data" {
            /// Data set: digits, mnist, fashion-mnist, or a path
            ///
            /// The digits come with the program. The path is that of a folder, archive, CSV, NPY or NPZ
            data: String = default(defaults::DATA.to_owned()).takes("DATA").common();
        }
        "Run" {
            /// Folder for the results
            ///
            /// It holds the model, the summary, the metrics and the checkpoints
            out: Option<PathBuf> =
                derived(defaults::out_in_words()).takes("DIR").example(defaults::default_out(defaults::DATA)).common();
            /// Resume from the newest checkpoint in the output folder
            resume: bool = default(false).common();
            /// Threads to compute with
            ///
            /// They change the time, never the result
            threads: usize = default(available_threads().get())
                .takes("T")
                .within(1..=MAX_THREADS)
                .of_machine("all of the machine's")
                .common();
            /// Evaluate on the test samples every N epochs, and after the last one
            eval_every: u32 = default(1).within(1..=MAX_EPOCHS);
            /// Print only warnings and errors
            quiet: bool = default(false);
        }
        "Durability" {
            /// Seconds between two checkpoints; 0 for none by the clock
            checkpoint_seconds: u64 = default(60).within(0..=MAX_SECONDS);
            // The clock suits networks of every size, so there are no checkpoints by steps unless asked for.
            /// Steps between two checkpoints, in addition to those by the clock; 0 for none by steps
            checkpoint_steps: u64 = default(0).within(0..=MAX_STEPS);
            // Should the newest turn out damaged, there are two more.
            /// Newest checkpoints to keep, in addition to the best by validation
            keep_checkpoints: usize = default(3).takes("K").within(1..=MAX_CHECKPOINTS);
            // Every step, so that a difference can be pinned to the step that caused it. It costs up to 8 % of a step if
            // mini-batches are small (0.2 µs of 3 for the default run, 2 of 25 for 784-30-10) or the network is large
            // (5 ms of 130 for 12 million parameters on one thread); every tenth costs a tenth of that.
            /// Log the hash of the weights to metrics.jsonl every N steps; 0 for never
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
