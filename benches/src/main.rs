//! `hubbub-bench`: composition only.

use std::process::ExitCode;

use clap::Parser;
use hubbub_benches::cli::Cli;
use hubbub_benches::exit;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => {
            // Help and the version are asked for, and said to standard output.
            let code = if said.use_stderr() { ExitCode::from(exit::USAGE) } else { ExitCode::SUCCESS };
            // Whoever closed it does not want to know.
            let _ = said.print();
            return code;
        }
    };
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hubbub-bench: {error:#}");
            exit::of(&error)
        }
    }
}
