//! The law over the network: `nn-coord` with any number of `nn-worker` ends with the weights of `nn train`, whichever
//! workers join, stall, die or send nonsense. Real processes and real sockets, on ports that the system chooses.

#![cfg(unix)] // processes are stopped and killed by signals
#![allow(clippy::print_stdout)] // tests that are skipped say why
#![allow(clippy::disallowed_methods)] // every wait here is bounded by a clock

mod addresses;
mod changes;
#[path = "../common/mod.rs"]
mod common;
mod data;
mod law;
mod limits;
mod own;
mod process;
mod security;
mod spawn;
mod status;
mod stop;
mod tls;
