use super::*;

const URL: (&str, &str) = (DATABASE_URL, "postgres://ada@db/plant");

fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
    Config::from_variables(variables.iter().copied()).map_err(|error| error.to_string())
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
    let variables = [
        (DATABASE_URL, "postgres://ada@db/plant?schema=line_1&password_file=/run/secrets/db"),
        ("ANNALS_LISTEN", "[::1]:9"),
        ("ANNALS_RETENTION", "30d"),
        ("ANNALS_SWEEP_INTERVAL", "90s"),
        ("ANNALS_QUEUE_ROWS", "7"),
        ("ANNALS_QUEUE_BYTES", "70"),
        ("ANNALS_MAX_WRITES", "3"),
        ("ANNALS_BODY_LIMIT", "1000"),
        ("ANNALS_REQUEST_TIMEOUT", "500ms"),
        ("ANNALS_DRAIN_DELAY", "0s"),
        ("ANNALS_GRACE_PERIOD", "1h30m"),
        ("ANNALS_LOG", "debug"),
    ];
    assert_eq!(Config::variables(), variables.map(|(variable, _)| variable));
    let config = read(&variables).unwrap();
    assert_eq!(config.database().unwrap().schema(), "line_1");
    assert_eq!(config.listen.to_string(), "[::1]:9");
    assert_eq!(config.retention, Some(Duration::from_secs(30 * 86_400)));
    assert_eq!(config.sweep_interval, Duration::from_secs(90));
    assert_eq!((config.queue_rows, config.queue_bytes), (7, 70));
    assert_eq!((config.max_writes, config.body_limit), (3, 1000));
    assert_eq!(config.request_timeout, Duration::from_millis(500));
    assert_eq!(config.drain_delay, Duration::ZERO);
    assert_eq!(config.grace_period, Duration::from_secs(5400));
    assert_eq!(config.log, LevelFilter::DEBUG);
    assert_eq!(read(&[URL, ("ANNALS_RETENTION", "forever")]).unwrap().retention, None);
}

#[test]
fn an_invalid_value_names_its_variable() {
    for (variable, value) in [
        (DATABASE_URL, "history.db"),
        (DATABASE_URL, "sqlite:history.db"),
        (DATABASE_URL, "postgres://ada@db/plant?colour=red"),
        (DATABASE_URL, "postgres://ada:two@db/plant?password_file=/run/secrets/db"),
        ("ANNALS_LISTEN", "8080"),
        ("ANNALS_LISTEN", "localhost:8080"),
        ("ANNALS_RETENTION", "a while"),
        ("ANNALS_RETENTION", "0s"),
        ("ANNALS_RETENTION", "1mo"),
        ("ANNALS_SWEEP_INTERVAL", "0s"),
        ("ANNALS_QUEUE_ROWS", "0"),
        ("ANNALS_QUEUE_ROWS", "-1"),
        ("ANNALS_QUEUE_ROWS", "many"),
        ("ANNALS_QUEUE_BYTES", "1MB"),
        ("ANNALS_MAX_WRITES", "0"),
        ("ANNALS_BODY_LIMIT", "8MB"),
        ("ANNALS_REQUEST_TIMEOUT", "0s"),
        ("ANNALS_REQUEST_TIMEOUT", "10"),
        ("ANNALS_DRAIN_DELAY", "-1s"),
        ("ANNALS_GRACE_PERIOD", "15s"),
        ("ANNALS_LOG", "loud"),
    ] {
        let mut variables = vec![(variable, value)];
        variables.extend((variable != DATABASE_URL).then_some(URL));
        let error = read(&variables).err().unwrap();
        assert!(error.contains(variable), "{value}: {error}");
    }
    for variable in Config::variables() {
        let mut variables = vec![(variable.as_str(), "")];
        variables.extend((variable != DATABASE_URL).then_some(URL));
        let error = read(&variables).err().unwrap();
        assert!(error.contains(&variable), "{error}");
    }
    assert!(read(&[]).err().unwrap().contains(DATABASE_URL));
}

#[test]
fn a_refused_url_keeps_its_password() {
    for url in [
        "postgres://ada:hunter2@db:port/plant",
        "postgres://ada:hunter2@db/plant?password_file=/run/secrets/db",
    ] {
        let error = read(&[(DATABASE_URL, url)]).err().unwrap();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
