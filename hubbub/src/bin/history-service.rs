//! The same as `hubbub history-service`.

fn main() -> std::process::ExitCode {
    hubbub::history_service(hubbub_node::config::Sources::of_this_process())
}
