//! The setters for TLS; each is an option `ssl…` of the URL.

use std::path::PathBuf;

use super::{PostgresConfig, Roots, SslMode};

/// # TLS
///
/// These apply to the server of the URL; `read_url` has options of its own. A contradiction is an
/// [`ErrorKind::Config`](annals_core::ErrorKind::Config) at the first call.
///
/// ```
/// use annals_postgres::{PostgresConfig, SslMode};
///
/// let config = PostgresConfig::from_url("postgres://ada@db.example/plant")?
///     .with_sslmode(SslMode::VerifyFull)
///     .with_sslrootcert("/etc/annals/ca.crt")
///     .with_sslcert("/etc/annals/ada.crt", "/etc/annals/ada.key");
/// # Ok::<(), annals_core::PersistenceError>(())
/// ```
impl PostgresConfig {
    /// Sets what TLS has to guarantee; `sslmode` of the URL.
    #[must_use]
    pub fn with_sslmode(mut self, mode: SslMode) -> Self {
        self.server.tls.mode = Some(mode);
        self
    }

    /// Sets the PEM file of the certificates of which one must have signed the server's; `sslrootcert`
    /// of the URL. Without a mode it implies [`SslMode::VerifyFull`]. The file is read for each
    /// connection.
    #[must_use]
    pub fn with_sslrootcert(mut self, file: impl Into<PathBuf>) -> Self {
        self.server.tls.roots = Some(Roots::File(file.into()));
        self
    }

    /// Trusts the certificates of the operating system; `sslrootcert=system` of the URL. It needs
    /// [`SslMode::VerifyFull`], which it implies without a mode.
    #[must_use]
    pub fn with_system_sslrootcert(mut self) -> Self {
        self.server.tls.roots = Some(Roots::System);
        self
    }

    /// Sets the PEM files of the client certificate and of its key; `sslcert` and `sslkey` of the URL.
    /// The key must be unencrypted and readable by its owner only. Both are read for each connection.
    #[must_use]
    pub fn with_sslcert(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.server.tls.certificate = Some(certificate.into());
        self.server.tls.key = Some(key.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In any order, with the same errors.
    #[test]
    fn setters_mean_what_the_options_mean() {
        let by_url = |options: &str| {
            let config = PostgresConfig::from_url(&format!("postgres://u@h/db?{options}"))?;
            config.server.tls.resolve()
        };
        let by_setters = |set: fn(PostgresConfig) -> PostgresConfig| {
            let config = set(PostgresConfig::from_url("postgres://u@h/db").unwrap());
            config.check()?;
            config.server.tls.resolve()
        };
        type Set = fn(PostgresConfig) -> PostgresConfig;
        let cases: [(&str, Set); 14] = [
            ("", |c| c),
            ("sslmode=disable", |c| c.with_sslmode(SslMode::Disable)),
            ("sslmode=require", |c| c.with_sslmode(SslMode::Require)),
            ("sslmode=verify-full", |c| c.with_sslmode(SslMode::VerifyFull)),
            ("sslrootcert=/ca", |c| c.with_sslrootcert("/ca")),
            ("sslrootcert=system", |c| c.with_system_sslrootcert()),
            ("sslmode=verify-ca&sslrootcert=/ca", |c| {
                c.with_sslrootcert("/ca").with_sslmode(SslMode::VerifyCa)
            }),
            ("sslmode=require&sslrootcert=/ca", |c| {
                c.with_sslmode(SslMode::Require).with_sslrootcert("/ca")
            }),
            ("sslcert=c&sslkey=k", |c| c.with_sslcert("c", "k")),
            ("sslcert=&sslkey=k", |c| c.with_sslcert("", "k")),
            ("sslrootcert=", |c| c.with_sslrootcert("")),
            ("sslmode=verify-ca", |c| c.with_sslmode(SslMode::VerifyCa)),
            ("sslmode=prefer&sslrootcert=/ca", |c| {
                c.with_sslrootcert("/ca").with_sslmode(SslMode::Prefer)
            }),
            ("sslmode=require&sslrootcert=system", |c| {
                c.with_system_sslrootcert().with_sslmode(SslMode::Require)
            }),
        ];
        for (options, set) in cases {
            let shown = |tls: Result<_, annals_core::PersistenceError>| match tls {
                Ok(tls) => format!("{tls:?}"),
                Err(error) => error.to_string(),
            };
            assert_eq!(shown(by_setters(set)), shown(by_url(options)), "{options}");
        }
    }
}
