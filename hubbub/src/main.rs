//! The one command: the all-in-one, and each tier of a cluster.

fn main() -> std::process::ExitCode {
    hubbub::hubbub()
}
