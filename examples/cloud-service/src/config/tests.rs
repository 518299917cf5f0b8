use std::io::Write;

use super::*;

const URL: (&str, &str) = (DATABASE_URL, "postgres://ada@db/plant");

fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::read(|wanted| {
        let found = variables.iter().find(|(variable, _)| *variable == wanted);
        Ok(found.map(|(_, value)| (*value).to_owned()))
    })
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn a_url_is_enough() {
    let config = read(&[URL]).unwrap();
    assert_eq!(config.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.retention, None);
    assert_eq!(config.queue_rows, 65_536);
    assert!(config.grace_period > config.drain_delay + config.request_timeout);
}

#[test]
fn every_setting_is_read() {
    let config = read(&[
        URL,
        (LISTEN, "[::1]:9"),
        (RETENTION, "30d"),
        (SWEEP_INTERVAL, "90s"),
        (QUEUE_ROWS, "7"),
        (QUEUE_BYTES, "70"),
        (MAX_WRITES, "3"),
        (BODY_LIMIT, "1000"),
        (REQUEST_TIMEOUT, "500ms"),
        (DRAIN_DELAY, "0s"),
        (GRACE_PERIOD, "1h30m"),
        (LOG, "debug"),
    ])
    .unwrap();
    assert_eq!(config.listen.to_string(), "[::1]:9");
    assert_eq!(config.retention, Some(Duration::from_secs(30 * 86_400)));
    assert_eq!(config.sweep_interval, Duration::from_secs(90));
    assert_eq!((config.queue_rows, config.queue_bytes), (7, 70));
    assert_eq!((config.max_writes, config.body_limit), (3, 1000));
    assert_eq!(config.request_timeout, Duration::from_millis(500));
    assert_eq!(config.drain_delay, Duration::ZERO);
    assert_eq!(config.grace_period, Duration::from_secs(5400));
    assert_eq!(config.log, LevelFilter::DEBUG);
}

#[test]
fn a_bad_value_names_its_variable() {
    assert_eq!(read(&[]).unwrap_err().variable, DATABASE_URL);
    for (variable, value) in [
        (DATABASE_URL, "history.db"),
        (DATABASE_URL, "sqlite:history.db"),
        (DATABASE_URL, "postgres://ada@db/plant?colour=red"),
        (PASSWORD_FILE, "/nowhere/at/all"),
        (LISTEN, "8080"),
        (LISTEN, "localhost:8080"),
        (RETENTION, "a while"),
        (RETENTION, "0s"),
        (RETENTION, "1mo"),
        (SWEEP_INTERVAL, "0s"),
        (QUEUE_ROWS, "0"),
        (QUEUE_ROWS, "-1"),
        (QUEUE_ROWS, "many"),
        (QUEUE_BYTES, "1MB"),
        (MAX_WRITES, "0"),
        (BODY_LIMIT, "8MB"),
        (REQUEST_TIMEOUT, "0s"),
        (REQUEST_TIMEOUT, "10"),
        (DRAIN_DELAY, "-1s"),
        (GRACE_PERIOD, "15s"),
        (LOG, "loud"),
    ] {
        let error = read(&[(variable, value), URL]).unwrap_err();
        assert_eq!(error.variable, variable, "{value}: {error}");
        assert!(error.to_string().starts_with(variable), "{error}");
    }
    for variable in VARIABLES {
        let error = read(&[(variable, ""), URL]).unwrap_err();
        assert_eq!(error.variable, variable);
    }
    let error = Config::read(|_| Err("it is not UTF-8".to_owned())).unwrap_err();
    assert_eq!(error.to_string(), "ANNALS_DATABASE_URL: it is not UTF-8");
}

#[test]
fn a_password_comes_from_a_file_and_is_never_shown() {
    let secret = file("p@ss/w:rd?&=%\n");
    let path = secret.path().to_str().unwrap();
    let config = read(&[URL, (PASSWORD_FILE, path)]).unwrap();
    let url = "postgres://ada@db/plant?schema=line_1";
    let with_options = read(&[(DATABASE_URL, url), (PASSWORD_FILE, path)]).unwrap();
    assert_eq!(with_options.database.schema(), "line_1");
    for config in [config, with_options] {
        assert!(!format!("{config:?}").contains("ss/w:rd"), "{config:?}");
        assert!(!format!("{config:?}").contains("p%40ss"), "{config:?}");
    }
}

#[test]
fn a_password_is_given_once() {
    let secret = file("one");
    let path = secret.path().to_str().unwrap();
    for url in ["postgres://ada:two@db/plant", "postgres://ada@db/plant?password=two"] {
        let error = read(&[(DATABASE_URL, url), (PASSWORD_FILE, path)]).unwrap_err();
        assert_eq!(error.variable, PASSWORD_FILE);
        assert!(!error.to_string().contains("two"), "{error}");
    }
    let empty = file("\n");
    let error = read(&[URL, (PASSWORD_FILE, empty.path().to_str().unwrap())]).unwrap_err();
    assert_eq!(error.to_string(), "ANNALS_DATABASE_PASSWORD_FILE: the file is empty");
}

#[test]
fn a_url_that_is_refused_keeps_its_password() {
    let error = read(&[(DATABASE_URL, "postgres://ada:hunter2@db:port/plant")]).unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
}
