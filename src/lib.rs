//! `nn`: a data-parallel trainer for feedforward neural networks whose weights are the same, bit for bit, however and
//! wherever it runs.
//!
//! ```text
//! bytes ──► dataset ──► step's leaves ──► assignment ──► node sums ──► tree ──► optimizer ──► new weights
//!   nn-data     nn-core::Dataset   nn-engine         nn-core::Workspace      nn-engine      │
//!                                     ▲                                                     │
//!                                     └──────────── the next step begins ◄──────────────────┘
//! ```
//!
//! | Crate | Is | Never |
//! | --- | --- | --- |
//! | `nn-core` | the arithmetic: kernels, backpropagation, optimizers, the canonical tree, addressed randomness | does IO, reads a clock, knows sockets |
//! | `nn-data` | formats, the embedded digits, fetching, fingerprints | knows training |
//! | `nn-engine` | the protocol as a pure state machine, the run manifest, the in-process driver | reads a clock, opens a file or a socket, knows an async runtime |
//! | `nn-net` | that protocol over gRPC: the coordinator's server, the worker's client | decides anything |
//! | `nn` (here) | flags, configuration, files, signals, progress, reports, exit codes | holds algorithms |
//!
//! Invariants, each stated as an absence that CI or the compiler checks:
//! - No `unsafe` outside `nn-core/src/kernel` (a lint).
//! - No second training loop: one machine is the engine with one worker in the same memory (`nn_engine::local`).
//! - No platform mathematics in the arithmetic: `exp`, `tanh` and `ln` are `nn_core::math`.
//! - No number is drawn: every random number has an address (`nn_core::permutation`, `nn_core::initial_parameters`).
//! - No dependence of `nn-core`, `nn-data` and `nn-engine` on an async runtime (`cargo tree` in `.ci/run`).
//!
//! Inside this crate: `cli` parses, `config` checks, `commands` do the work, `store` writes and reads what lasts,
//! `show`, `picture` and `metrics` are for people's eyes, and `failure` ends a command with a sentence and an exit code.

// They panic once a pipe is closed: see `failure::write_stdout`.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod cli;
mod clock;
mod commands;
pub mod config;
pub mod failure;
mod metrics;
pub mod picture;
mod progress;
mod show;
mod signals;
pub mod store;
