//! The same as `hubbub gateway`.

fn main() -> std::process::ExitCode {
    hubbub::gateway(hubbub_node::config::Sources::of_this_process())
}
