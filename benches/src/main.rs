//! `hubbub-bench`: composition only.

use std::process::ExitCode;

use clap::Parser;
use hubbub_benches::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hubbub-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
