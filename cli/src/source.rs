//! Where a command that reads takes history from: a backend, or a running AimDB.

use std::sync::Arc;
use std::time::Duration;

use annals::PersistenceBackend;
use clap::Args;

use crate::aimx::{Address, AimxBackend};
use crate::cli::{BACKEND_VARIABLE, Backend, NamedBy};
use crate::failure::Failure;
use crate::moment::duration;
use crate::store;

/// Holds a token that an AimDB 1.x server may ask for. It is no argument: the arguments of a
/// program are there for all users to see.
const TOKEN: &str = "ANNALS_AIMX_TOKEN";

/// The part of the command line that names something else than `--backend`.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// Ask a running AimDB over AimX instead of a backend: unix:FILE or tcp:HOST:PORT
    ///
    /// Both versions of the protocol are spoken, and found out from the server's hello: 1.0
    /// (AimDB 1.x, Unix sockets) and 3.0 (AimDB 2.x, Unix sockets and TCP). Patterns are read in
    /// the server's own grammar: unless it was set otherwise there, * is any run of characters on
    /// 1.x, and on 2.x the segments between dots count, with * for exactly one and # for zero or
    /// more. If the server asks for a token, put it in the environment variable
    /// ANNALS_AIMX_TOKEN.
    #[arg(long, value_name = "ADDRESS")]
    aimx: Option<Address>,

    /// Give up when the AimX server has not answered in full after T, such as 30s
    #[arg(long, value_name = "T", requires = "aimx", value_parser = duration, default_value = "30s")]
    timeout: Duration,
}

impl Source {
    /// Opens what is there and makes sure that it answers.
    pub(crate) async fn open(
        &self,
        backend: &Backend,
    ) -> Result<Arc<dyn PersistenceBackend>, Failure> {
        let source = self.open_unasked(backend).await?;
        if self.aimx.is_some() {
            source.health().await?;
        }
        Ok(source)
    }

    /// As [`open`](Self::open), but an AimX server is first talked to when it is asked something:
    /// it may not run yet.
    pub(crate) async fn open_unasked(
        &self,
        backend: &Backend,
    ) -> Result<Arc<dyn PersistenceBackend>, Failure> {
        let Some(address) = &self.aimx else { return store::open_existing(&backend.url).await };
        // Whoever names two places would be told of one without noticing.
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

    /// The AimX server, if it is one.
    #[cfg(feature = "mcp")]
    pub(crate) fn server(&self) -> Option<&Address> {
        self.aimx.as_ref()
    }
}
