//! `hubbub bench` and `hubbub verify`: another program, `hubbub-bench`, so that nothing which makes load or stands in for a
//! person is in a server (`docs/decisions/0013-the-load-generator.md`).

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::complain;
use crate::process::EXIT_USAGE;

const PROGRAM: &str = "hubbub-bench";

/// Becomes `hubbub-bench` with these arguments: the one beside this program, else the one in PATH.
pub(crate) fn bench(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(|folder| folder.join(PROGRAM));
    let program = beside.filter(|path| path.exists()).unwrap_or_else(|| PROGRAM.into());
    let error = Command::new(&program).args(arguments).exec();
    let why = format_args!(
        "{}: {error}. Put {PROGRAM} beside this program or into PATH: cargo build --release -p hubbub-benches",
        program.display()
    );
    complain("hubbub", &why);
    ExitCode::from(EXIT_USAGE)
}
