//! The test server tests itself.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use annals_test_postgres::{LocalServer, Locale, TestServer, URL_VARIABLE};
use tokio_postgres::NoTls;

async fn one_text(url: &str, sql: &str) -> String {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.query_one(sql, &[]).await.unwrap().get(0)
}

async fn both_locales_are_what_they_say() {
    let server = TestServer::get().unwrap();
    let c = server.database(Locale::C).unwrap();
    assert_eq!(one_text(&c, "SELECT min(x) FROM (VALUES ('a'), ('B')) v(x)").await, "B");
    let icu = server.database(Locale::Icu).unwrap();
    assert_eq!(one_text(&icu, "SELECT min(x) FROM (VALUES ('a'), ('B')) v(x)").await, "a");
    assert_eq!(one_text(&icu, "SHOW server_encoding").await, "UTF8");
    assert_eq!(server.database(Locale::Icu).unwrap(), icu);
}

async fn a_crashed_server_comes_back_with_its_data() {
    let server = LocalServer::start().unwrap();
    one_text(server.url(), "WITH c AS (SELECT 1) SELECT 'up'::text FROM c").await;
    server.crash().unwrap();
    assert!(tokio_postgres::connect(server.url(), NoTls).await.is_err());
    server.resume().unwrap();
    assert_eq!(one_text(server.url(), "SELECT 'up'::text").await, "up");
}

/// A leaked server would fill the machine within a day of testing.
fn killing_the_process_stops_the_server_and_removes_its_data() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_annals-test-postgres"))
        .arg("start")
        .env_remove(URL_VARIABLE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // In a container the folder is not this machine's, and goes with the container.
    let address = runtime.block_on(one_text(url.trim(), "SELECT host(inet_server_addr())"));
    let data = runtime.block_on(one_text(url.trim(), "SHOW data_directory"));
    assert!(address != "127.0.0.1" || Path::new(&data).exists());
    child.kill().unwrap();
    child.wait().unwrap();
    // The watcher removes the folder, or the container, as its last act, within a second or so.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let answers = || runtime.block_on(tokio_postgres::connect(url.trim(), NoTls)).is_ok();
    while Path::new(&data).exists() || answers() {
        assert!(std::time::Instant::now() < deadline, "{data} is still there");
        std::thread::yield_now();
    }
}

annals_test_postgres::server_tests! {
    async both_locales_are_what_they_say,
    async a_crashed_server_comes_back_with_its_data,
    sync killing_the_process_stops_the_server_and_removes_its_data,
}
