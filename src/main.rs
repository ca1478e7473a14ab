//! The program `nn`. Its command line is in [`nn::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    nn::cli::main(std::env::args_os())
}
