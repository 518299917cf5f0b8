//! TLS: a certificate and its key from files, which are read again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use std::{fmt, fs};

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A certificate with its chain and its key, as PEM files. Clones share what they have read.
#[derive(Clone)]
pub struct Tls(Arc<Files>);

struct Files {
    certificate: PathBuf,
    key: PathBuf,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    modified: Modified,
    config: Arc<ServerConfig>,
}

type Modified = (Option<SystemTime>, Option<SystemTime>);

/// The files cannot be used.
#[derive(Debug, Clone)]
pub struct TlsError {
    path: PathBuf,
    reason: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS with {}: {}", self.path.display(), self.reason)
    }
}

impl std::error::Error for TlsError {}

impl Tls {
    /// Reads a certificate with its chain, and its key.
    ///
    /// # Errors
    /// A file cannot be read, has no certificate or key, or they do not belong together.
    pub fn open(
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, TlsError> {
        let (certificate, key) = (certificate.into(), key.into());
        let modified = (modified(&certificate), modified(&key));
        let config = load(&certificate, &key)?;
        let loaded = Mutex::new(Loaded { modified, config });
        Ok(Self(Arc::new(Files { certificate, key, loaded })))
    }

    /// What accepts the next connection. Files that cannot be used leave everything as it was.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let Files { certificate, key, loaded } = &*self.0;
        let mut loaded = loaded.lock();
        let modified = (modified(certificate), modified(key));
        if modified != loaded.modified {
            loaded.modified = modified;
            match load(certificate, key) {
                Ok(config) => {
                    tracing::info!("the certificate was read again");
                    loaded.config = config;
                }
                Err(error) => tracing::error!(%error, "the certificate stays as it was"),
            }
        }
        TlsAcceptor::from(loaded.config.clone())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("certificate", &self.0.certificate).finish_non_exhaustive()
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let failed = |path: &Path, reason: String| TlsError { path: path.to_owned(), reason };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| failed(certificate, error.to_string()));
    let chain = chain?;
    if chain.is_empty() {
        return Err(failed(certificate, "it has no certificate".to_owned()));
    }
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, error.to_string()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| failed(certificate, error.to_string()))?;
    Ok(Arc::new(config))
}
