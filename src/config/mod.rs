//! The configuration of the programs. Every option is one entry of a table (`options.rs`, `cluster.rs`,
//! `security.rs`), from which the rest follows. Options as they are given are merged, then checked once into a type that
//! the work takes.
//!
//! ```text
//! flags ─────────────────┐
//! NN_… ─ Environment ────┼─ complete ─ TrainOptions ─ validate ─ Settings ─ TrainConfig ─ for_task ─ Design
//! run.toml ─ file::read ─┤                │                      └ print    (once the data is known)
//! <out>/run.toml ────────┘                └ with --from, base::apply: what the model decides
//!   (with --resume only)
//! ```
//!
//! To add a training option, write its entry in `options.rs`. The compiler then asks for its use: in `design.rs` if it
//! decides the weights, in `train.rs` otherwise.

mod augment;
mod base;
mod bench;
mod certs;
mod choice;
mod cluster;
mod columns;
mod dashboard;
mod data;
pub mod defaults;
mod design;
mod doctor;
mod environment;
mod event_folder;
mod exchange;
pub mod file;
mod host;
mod limits;
mod lists;
mod lr_find;
mod metrics;
mod model;
mod numbers;
mod option;
mod options;
mod origins;
mod plan;
mod print;
mod privacy;
mod recipes;
mod report;
mod rounds;
pub(crate) mod run_file;
mod runs;
mod security;
mod serve;
mod settings;
mod sweep;
mod table;
mod train;
mod value;

pub use base::Base;
pub use bench::{BenchArgs, BenchConfig};
pub use certs::{CertsArgs, CertsConfig};
pub(crate) use choice::choice;
pub use choice::{Choice, ColorWhen, HardestBy, Header, OptimizerName, RecipeName, ScheduleName, Task, Tri};
pub use cluster::{
    CoordArgs, CoordConfig, CoordOptions, StatusArgs, StatusConfig, WorkerConfig, WorkerOptions,
};
pub use dashboard::{DashboardArgs, DashboardConfig, PageAddress};
pub use data::{DataCommand, ShowArgs, ShowConfig};
pub use design::Design;
pub use doctor::{DoctorArgs, DoctorConfig};
pub use environment::{Environment, not_for_children};
pub use event_folder::EventFolder;
pub use exchange::{ExportArgs, ImportArgs, ImportConfig};
pub use host::Host;
pub(crate) use limits::MAX_EPOCHS;
pub use lr_find::{LrFindArgs, LrFindConfig, LrFindOptions};
pub use metrics::{Metrics, MetricsConfig, MetricsOptions};
pub use model::{
    EvalArgs, EvalConfig, FetchArgs, PredictArgs, PredictConfig, PredictInput, ReplayArgs, ReplayConfig,
};
pub use option::{Entry, Line};
pub use options::{ConfigOptions, DataFormat, DataOptions, Learn, LearnOptions, Train, TrainOptions};
pub use origins::{Origin, Origins};
pub(crate) use plan::LATENCY;
pub use plan::{Latency, Link, LinkSource, PlanArgs, PlanConfig, PlanOptions};
pub use print::print;
pub(crate) use privacy::default_delta;
pub use recipes::Facts;
pub use report::ReportArgs;
pub(crate) use rounds::REPLICAS;
pub use runs::{RunsCommand, RunsCompareArgs, RunsListArgs};
pub use security::{
    ClientSecurityConfig, ClientSecurityOptions, ServerSecurityConfig, ServerSecurityOptions,
};
pub use serve::{ServeConfig, ServeOptions};
pub use settings::{Settings, validate};
pub use sweep::{SweepArgs, SweepConfig, SweepOptions, SweepRun};
pub use table::{Given, Options};
pub use train::{Asked, TrainArgs, TrainConfig};
pub use value::{Value, Wrong};
