//! TLS: every `sslmode` against servers with and without TLS.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use annals_core::{ErrorKind, PersistenceBackend, PersistenceError, QueryExt};
use annals_postgres::{PostgresBackend, PostgresConfig, SslMode};
use annals_test_postgres::LocalServer;
use common::Place;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use serde_json::json;
use tempfile::TempDir;
use tokio_postgres::NoTls;

/// A server with TLS whose certificate names only `localhost`, and the files of its clients.
struct Encrypted {
    server: LocalServer,
    files: TempDir,
}

struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

fn named(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = named(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate and its key.
    fn sign(&self, name: &str, hosts: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = named(name, hosts).signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

impl Encrypted {
    fn get() -> &'static Self {
        static SERVER: OnceLock<Encrypted> = OnceLock::new();
        SERVER.get_or_init(Self::start)
    }

    fn start() -> Self {
        let server = LocalServer::start().unwrap();
        let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
        let (certificate, key) = ours.sign("server", &["localhost"]);
        server.put(Path::new("server.crt"), &certificate).unwrap();
        server.put(Path::new("server.key"), &key).unwrap();
        server.put(Path::new("root.crt"), &ours.certificate).unwrap();
        let hba = "hostssl certified all all scram-sha-256 clientcert=verify-full\n\
                   hostssl plain all all reject\n\
                   host all all all scram-sha-256\n";
        server.put(Path::new("pg_hba.conf"), hba).unwrap();
        server
            .configure("ssl = on\nssl_ca_file = 'root.crt'\nlisten_addresses = 'localhost'")
            .unwrap();
        server.crash().unwrap();
        server.resume().unwrap();

        let files = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = files.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        };
        put("ours.crt", &ours.certificate);
        put("theirs.crt", &theirs.certificate);
        let (certificate, key) = ours.sign("annals", &[]);
        put("client.crt", &certificate);
        put("client.key", &key);
        let (certificate, key) = theirs.sign("annals", &[]);
        put("foreign.crt", &certificate);
        put("foreign.key", &key);
        put("nothing.crt", "hunter2\n");
        put("encrypted.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nhunter2\n");
        put("open.key", &key);
        fs::set_permissions(files.path().join("open.key"), fs::Permissions::from_mode(0o644))
            .unwrap();
        Self { server, files }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// A URL; `{ours.crt}` in the options stands for the path of that file.
    fn url(&self, host: &str, database: &str, options: &str) -> String {
        let mut options = options.to_owned();
        for name in [
            "ours.crt",
            "theirs.crt",
            "client.crt",
            "client.key",
            "foreign.crt",
            "foreign.key",
            "nothing.crt",
            "encrypted.key",
            "open.key",
            "missing",
        ] {
            let path = self.file(name).display().to_string();
            options = options.replace(&format!("{{{name}}}"), &path);
        }
        let (password, port) = (self.server.password(), self.server.port());
        format!("postgres://annals:{password}@{host}:{port}/{database}?{options}")
    }

    async fn client(&self) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(self.server.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    async fn database(&self, name: &str) {
        let _ = self.client().await.batch_execute(&format!("CREATE DATABASE {name}")).await;
    }
}

/// Stores and reads; returns whether the server saw TLS.
async fn encrypted(url: &str) -> Result<bool, PersistenceError> {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let name = format!("tls-{}", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let config = PostgresConfig::from_url(&format!("{url}&application_name={name}"))?;
    let database = url.split('?').next().unwrap().rsplit('/').next().unwrap().to_owned();
    let backend = PostgresBackend::new(config.with_schema(&name));
    backend.store("a", &json!(1), 1).await?;
    assert_eq!(backend.query_latest::<i64>("a", 1).await?, [1]);
    let client = Encrypted::get().client().await;
    let seen = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                WHERE application_name = $1 AND datname = $2";
    let seen = client.query_one(seen, &[&name, &database]).await.unwrap().get(0);
    backend.close().await?;
    Ok(seen)
}

async fn refusal(url: &str) -> (ErrorKind, String) {
    match encrypted(url).await {
        Err(PersistenceError::Backend(error)) => {
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(!shown.contains(Encrypted::get().server.password()), "{shown}");
            (error.kind(), error.to_string())
        }
        other => panic!("{url}: {other:?}"),
    }
}

async fn each_mode_against_a_server_with_tls() {
    let server = Encrypted::get();
    for (options, tls) in [
        ("sslmode=disable", false),
        ("sslmode=allow", true),
        ("sslmode=prefer", true),
        ("connect_timeout=10", true),
        ("sslmode=require", true),
        ("sslmode=require&sslrootcert={ours.crt}", true),
        ("sslmode=verify-ca&sslrootcert={ours.crt}", true),
        ("sslmode=verify-full&sslrootcert={ours.crt}", true),
        ("sslrootcert={ours.crt}", true),
        ("sslmode=require&channel_binding=require", true),
        ("sslmode=require&sslcert={client.crt}&sslkey={client.key}", true),
    ] {
        let seen = encrypted(&server.url("localhost", "postgres", options)).await;
        assert_eq!(seen.unwrap(), tls, "{options}");
    }
}

/// Certificates could once be set in the URL only.
async fn certificates_can_be_set_without_the_url() {
    let server = Encrypted::get();
    server.database("certified").await;
    let config = |root: &str| {
        let config = PostgresConfig::from_url(&server.url("localhost", "certified", "")).unwrap();
        let (certificate, key) = (server.file("client.crt"), server.file("client.key"));
        config.with_schema("set").with_sslrootcert(server.file(root)).with_sslcert(certificate, key)
    };
    let backend = PostgresBackend::new(config("ours.crt"));
    backend.store("a", &json!(1), 1).await.unwrap();
    let error = PostgresBackend::new(config("theirs.crt")).initialize().await.unwrap_err();
    assert!(error.to_string().contains("theirs.crt"), "{error}");
    let config = config("ours.crt").with_sslmode(SslMode::Disable);
    let error = PostgresBackend::new(config).initialize().await.unwrap_err();
    assert!(error.to_string().contains("would not be used"), "{error}");
}

async fn each_mode_against_a_server_without_tls() {
    let place = Place::new();
    for (options, taken) in [
        ("sslmode=disable", true),
        ("sslmode=prefer", true),
        ("sslmode=require", false),
        ("sslmode=verify-full", false),
    ] {
        let config = PostgresConfig::from_url(&format!("{}?{options}", place.url)).unwrap();
        let backend = PostgresBackend::new(config.with_schema(&place.schema));
        match backend.store("a", &json!(1), 1).await {
            Ok(()) => assert!(taken, "{options}"),
            Err(PersistenceError::Backend(error)) => {
                assert!(!taken, "{options}: {error}");
                assert_eq!(error.kind(), ErrorKind::Config, "{error}");
                assert!(error.to_string().contains("`sslmode`"), "{error}");
                assert!(error.to_string().contains("does not support TLS"), "{error}");
            }
            other => panic!("{options}: {other:?}"),
        }
    }
}

async fn a_certificate_of_another_authority_is_refused() {
    let server = Encrypted::get();
    for options in [
        "sslmode=require&sslrootcert={theirs.crt}",
        "sslmode=verify-ca&sslrootcert={theirs.crt}",
        "sslmode=verify-full&sslrootcert={theirs.crt}",
    ] {
        let (kind, message) = refusal(&server.url("localhost", "postgres", options)).await;
        assert_eq!(kind, ErrorKind::Config, "{message}");
        assert!(message.contains("`sslrootcert`"), "{message}");
        assert!(message.contains("theirs.crt"), "{message}");
    }
    for options in ["sslmode=verify-full", "sslmode=verify-full&sslrootcert=system"] {
        let (kind, message) = refusal(&server.url("localhost", "postgres", options)).await;
        assert_eq!(kind, ErrorKind::Config, "{message}");
        assert!(message.contains("`sslrootcert=system`"), "{message}");
    }
}

/// The certificate is for `localhost`, and this is its address.
async fn only_verify_full_refuses_another_name() {
    let server = Encrypted::get();
    let url = |mode: &str| {
        let options = format!("sslmode={mode}&sslrootcert={{ours.crt}}");
        server.url("127.0.0.1", "postgres", &options)
    };
    let (kind, message) = refusal(&url("verify-full")).await;
    assert_eq!(kind, ErrorKind::Config, "{message}");
    assert!(message.contains("`sslmode=verify-full`"), "{message}");
    assert!(encrypted(&url("verify-ca")).await.unwrap());
    // By address, with the name to compare.
    let named = url("verify-full").replace("@127.0.0.1", "@localhost");
    assert!(encrypted(&format!("{named}&hostaddr=127.0.0.1")).await.unwrap());
}

async fn a_server_that_requires_a_client_certificate_gets_it() {
    let server = Encrypted::get();
    server.database("certified").await;
    let url =
        |options: &str| server.url("localhost", "certified", &format!("sslmode=require{options}"));
    assert!(encrypted(&url("&sslcert={client.crt}&sslkey={client.key}")).await.unwrap());
    let (kind, message) = refusal(&url("")).await;
    assert_eq!(kind, ErrorKind::Permission, "{message}");
    assert!(message.contains("`sslcert`"), "{message}");
    // If the server closes before its refusal is read, it is only a broken connection.
    let (kind, message) = refusal(&url("&sslcert={foreign.crt}&sslkey={foreign.key}")).await;
    assert!(matches!(kind, ErrorKind::Permission | ErrorKind::Connection), "{message}");
}

/// As with libpq, the server may refuse every login over TLS.
async fn prefer_continues_without_tls_if_the_server_refuses_it() {
    let server = Encrypted::get();
    server.database("plain").await;
    assert!(!encrypted(&server.url("localhost", "plain", "sslmode=prefer")).await.unwrap());
    let (kind, message) = refusal(&server.url("localhost", "plain", "sslmode=require")).await;
    assert_eq!(kind, ErrorKind::Permission, "{message}");
}

async fn unusable_files_are_named_in_the_error() {
    let server = Encrypted::get();
    for (options, option, file) in [
        ("sslrootcert={missing}", "`sslrootcert`", "missing"),
        ("sslrootcert={nothing.crt}", "`sslrootcert`", "nothing.crt"),
        ("sslcert={missing}&sslkey={client.key}", "`sslcert`", "missing"),
        ("sslcert={nothing.crt}&sslkey={client.key}", "`sslcert`", "nothing.crt"),
        ("sslcert={client.crt}&sslkey={missing}", "`sslkey`", "missing"),
        ("sslcert={client.crt}&sslkey={nothing.crt}", "`sslkey`", "nothing.crt"),
        ("sslcert={client.crt}&sslkey={encrypted.key}", "is encrypted", "encrypted.key"),
        ("sslcert={client.crt}&sslkey={foreign.key}", "do not match", "foreign.key"),
        ("sslcert={client.crt}&sslkey={open.key}", "0600", "open.key"),
    ] {
        let (kind, message) = refusal(&server.url("localhost", "postgres", options)).await;
        let expected = if option == "0600" { ErrorKind::Permission } else { ErrorKind::Config };
        assert_eq!(kind, expected, "{message}");
        assert!(message.contains(option) && message.contains(file), "{options}: {message}");
    }
}

/// Certificates are renewed while programs run.
async fn files_are_read_again_for_each_connection() {
    let server = Encrypted::get();
    let roots = server.file("roots.crt");
    fs::copy(server.file("theirs.crt"), &roots).unwrap();
    let url = server.url("localhost", "postgres", "sslmode=verify-full");
    let url = format!("{url}&sslrootcert={}", roots.display());
    let config = PostgresConfig::from_url(&url).unwrap().with_schema("renewed");
    let backend = PostgresBackend::new(config);
    backend.initialize().await.unwrap_err();
    fs::copy(server.file("ours.crt"), &roots).unwrap();
    backend.initialize().await.unwrap();
}

annals_test_postgres::server_tests! {
    async each_mode_against_a_server_with_tls,
    async certificates_can_be_set_without_the_url,
    async each_mode_against_a_server_without_tls,
    async a_certificate_of_another_authority_is_refused,
    async only_verify_full_refuses_another_name,
    async a_server_that_requires_a_client_certificate_gets_it,
    async prefer_continues_without_tls_if_the_server_refuses_it,
    async unusable_files_are_named_in_the_error,
    async files_are_read_again_for_each_connection,
}
