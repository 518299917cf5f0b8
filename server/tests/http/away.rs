//! Answers to clients while the database fails.

use annals_core::{ErrorKind, Outcome};

use crate::backend::SECRET;
use crate::running::{Running, problem};

const ROW: &str = r#"{"record":"a","value":1,"stored_at":1}"#;

#[tokio::test]
async fn a_failure_has_a_status_an_outcome_and_nothing_of_the_engine_s() {
    let service = Running::new().await;
    for (kind, expected) in [
        (ErrorKind::Busy, 503),
        (ErrorKind::Connection, 503),
        (ErrorKind::Timeout, 503),
        (ErrorKind::Full, 503),
        (ErrorKind::Permission, 500),
        (ErrorKind::Io, 500),
        (ErrorKind::Corrupt, 500),
        (ErrorKind::Other, 500),
    ] {
        for (outcome, said) in [(Outcome::NotApplied, "not-applied"), (Outcome::Unknown, "unknown")]
        {
            service.backend.fail(kind, outcome);
            let (status, problem) = problem(service.post(ROW).send().await.unwrap()).await;
            assert_eq!((status, &problem["outcome"]), (expected, &said.into()), "{kind:?}");
            assert!(!problem.to_string().contains(SECRET), "{problem}");
        }
        for path in ["/v1/history?pattern=*", "/v1/records"] {
            let (status, problem) = problem(service.get(path).send().await.unwrap()).await;
            assert_eq!(status, expected, "{kind:?} {problem}");
            assert!(problem.get("outcome").is_none(), "{problem}");
            assert!(!problem.to_string().contains(SECRET), "{problem}");
        }
    }
    service.backend.work();
    assert!(service.lines("pattern=*").await.is_empty());
    service.end().await;
}
