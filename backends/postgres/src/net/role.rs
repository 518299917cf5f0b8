//! Selects hosts by their role: `target_session_attrs`, as libpq defines it.

use annals_core::ErrorKind;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::config::Role;
use crate::error::{self, ConnectError};

impl Role {
    /// Asks the server for its role. A wrong role is a transient error: a standby may be promoted, a
    /// primary may come back.
    pub(super) async fn check(self, client: &Client) -> Result<(), ConnectError> {
        if self == Self::Any {
            return Ok(());
        }
        let ask = "SELECT pg_catalog.pg_is_in_recovery(), \
                   pg_catalog.current_setting('transaction_read_only')";
        let answer = client.simple_query(ask).await.map_err(error::connecting)?;
        let told = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((row.get(0)? == "t", row.get(1)? == "on")),
            _ => None,
        });
        let Some((standby, read_only)) = told else {
            return Err(ConnectError::new(ErrorKind::Connection, "it does not report its role"));
        };
        let (matches, is) = match self {
            Self::Any => (true, ""),
            Self::ReadWrite => (!read_only, "it does not allow writes"),
            Self::ReadOnly => (read_only, "it allows writes"),
            Self::Primary => (!standby, "it is a standby"),
            Self::Standby => (standby, "it is not a standby"),
        };
        if matches {
            return Ok(());
        }
        let message = format!("{is}; `target_session_attrs` requires another host");
        Err(ConnectError::new(ErrorKind::Connection, message))
    }
}
