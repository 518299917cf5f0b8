//! `GET /v1/records`: which records there are.

use annals_core::Grammar;
use axum::Json;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::access::Reader;
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordsParams {
    #[serde(default = "every_record")]
    pattern: String,
}

fn every_record() -> String {
    "*".to_owned()
}

/// Lists the matching records with their number of rows and their first and last time.
pub(super) async fn records(
    reader: Reader,
    params: Result<Query<RecordsParams>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(params) = params.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let records = reader.history.records(&params.pattern, Grammar::Glob).await;
    let records = records.map_err(|error| Problem::of_query(&error))?;
    Ok(Json(records).into_response())
}
