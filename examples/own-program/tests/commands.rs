//! The program has all commands of `annals`, on the added backend too.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

fn output(args: &[&str]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals-example-own-program"));
    command.current_dir(folder.path()).env_remove("ANNALS_BACKEND");
    let output = command.args(args).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn the_added_backend_holds_the_contract() {
    let (passed, text) = output(&["conformance", "mystore:"]);
    assert!(passed, "{text}");
    assert!(text.contains(" passed, 0 failed, "), "{text}");
}

#[test]
fn the_other_backends_are_still_there() {
    let (done, text) = output(&["collect", "host", "--for", "1s", "--backend", "sqlite:h.db"]);
    assert!(done, "{text}");
    let (done, text) = output(&["collect", "host", "--for", "1s", "--backend", "mystore:"]);
    assert!(done && text.contains("in mystore:"), "{text}");
}

#[test]
fn the_added_scheme_is_named_when_another_is_not_known() {
    let (done, text) = output(&["records", "--backend", "yourstore:"]);
    assert!(!done && text.contains("known are mystore:, sqlite:"), "{text}");
}
