//! `nn`: a data-parallel trainer for feedforward neural networks whose weights are the same, bit for bit, however and
//! wherever it runs.
//!
//! The whole idea is on one screen, in [`nn_core::reference::train`]. `ARCHITECTURE.md` is the map: the crates, the
//! invariants and the reasons. This crate is the programs, and holds no algorithms:
//!
//! | Module | Content |
//! | --- | --- |
//! | [`cli`] | the command lines: parse, check, dispatch |
//! | [`config`] | the options and their checks; the checked types that commands take |
//! | `commands` | the commands |
//! | [`store`] | models and checkpoints on disk |
//! | [`exchange`] | networks in the formats of other programs |
//! | [`picture`] | a picture file as a network's input |
//! | `metrics`, `show` | evaluation metrics; tables and drawings in the terminal |
//! | `http` | servers of plain HTTP, within limits |
//! | `telemetry` | figures of runs, workers and servers for Prometheus |
//! | `tensorboard` | event files for TensorBoard |
//! | `memory`, `cgroup` | what a run needs and what the machine or container has |
//! | `progress`, `signals`, `clock` | the progress bar; SIGINT and SIGTERM; the time |
//! | [`failure`] | how a command ends: a message, a remedy and an exit code |

// These macros panic once a pipe is closed: see `failure::write_stdout`.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

mod cgroup;
pub mod cli;
mod clock;
mod commands;
pub mod config;
pub mod exchange;
pub mod failure;
mod http;
mod memory;
mod metrics;
pub mod picture;
mod privacy;
mod progress;
mod show;
mod signals;
pub mod store;
mod telemetry;
mod tensorboard;
