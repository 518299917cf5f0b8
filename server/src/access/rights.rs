//! Extractors of handlers that need a right other than reading.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::client::Client;
use crate::problem::Problem;

/// A client that may write some records.
pub(crate) struct Writer(pub(crate) Client);

/// A client that may see the state of the server.
pub(crate) struct Admin;

/// The client that `admit` found.
pub(super) fn client(parts: &Parts) -> Result<&Client, Problem> {
    let client = parts.extensions.get::<Client>();
    client.ok_or_else(|| Problem::forbidden("the sender of this request is not known"))
}

impl<S: Sync> FromRequestParts<S> for Writer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let client = client(parts)?;
        match client.known.grants.write.is_none() {
            true => Err(Problem::forbidden("this token may not write").applied(false)),
            false => Ok(Self(client.clone())),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match client(parts)?.known.grants.admin {
            true => Ok(Self),
            false => Err(Problem::forbidden("this token may not see the state of the server")),
        }
    }
}
