//! The program `nn-coord`; see `nn::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    nn::cli::coord_main(std::env::args_os())
}
