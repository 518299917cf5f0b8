//! Who may do what, and how much.

use annals_server::{Access, Config, Right, Server, TokenLimits, Tokens};
use axum::Router;
use reqwest::RequestBuilder;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::guarded::{Guarded, grant, unlimited};
use crate::running::problem;

/// What others may read does not come, and does not stop what does.
#[tokio::test]
async fn a_follower_gets_what_its_token_may_read() {
    let few = TokenLimits { rows_per_answer: Some(2), ..unlimited() };
    let one_query = TokenLimits { concurrent_queries: Some(1), ..unlimited() };
    let (guarded, tokens) = Guarded::new(vec![
        ("one", vec![grant(&[Right::Read], "plant1::*")], one_query),
        ("few", vec![grant(&[Right::Read], "*")], few),
        ("write", vec![grant(&[Right::Write], "*")], unlimited()),
    ])
    .await;
    let mut answer = guarded.get("/v1/follow?pattern=*&from=0", &tokens[0]).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["annals-restricted"], "true");
    let refused = guarded.get("/v1/follow?pattern=*", &tokens[0]).await;
    assert_eq!(problem(refused).await.0, 429);
    for record in ["plant2::x", "plant1::x"] {
        assert_eq!(guarded.write(record, &tokens[2]).send().await.unwrap().status(), 200);
    }
    let mut text = String::new();
    while !text.contains("plant1::x") {
        text += std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap();
    }
    assert!(text.contains("plant1::a") && text.contains("plant1::b"), "{text}");
    assert!(!text.contains("plant2"), "{text}");
    drop(answer);
    // The answer ends, and its last id goes on.
    let answer = guarded.get("/v1/follow?pattern=*&from=0", &tokens[1]).await;
    assert_eq!(answer.headers()["annals-limit"], "2");
    let text = answer.text().await.unwrap();
    assert_eq!(text.matches("data: {\"record\"").count(), 2, "{text}");
    assert!(text.contains("event: end\n"), "{text}");
    let id = text.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap();
    let path = format!("/v1/follow?pattern=*&cursor={id}");
    let text = guarded.get(&path, &tokens[1]).await.text().await.unwrap();
    assert_eq!(text.matches("data: {\"record\"").count(), 2, "{text}");
    let refused = guarded.get("/v1/follow?pattern=*", &tokens[2]).await;
    assert_eq!(problem(refused).await.0, 403);
    guarded.service.end().await;
}

#[tokio::test]
async fn an_answer_has_what_the_token_may_read_and_says_if_there_may_be_more() {
    let (guarded, tokens) = Guarded::new(vec![
        ("one", vec![grant(&[Right::Read], "plant1::*")], unlimited()),
        ("all", vec![grant(&[Right::Read], "*")], unlimited()),
        (
            "two",
            vec![grant(&[Right::Read], "plant1::b"), grant(&[Right::Read], "*::a")],
            unlimited(),
        ),
    ])
    .await;
    let asked = "/prometheus/api/v1/series?match[]=annals";
    let asked = [guarded.get(asked, &tokens[0]).await, guarded.get(asked, &tokens[1]).await];
    assert_eq!(
        asked.map(|answer| answer.headers().contains_key("annals-restricted")),
        [true, false]
    );
    for path in [
        "/v1/records?pattern=",
        "/v1/history?pattern=",
        "/v1/value-at?at=9&pattern=",
        "/v1/aggregate?every=1h&pattern=",
    ] {
        for (pattern, token, expected, restricted) in [
            ("*", 0, &["plant1::a", "plant1::b"][..], true),
            ("plant1::*", 0, &["plant1::a", "plant1::b"], false),
            ("plant1::a", 0, &["plant1::a"], false),
            ("plant2::a", 0, &[], true),
            ("plant2::*", 0, &[], true),
            ("*::a", 0, &["plant1::a"], true),
            ("*", 1, &["plant1::a", "plant1::b", "plant2::a"], false),
            ("*", 2, &["plant1::a", "plant1::b", "plant2::a"], true),
            ("*::b", 2, &["plant1::b"], true),
        ] {
            let seen = guarded.names(&format!("{path}{pattern}"), &tokens[token]).await;
            let expected = expected.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(seen, (expected, restricted), "{path}{pattern} {token}");
        }
    }
    let merged = guarded.get("/v1/aggregate?pattern=*&merge=true", &tokens[0]).await;
    let merged: Value = serde_json::from_str(&merged.text().await.unwrap()).unwrap();
    assert_eq!((&merged["count"], &merged["max"]), (&2.into(), &2.0.into()));
    guarded.service.end().await;
}

#[tokio::test]
async fn a_right_is_for_what_it_names() {
    let (guarded, tokens) = Guarded::new(vec![
        ("reader", vec![grant(&[Right::Read], "*")], unlimited()),
        ("writer", vec![grant(&[Right::Write], "plant1::*")], unlimited()),
        ("admin", vec![grant(&[Right::Admin], "*")], unlimited()),
    ])
    .await;
    let (reader, writer, admin) = (&*tokens[0], &*tokens[1], &*tokens[2]);
    let status = async |request: RequestBuilder| request.send().await.unwrap().status().as_u16();
    assert_eq!(status(guarded.write("plant1::a", writer)).await, 200);
    assert_eq!(status(guarded.write("plant2::a", writer)).await, 403);
    assert_eq!(status(guarded.write("plant1::a", reader)).await, 403);
    for (path, token, expected) in [
        ("/v1/history?pattern=*", reader, 200),
        ("/v1/history?pattern=*", writer, 403),
        ("/v1/records", admin, 403),
        ("/v1/status", admin, 200),
        ("/v1/status", reader, 403),
        ("/metrics", admin, 200),
        ("/metrics", reader, 403),
    ] {
        assert_eq!(guarded.get(path, token).await.status(), expected, "{path}");
    }
    // Several rows are stored together or not at all.
    let rows = r#"[{"record":"plant1::c","value":1},{"record":"plant2::c","value":1}]"#;
    let answer = guarded.service.post(rows).bearer_auth(writer).send().await.unwrap();
    let (code, problem) = problem(answer).await;
    assert_eq!(
        (code, &problem["row"], &problem["outcome"]),
        (403, &1.into(), &"not-applied".into())
    );
    assert_eq!(guarded.names("/v1/records?pattern=*::c", reader).await.0, [""; 0]);
    guarded.service.end().await;
}

/// A token that may not read learned values: a batch with a number that was taken was compared with
/// the rows of the store, and told apart from another by its answer.
#[tokio::test]
async fn a_batch_id_tells_nothing_about_what_others_wrote() {
    let write = || vec![grant(&[Right::Write], "*")];
    let (guarded, tokens) =
        Guarded::new(vec![("honest", write(), unlimited()), ("spy", write(), unlimited())]).await;
    let send = async |token: &str, number: u64, value: u64| {
        let row =
            format!(r#"{{"record":"plant1::pin","value":{value},"stored_at":1740081234000}}"#);
        let request = guarded.service.post(row).bearer_auth(token);
        let request = request.header("annals-writer", "0123456789abcdef0123456789abcdef");
        let answer = request.header("annals-batch", number.to_string()).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap()["stored"].clone())
    };
    let (honest, spy) = (&*tokens[0], &*tokens[1]);
    assert_eq!(send(honest, 1, 4711).await, (200, 1.into()));
    let known = async |token: &str| {
        let request = guarded.service.get("/v1/batch").bearer_auth(token);
        let request = request.header("annals-writer", "0123456789abcdef0123456789abcdef");
        let answer = request.header("annals-batch", "1").send().await.unwrap();
        answer.json::<Value>().await.unwrap()["stored"].clone()
    };
    assert_eq!([known(honest).await, known(spy).await], [true, false]);
    // The same writer and number are another batch.
    assert_eq!(send(spy, 1, 4711).await, (200, 1.into()));
    assert_eq!(send(spy, 5, 1).await, (200, 1.into()));
    // A number that is taken: the right guess and a wrong one have the same answer.
    for number in [1, 2, 4] {
        assert_eq!([send(spy, number, 4711).await.0, send(spy, number, 4712).await.0], [409, 409]);
    }
    // A retry is known, also when the file of tokens was read again.
    assert_eq!(send(honest, 1, 4711).await, (200, Value::Null));
    Tokens::add(&guarded.file, "third", write(), unlimited()).unwrap();
    assert_eq!(send(honest, 1, 4711).await, (200, Value::Null));
    assert_eq!(send(honest, 1, 1).await.0, 409);
    guarded.service.end().await;
}

#[tokio::test]
async fn without_a_token_there_are_probes_only_and_a_thousand_guesses_find_nothing() {
    let all = [Right::Read, Right::Write, Right::Erase, Right::Admin];
    let (guarded, tokens) = Guarded::new(vec![("all", vec![grant(&all, "*")], unlimited())]).await;
    let service = &guarded.service;
    for (path, expected) in
        [("/livez", 200), ("/readyz", 200), ("/v1/records", 401), ("/metrics", 401), ("/v1/x", 401)]
    {
        assert_eq!(service.get(path).send().await.unwrap().status(), expected, "{path}");
    }
    let answer = service.get("/v1/records").send().await.unwrap();
    assert_eq!(answer.headers()["www-authenticate"], "Bearer");
    for guess in 0..1_000 {
        let guess = format!("annals_{guess:064x}");
        assert_eq!(guarded.get("/v1/records", &guess).await.status(), 401);
    }
    for nearly in [&tokens[0][..tokens[0].len() - 1], "", "annals_"] {
        assert_eq!(guarded.get("/v1/records", nearly).await.status(), 401);
    }
    let metrics = guarded.get("/metrics", &tokens[0]).await.text().await.unwrap();
    let refused = r#"annals_refusals_total{reason="unauthorized"} 1007"#;
    assert!(metrics.contains(refused), "{metrics}");
    guarded.service.end().await;
}

#[tokio::test]
async fn the_file_is_read_again_and_a_broken_one_changes_nothing() {
    let all = vec![grant(&[Right::Read], "*")];
    let (guarded, tokens) = Guarded::new(vec![("old", all.clone(), unlimited())]).await;
    let new = Tokens::add(&guarded.file, "new", all, unlimited()).unwrap();
    assert_eq!(guarded.get("/v1/records", new.reveal()).await.status(), 200);
    std::fs::write(&guarded.file, "{").unwrap();
    assert_eq!(guarded.get("/v1/records", &tokens[0]).await.status(), 200);
    std::fs::write(&guarded.file, r#"{"tokens": []}"#).unwrap();
    assert_eq!(guarded.get("/v1/records", &tokens[0]).await.status(), 401);
    let text = std::fs::read_to_string(&guarded.file).unwrap();
    assert!(!text.contains(&tokens[0]));
    guarded.service.end().await;
}

#[tokio::test]
async fn a_token_has_limits_and_is_told_when_to_come_again() {
    let limits = TokenLimits {
        rows_per_second: Some(0.001),
        rows_per_answer: Some(2),
        concurrent_queries: Some(1),
    };
    let rights = [Right::Read, Right::Write];
    let two = TokenLimits { concurrent_queries: None, ..limits };
    let (guarded, tokens) = Guarded::new(vec![
        ("limited", vec![grant(&rights, "*")], limits),
        ("two", vec![grant(&rights, "*")], two),
    ])
    .await;
    assert_eq!(guarded.write("plant1::a", &tokens[0]).send().await.unwrap().status(), 200);
    let answer = guarded.write("plant1::a", &tokens[0]).send().await.unwrap();
    assert_eq!(answer.headers()["retry-after"], "999");
    assert_eq!(problem(answer).await.0, 429);
    let follower = guarded.get("/v1/follow?pattern=*", &tokens[0]).await;
    let answer = guarded.get("/v1/records", &tokens[0]).await;
    drop(follower);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(problem(answer).await.0, 429);
    for path in ["/v1/history?pattern=*", "/v1/history?pattern=*&limit=7"] {
        let answer = guarded.get(path, &tokens[1]).await;
        assert_eq!(answer.headers()["annals-limit"], "2");
        assert_eq!(answer.text().await.unwrap().lines().count(), 2);
    }
    assert_eq!(guarded.names("/v1/records", &tokens[1]).await.0.len(), 2);
    // An answer of the Prometheus API that ended early would pass for all.
    let api = |path: &str| format!("/prometheus/api/v1/{path}");
    let ask = async |path: &str| {
        let answer = guarded.get(&api(path), &tokens[1]).await;
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    for path in ["query_range?query=annals&start=0&end=60&step=1", "series?match[]=annals"] {
        let (status, text) = ask(path).await;
        assert!(status == 422 && text.contains("may have 2 points"), "{path}: {text}");
    }
    let (status, text) = ask("query?query=sum(annals)").await;
    assert!(status == 200 && text.contains("success"), "{text}");
    guarded.service.end().await;
}

#[test]
fn a_file_without_meaning_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.json");
    let entry = |rest: &str| format!(r#"{{"name":"a","sha256":"{}",{rest}}}"#, "0".repeat(64));
    let tokens = |entries: &[String]| format!(r#"{{"tokens":[{}]}}"#, entries.join(","));
    let read = r#""grants":[{"rights":["read"],"pattern":"*"}]"#;
    for (text, says) in [
        (String::new(), "EOF"),
        (tokens(&[entry(read), entry(read)]), "two tokens"),
        (tokens(&[entry(r#""grants":[{"rights":["fly"]}]"#)]), "fly"),
        (tokens(&[entry(r#""grants":[{"rights":["read"],"pattern":""}]"#)]), "pattern"),
        (tokens(&[entry(&format!(r#"{read},"limits":{{"rows_per_second":-1}}"#))]), "above 0"),
        (tokens(&[entry(&format!(r#"{read},"limits":{{"rows_per_answer":0}}"#))]), "above 0"),
        (tokens(&[entry(&format!(r#"{read},"limits":{{"concurrent_queries":0}}"#))]), "above 0"),
        (tokens(&[entry(read).replace("000", "xyz")]), "hexadecimal"),
        (tokens(&[entry(read).replace(r#""a""#, r#""""#)]), "name"),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = Tokens::open(&file).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("tokens.json"), "{error}");
    }
    assert!(Tokens::open(folder.path().join("none.json")).is_err());
}

/// A service that nests the interface kept its probes and the page behind tokens.
#[tokio::test]
async fn what_is_open_to_everybody_is_so_where_it_is_nested() {
    let (guarded, _) =
        Guarded::new(vec![("t", vec![grant(&[Right::Read], "*")], Default::default())]).await;
    let access = Access::Tokens(Tokens::open(&guarded.file).unwrap());
    let backend = guarded.service.backend.clone();
    let server = Server::new(backend, Config::default().with_access(access)).unwrap();
    let service = Router::new().nest("/my/history", server.router());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async { axum::serve(listener, service).await.unwrap() });
    for (path, status) in [
        ("/my/history/livez", 200),
        ("/my/history/readyz", 200),
        ("/my/history", 200),
        ("/my/history/page/app.js", 200),
        ("/my/history/v1/records", 401),
        ("/my/history/v1/livez", 401),
        ("/my/history/metrics", 401),
        ("/my/livez", 404),
    ] {
        let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
    serving.abort();
    guarded.service.end().await;
}
