//! Databases with an extension, on servers that have it.

use crate::TestServer;
use crate::database;

/// An extension that a server may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Extension {
    /// TimescaleDB under its community licence.
    Timescale,
    /// TimescaleDB under its Apache licence.
    TimescaleApache,
    /// Citus.
    Citus,
}

impl Extension {
    fn name(self) -> &'static str {
        match self {
            Self::Timescale | Self::TimescaleApache => "timescaledb",
            Self::Citus => "citus",
        }
    }

    /// The licence that `timescaledb.license` has to name.
    fn licence(self) -> Option<&'static str> {
        match self {
            Self::Timescale => Some("timescale"),
            Self::TimescaleApache => Some("apache"),
            Self::Citus => None,
        }
    }
}

impl TestServer {
    /// Why the server that the environment names cannot be used for tests of an extension; `None`:
    /// it can. A throw-away server never can.
    ///
    /// # Errors
    /// What connecting reports.
    pub fn lacks(extension: Extension) -> Result<Option<String>, String> {
        let name = extension.name();
        let Some(url) = crate::named_server() else {
            return Ok(Some(format!(
                "{} names no server, and a throw-away one has no {name}",
                crate::URL_VARIABLE
            )));
        };
        // Both have to be loaded when the server starts; only then are they of any use.
        let loaded = format!(
            "SELECT (EXISTS (SELECT FROM pg_available_extensions WHERE name = '{name}') \
             AND current_setting('shared_preload_libraries') LIKE '%{name}%')::text"
        );
        if database::one_text(&url, &loaded)? != "true" {
            return Ok(Some(format!(
                "the server does not have {name} in shared_preload_libraries"
            )));
        }
        if let Some(wanted) = extension.licence() {
            let licence = "SELECT coalesce(current_setting('timescaledb.license', true), \
                           'timescale')";
            let found = database::one_text(&url, licence)?;
            if found != wanted {
                return Ok(Some(format!("timescaledb.license is {found} there, not {wanted}")));
            }
        }
        Ok(None)
    }

    /// The URL of a shared database with the extension, on a server that [has](Self::lacks) it.
    ///
    /// # Errors
    /// What the server reports.
    pub fn database_with(&self, extension: Extension) -> Result<String, String> {
        database::ensure_with(self.url(), extension.name())
    }
}
