//! `POST /v1/rows`.

use annals::QueryExt;
use annals_example_cloud_service::Ending;
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
                    || (status == 400 && problem["detail"].to_string().contains("the body")),
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
        ("", ("x-none", ""), 400, "the body"),
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
    for (writer, number) in
        [("me", "1"), (WRITER, "0"), (WRITER, "x"), (WRITER, "9223372036854775808"), (WRITER, "-1")]
    {
        let request = service.post(row).header("annals-writer", writer);
        let answer = request.header("annals-batch", number).send().await.unwrap();
        assert_eq!(problem(answer).await.0, 400, "{writer} {number}");
    }
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
