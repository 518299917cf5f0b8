//! Where a command reads history from: a backend, or a running AimDB.

use std::sync::Arc;
use std::time::Duration;

use annals::PersistenceBackend;
use clap::Args;

use crate::aimx::{Address, AimxBackend};
use crate::backend::{BACKEND_VARIABLE, Backend, NamedBy};
use crate::failure::Failure;
use crate::moment::duration;
use crate::store;

/// The variable with the token that an AimDB 1.x server may require. It is not an argument: every
/// user of a machine can see the arguments of a program.
const TOKEN: &str = "ANNALS_AIMX_TOKEN";

/// The options that name an AimDB server in place of `--backend`.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// Ask a running AimDB over AimX instead of a backend: unix:FILE or tcp:HOST:PORT
    ///
    /// The version of the protocol is detected: 1.0 (AimDB 1.x, Unix sockets) or 3.0 (AimDB 2.x,
    /// Unix sockets and TCP). Patterns use the server's grammar. By default, * is any run of
    /// characters on 1.x; on 2.x a name has segments between dots, * is exactly one segment and #
    /// zero or more. If the server requires a token, set the environment variable
    /// ANNALS_AIMX_TOKEN.
    #[arg(long, value_name = "ADDRESS")]
    aimx: Option<Address>,

    /// The longest time to wait for a complete answer of the AimX server
    #[arg(long, value_name = "DURATION", requires = "aimx", value_parser = duration, default_value = "30s")]
    timeout: Duration,
}

impl Source {
    /// Opens an existing history. An AimX server is asked for its health.
    pub(crate) async fn open(
        &self,
        backend: &Backend,
    ) -> Result<Arc<dyn PersistenceBackend>, Failure> {
        let source = self.open_without_contact(backend).await?;
        if self.aimx.is_some() {
            source.health().await?;
        }
        Ok(source)
    }

    /// As [`open`](Self::open), but connects to an AimX server at the first query only: it may not
    /// run yet.
    pub(crate) async fn open_without_contact(
        &self,
        backend: &Backend,
    ) -> Result<Arc<dyn PersistenceBackend>, Failure> {
        let Some(address) = &self.aimx else { return store::open_to_read(&backend.url).await };
        // With two places, the answer would silently be that of one.
        let too_many = match backend.named_by {
            NamedBy::Nobody => None,
            NamedBy::Option => Some("--backend and --aimx name two places; give one".to_owned()),
            NamedBy::Environment => Some(format!(
                "--aimx is given while {BACKEND_VARIABLE} names a backend; unset it or leave \
                 --aimx out"
            )),
        };
        if let Some(message) = too_many {
            return Err(Failure::Usage(message));
        }
        let token = std::env::var(TOKEN).ok().filter(|token| !token.is_empty());
        Ok(Arc::new(AimxBackend::new(address.clone(), token, self.timeout)))
    }

    /// The address of the AimX server, if one is named.
    #[cfg(feature = "mcp")]
    pub(crate) fn server(&self) -> Option<&Address> {
        self.aimx.as_ref()
    }
}
