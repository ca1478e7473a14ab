//! The program `nn-worker`. Its command line is in `nn::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    nn::cli::worker_main(std::env::args_os())
}
