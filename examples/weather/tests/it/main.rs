//! Starts the program, queries it, stops or kills it, starts it again, and looks at what is stored.
#![allow(clippy::unwrap_used)]

mod hub;

use std::path::Path;

use annals::{QueryParams, StoredValue};
use hub::Hub;

#[test]
fn history_outlives_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let first = Hub::start(folder.path(), &["--every", "1"]);
    assert_eq!((first.before, first.greeting.len()), (0, 1));
    while first.accuracies() < 15 {}
    let (stored, _) = first.stop();
    assert!(stored >= 18, "and a temperature of each city, but {stored}");

    let second = Hub::start(folder.path(), &["--every", "1"]);
    assert!(second.before >= 15 && second.before <= stored, "{}", second.before);
    assert!(second.accuracies() >= second.before);
    second.stop();
}

const START: u64 = 1_760_000_000;
const DAY: u64 = 86_400_000;

/// A simulated week, forwarded to `cloud.db` of the folder.
fn week(folder: &Path, every: &str) -> Hub {
    let (start, cloud) = (START.to_string(), format!("sqlite:{}/cloud.db", folder.display()));
    let args = ["--simulate", &start, "--every", every, "--forward", &cloud];
    Hub::start(folder, &[&args[..], &["--listen", "127.0.0.1:0"]].concat())
}

/// Lets the week end, then the program. Returns what it stored.
fn finish(mut hub: Hub) -> u64 {
    assert_eq!(hub.line(), "the week is over");
    assert!(hub.get("/").starts_with("HTTP/1.1 200"));
    let (stored, forwarded) = hub.stop();
    assert!(forwarded.ends_with("both ends agree\n"), "{forwarded}");
    stored
}

/// All rows of the hub's records, by record and time.
#[tokio::main(flavor = "current_thread")]
async fn rows(file: &Path) -> Vec<StoredValue> {
    let history = annals::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    let everything = QueryParams::default().with_start_time(0);
    let mut rows = history.query("accuracy*", everything).await.unwrap();
    rows.extend(history.query("temperature*", everything).await.unwrap());
    history.close().await.unwrap();
    rows.sort_by(|a, b| (&a.record_name, a.stored_at).cmp(&(&b.record_name, b.stored_at)));
    rows
}

/// What the program says about the newest accuracies when it starts.
fn restored(rows: &[StoredValue]) -> Vec<String> {
    let newest = |city: &&str| {
        let of_city = |row: &&StoredValue| {
            row.record_name.starts_with("accuracy") && row.record_name.ends_with(*city)
        };
        let value = &rows.iter().rfind(of_city).unwrap().value["value"];
        format!("{city} begins with an accuracy of {value}")
    };
    ["vienna", "graz", "linz"].iter().map(newest).collect()
}

/// A week in which the program is killed has the rows of one without: nothing is lost, and neither what
/// is restored nor what is measured again is stored twice.
#[test]
fn a_week_survives_a_kill() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [whole, killed] = [&folders[0], &folders[1]].map(|folder| folder.path());
    let stored = finish(week(whole, "0"));
    let expected = rows(&whole.join("cloud.db"));
    assert_eq!(expected.len() as u64, stored);
    let twice = |pair: &&[StoredValue]| {
        (&pair[0].record_name, pair[0].stored_at) == (&pair[1].record_name, pair[1].stored_at)
    };
    assert_eq!(expected.windows(2).find(twice), None);

    // At this pace the week would take a minute.
    let first = week(killed, "5");
    while first.accuracies() < 60 || rows(&killed.join("cloud.db")).is_empty() {}
    first.kill();
    let left = rows(&killed.join("data/weather.db"));
    assert!(left.len() < expected.len() / 2, "{} of {}", left.len(), expected.len());
    let second = week(killed, "0");
    assert_eq!(second.greeting[..3], restored(&left));
    finish(second);

    let forwarded = rows(&killed.join("cloud.db"));
    assert!(forwarded == expected, "{} rows, not {}", forwarded.len(), expected.len());
    // The hub itself keeps three days.
    let kept = rows(&killed.join("data/weather.db"));
    let oldest = kept.iter().map(|row| row.stored_at).min().unwrap();
    let day = (oldest - START * 1_000) / DAY;
    assert!((3..=4).contains(&day), "day {day}");
    let recent: Vec<_> = expected.into_iter().filter(|row| row.stored_at >= oldest).collect();
    assert_eq!(kept, recent);
}
