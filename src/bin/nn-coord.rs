//! The program `nn-coord`. Its command line is in `nn::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    nn::cli::coord_main(std::env::args_os())
}
