//! The parameters that several paths share.

use annals_core::{Grammar, Order};
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use crate::problem::Problem;

/// The parameters of a query, with a problem as the answer to a wrong one.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = Query::<T>::from_request_parts(parts, state).await;
        let Query(params) =
            params.map_err(|error: QueryRejection| Problem::bad_request(error.body_text()))?;
        Ok(Self(params))
    }
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
