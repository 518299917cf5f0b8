//! What was asked for of TLS, before it is known whether it fits together.

use std::path::PathBuf;

use annals_core::PersistenceError;

use super::tls::{Roots, SslMode, Tls};
use crate::error;

/// `sslmode`, `sslrootcert`, `sslcert` and `sslkey`, as far as they were given.
#[derive(Debug, Clone, Default)]
pub(crate) struct AskedTls {
    pub(crate) mode: Option<SslMode>,
    pub(crate) roots: Option<Roots>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

impl AskedTls {
    /// What comes of it, or why it cannot work.
    pub(crate) fn resolve(&self) -> Result<Tls, PersistenceError> {
        for (option, path) in [("sslcert", &self.certificate), ("sslkey", &self.key)] {
            if path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
                return Err(error::config(format!("`{option}` is the path of a file")));
            }
        }
        let certificate = match (&self.certificate, &self.key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            _ => return Err(error::config("`sslcert` and `sslkey` belong together")),
        };
        let (mode, roots) = self.verification()?;
        Ok(Tls { mode, roots, certificate })
    }

    /// What is verified, and by whose signatures.
    fn verification(&self) -> Result<(SslMode, Option<Roots>), PersistenceError> {
        // Whoever names roots wants to know who answers.
        let default = if self.roots.is_some() { SslMode::VerifyFull } else { SslMode::Prefer };
        let mode = self.mode.unwrap_or(default);
        match (mode, &self.roots) {
            (_, Some(Roots::File(path))) if path.as_os_str().is_empty() => {
                Err(error::config("`sslrootcert` is the path of a file, or `system`"))
            }
            (SslMode::Disable | SslMode::Prefer, Some(_)) => Err(error::config(
                "`sslrootcert` would not be looked at: it takes `sslmode=verify-full` or \
                 `verify-ca`",
            )),
            (SslMode::Require | SslMode::VerifyCa, Some(Roots::System)) => Err(error::config(
                "`sslrootcert=system` takes `sslmode=verify-full`: anybody can get a certificate \
                 of those, for his own name",
            )),
            (SslMode::VerifyCa, None) => Err(error::config(
                "`sslmode=verify-ca` takes an `sslrootcert`, the file with the certificate that \
                 signed the server's",
            )),
            (SslMode::VerifyFull, None) => Ok((mode, Some(Roots::System))),
            // As with libpq: with roots it is more than asked for.
            (SslMode::Require, Some(roots)) => Ok((SslMode::VerifyCa, Some(roots.clone()))),
            (_, roots) => Ok((mode, roots.clone())),
        }
    }
}
