//! The program as it is started: what it ends with, and what it leaves behind.

use std::path::Path;
use std::process::{Command, Output};

use hubbub_benches::exit;

fn said(arguments: &[&str], folder: &Path) -> (i32, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_hubbub-bench"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("it runs");
    let text = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (status.code().unwrap_or(-1), text)
}

#[test]
fn what_can_t_be_done_ends_otherwise_than_a_broken_promise() {
    let folder = tempfile::tempdir().expect("a folder");
    let (usage, not_done) = (i32::from(exit::USAGE), i32::from(exit::NOT_DONE));
    std::fs::write(folder.path().join("token"), "none").expect("written");
    for (arguments, code, part) in [
        (&["verify"][..], usage, "--url"),
        (&["compare", "--rounds", "0"], usage, "--rounds"),
        // Nobody listens there.
        (&["verify", "--url", "ws://127.0.0.1:1"], not_done, "letting judge in"),
        (&["verify", "--url", "ws://127.0.0.1:1", "--out", "token/x.json"], not_done, "choose another --out"),
        (&["compare", "--targets", "raw", "--scenario", "none"], not_done, "no scenario none"),
        (&["compare", "--targets", "raw", "--scenario", "s1,s1"], not_done, "two scenarios have the name s1"),
        (&["compare", "--targets", "raw,centrifugo", "--work-dir", "w"], not_done, "centrifugo install"),
        (&["--help"], 0, "Usage"),
    ] {
        let (ended, text) = said(arguments, folder.path());
        assert!(ended == code && text.contains(part), "{arguments:?} ended with {ended}: {text}");
    }
}

#[test]
fn a_result_goes_to_the_work_folder_and_says_what_was_measured_by_which_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let connects = ["connects", "--targets=raw", "--connections=10", "--rounds=1", "--work-dir=work/here"];
    let (ended, text) = said(&connects, folder.path());
    assert_eq!(ended, 0, "{text}");
    let result = std::fs::read_to_string(folder.path().join("work/here/result.json")).expect("a result");
    let result: serde_json::Value = serde_json::from_str(&result).expect("JSON");
    assert_eq!(
        (&result["complete"], &result["runs"][0]["outcome"]["connections"]),
        (&true.into(), &10.into())
    );
    let about = &result["about"];
    assert!(about["began"].as_str().is_some_and(|began| began.ends_with('Z')), "{about}");
    assert_eq!((&about["command"][1], &about["targets"][0]["name"]), (&"connects".into(), &"raw".into()));
}
