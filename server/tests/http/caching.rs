//! What clients may keep, and 304 for those that have the answer.

use reqwest::Response;

use crate::running::Running;

async fn ask(service: &Running, path: &str, tags: &[&str]) -> Response {
    let request =
        tags.iter().fold(service.get(path), |request, tag| request.header("if-none-match", *tag));
    request.send().await.unwrap()
}

fn header(answer: &Response, name: &str) -> Option<String> {
    answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_complete_answer_has_a_tag_and_is_sent_once() {
    let service = Running::new().await;
    service.store(r#"[{"record":"a","value":1},{"record":"b","value":1}]"#).await;
    for path in ["/v1/records", "/v1/records?limit=1", "/v1/openapi.json", "/", "/page/app.js"] {
        let answer = ask(&service, path, &[]).await;
        assert_eq!(answer.status(), 200, "{path}");
        let tag = header(&answer, "etag").unwrap();
        let kept = header(&answer, "cache-control").unwrap();
        assert!(kept.contains("no-cache"), "{path}: {kept}");
        assert!(path.contains("page") || path == "/" || kept.contains("private"), "{path}: {kept}");
        let link = header(&answer, "link");
        assert!(!answer.bytes().await.unwrap().is_empty());
        for tags in [&[&*tag][..], &["\"x\"", &tag], &["*"]] {
            let answer = ask(&service, path, tags).await;
            assert_eq!(answer.status(), 304, "{path}");
            assert_eq!(header(&answer, "etag").as_deref(), Some(&*tag));
            assert_eq!(
                (header(&answer, "link"), header(&answer, "content-type")),
                (link.clone(), None)
            );
            assert!(answer.bytes().await.unwrap().is_empty());
        }
        assert_eq!(ask(&service, path, &["\"x\""]).await.status(), 200, "{path}");
    }
    service.end().await;
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let service = Running::new().await;
    service.store(r#"{"record":"a","value":1}"#).await;
    let head = |path: &str| service.client.head(format!("{}{path}", service.base));
    for path in ["/v1/records", "/v1/openapi.json", "/", "/v1/history?pattern=*", "/v1/nothing"] {
        let (answer, asked) = (head(path).send().await.unwrap(), ask(&service, path, &[]).await);
        assert_eq!(answer.status(), asked.status(), "{path}");
        for name in ["etag", "cache-control", "content-type", "content-length"] {
            assert_eq!(header(&answer, name), header(&asked, name), "{path}: {name}");
        }
        assert!(answer.bytes().await.unwrap().is_empty(), "{path}");
    }
    let tag = header(&ask(&service, "/v1/records", &[]).await, "etag").unwrap();
    let answer = head("/v1/records").header("if-none-match", tag).send().await.unwrap();
    assert_eq!(answer.status(), 304);
    service.end().await;
}

#[tokio::test]
async fn a_tag_is_never_stale() {
    let service = Running::new().await;
    service.store(r#"{"record":"a","value":1}"#).await;
    for (path, row) in [
        ("/v1/records", r#"{"record":"a","value":1}"#),
        ("/v1/records?limit=1", r#"{"record":"b","value":1}"#),
    ] {
        let tag = header(&ask(&service, path, &[]).await, "etag").unwrap();
        service.store(row).await;
        // On the second path the same record stands in the body, and there is a next page now.
        let answer = ask(&service, path, &[&tag]).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_ne!(header(&answer, "etag").unwrap(), tag);
    }
    service.end().await;
}

#[tokio::test]
async fn nothing_else_is_kept() {
    let service = Running::new().await;
    service.store(r#"{"record":"a","value":1}"#).await;
    for path in [
        "/v1/history?pattern=*",
        "/v1/value-at?pattern=*&at=0s",
        "/v1/aggregate?pattern=*",
        "/v1/follow?pattern=*",
        "/v1/history",
        "/v1/nothing",
        "/page/nothing",
    ] {
        let answer = ask(&service, path, &["*"]).await;
        assert_ne!(answer.status(), 304, "{path}");
        assert_eq!(header(&answer, "cache-control").as_deref(), Some("no-store"), "{path}");
        assert_eq!(header(&answer, "etag"), None, "{path}");
    }
    let answer = service.post(r#"{"record":"a","value":1}"#).header("if-none-match", "*");
    let answer = answer.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "etag")), (200, None));
    assert_eq!(header(&answer, "cache-control").as_deref(), Some("no-store"));
    service.end().await;
}
