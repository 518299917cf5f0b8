//! `whats_new`: what has arrived since a cursor.

use serde_json::{Value, json};

use crate::client::Client;

fn values(page: &Value) -> Vec<u64> {
    page["rows"].as_array().unwrap().iter().map(|row| row["value"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn what_arrives_comes_once_also_late_rows() {
    let client = Client::of_file(&[("a", "0", 5)]).await;
    let asked = |cursor: &Value| json!({"pattern": "a*", "cursor": cursor});
    let page = client.ask("whats_new", json!({"pattern": "a*"})).await;
    assert_eq!((values(&page), &page["more"]), (Vec::<u64>::new(), &json!(false)));
    client.import(&[("a", "1", 7), ("b", "2", 7)]);
    client.import(&[("ab", "3", 2)]);
    let next = client.ask("whats_new", asked(&page["cursor"])).await;
    assert_eq!((values(&next), &next["more"]), (vec![1, 3], &json!(false)));
    // Asked again, it answers the same.
    assert_eq!(values(&client.ask("whats_new", asked(&page["cursor"])).await), [1, 3]);
    let page = client.ask("whats_new", asked(&next["cursor"])).await;
    assert_eq!(values(&page), [0_u64; 0]);
    client.import(&[("a", "4", 1)]);
    let page = client.ask("whats_new", asked(&page["cursor"])).await;
    assert_eq!(values(&page), [4]);
    assert_eq!(page["rows"][0]["time"], "1970-01-01T00:00:00.001Z");
}

#[tokio::test]
async fn pages_of_any_size_and_source_are_together_everything() {
    let texts: Vec<String> = (0..40).map(|i| i.to_string()).collect();
    let rows: Vec<_> =
        texts.iter().enumerate().map(|(i, text)| ("a", text.as_str(), i as u64)).collect();
    for (name, client) in Client::of_each(&rows).await {
        for limit in [1, 7, 40] {
            let mut asked = json!({"pattern": "a", "from": 10, "limit": limit});
            let mut all = Vec::new();
            loop {
                let page = client.ask("whats_new", asked).await;
                assert!(values(&page).len() <= limit, "{name}");
                all.extend(values(&page));
                asked = json!({"pattern": "a", "limit": limit, "cursor": page["cursor"]});
                if page["more"] == false {
                    break;
                }
            }
            assert_eq!(all, (10..40).collect::<Vec<_>>(), "{name} {limit}");
            assert_eq!(values(&client.ask("whats_new", asked).await), [0_u64; 0], "{name} {limit}");
        }
    }
}

#[tokio::test]
async fn a_cursor_goes_with_its_pattern_and_its_history() {
    let client = Client::of_file(&[("a", "0", 5)]).await;
    let page = client.ask("whats_new", json!({"pattern": "a"})).await;
    let cursor = &page["cursor"];
    for (arguments, text) in [
        (json!({"pattern": "b", "cursor": cursor}), "another question"),
        (json!({"pattern": "a", "cursor": "7b7d"}), "not a cursor"),
        (json!({"pattern": "a", "cursor": cursor, "from": 0}), "leave `from` out"),
        (json!({"pattern": ""}), "invalid pattern"),
        (json!({"pattern": "a", "limit": 501}), "`limit` is 501 where 1 to 500"),
    ] {
        let message = client.refused("whats_new", arguments.clone()).await;
        assert!(message.contains(text), "{arguments}: {message}");
    }
    let other = Client::of_file(&[("a", "0", 5)]).await;
    let message = other.refused("whats_new", json!({"pattern": "a", "cursor": cursor})).await;
    assert!(message.contains("follow from a time instead"), "{message}");
}
