//! TLS from files, which are read again when they change.

use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use annals_server::{Config, Tls};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::backend::Controlled;
use crate::running::Running;

/// Writes a new certificate and returns it.
fn renew(folder: &Path) -> String {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
    fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    cert.pem()
}

/// What the server answers to a client that trusts this certificate.
async fn ask(service: &Running, certificate: &str) -> io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(service.address()).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8(answer).unwrap())
}

#[tokio::test]
async fn a_renewed_certificate_is_used_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let first = renew(folder.path());
    let tls = Tls::open(folder.path().join("cert.pem"), folder.path().join("key.pem")).unwrap();
    let backend = Arc::new(Controlled::default());
    let service = Running::start(Config::default(), Some(tls), backend).await;
    assert!(ask(&service, &first).await.unwrap().starts_with("HTTP/1.1 200"));

    let second = renew(folder.path());
    assert!(ask(&service, &second).await.unwrap().starts_with("HTTP/1.1 200"));
    assert!(ask(&service, &first).await.is_err());

    fs::write(folder.path().join("cert.pem"), "no certificate").unwrap();
    assert!(ask(&service, &second).await.unwrap().starts_with("HTTP/1.1 200"));

    // Without TLS nothing is said.
    let mut plain = TcpStream::connect(service.address()).await.unwrap();
    plain.write_all(b"GET /livez HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    drop(plain.read_to_end(&mut answer).await);
    assert!(!answer.starts_with(b"HTTP"));
    service.end().await;
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    renew(folder.path());
    fs::write(path("empty.pem"), "").unwrap();
    for (certificate, key, says) in [
        ("none.pem", "key.pem", "none.pem"),
        ("empty.pem", "key.pem", "empty.pem"),
        ("cert.pem", "empty.pem", "empty.pem"),
    ] {
        let error = Tls::open(path(certificate), path(key)).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
