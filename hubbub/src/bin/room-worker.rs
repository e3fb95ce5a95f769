//! The same as `hubbub room-worker`.

fn main() -> std::process::ExitCode {
    hubbub::room_worker(hubbub_node::config::Sources::of_this_process())
}
