//! Whoever sent a request.

use std::net::IpAddr;
use std::sync::Arc;

use super::grants::Grants;
use super::quota::Quota;

/// What is known of a token.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) name: Arc<str>,
    pub(crate) grants: Grants,
    pub(crate) quota: Arc<Quota>,
}

/// The sender of a request.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) known: Arc<Known>,
    /// Where the request comes from, if that is known.
    pub(crate) address: Option<IpAddr>,
}

/// Clients that share what there is of something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ClientKey {
    Token(Arc<str>),
    Address(IpAddr),
    Unknown,
}

impl Client {
    pub(crate) fn key(&self) -> ClientKey {
        match (&self.known.name, self.address) {
            (name, _) if !name.is_empty() => ClientKey::Token(name.clone()),
            (_, Some(address)) => ClientKey::Address(address),
            _ => ClientKey::Unknown,
        }
    }
}
