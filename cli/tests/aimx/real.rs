//! AimDB 1.x's own AimX server, as published.

use std::path::Path;
use std::sync::Arc;

use aimdb_core::remote::{AimxConfig, QueryHandlerFn, QueryHandlerParams};
use aimdb_core::{AimDb, AimDbBuilder};
use aimdb_tokio_adapter::TokioAdapter;
use annals::{MemoryBackend, PersistenceBackend, QueryParams};
use serde_json::json;

use crate::support::{Place, Run};

async fn serve(config: AimxConfig, history: Option<MemoryBackend>) -> AimDb<TokioAdapter> {
    let mut builder = AimDbBuilder::new()
        .runtime(Arc::new(TokioAdapter::new().unwrap()))
        .with_remote_access(config);
    if let Some(history) = history {
        builder.extensions_mut().insert(handler(Arc::new(history)));
    }
    builder.build().await.unwrap()
}

/// As aimdb-persistence 0.1 answers.
fn handler(history: Arc<MemoryBackend>) -> QueryHandlerFn {
    Box::new(move |QueryHandlerParams { name, limit, start, end }| {
        let history = history.clone();
        let params = QueryParams::default()
            .with_limit_per_record(limit.or(Some(1)))
            .with_start_time(start)
            .with_end_time(end);
        Box::pin(async move {
            let values = history.query(&name, params).await.map_err(|error| error.to_string())?;
            Ok(json!({"count": values.len(), "values": values}))
        })
    })
}

fn config(place: &Place) -> AimxConfig {
    AimxConfig::uds_default().socket_path(place.path("aimdb.sock"))
}

fn query(place: &Place, args: &[&str]) -> Run {
    assert!(Path::new(&place.path("aimdb.sock")).exists());
    place.run(&[&["query", "--aimx", "unix:aimdb.sock"], args].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_asked_for_its_history() {
    let history = MemoryBackend::new();
    for i in 0..1_234 {
        history.store("accuracy::vienna", &json!({"value": i}), i / 2).await.unwrap();
    }
    history.store("accuracy::graz", &json!(null), 7).await.unwrap();
    history.store("other", &json!(1), 7).await.unwrap();
    let place = Place::new();
    let _db = serve(config(&place), Some(history)).await;

    let run = query(&place, &["accuracy::*", "--latest", "1"]).ok();
    assert_eq!(
        run.json_lines(),
        [
            json!({"record": "accuracy::graz", "value": null, "stored_at": 7}),
            json!({"record": "accuracy::vienna", "value": {"value": 1233}, "stored_at": 616}),
        ]
    );
    for (args, order) in [(&["accuracy::v*"][..], -1), (&["accuracy::v*", "--oldest-first"], 1)] {
        let rows = query(&place, args).ok().json_lines();
        assert_eq!(rows.len(), 1_234, "without a limit it is all of it");
        let value = |row: &serde_json::Value| row["value"]["value"].as_i64().unwrap();
        assert!(rows.windows(2).all(|pair| value(&pair[1]) - value(&pair[0]) == order), "{args:?}");
    }
    let window = query(&place, &["accuracy::v*", "--from", "10", "--to", "11"]).ok();
    assert_eq!(window.json_lines().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_persistence_it_says_so() {
    let place = Place::new();
    let _db = serve(config(&place), None).await;
    query(&place, &["*"]).refused(1, "keeps no history: persistence is not configured there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_may_ask_for_a_token() {
    let place = Place::new();
    let _db = serve(config(&place).auth_token("s3cret"), Some(MemoryBackend::new())).await;
    query(&place, &["*"]).refused(1, "asks for a token; put it in ANNALS_AIMX_TOKEN");
    let mut command = place.command(&["query", "--aimx", "unix:aimdb.sock", "*"]);
    Run::from(command.env("ANNALS_AIMX_TOKEN", "s3cret").output().unwrap()).ok();
}
