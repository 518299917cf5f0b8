//! TLS with rustls: `sslmode`, `sslrootcert`, `sslcert` and `sslkey` mean what they mean to libpq.

use std::error::Error;
use std::fmt;
use std::fs;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use annals_core::ErrorKind;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use tokio_postgres::config::SslNegotiation;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::password::unreadable;
use super::verifiers::AnyName;
use crate::config::{Roots, SslMode, Tls};
use crate::error::{self, ConnectError};

/// Prepares TLS handshakes. The files are read for each connection, so that certificates can be
/// renewed; the certificates of the operating system are read once.
pub(super) struct Handshakes {
    tls: Tls,
    negotiation: SslNegotiation,
    system: OnceLock<RootCertStore>,
}

impl Handshakes {
    pub(super) fn new(tls: Tls, negotiation: SslNegotiation) -> Self {
        Self { tls, negotiation, system: OnceLock::new() }
    }

    /// Asks the server, over another connection, to stop the statement that `client` runs. The answer
    /// does not matter: if the server is gone, nothing is left to stop.
    pub(super) fn cancel(
        self: Arc<Self>,
        client: &Client,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
        let token = client.cancel_token();
        async move {
            // The token knows whether its connection is encrypted.
            let _ = match self.connector() {
                Ok(tls) => token.cancel_query(tls).await,
                Err(_) => token.cancel_query(NoTls).await,
            };
        }
    }

    pub(super) fn connector(&self) -> Result<MakeRustlsConnect, ConnectError> {
        let unusable = |error: &dyn fmt::Display| {
            ConnectError::new(ErrorKind::Config, format!("TLS cannot be used: {error}"))
        };
        let provider = Arc::new(ring::default_provider());
        let verifier = match &self.tls.roots {
            None => None,
            Some(roots) => {
                let roots = Arc::new(self.trusted(roots)?);
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
                Some(verifier.build().map_err(|error| unusable(&error))?)
            }
        };
        let verifier: Arc<dyn ServerCertVerifier> = match (self.tls.mode, verifier) {
            (SslMode::VerifyFull, Some(verifier)) => verifier,
            (_, verifier) => Arc::new(AnyName { provider: provider.clone(), verifier }),
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.tls.certificate {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates("sslcert", certificate)?;
                config.with_client_auth_cert(chain, private_key(key)?).map_err(|error| {
                    let (certificate, key) = (certificate.display(), key.display());
                    let message =
                        format!("`sslcert` {certificate} and `sslkey` {key} do not match: {error}");
                    ConnectError::new(ErrorKind::Config, message)
                })?
            }
        };
        if self.negotiation == SslNegotiation::Direct {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Ok(MakeRustlsConnect::new(config))
    }

    fn trusted(&self, roots: &Roots) -> Result<RootCertStore, ConnectError> {
        let mut store = RootCertStore::empty();
        match roots {
            Roots::File(path) => {
                for certificate in certificates("sslrootcert", path)? {
                    store.add(certificate).map_err(|error| {
                        let message = format!("`sslrootcert` {}: {error}", path.display());
                        ConnectError::new(ErrorKind::Config, message)
                    })?;
                }
            }
            Roots::System => {
                if let Some(store) = self.system.get() {
                    return Ok(store.clone());
                }
                store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if store.is_empty() {
                    let message = "`sslrootcert=system`: this system has no trusted certificates; \
                                   name a file instead";
                    return Err(ConnectError::new(ErrorKind::Config, message));
                }
                store = self.system.get_or_init(|| store).clone();
            }
        }
        Ok(store)
    }
}

impl Tls {
    /// Explains an error of a connection with TLS.
    pub(super) fn explain(&self, error: tokio_postgres::Error) -> ConnectError {
        let explained = match reason(&error) {
            Some(reason) => self.meaning(reason),
            // The driver's error for it has no kind.
            None if error.to_string().contains("TLS handshake") => {
                let message = format!("{}; `sslmode` asks for TLS", error::with_sources(&error));
                Some((ErrorKind::Config, message))
            }
            None => None,
        };
        match explained {
            Some((kind, message)) => ConnectError { kind, message, source: Some(Box::new(error)) },
            None => error::connecting(error),
        }
    }

    fn meaning(&self, reason: &rustls::Error) -> Option<(ErrorKind, String)> {
        use AlertDescription as Alert;
        let message = match reason {
            rustls::Error::InvalidCertificate(problem) => {
                let roots = match &self.roots {
                    Some(Roots::File(path)) => format!("`sslrootcert` {}", path.display()),
                    _ => "`sslrootcert=system`".to_owned(),
                };
                match problem {
                    CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                        format!("the server's certificate is not signed by any in {roots}")
                    }
                    CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. } => format!(
                        "{reason}; `sslmode=verify-full` requires the host's name in it, \
                         `sslmode=verify-ca` does not"
                    ),
                    _ => format!("the server's certificate was refused: {reason}"),
                }
            }
            rustls::Error::AlertReceived(
                Alert::CertificateRequired
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::DecryptError,
            ) => {
                let message = match &self.certificate {
                    Some((path, _)) => {
                        format!("the server refused `sslcert` {}: {reason}", path.display())
                    }
                    None => format!("{reason}; the server may want `sslcert` and `sslkey`"),
                };
                return Some((ErrorKind::Permission, message));
            }
            rustls::Error::NoCertificatesPresented | rustls::Error::PeerIncompatible(_) => {
                format!(
                    "the server and this client have no TLS version or cipher in common: {reason}"
                )
            }
            // Corruption on the way is transient.
            _ => return Some((ErrorKind::Connection, format!("TLS: {reason}"))),
        };
        Some((ErrorKind::Config, message))
    }
}

/// Whether `sslmode=prefer` continues without TLS after this error: the handshake failed, or the
/// server refused the login over TLS.
pub(super) fn may_go_without(error: &ConnectError) -> bool {
    // Without a source the fault is in our own files.
    let Some(source) = &error.source else { return false };
    reason(source).is_some()
        || source.to_string().contains("TLS handshake")
        || source.code().is_some_and(|code| code.code().starts_with("28"))
}

/// The error of rustls in the chain of sources, if there is one.
fn reason(error: &tokio_postgres::Error) -> Option<&rustls::Error> {
    let mut source = error.source();
    while let Some(inner) = source {
        // `source` of an io::Error skips the error that it holds.
        let held = inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let held = held.and_then(|held| held.downcast_ref());
        if let Some(reason) = inner.downcast_ref().or(held) {
            return Some(reason);
        }
        source = inner.source();
    }
    None
}

fn certificates(
    option: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let text = fs::read(path).map_err(|error| unreadable(option, path, &error))?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => {
            let message = format!("`{option}` {} has no certificates in PEM", path.display());
            Err(ConnectError::new(ErrorKind::Config, message))
        }
    }
}

/// Reads the key. The parser's messages are not passed on: they may quote it.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, ConnectError> {
    let refused = |kind, why: &str| {
        Err(ConnectError::new(kind, format!("`sslkey` {} {why}", path.display())))
    };
    let text = fs::read(path).map_err(|error| unreadable("sslkey", path, &error))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::metadata(path).map_err(|error| unreadable("sslkey", path, &error))?;
        // As with libpq, a key that root owns may be readable by a group of this process.
        let others = if metadata.uid() == 0 { 0o037 } else { 0o077 };
        if metadata.mode() & others != 0 {
            let why = "can be read by others; its mode must be 0600, or 0640 if root owns it";
            return refused(ErrorKind::Permission, why);
        }
    }
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok(key),
        Err(_) if text.windows(9).any(|word| word == b"ENCRYPTED") => {
            refused(ErrorKind::Config, "is encrypted, which is not supported")
        }
        Err(_) => refused(ErrorKind::Config, "has no private key in PEM"),
    }
}
