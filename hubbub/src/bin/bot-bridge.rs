//! The same as `hubbub bot-bridge`.

fn main() -> std::process::ExitCode {
    hubbub::bot_bridge(hubbub_node::config::Sources::of_this_process())
}
