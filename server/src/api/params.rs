//! The parameters that several paths share.

use annals_core::{Grammar, Order};
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use crate::problem::Problem;

/// The parameters of a query, with a problem as the answer to a wrong one.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        if percent_decode_str(query).decode_utf8().is_err() {
            return Err(Problem::bad_request("the parameters must be UTF-8"));
        }
        let params = Query::<T>::from_request_parts(parts, state).await;
        let Query(params) = params
            .map_err(|error: QueryRejection| Problem::bad_request(plain(&error.body_text())))?;
        Ok(Self(params))
    }
}

/// What is wrong with a parameter, in words for people who do not know the parser.
fn plain(text: &str) -> String {
    let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(text);
    [
        ("invalid digit found in string", "a whole number is expected"),
        ("cannot parse integer from empty string", "a whole number is expected"),
        ("number too large to fit in target type", "the number is too large"),
        ("provided string was not `true` or `false`", "`true` or `false` is expected"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
}

/// Which of a record's rows come first.
#[derive(Debug, Deserialize, Default, Clone, Copy, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum OrderName {
    #[default]
    Newest,
    Oldest,
}

impl From<OrderName> for Order {
    fn from(name: OrderName) -> Self {
        match name {
            OrderName::Newest => Self::NewestFirst,
            OrderName::Oldest => Self::OldestFirst,
        }
    }
}

/// How wildcards of a pattern work: in `glob`, `*` is any run of characters; in `topic`, names are
/// segments between dots, `*` is one of them and `#` any number.
#[derive(Debug, Deserialize, Default, Clone, Copy, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum GrammarName {
    #[default]
    Glob,
    Topic,
}

impl From<GrammarName> for Grammar {
    fn from(name: GrammarName) -> Self {
        match name {
            GrammarName::Glob => Self::Glob,
            GrammarName::Topic => Self::Topic,
        }
    }
}

pub(super) fn every_record() -> String {
    "*".to_owned()
}
