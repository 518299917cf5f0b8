//! Which of several hosts will do: `target_session_attrs`, with libpq's meanings.

use annals_core::ErrorKind;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::ConnectError;
use crate::error;

/// What is wanted of the hosts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Only(Role),
    PreferStandby,
}

/// What is wanted of one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Any,
    /// Its sessions may write.
    ReadWrite,
    /// Its sessions may not write, by its role or its configuration.
    ReadOnly,
    Primary,
    Standby,
}

impl Target {
    pub(crate) fn parse(value: &str) -> Option<Self> {
        Some(match value {
            "any" => Self::Only(Role::Any),
            "read-write" => Self::Only(Role::ReadWrite),
            "read-only" => Self::Only(Role::ReadOnly),
            "primary" => Self::Only(Role::Primary),
            "standby" => Self::Only(Role::Standby),
            "prefer-standby" => Self::PreferStandby,
            _ => return None,
        })
    }

    /// The roles to look for, one after the other.
    pub(super) fn roles(self) -> &'static [Role] {
        match self {
            Self::Only(Role::Any) => &[Role::Any],
            Self::Only(Role::ReadWrite) => &[Role::ReadWrite],
            Self::Only(Role::ReadOnly) => &[Role::ReadOnly],
            Self::Only(Role::Primary) => &[Role::Primary],
            Self::Only(Role::Standby) => &[Role::Standby],
            Self::PreferStandby => &[Role::Standby, Role::Any],
        }
    }
}

impl From<TargetSessionAttrs> for Target {
    fn from(attrs: TargetSessionAttrs) -> Self {
        match attrs {
            TargetSessionAttrs::ReadWrite => Self::Only(Role::ReadWrite),
            TargetSessionAttrs::ReadOnly => Self::Only(Role::ReadOnly),
            _ => Self::Only(Role::Any),
        }
    }
}

impl Role {
    /// Asks the server. That it plays another role passes by itself: a standby may be about to be
    /// promoted, a primary about to come back.
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
            return Err(ConnectError::new(ErrorKind::Connection, "it does not say what it is"));
        };
        let (fits, is) = match self {
            Self::Any => (true, ""),
            Self::ReadWrite => (!read_only, "it does not allow writes"),
            Self::ReadOnly => (read_only, "it allows writes"),
            Self::Primary => (!standby, "it is a standby"),
            Self::Standby => (standby, "it is not a standby"),
        };
        if fits {
            return Ok(());
        }
        let message = format!("{is}, and `target_session_attrs` asks for another");
        Err(ConnectError::new(ErrorKind::Connection, message))
    }
}
