//! A disk that is full, played by a limit on the size of files.

use std::io::{BufRead, BufReader};
use std::process::Command;

use hubbub_adapters::store::{EmbeddedStore, Options};

use super::check::{Acked, check};
use super::child;

/// With the disk full, writes are refused and nothing that was acked is lost; with room again they go on by themselves.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let direct = child::command(folder.path(), 2_000);
    let mut limited = Command::new("prlimit");
    // A process that ignores the signal gets an error from its write, as from a full disk.
    limited.args(["--fsize=2000000:", "sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
    limited.arg(direct.get_program()).args(direct.get_args()).stdout(std::process::Stdio::piped());
    limited.envs(direct.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut running = child::Guard(limited.spawn().unwrap());
    let lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let (mut acked, mut refused, mut lifted_at) = (Acked::default(), 0, None);
    for line in lines.map_while(Result::ok) {
        child::hear(&line, &mut acked);
        refused += u64::from(line == "refused");
        if refused == 50 && lifted_at.is_none() {
            lifted_at = Some(entries(&acked));
            let pid = running.0.id().to_string();
            let lifted = Command::new("prlimit").args(["--fsize=unlimited", "--pid", &pid]).status();
            assert!(lifted.unwrap().success());
        }
    }
    assert!(running.0.wait().unwrap().success(), "the child ended by itself, all written");
    let before = lifted_at.expect("the disk was full at some time");
    assert!(before > 0 && before < entries(&acked), "{before} of {}", entries(&acked));
    let store = EmbeddedStore::open(folder.path(), Options::default()).unwrap();
    assert_eq!(check(&store, &acked).await, Vec::<String>::new());
}

fn entries(acked: &Acked) -> usize {
    acked.entries.values().map(|room| room.len()).sum()
}
