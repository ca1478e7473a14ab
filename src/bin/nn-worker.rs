//! The program `nn-worker`; see `nn::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    nn::cli::worker_main(std::env::args_os())
}
