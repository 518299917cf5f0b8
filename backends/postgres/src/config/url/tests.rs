use super::*;

#[test]
fn every_option_is_parsed() {
    let config = PostgresConfig::from_url(
        "postgresql://ada:s%40crit@h1:5433,h2/plant?schema=a%20%22b%22&max_value_bytes=10\
         &pool_size=3&writers=2&durability=process&wait_timeout=1500&connect_timeout=7\
         &statement_timeout=2min&application_name=x&sslmode=disable",
    )
    .unwrap();
    assert_eq!(config.server.driver.get_password(), Some(&b"s@crit"[..]));
    assert_eq!(config.server.driver.get_hosts().len(), 2);
    assert_eq!(config.server.driver.get_dbname(), Some("plant"));
    assert_eq!(config.server.driver.get_application_name(), Some("x"));
    assert_eq!(config.schema, "a \"b\"");
    assert_eq!((config.max_value_bytes, config.pool_size, config.writers), (10, 3, 2));
    assert_eq!(config.durability, Durability::Process);
    assert_eq!(config.wait_timeout, Duration::from_millis(1500));
    assert_eq!(config.connect_timeout, Duration::from_secs(7));
    assert_eq!(config.statement_timeout, Duration::from_secs(120));
    assert_eq!(config.server.tls.resolve().unwrap().mode, SslMode::Disable);
    assert!(config.read_server.is_none());
}

#[test]
fn server_options_are_parsed_for_both_servers() {
    let config = PostgresConfig::from_url(
        "postgres://ada@h1,h2/plant?target_session_attrs=primary&sslmode=verify-ca\
         &sslrootcert=%2Fca%20s.crt&sslcert=c.crt&sslkey=c.key&password_file=/run/secret\
         &passfile=/p&read_url=postgres%3A%2F%2Fbob%3As%2540crit%40r%2Fplant%3Fsslmode%3Drequire\
         %26target_session_attrs%3Dprefer-standby",
    )
    .unwrap();
    let server = &config.server;
    let tls = server.tls.resolve().unwrap();
    assert_eq!(tls.mode, SslMode::VerifyCa);
    assert_eq!(tls.roots, Some(Roots::File("/ca s.crt".into())));
    assert_eq!(tls.certificate, Some(("c.crt".into(), "c.key".into())));
    assert_eq!(server.passwords.password_file, Some("/run/secret".into()));
    assert_eq!(server.passwords.passfile, Some("/p".into()));
    assert_eq!(Some(server.target), Target::parse("primary"));
    let read = config.read_server.unwrap();
    assert_eq!(read.driver.get_password(), Some(&b"s@crit"[..]));
    let tls = read.tls.resolve().unwrap();
    assert_eq!((tls.mode, tls.roots), (SslMode::Require, None));
    assert_eq!(Some(read.target), Target::parse("prefer-standby"));
}

#[test]
fn root_certificates_determine_what_is_verified() {
    let verified = |options: &str| {
        let config = PostgresConfig::from_url(&format!("postgres://u@h/db?{options}")).unwrap();
        let tls = config.server.tls.resolve().unwrap();
        (tls.mode, tls.roots)
    };
    let file = || Some(Roots::File("/ca".into()));
    assert_eq!(verified(""), (SslMode::Prefer, None));
    assert_eq!(verified("sslmode=allow"), (SslMode::Prefer, None));
    assert_eq!(verified("sslmode=verify-full"), (SslMode::VerifyFull, Some(Roots::System)));
    assert_eq!(verified("sslrootcert=system"), (SslMode::VerifyFull, Some(Roots::System)));
    assert_eq!(verified("sslrootcert=/ca"), (SslMode::VerifyFull, file()));
    assert_eq!(verified("sslmode=require&sslrootcert=/ca"), (SslMode::VerifyCa, file()));
}

#[test]
fn layout_options_are_parsed() {
    let storage = |query: &str| {
        let url = format!("postgres://u@h/db?{query}");
        PostgresConfig::from_url(&url).unwrap().storage
    };
    let none = storage("");
    assert_eq!((none.timescale, none.distribute), (Timescale::Auto, false));
    assert_eq!((none.chunk_interval(), none.compress_after()), (86_400_000, Some(604_800_000)));
    let chunks = storage("timescale=require&chunk_interval=12h&compress_after=30min");
    assert_eq!(chunks.timescale, Timescale::Require);
    assert_eq!((chunks.chunk_interval(), chunks.compress_after()), (43_200_000, Some(1_800_000)));
    assert_eq!(storage("compress_after=off").compress_after(), None);
    assert_eq!(storage("partition_interval=90s").partition_interval, Some(90_000));
    assert!(storage("distribute=require&timescale=off").distribute);
}

#[test]
fn bad_urls_are_refused_with_the_reason() {
    for (url, reason) in [
        ("mysql://u:hunter2@h/db", "cannot be parsed"),
        ("postgres://u:hunter2@h:port/db", "cannot be parsed"),
        ("postgres://u:hunter2@h/db?sslmode=verify-ca", "`sslrootcert`"),
        ("postgres://u:hunter2@h/db?sslmode=verify-ca&sslrootcert=system", "verify-full"),
        ("postgres://u:hunter2@h/db?sslmode=prefer&sslrootcert=/x", "would not be used"),
        ("postgres://u:hunter2@h/db?sslrootcert=", "path of a file"),
        ("postgres://u:hunter2@h/db?sslcert=/x", "given together"),
        ("postgres://u:hunter2@h/db?sslpassword=hunter2", "`sslpassword`"),
        ("postgres://u:hunter2@h/db?pool=3", "known are chunk_interval, "),
        ("postgres://u:hunter2@h/db?create=maybe", "`create` must be `true` or `false`"),
        ("postgres://u:hunter2@h/db?password_file=/x", "`password_file`"),
        ("postgres://u@h/db?passfile=", "`passfile`"),
        ("postgres://u:hunter2@h/db?target_session_attrs=both", "prefer-standby"),
        ("postgres://u:hunter2@h1:1,h2:2,h3/db?port=1,2", "one port"),
        ("postgres://u:hunter2@h/db?read_url=mysql://h", "`read_url`"),
        ("postgres://u:hunter2@h/db?read_url=postgres:///db", "no host"),
        ("postgres://u:hunter2@h/db?read_url=postgres://h/db?schema=x", "`schema`"),
        ("postgres://u@h/db?read_url=postgres://u:hun%252Fter2%40h/x%2Fy", "percent-encoded"),
        ("postgres://u:hunter2@h/db?sslmode=maybe", "sslmode"),
        ("postgres://u:hunter2@h/db?colour=red", "`colour`"),
        ("postgres://u:hunter2@h/db?schema", "name=value"),
        ("postgres://u:hunter2@h/db?schema=", "1 to 63 bytes"),
        ("postgres://u:hunter2@h/db?schema=%00", "1 to 63 bytes"),
        ("postgres://u:hunter2@h/db?schema=%ff", "percent-encoded"),
        ("postgres://u:hunter2@h/db?schema=%4", "percent-encoded"),
        ("postgres://u:hunter2@h/db?schema=pg_x", "pg_"),
        ("postgres://u:hunter2@h/db?pool_size=1", "pool_size"),
        ("postgres://u:hunter2@h/db?writers=0", "writers"),
        ("postgres://u:hunter2@h/db?durability=volatile", "durability"),
        ("postgres://u:hunter2@h/db?wait_timeout=0", "wait_timeout"),
        ("postgres://u:hunter2@h/db?wait_timeout=5 parsecs", "wait_timeout"),
        ("postgres://u:hunter2@h/db?statement_timeout=99999999999", "statement_timeout"),
        ("postgres:///db?user=u&password=hunter2", "no host"),
        ("postgres://u:hunter2@h/db?timescale=yes", "timescale"),
        ("postgres://u:hunter2@h/db?distribute=maybe", "distribute"),
        ("postgres://u:hunter2@h/db?partition_interval=10", "partition_interval"),
        ("postgres://u:hunter2@h/db?partition_interval=0d", "partition_interval"),
        ("postgres://u:hunter2@h/db?partition_interval=-1d", "partition_interval"),
        ("postgres://u:hunter2@h/db?partition_interval=400000d", "partition_interval"),
        ("postgres://u:hunter2@h/db?chunk_interval=999999999999999999d", "chunk_interval"),
        ("postgres://u:hunter2@h/db?compress_after=never", "compress_after"),
        ("postgres://u:hunter2@h/db?partition_interval=1d&distribute=require", "exclude"),
        ("postgres://u:hunter2@h/db?partition_interval=1d&timescale=require", "exclude"),
        ("postgres://u:hunter2@h/db?distribute=require&timescale=require", "exclude"),
        ("postgres://u:hunter2@h/db?chunk_interval=1d&timescale=off", "TimescaleDB"),
        ("postgres://u:hunter2@h/db?compress_after=1d&distribute=require", "TimescaleDB"),
    ] {
        let error = PostgresConfig::from_url(url).unwrap_err();
        let annals_core::PersistenceError::Backend(backend) = &error else {
            panic!("{url}: {error:?}")
        };
        assert_eq!(backend.kind(), annals_core::ErrorKind::Config, "{url}");
        assert!(error.to_string().contains(reason), "{url}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}: {error:?}");
    }
}

/// An unescaped character once turned the rest of a password into a host or a database, which appeared in
/// messages.
#[test]
fn a_password_with_an_unescaped_character_is_never_shown() {
    for url in [
        "postgres://u:hun/ter2@h/db",
        "postgres://u:hun?ter2@h/db",
        "postgres://u:hun@ter2@h/db",
        "postgres://u:hun#ter2/x@h/db",
        "postgres://u:hunter2@h/db?options=-c%20x&pass=hunter2",
        "postgres://u:hunter2@h/db?password=ter2@x",
    ] {
        if let Err(error) = PostgresConfig::from_url(url) {
            // The name of an option is not part of the password.
            let shown = format!("{error} {error:?}").replace("chunk_interval", "");
            assert!(!shown.contains("ter2") && !shown.contains("hun"), "{shown}");
        } else {
            panic!("{url} was taken");
        }
    }
    for url in ["postgres://u:hunter2@h/db", "postgres://u:hun%zzter2@h/db"] {
        let shown = format!("{:?}", PostgresConfig::from_url(url).unwrap());
        assert!(!shown.contains("ter2"), "{shown}");
    }
}
