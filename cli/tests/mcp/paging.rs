//! No answer floods the caller, and all pages together are the whole answer.

use serde_json::{Value, json};

use crate::client::Client;

type Rows<'a> = Vec<(&'a str, &'a str, u64)>;

/// Three records of 70 values each, seven at each time.
fn rows(texts: &[String]) -> Rows<'_> {
    let rows = texts.iter().enumerate();
    rows.map(|(i, text)| (["a", "b", "c"][i / 70], text.as_str(), (i % 70 / 7 * 10) as u64))
        .collect()
}

fn texts() -> Vec<String> {
    (0..210).map(|i| i.to_string()).collect()
}

fn numbers(rows: &[Value]) -> Vec<u64> {
    rows.iter().map(|row| row["value"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn pages_of_any_size_are_together_the_whole_answer() {
    let texts = texts();
    let rows = rows(&texts);
    let by_record = |record: u64| (record * 70..(record + 1) * 70).collect::<Vec<u64>>();
    let oldest_first: Vec<_> = (0..3).flat_map(by_record).collect();
    let newest_first: Vec<_> = (0..3).flat_map(|r| by_record(r).into_iter().rev()).collect();
    let latest: Vec<_> = (0..3).flat_map(|r| by_record(r).into_iter().rev().take(12)).collect();
    for (name, client) in Client::of_each(&rows).await {
        for limit in [1, 3, 7, 70, 209, 210, 500] {
            if limit == 1 && name != "sqlite" {
                continue;
            }
            let asked = json!({"pattern": "*", "limit": limit});
            let (all, pages) = client.pages("query_range", "rows", asked).await;
            assert_eq!(numbers(&all), newest_first, "{name} {limit}");
            assert_eq!(pages, 210_usize.div_ceil(limit), "{name} {limit}");

            let asked = json!({"pattern": "*", "limit": limit, "oldest_first": true});
            let (all, _) = client.pages("query_range", "rows", asked).await;
            assert_eq!(numbers(&all), oldest_first, "{name} {limit}");

            let asked = json!({"pattern": "*", "limit": limit, "values": 12});
            let (all, pages) = client.pages("query_latest", "rows", asked).await;
            assert_eq!(numbers(&all), latest, "{name} {limit}");
            assert_eq!(pages, 36_usize.div_ceil(limit), "{name} {limit}");
        }
        let asked = json!({"pattern": "b", "limit": 9, "from": 20, "to": 40});
        let (all, pages) = client.pages("query_range", "rows", asked).await;
        assert_eq!(numbers(&all), (84..105).rev().collect::<Vec<_>>(), "{name}");
        assert_eq!(pages, 3, "{name}");
    }
}

#[tokio::test]
async fn buckets_come_in_pages_in_either_order() {
    let texts = texts();
    for (name, client) in Client::of_each(&rows(&texts)).await {
        for newest_first in [false, true] {
            let whole = json!({"pattern": "*", "every": "10ms", "functions": ["increase"],
                               "newest_first": newest_first});
            let (all, pages) = client.pages("aggregate", "buckets", whole.clone()).await;
            assert_eq!((all.len(), pages), (30, 1), "{name}");
            for limit in [7, 10, 29, 30] {
                let mut asked = whole.clone();
                asked["limit"] = json!(limit);
                let (paged, pages) = client.pages("aggregate", "buckets", asked).await;
                assert_eq!(paged, all, "{name} {limit}");
                assert_eq!(pages, 30_usize.div_ceil(limit), "{name} {limit}");
            }
        }
        let asked = json!({"pattern": "*", "time": 35, "limit": 2});
        let (all, pages) = client.pages("value_at", "rows", asked).await;
        assert_eq!((numbers(&all), pages), (vec![27, 97, 167], 2), "{name}");
    }
}

#[tokio::test]
async fn records_come_in_pages() {
    let names: Vec<String> = (0..250).map(|i| format!("record::{i:03}")).collect();
    let rows: Rows<'_> = names.iter().map(|name| (name.as_str(), "1", 1)).collect();
    for (name, client) in Client::of_each(&rows).await {
        for (asked, expected) in
            [(json!({}), 3), (json!({"limit": 40}), 7), (json!({"limit": 250}), 1)]
        {
            let (all, pages) = client.pages("list_records", "records", asked).await;
            let listed: Vec<_> =
                all.iter().map(|record| record["record"].as_str().unwrap()).collect();
            assert_eq!(listed, names, "{name}");
            assert_eq!(pages, expected, "{name}");
        }
    }
}

/// However many rows are asked for, an answer has about 64 KiB of them, and none is lost for it.
#[tokio::test]
async fn an_answer_is_bounded_in_bytes() {
    let texts: Vec<String> = (0..60).map(|i| format!("\"{i:02}{}\"", "x".repeat(10_000))).collect();
    let rows: Rows<'_> = texts.iter().zip(0..).map(|(text, at)| ("r", text.as_str(), at)).collect();
    let client = Client::of_file(&rows).await;
    let first = client.ask("query_range", json!({"pattern": "r", "limit": 500})).await;
    assert!(first.to_string().len() < 70_000, "{}", first.to_string().len());
    assert!(first["rows"].as_array().unwrap().len() > 1);
    let (all, _) = client.pages("query_range", "rows", json!({"pattern": "r", "limit": 500})).await;
    assert_eq!(all.len(), 60);
}

#[tokio::test]
async fn a_value_that_is_too_long_is_cut_and_says_so() {
    let long = format!("\"{}\"", "é".repeat(500_000));
    let client = Client::of_file(&[("r", &long, 1), ("r", "2", 2)]).await;
    let page = client.ask("query_range", json!({"pattern": "r"})).await;
    assert_eq!(page["rows"][0]["value"], 2);
    let row = &page["rows"][1];
    assert_eq!((&row["value"], &row["cut"]["bytes"]), (&Value::Null, &json!(1_000_002)));
    assert!(row["cut"]["beginning"].as_str().unwrap().starts_with("\"ééé"));
    assert!(page.to_string().len() < 4_000);
    let summary = client.ask("summarise_record", json!({"record": "r"})).await;
    assert!(summary.to_string().len() < 4_000);
}

#[tokio::test]
async fn a_cursor_goes_on_with_its_own_question_only() {
    let texts = texts();
    let client = Client::of_file(&rows(&texts)).await;
    let page = client.ask("query_range", json!({"pattern": "a", "limit": 5})).await;
    let cursor = page["next_cursor"].clone();
    // Another page size is the same question.
    let next =
        client.ask("query_range", json!({"pattern": "a", "limit": 2, "cursor": cursor})).await;
    assert_eq!(numbers(next["rows"].as_array().unwrap()), [64, 63]);
    for (tool, asked) in [
        ("query_range", json!({"pattern": "b", "cursor": cursor})),
        ("query_range", json!({"pattern": "a", "oldest_first": true, "cursor": cursor})),
        ("query_latest", json!({"pattern": "a", "cursor": cursor})),
        ("list_records", json!({"cursor": cursor})),
    ] {
        let message = client.refused(tool, asked).await;
        assert!(message.contains("cursor"), "{message}");
    }
}
