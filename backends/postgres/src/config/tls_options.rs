//! The TLS options as given, before they are checked against each other.

use std::path::PathBuf;

use annals_core::Result;

use crate::error;

/// What TLS has to guarantee: [`PostgresConfig::with_sslmode`](crate::PostgresConfig::with_sslmode).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SslMode {
    /// No encryption.
    Disable,
    /// Encrypted if the server supports it. The server is not authenticated.
    Prefer,
    /// Encrypted. The server is not authenticated.
    Require,
    /// Encrypted, and a certificate of `sslrootcert` signed the server's.
    VerifyCa,
    /// As `VerifyCa`, and the server's certificate names the host.
    VerifyFull,
}

/// The certificates whose signatures are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Roots {
    /// Those of the operating system.
    System,
    File(PathBuf),
}

#[derive(Debug, Clone)]
pub(crate) struct Tls {
    pub(crate) mode: SslMode,
    /// Set if, and only if, the server's certificate is verified.
    pub(crate) roots: Option<Roots>,
    /// The files of the client certificate and its key.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
}

/// `sslmode`, `sslrootcert`, `sslcert` and `sslkey`; `None` where an option was not given.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsOptions {
    pub(crate) mode: Option<SslMode>,
    pub(crate) roots: Option<Roots>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

impl TlsOptions {
    /// The settings that the options mean together, or why they contradict each other.
    pub(crate) fn resolve(&self) -> Result<Tls> {
        for (option, path) in [("sslcert", &self.certificate), ("sslkey", &self.key)] {
            if path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
                return Err(error::config(format!("`{option}` is the path of a file")));
            }
        }
        let certificate = match (&self.certificate, &self.key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            _ => return Err(error::config("`sslcert` and `sslkey` must be given together")),
        };
        let (mode, roots) = self.verification()?;
        Ok(Tls { mode, roots, certificate })
    }

    /// What is verified, and by which root certificates.
    fn verification(&self) -> Result<(SslMode, Option<Roots>)> {
        // Root certificates without a mode ask for full verification.
        let default = if self.roots.is_some() { SslMode::VerifyFull } else { SslMode::Prefer };
        let mode = self.mode.unwrap_or(default);
        match (mode, &self.roots) {
            (_, Some(Roots::File(path))) if path.as_os_str().is_empty() => {
                Err(error::config("`sslrootcert` is the path of a file, or `system`"))
            }
            (SslMode::Disable | SslMode::Prefer, Some(_)) => Err(error::config(
                "`sslrootcert` would not be used: it needs `sslmode=verify-full` or `verify-ca`",
            )),
            (SslMode::Require | SslMode::VerifyCa, Some(Roots::System)) => Err(error::config(
                "`sslrootcert=system` needs `sslmode=verify-full`: anybody can get a certificate \
                 that it accepts, for another name",
            )),
            (SslMode::VerifyCa, None) => Err(error::config(
                "`sslmode=verify-ca` needs `sslrootcert`, the file with the certificate that \
                 signed the server's",
            )),
            (SslMode::VerifyFull, None) => Ok((mode, Some(Roots::System))),
            // As with libpq, `require` with root certificates means `verify-ca`.
            (SslMode::Require, Some(roots)) => Ok((SslMode::VerifyCa, Some(roots.clone()))),
            (_, roots) => Ok((mode, roots.clone())),
        }
    }
}
