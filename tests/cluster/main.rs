//! The law over the network: `nn-coord` and any number of `nn-worker` end with the weights of `nn train`, whoever joins,
//! stalls, dies or talks nonsense meanwhile. Real processes and real sockets, on ports that the system chooses.

#![cfg(unix)] // processes are stopped and killed by signals
#![allow(clippy::print_stdout)] // says what is skipped, and why
#![allow(clippy::disallowed_methods)] // every wait here is bounded by a clock

mod addresses;
mod changes;
#[path = "../common/mod.rs"]
mod common;
mod data;
mod law;
mod process;
mod security;
mod spawn;
mod status;
mod stop;
