//! `POST /v1/rows`.

use std::sync::Arc;

use annals_core::QueryExt;
use annals_server::{Config, Ending};
use serde_json::{Value, json};

use crate::running::{Running, problem};

const WRITER: &str = "01234567-89ab-cdef-0123-456789abcdef";

#[tokio::test]
async fn one_row_and_many_are_stored_before_they_are_acknowledged() {
    let service = Running::new().await;
    let answer = service.post(r#"{"record":"a","value":{"x":1.50},"stored_at":7}"#);
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({"stored": 1}));
    let batch = r#" [{"record":"b","value":null,"stored_at":1},{"record":"a","value":2}]"#;
    let answer = service.post(batch).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({"stored": 2}));

    let lines = service.lines("pattern=*&order=oldest").await;
    assert_eq!(lines[0], r#"{"record":"a","value":{"x":1.50},"stored_at":7}"#);
    assert!(lines[1].starts_with(r#"{"record":"a","value":2,"stored_at":1"#), "{lines:?}");
    assert_eq!(lines[2..], [r#"{"record":"b","value":null,"stored_at":1}"#]);
    assert_eq!(service.figure("annals_rows_acknowledged_total").await, "3");
    assert_eq!(service.figure("annals_store_batch_rows_sum").await, "3.0");
    service.end().await;
}

#[tokio::test]
async fn a_batch_that_is_sent_again_is_stored_once() {
    let service = Running::new().await;
    for (writer, number) in [
        (WRITER, "1"),
        (WRITER, "1"),
        ("0123456789ABCDEF0123456789abcdef", "1"),
        (WRITER, "2"),
        ("11111111111111111111111111111111", "1"),
    ] {
        let request = service.post(r#"{"record":"a","value":1,"stored_at":7}"#);
        let request = request.header("Annals-Writer", writer).header("Annals-Batch", number);
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    assert_eq!(service.lines("pattern=a").await.len(), 3);
    service.end().await;
}

#[tokio::test]
async fn what_can_never_be_stored_changes_nothing_and_names_its_row() {
    let service = Running::new().await;
    let good = r#"{"record":"a","value":1,"stored_at":7}"#;
    let deep = format!("{}1{}", "[".repeat(130), "]".repeat(130));
    for bad in [
        r#"{"record":"a*","value":1}"#,
        r#"{"record":"","value":1}"#,
        r#"{"record":"a\u0000","value":1}"#,
        r#"{"record":"a","value":1,"stored_at":9223372036854775808}"#,
        r#"{"record":"a","value":1e999}"#,
        r#"{"record":"a","value":"\ud800"}"#,
        &format!(r#"{{"record":"a","value":{deep}}}"#),
    ] {
        for preference in ["return=minimal", "respond-async"] {
            let request = service.post(format!("[{good},{bad}]")).header("Prefer", preference);
            let (status, problem) = problem(request.send().await.unwrap()).await;
            // Invalid JSON refuses the whole body.
            assert!(
                (status == 422 && problem["row"] == 1)
                    || (status == 400
                        && problem["row"] == 1
                        && problem["detail"].to_string().contains("the body")),
                "{bad}: {problem}"
            );
            assert_eq!(problem["outcome"], "not-applied");
        }
    }
    assert!(service.lines("pattern=*").await.is_empty());
    assert_eq!(service.figure("annals_recorder_recorded_total").await, "0");
    service.end().await;
}

#[tokio::test]
async fn a_request_that_is_wrong_says_what_is_wrong() {
    let service = Running::new().await;
    let row = r#"{"record":"a","value":1}"#;
    for (body, header, expected, says) in [
        ("", ("x-none", ""), 400, "no body"),
        (r#"[["a",1,7]]"#, ("x-none", ""), 400, "an object"),
        (row, ("content-encoding", "br"), 415, "gzip"),
        (row, ("content-encoding", "gzip, zstd"), 415, "gzip"),
        (r#"{"record":"a","value":1,"stored_at":"now"}"#, ("x-none", ""), 400, "Unix milliseconds"),
        ("{}", ("x-none", ""), 400, "record"),
        (r#"{"record":"a"}"#, ("x-none", ""), 400, "value"),
        (r#"{"record":"a","value":1,"time":2}"#, ("x-none", ""), 400, "time"),
        (r#"{"record":"a","value":1,"stored_at":-1}"#, ("x-none", ""), 400, "-1"),
        ("[]", ("x-none", ""), 422, "no rows"),
        (row, ("annals-writer", WRITER), 400, "together"),
        (row, ("annals-batch", "1"), 400, "together"),
        (row, ("content-type", "text/plain"), 415, "application/json"),
    ] {
        let mut request = service.post(body).build().unwrap();
        request.headers_mut().insert(header.0, header.1.parse().unwrap());
        let answer = service.client.execute(request).await.unwrap();
        let (status, problem) = problem(answer).await;
        assert_eq!(status, expected, "{body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{problem}");
    }
    for (writer, number) in [
        ("me", "1"),
        (WRITER, "0"),
        (WRITER, "x"),
        (WRITER, "+1"),
        (WRITER, "9223372036854775808"),
        (WRITER, "-1"),
    ] {
        let request = service.post(row).header("annals-writer", writer);
        let answer = request.header("annals-batch", number).send().await.unwrap();
        assert_eq!(problem(answer).await.0, 400, "{writer} {number}");
    }
    let answer = service.get("/v1/batch").send().await.unwrap();
    assert_eq!(problem(answer).await.0, 400);
    let request = service.post(row).header("annals-writer", WRITER).header("annals-batch", "1");
    let answer = request.header("prefer", "respond-async").send().await.unwrap();
    assert_eq!(problem(answer).await.0, 400);
    assert!(service.lines("pattern=*").await.is_empty());
    service.end().await;
}

#[tokio::test]
async fn an_asynchronous_row_is_accepted_and_then_stored() {
    let service = Running::new().await;
    let request = service.post(r#"[{"record":"a","value":1},{"record":"a","value":2}]"#);
    let answer = request.header("Prefer", "wait=1, Respond-Async").send().await.unwrap();
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.headers()["preference-applied"], "respond-async");
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({"accepted": 2}));
    let backend = service.backend.clone();
    assert_eq!(service.end().await, Ending::AllStored);
    let values: Vec<u64> = backend.memory.query_latest("a", 9).await.unwrap();
    assert_eq!(values, [2, 1]);
}

/// A device that starts to count anew lost everything behind answers of 200.
#[tokio::test]
async fn a_number_that_other_rows_have_is_a_conflict_and_a_retry_says_so() {
    let service = Running::new().await;
    let send = async |service: &Running, number: &str, body: &str| {
        let request = service.post(body).header("annals-writer", WRITER);
        let answer = request.header("annals-batch", number).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let first =
        r#"[{"record":"a","value":1,"stored_at":7},{"record":"b","value":2,"stored_at":7}]"#;
    let other = r#"{"record":"a","value":9,"stored_at":8}"#;
    assert_eq!(send(&service, "1", first).await, (200, json!({"stored": 2})));
    assert_eq!(send(&service, "1", first).await, (200, json!({"already_stored": 2})));
    let (status, problem) = send(&service, "1", other).await;
    assert_eq!((status, &problem["outcome"]), (409, &"not-applied".into()), "{problem}");
    // The same answers from another replica, and after a restart.
    let replica = Running::start(Config::default().with_earliest(0), None, service.backend.clone());
    let replica = replica.await;
    assert_eq!(send(&replica, "1", first).await, (200, json!({"already_stored": 2})));
    assert_eq!(send(&replica, "1", other).await.0, 409);
    assert_eq!(send(&service, "2", other).await, (200, json!({"stored": 1})));
    // A writer that has gone on does not come back.
    assert_eq!(send(&service, "1", first).await.0, 409);
    assert_eq!(send(&replica, "1", first).await.0, 409);
    assert_eq!(send(&replica, "2", other).await, (200, json!({"already_stored": 1})));
    let reused = service.figure(r#"annals_refusals_total{reason="batch_reused"}"#).await;
    assert_eq!(reused, "2");
    assert_eq!(service.lines("pattern=*").await.len(), 3);

    // Rows that take the time of their arrival, too.
    let untimed = r#"{"record":"c","value":1}"#;
    assert_eq!(send(&service, "3", untimed).await, (200, json!({"stored": 1})));
    assert_eq!(send(&replica, "3", untimed).await, (200, json!({"already_stored": 1})));
    assert_eq!(send(&replica, "3", r#"{"record":"c","value":2}"#).await.0, 409);
    replica.end().await;
    service.end().await;
}

/// Seconds were stored in 1970, and microseconds in the year 58000, without a word.
#[tokio::test]
async fn times_in_other_units_are_refused() {
    let service = Running::start(Config::default(), None, Arc::default()).await;
    let now = annals_core::Clock::now_ms(&annals_core::SystemClock);
    let row = |at: u64| {
        format!(r#"[{{"record":"a","value":1}},{{"record":"a","value":1,"stored_at":{at}}}]"#)
    };
    for (at, reason) in [
        (now / 1_000, "early"),
        (0, "early"),
        (631_151_999_999, "early"),
        (now * 1_000, "future"),
        (now * 1_000_000, "future"),
    ] {
        let before = service.refusals(reason).await;
        for preference in ["return=minimal", "respond-async"] {
            let answer = service.post(row(at)).header("prefer", preference).send().await.unwrap();
            let (status, problem) = problem(answer).await;
            assert_eq!((status, &problem["row"]), (422, &1.into()), "{problem}");
            assert_eq!(problem["outcome"], "not-applied");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("milliseconds are expected"), "{detail}");
        }
        assert_eq!(service.refusals(reason).await, before + 2);
    }
    assert!(service.lines("pattern=*").await.is_empty());
    service.store(&row(631_152_000_000)).await;
    service.end().await;
}

/// A row in the far future would be the latest for ever.
#[tokio::test]
async fn a_row_too_far_in_the_future_is_refused() {
    let service = Running::new().await;
    let now = annals_core::Clock::now_ms(&annals_core::SystemClock);
    let row = |at: u64| {
        format!(r#"[{{"record":"a","value":1}},{{"record":"a","value":1,"stored_at":{at}}}]"#)
    };
    service.store(&row(now + 3_600_000)).await;
    for at in [now + 2 * 86_400_000, i64::MAX as u64] {
        for preference in ["return=minimal", "respond-async"] {
            let answer = service.post(row(at)).header("prefer", preference).send().await.unwrap();
            let (status, problem) = problem(answer).await;
            assert_eq!((status, &problem["row"]), (422, &1.into()), "{problem}");
        }
    }
    assert_eq!(service.figure(r#"annals_refusals_total{reason="future"}"#).await, "4");
    assert_eq!(service.lines("pattern=*").await.len(), 2);
    service.end().await;

    let unlimited = Running::with(Config::default().with_max_future(None)).await;
    unlimited.store(&row(i64::MAX as u64)).await;
    unlimited.end().await;
}

#[tokio::test]
async fn a_body_may_be_compressed_and_a_bomb_is_defused() {
    let service = Running::new().await;
    let gzip = |text: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut encoder, text).unwrap();
        encoder.finish().unwrap()
    };
    let send = async |body: Vec<u8>, encoding: &str| {
        let mut request = service.post("").build().unwrap();
        *request.body_mut() = Some(body.into());
        request.headers_mut().insert("content-encoding", encoding.parse().unwrap());
        service.client.execute(request).await.unwrap().status().as_u16()
    };
    assert_eq!(send(gzip(br#"{"record":"a","value":1}"#), "gzip").await, 200);
    let bomb = gzip(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 100_000);
    assert_eq!(send(bomb, "gzip").await, 413);
    assert_eq!(send(b"no gzip".to_vec(), "gzip").await, 400);
    assert_eq!(send(Vec::new(), "zstd").await, 415);
    assert_eq!(service.figure("annals_body_bytes").await, "0");
    service.end().await;
}

/// Each of the 202 path's records has an account in memory.
#[tokio::test]
async fn the_queue_takes_so_many_records_and_no_more() {
    let service = Running::with(Config::default().with_queued_names(2)).await;
    let send = async |name: &str| {
        let row = format!(r#"{{"record":"{name}","value":1}}"#);
        let answer = service.post(row).header("prefer", "respond-async").send().await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!(
        [send("a").await, send("b").await, send("c").await, send("a").await],
        [202, 202, 503, 202]
    );
    service.store(r#"{"record":"c","value":1}"#).await;
    service.end().await;
}
