//! Settings and exit codes of the program.

use std::io::Write;
use std::sync::Arc;

use annals_test_postgres::{LocalServer, Locale, TestServer};

use crate::replica::{Replica, program};

pub fn an_invalid_setting_is_named_and_exits_with_2() {
    let secret = "postgres://ada:hunter2@localhost:1/plant";
    for (variable, value, says) in [
        ("ANNALS_BACKEND", "postgres://ada:hunter2@localhost:port/plant", "port"),
        ("ANNALS_BACKEND", "postgres://ada:hunter2@h/plant?password_file=/secret", "password"),
        ("ANNALS_GRACE_PERIOD", "soon", "--grace-period"),
        ("ANNALS_LISTEN", "localhost", "--listen"),
        ("ANNALS_EARLIEST", "24h", "--earliest"),
    ] {
        let mut program = program();
        let output = program.env("ANNALS_BACKEND", secret).env(variable, value).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(2), "{variable}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(says), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

/// The check refuses what the server would.
pub fn a_server_for_others_needs_tokens_or_a_word() {
    for arguments in [&["--check"][..], &[]] {
        let mut program = program();
        let output = program
            .env("ANNALS_BACKEND", "memory:")
            .env("ANNALS_LISTEN", "0.0.0.0:0")
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("--no-authentication") && said.contains("--tokens"), "{said}");
    }
}

pub async fn a_replica_starts_before_its_database() {
    let server = Arc::new(LocalServer::start().unwrap());
    server.crash().unwrap();
    let replica = Replica::start(&[("ANNALS_BACKEND", server.url())]);
    assert_eq!(replica.probe("/livez").await, Some(200));
    assert_eq!(replica.probe("/readyz").await, Some(503));
    server.resume().unwrap();
    replica.until_ready().await;
}

pub async fn the_password_may_come_from_a_file() {
    let url = TestServer::get().unwrap().database(Locale::C).unwrap();
    let (user, host) = url.split_once('@').unwrap();
    let Some((user, password)) = user.rsplit_once(':').filter(|(user, _)| user.contains("://"))
    else {
        panic!("the test server's URL has no password")
    };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{password}").unwrap();
    let option = if host.contains('?') { '&' } else { '?' };
    let url = format!("{user}@{host}{option}password_file={}", file.path().display());
    let replica = Replica::start(&[("ANNALS_BACKEND", &url), ("RUST_LOG", "trace")]);
    replica.until_ready().await;
    assert!(!replica.log().contains(password), "{}", replica.log());
}

/// The database never recovers, so accepted rows cannot be stored.
pub async fn rows_left_behind_set_the_exit_code() {
    let server = LocalServer::start().unwrap();
    server.crash().unwrap();
    let replica = Replica::start(&[
        ("ANNALS_BACKEND", server.url()),
        ("ANNALS_DRAIN_DELAY", "0s"),
        ("ANNALS_REQUEST_TIMEOUT", "500ms"),
        ("ANNALS_GRACE_PERIOD", "2s"),
    ]);
    let post = |preference| {
        let request = reqwest::Client::new().post(format!("{}/v1/rows", replica.base));
        let request =
            request.header("prefer", preference).header("content-type", "application/json");
        request.body(r#"{"record":"a","value":1}"#).send()
    };
    assert_eq!(post("respond-async").await.unwrap().status(), 202);
    let refused = post("return=minimal").await.unwrap();
    assert!(refused.status().is_server_error(), "{}", refused.status());
    replica.terminate();
    assert_eq!(replica.wait().await.code(), Some(3));
}
