//! What each tool answers.

use serde_json::{Value, json};

use crate::client::Client;
use crate::fake::Wire;

const ROWS: [(&str, &str, u64); 6] = [
    ("city::graz", r#"{"celsius":-1.5,"by":{"day":[10]}}"#, 1_000),
    ("city::graz", r#"{"celsius":4,"by":{"day":[20]}}"#, 2_000),
    ("city::graz", r#"{"celsius":"none"}"#, 3_000),
    ("city::wien", "7", 2_000),
    ("city::wien", "9", 2_000),
    ("other", "null", 5),
];

fn values(page: &Value) -> Vec<(&str, u64, &Value)> {
    let row = |row: &'_ Value| row["stored_at"].as_u64().unwrap();
    let rows = page["rows"].as_array().unwrap();
    rows.iter().map(|r| (r["record"].as_str().unwrap(), row(r), &r["value"])).collect()
}

#[tokio::test]
async fn list_records_tells_what_is_there() {
    let client = Client::of_file(&ROWS).await;
    let all = client.ask("list_records", json!({})).await;
    assert_eq!(
        all["records"][0],
        json!({
            "record": "city::graz", "count": 3,
            "first": {"stored_at": 1000, "time": "1970-01-01T00:00:01.000Z"},
            "last": {"stored_at": 3000, "time": "1970-01-01T00:00:03.000Z"},
        })
    );
    assert_eq!(all["records"].as_array().unwrap().len(), 3);
    assert_eq!(all["next_cursor"], Value::Null);
    let some = client.ask("list_records", json!({"pattern": "*wien"})).await;
    assert_eq!(some["records"].as_array().unwrap().len(), 1);
    let none = client.ask("list_records", json!({"pattern": "none*"})).await;
    assert_eq!(none, json!({"records": []}));
}

#[tokio::test]
async fn list_records_over_aimx_lists_them_without_counting() {
    for wire in crate::fake::WIRES {
        let client = Client::of_server(wire, &ROWS).await;
        let all = client.ask("list_records", json!({})).await;
        assert_eq!(
            all["records"][1],
            json!({
                "record": "city::wien",
                "last": {"stored_at": 2000, "time": "1970-01-01T00:00:02.000Z"},
            }),
            "{wire:?}"
        );
        assert_eq!(all["records"].as_array().unwrap().len(), 3, "{wire:?}");
    }
}

#[tokio::test]
async fn query_latest_gives_the_newest_of_each() {
    for (name, client) in Client::of_each(&ROWS).await {
        let page = client.ask("query_latest", json!({"pattern": "*"})).await;
        assert_eq!(
            values(&page),
            [
                ("city::graz", 3_000, &json!({"celsius": "none"})),
                ("city::wien", 2_000, &json!(9)),
                ("other", 5, &json!(null)),
            ],
            "{name}"
        );
        assert_eq!(page["rows"][0]["time"], "1970-01-01T00:00:03.000Z", "{name}");
        let page = client.ask("query_latest", json!({"pattern": "city::wien", "values": 5})).await;
        assert_eq!(values(&page).len(), 2, "{name}");
        let page = client.ask("query_latest", json!({"pattern": "city::salzburg"})).await;
        assert_eq!(page, json!({"rows": []}), "{name}");
    }
}

#[tokio::test]
async fn query_range_includes_both_ends_and_takes_every_form_of_time() {
    for (name, client) in Client::of_each(&ROWS).await {
        let times = |page: &Value| values(page).iter().map(|(_, at, _)| *at).collect::<Vec<_>>();
        let asked = json!({"pattern": "city::graz", "from": 1000, "to": "1970-01-01T00:00:02Z"});
        let page = client.ask("query_range", asked.clone()).await;
        assert_eq!(times(&page), [2_000, 1_000], "{name}");
        let mut oldest_first = asked;
        oldest_first["oldest_first"] = json!(true);
        let page = client.ask("query_range", oldest_first).await;
        assert_eq!(times(&page), [1_000, 2_000], "{name}");
        let page = client.ask("query_range", json!({"pattern": "*", "from": "24h"})).await;
        assert_eq!(times(&page), [0; 0], "{name}: all of it is older");
        let page = client.ask("query_range", json!({"pattern": "*", "to": "24h"})).await;
        assert_eq!(times(&page).len(), 6, "{name}");
    }
}

#[tokio::test]
async fn summarise_record_counts_and_does_sums() {
    for (name, client) in Client::of_each(&ROWS).await {
        let asked = json!({"record": "city::graz", "member": "celsius"});
        let summary = client.ask("summarise_record", asked).await;
        assert_eq!(summary["count"], 3, "{name}");
        assert_eq!(summary["first"]["stored_at"], 1_000, "{name}");
        assert_eq!(summary["last"]["value"], json!({"celsius": "none"}), "{name}");
        let numbers = json!({"count": 2, "min": -1.5, "max": 4.0, "mean": 1.25});
        assert_eq!(summary["numbers"], numbers, "{name}");
        assert_eq!(summary["without_number"], 1, "{name}");

        let asked = json!({"record": "city::graz", "member": "/by/day/0", "from": 2000});
        let summary = client.ask("summarise_record", asked).await;
        assert_eq!((&summary["count"], &summary["numbers"]["mean"]), (&json!(2), &json!(20.0)));

        let summary = client.ask("summarise_record", json!({"record": "city::wien"})).await;
        assert_eq!(summary["numbers"]["mean"], json!(8.0), "{name}");
        let summary = client.ask("summarise_record", json!({"record": "city"})).await;
        assert_eq!(summary, json!({"record": "city", "count": 0, "without_number": 0}), "{name}");
    }
}

#[tokio::test]
async fn value_at_gives_the_newest_row_up_to_a_moment() {
    for (name, client) in Client::of_each(&ROWS).await {
        let asked = json!({"pattern": "*", "time": "1970-01-01T00:00:02.500Z"});
        let page = client.ask("value_at", asked).await;
        let expected = [
            ("city::graz", 2_000, &json!({"celsius": 4, "by": {"day": [20]}})),
            ("city::wien", 2_000, &json!(9)),
            ("other", 5, &json!(null)),
        ];
        assert_eq!(values(&page), expected, "{name}");
        let page = client.ask("value_at", json!({"pattern": "city::graz", "time": 999})).await;
        assert_eq!(page, json!({"rows": []}), "{name}");
    }
}

#[tokio::test]
async fn aggregate_answers_with_statistics_per_interval() {
    for (name, client) in Client::of_each(&ROWS).await {
        let asked = json!({"pattern": "*", "member": "celsius"});
        let page = client.ask("aggregate", asked).await;
        assert_eq!(
            page,
            json!({"buckets": [
                {"record": "city::graz", "start": 1_000, "end": 3_001, "count": 2, "skipped": 1,
                 "mean": 1.25, "min": -1.5, "max": 4.0, "time": "1970-01-01T00:00:01Z"},
                {"record": "city::wien", "start": 2_000, "end": 2_001, "count": 0, "skipped": 2,
                 "time": "1970-01-01T00:00:02Z"},
                {"record": "other", "start": 5, "end": 6, "count": 0, "skipped": 1,
                 "time": "1970-01-01T00:00:00.005Z"},
            ]}),
            "{name}"
        );
        let asked = json!({
            "pattern": "city::graz", "member": "/by/day/0", "every": "1s", "from": 1_000,
            "to": 3_999, "functions": ["p50", "increase"], "fill": "previous",
            "time_zone": "Asia/Kathmandu", "newest_first": true,
        });
        let page = client.ask("aggregate", asked).await;
        let buckets = page["buckets"].as_array().unwrap();
        let times: Vec<_> = buckets.iter().map(|b| b["start"].as_u64().unwrap()).collect();
        assert_eq!(times, [3_000, 2_000, 1_000], "{name}");
        assert_eq!((&buckets[0]["filled"], &buckets[0]["p50"]), (&json!(true), &json!(20.0)));
        assert_eq!(buckets[1]["increase"], 10.0, "{name}");
        assert_eq!(buckets[1]["time"], "1970-01-01T05:30:02+05:30", "{name}");

        let merged = json!({"pattern": "*", "member": "celsius", "merge": true,
                            "functions": ["count", "skipped", "max"]});
        let page = client.ask("aggregate", merged).await;
        let bucket = json!({"record": "*", "start": 5, "end": 3_001, "count": 2, "skipped": 4,
                            "max": 4.0, "time": "1970-01-01T00:00:00.005Z"});
        assert_eq!(page, json!({"buckets": [bucket]}), "{name}");

        // Between -1.5 and 4, a second later, a line has 2.75 more below it than a step.
        let mut areas = Vec::new();
        for interpolation in ["step", "linear"] {
            let asked = json!({"pattern": "city::graz", "member": "celsius",
                               "functions": ["integral"], "interpolation": interpolation});
            let page = client.ask("aggregate", asked).await;
            areas.push(page["buckets"][0]["integral"].as_f64().unwrap());
        }
        assert!((areas[1] - areas[0] - 2.75).abs() < 1e-9, "{name}: {areas:?}");
    }
}

/// More rows than any page, and than a request over AimX.
#[tokio::test]
async fn summarise_record_reads_to_the_end() {
    let texts: Vec<String> = (1..=2_000).map(|i| i.to_string()).collect();
    let rows: Vec<_> = texts.iter().zip(1..).map(|(text, at)| ("n", text.as_str(), at)).collect();
    for (name, client) in Client::of_each(&rows).await {
        let summary = client.ask("summarise_record", json!({"record": "n"})).await;
        let numbers = json!({"count": 2_000, "min": 1.0, "max": 2_000.0, "mean": 1000.5});
        assert_eq!(summary["numbers"], numbers, "{name}");
        assert_eq!(summary["first"]["value"], 1, "{name}");
    }
}

#[tokio::test]
async fn wrong_parameters_are_the_tools_own_errors_and_say_what_is_wrong() {
    let client = Client::of_file(&ROWS).await;
    for (tool, arguments, text) in [
        ("query_latest", json!({}), "missing field `pattern`"),
        ("query_latest", json!({"pattern": 7}), "invalid type: integer `7`"),
        ("query_latest", json!({"pattern": ""}), "invalid pattern"),
        ("query_latest", json!({"pattern": "a", "last": 3}), "unknown field `last`"),
        ("query_latest", json!({"pattern": "a", "values": 0}), "`values` is 0"),
        ("query_latest", json!({"pattern": "a", "limit": 501}), "`limit` is 501 where 1 to 500"),
        ("list_records", json!({"limit": 0}), "`limit` is 0 where 1 to 1000"),
        ("list_records", json!({"pattern": "a*", "grammar": "topic"}), "topic grammar"),
        ("list_records", json!({"grammar": "regex"}), "unknown variant `regex`"),
        ("query_range", json!({"pattern": "a", "from": "yesterday"}), "`from` is not a time"),
        ("query_range", json!({"pattern": "a", "to": -5}), "a time is Unix milliseconds"),
        ("query_range", json!({"pattern": "a", "cursor": "x"}), "not a cursor"),
        ("summarise_record", json!({"record": "city::*"}), "invalid record name"),
        ("summarise_record", json!({"record": "a", "member": "/~2"}), "invalid member"),
        ("value_at", json!({"pattern": "a"}), "missing field `time`"),
        ("value_at", json!({"pattern": "a", "time": "noon"}), "`time` is not a time"),
        ("aggregate", json!({"pattern": "a", "every": "5"}), "15m, 1h or 24h"),
        ("aggregate", json!({"pattern": "a", "functions": ["average"]}), "time_weighted_mean"),
        ("aggregate", json!({"pattern": "a", "time_zone": "Vienna"}), "Europe/Vienna"),
        ("aggregate", json!({"pattern": "a", "fill": "zero"}), "unknown variant `zero`"),
        ("aggregate", json!({"pattern": "a", "max_gap": "5"}), "`max_gap`: "),
        ("aggregate", json!({"pattern": "none*", "member": "/~2"}), "invalid member"),
    ] {
        let message = client.refused(tool, arguments.clone()).await;
        assert!(message.contains(text), "{tool} {arguments}: {message}");
    }
}

#[tokio::test]
async fn over_aimx_the_grammar_is_the_servers() {
    let rows = [("a.b.c", "1", 1), ("a.c", "2", 1)];
    let found = async |wire, pattern: &str| {
        let client = Client::of_server(wire, &rows).await;
        let page = client.ask("query_latest", json!({"pattern": pattern})).await;
        page["rows"].as_array().unwrap().len()
    };
    assert_eq!(found(Wire::One, "a.*").await, 2);
    assert_eq!(found(Wire::Three, "a.*").await, 1);
    assert_eq!(found(Wire::Three, "a.#").await, 2);
    let client = Client::of_server(Wire::One, &rows).await;
    let asked = json!({"pattern": "a.*", "grammar": "glob"});
    assert!(client.refused("query_latest", asked).await.contains("leave it out"));
}

/// A server may start later than the assistant, and go and come back.
#[tokio::test]
async fn a_server_that_is_away_is_an_error_of_the_tool_until_it_is_back() {
    let place = crate::support::Place::new();
    let socket = place.path("aimdb.sock");
    let client = Client::start(place, &["--aimx", "unix:aimdb.sock"]).await;
    let asked = json!({"pattern": "*"});
    let message = client.refused("query_latest", asked.clone()).await;
    assert!(message.contains("there is no socket at aimdb.sock"), "{message}");
    for value in ["1", "2"] {
        let rows = [("a", value, 1)];
        let server = crate::fake::Mortal::with_history(Wire::One, &socket, &rows);
        let page = client.ask("query_latest", asked.clone()).await;
        assert_eq!(page["rows"][0]["value"].to_string(), value);
        server.stop();
    }
}

#[tokio::test]
async fn an_error_of_the_backend_has_no_secrets() {
    let place = crate::support::Place::new();
    place.import(crate::client::BACKEND, &[("a", "1", 1)]);
    let url = "sqlite:history.db?durability=process";
    let file = place.path("history.db");
    let client = Client::start(place, &["--backend", url]).await;
    let database = rusqlite::Connection::open(file).unwrap();
    database.execute_batch("ALTER TABLE head RENAME TO gone").unwrap();
    let message = client.refused("query_latest", json!({"pattern": "a"})).await;
    assert!(message.starts_with("sqlite: ") && !message.contains("durability"), "{message}");
}

#[tokio::test]
async fn a_filter_selects_values_in_every_tool_that_reads_them() {
    for (name, client) in Client::of_each(&ROWS).await {
        let cold = json!({"pattern": "*", "where": "celsius < 3 or = 7"});
        let page = client.ask("query_latest", cold.clone()).await;
        let expected = json!({"celsius": -1.5, "by": {"day": [10]}});
        assert_eq!(
            values(&page),
            [("city::graz", 1_000, &expected), ("city::wien", 2_000, &json!(7))],
            "{name}"
        );
        let page = client.ask("query_range", cold).await;
        assert_eq!(values(&page).len(), 2, "{name}");
        let asked = json!({"pattern": "city::graz", "time": 3000, "where": "celsius > 3"});
        assert_eq!(values(&client.ask("value_at", asked).await)[0].1, 2_000, "{name}");
        let asked = json!({"pattern": "city::graz", "member": "celsius", "where": "exists by"});
        let page = client.ask("aggregate", asked).await;
        assert_eq!(page["buckets"][0]["count"], 2, "{name}");
        assert_eq!(page["buckets"][0]["skipped"].as_u64().unwrap_or(0), 0, "{name}");
    }
}
