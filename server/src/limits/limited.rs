//! What happens to a query before its handler: it takes its room.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::{Instant, sleep, sleep_until};

use super::queries::{Kind, PATIENCE};
use crate::access::Client;
use crate::problem::{Problem, Reason};
use crate::server::Server;

/// Runs a query in the room of its kind, and limits the time until its answer begins.
pub(crate) async fn limited(
    State((server, kind)): State<(Server, Kind)>,
    mut request: Request,
    next: Next,
) -> Response {
    let deadline = Instant::now() + server.config().request_timeout;
    let Some(client) = request.extensions().get::<Client>() else {
        return Problem::forbidden("the sender of this request is not known").into_response();
    };
    let Some(of_token) = client.known.quota.take_query() else {
        let detail = "this token has as many queries running as it may";
        return Problem::too_many(detail, Duration::from_secs(1)).into_response();
    };
    let Some(slot) = server.queries().enter(kind, of_token, deadline).await else {
        let detail = match kind {
            Kind::Follower => "there are as many followers as may be",
            Kind::Lookup | Kind::Stream => "as many queries run and wait as may",
        };
        return Problem::busy(Reason::Queries, detail).into_response();
    };
    request.extensions_mut().insert(slot);
    let method = request.method().clone();
    let mut answer = std::pin::pin!(next.run(request));
    loop {
        tokio::select! {
            answer = &mut answer => return answer,
            () = sleep_until(deadline) => {
                return too_late(&method).into_response();
            }
            // It may wait for what a stalled answer holds in the store.
            () = sleep(PATIENCE) => server.queries().send_away(),
        }
    }
}

fn too_late(method: &Method) -> Problem {
    if *method != Method::DELETE {
        return Problem::timeout("the query was not answered in time");
    }
    let detail = "the erase did not end in time; if it has begun it goes on: ask again with \
                  dry_run=true how many rows are left";
    Problem::timeout(detail).applied(true)
}
