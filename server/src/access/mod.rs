//! Who asks, and what they may see: from a request's headers to a [`Client`].
//!
//! `admit` runs before every handler. A request without a right to be here ends in it; all others
//! carry their `Client`, from which the handlers' extractors are made: [`Reader`], [`Writer`],
//! [`Eraser`] and [`Admin`].

mod admit;
mod client;
mod eraser;
mod forwarded;
mod grants;
mod quota;
mod reader;
mod restricted;
mod rights;
mod tokens;

pub(crate) use admit::{Peer, admit};
pub(crate) use client::{Client, ClientKey};
pub(crate) use eraser::Eraser;
pub(crate) use quota::QueryPermit;
pub use quota::TokenLimits;
pub(crate) use reader::{LIMIT, RESTRICTED, Reader};
pub(crate) use rights::{Admin, Writer};
pub use tokens::{GrammarName, Grant, NewToken, Right, TokenEntry, Tokens, TokensError};

/// Who may use a server.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Access {
    /// Everybody on this machine. [`serve`](crate::serve()) listens on loopback addresses only, and
    /// the `Host` header must name one: otherwise any page in a browser could reach the history
    /// through a name that resolves to this machine.
    #[default]
    Loopback,
    /// Everybody who can connect.
    Open,
    /// Whoever has a token.
    Tokens(Tokens),
}
