//! What the client of a request may erase.

use std::collections::BTreeSet;
use std::sync::Arc;

use annals_core::{Grammar, Pattern, PersistenceBackend, PersistenceError};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::client::Client;
use super::grants::Scope;
use super::restricted::Restricted;
use super::rights::client;
use crate::problem::Problem;

/// A client that may erase some records.
///
/// The rule is that of queries: what the client may not erase is as if it were not there.
pub(crate) struct Eraser {
    client: Client,
    /// An erase by the contents of values tells what they are.
    by_value: bool,
}

/// What a client may erase of a pattern.
pub(crate) struct Erasable {
    /// Patterns that have no record in common.
    pub(crate) patterns: Vec<Pattern>,
    /// Whether the pattern could match records that the client may not erase.
    pub(crate) is_restricted: bool,
}

impl Eraser {
    /// Limits the client to records that it may read as well.
    pub(crate) fn by_value(self) -> Result<Self, Problem> {
        match self.client.known.grants.read.is_none() {
            true => Err(Problem::forbidden(
                "`where` looks at values, and this token may not read: leave it out",
            )
            .applied(false)),
            false => Ok(Self { by_value: true, ..self }),
        }
    }

    /// The name of the token.
    pub(crate) fn token(&self) -> &str {
        &self.client.known.name
    }

    /// What the client may erase of `pattern`. A pattern that is certainly inside its right stays as it
    /// is. Any other becomes the names that there are.
    pub(crate) async fn erasable(
        &self,
        history: Arc<dyn PersistenceBackend>,
        pattern: &Pattern,
    ) -> Result<Erasable, PersistenceError> {
        let grants = &self.client.known.grants;
        let scopes: &[&Scope] =
            if self.by_value { &[&grants.erase, &grants.read] } else { &[&grants.erase] };
        let mut names: Option<BTreeSet<Arc<str>>> = None;
        for scope in scopes {
            let restricted = Restricted::new(history.clone(), (*scope).clone());
            let of_scope = restricted.names(pattern.as_str(), pattern.grammar()).await?;
            names = match (names, of_scope) {
                (Some(names), Some(of_scope)) => Some(&names & &of_scope),
                (names, of_scope) => names.or(of_scope),
            };
        }
        let Some(names) = names else {
            return Ok(Erasable { patterns: vec![pattern.clone()], is_restricted: false });
        };
        // A name has no wildcard.
        let patterns = names.iter().map(|name| Pattern::new(name, Grammar::Glob));
        Ok(Erasable { patterns: patterns.collect::<Result<_, _>>()?, is_restricted: true })
    }
}

impl<S: Sync> FromRequestParts<S> for Eraser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let client = client(parts)?;
        match client.known.grants.erase.is_none() {
            true => Err(Problem::forbidden("this token may not erase").applied(false)),
            false => Ok(Self { client: client.clone(), by_value: false }),
        }
    }
}
