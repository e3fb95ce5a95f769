//! The suite itself. It wants Python 2.7 (`pip install autobahntestsuite` in a virtualenv):
//! `WSTEST=…/bin/wstest cargo test -p hubbub-wire --test autobahn -- --ignored`.

use std::collections::BTreeMap;
use std::path::Path;

use hubbub_wire::ws::Limits;
use serde_json::{Value, json};

use super::echo;

const FINE: [&str; 3] = ["OK", "NON-STRICT", "INFORMATIONAL"];

/// The suite's largest message is 16 MiB.
const LIMITS: Limits = Limits { frame_bytes_max: 16 << 20, message_bytes_max: 16 << 20 };

#[tokio::test]
#[ignore = "needs the Autobahn test suite"]
async fn the_autobahn_test_suite_finds_nothing() {
    let wstest = std::env::var("WSTEST").unwrap_or_else(|_| "wstest".into());
    let address = echo::start(LIMITS).await;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("autobahn");
    std::fs::create_dir_all(&folder).unwrap();
    let spec = json!({
        "outdir": folder,
        "servers": [{ "agent": "hubbub", "url": format!("ws://{address}") }],
        "cases": ["*"],
        "exclude-cases": ["12.*", "13.*"],
        "exclude-agent-cases": {},
    });
    let spec_path = folder.join("spec.json");
    std::fs::write(&spec_path, spec.to_string()).unwrap();

    let mut suite = std::process::Command::new(&wstest);
    suite.args(["--mode", "fuzzingclient", "--spec"]).arg(&spec_path).current_dir(&folder);
    let done = tokio::task::spawn_blocking(move || suite.output()).await.unwrap();
    let done = done.unwrap_or_else(|error| panic!("{wstest} could not be run: {error}"));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));

    let index = std::fs::read_to_string(folder.join("index.json")).unwrap();
    let mut index: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_str(&index).unwrap();
    let cases = index.remove("hubbub").unwrap();
    let fine = |case: &Value, field: &str| case[field].as_str().is_some_and(|found| FINE.contains(&found));
    let bad: Vec<_> =
        cases.iter().filter(|(_, c)| !(fine(c, "behavior") && fine(c, "behaviorClose"))).collect();
    let strict = cases.values().filter(|case| case["behavior"] == "OK").count();
    println!("{} cases, {strict} of them OK in the strict sense", cases.len());
    assert!(cases.len() > 250, "only {} cases were run", cases.len());
    assert!(bad.is_empty(), "{bad:#?}");
}
