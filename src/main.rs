//! `nn`: see [`nn::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    nn::cli::main(std::env::args_os())
}
