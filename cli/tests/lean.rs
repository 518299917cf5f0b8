//! The program as it is built without all of its features.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

/// The exit code and stderr.
fn run(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_annals")).args(args).output().unwrap();
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_is_not_built_in_names_its_feature() {
    for (built_in, args, feature) in [
        (cfg!(feature = "sql"), &["sql", "SELECT 1"][..], "sql"),
        (cfg!(feature = "postgres"), &["migrate", "--help"], "postgres"),
        (cfg!(feature = "mcp"), &["mcp", "--backend", "memory:"], "mcp"),
        (cfg!(feature = "conformance"), &["conformance", "memory:"], "conformance"),
        (cfg!(feature = "plot"), &["query", "a", "--plot"], "plot"),
        (cfg!(feature = "plot"), &["aggregate", "a", "--output", "svg"], "plot"),
    ] {
        if built_in {
            continue;
        }
        let (code, err) = run(args);
        assert_eq!(code, Some(2), "{args:?}: {err}");
        assert!(err.contains(&format!("--features {feature},")), "{args:?}: {err}");
    }
    if cfg!(not(feature = "redb")) {
        let (code, err) = run(&["records", "--backend", "redb:h.redb"]);
        assert!(code == Some(2) && err.contains("the feature `redb`"), "{err}");
    }
}

#[test]
fn help_lists_every_command() {
    let output = Command::new(env!("CARGO_BIN_EXE_annals")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for command in [
        "collect",
        "import",
        "export",
        "query",
        "aggregate",
        "records",
        "cleanup",
        "sql",
        "migrate",
        "mcp",
        "conformance",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
    }
}
