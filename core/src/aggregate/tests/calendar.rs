//! Widths of the calendar, with clocks that change in every way.

use jiff::Timestamp;

use super::*;

fn at(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

/// The bounds of the buckets from a time on.
fn bounds(width: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
    let aggregate = Aggregate::every(Width::parse(width).unwrap()).time_zone(zone);
    let mut locator = Plan::new("*", &aggregate).unwrap().locator();
    let mut span = locator.locate(at(from));
    let mut bounds = vec![span.start];
    for _ in 0..count {
        bounds.push(span.end);
        // Every millisecond of a bucket finds it.
        for time in [span.start, span.end - 1, span.start + (span.end - span.start) / 2] {
            assert_eq!(Plan::new("*", &aggregate).unwrap().locator().locate(time), span);
        }
        span = locator.locate(span.end);
    }
    let shown = |bound: i64| Timestamp::from_millisecond(bound).unwrap().to_string();
    bounds.into_iter().map(shown).collect()
}

#[test]
fn a_day_has_as_many_hours_as_the_clocks_say() {
    let days = bounds("1d", "Europe/Vienna", "2025-03-29T12:00:00Z", 3);
    let expected = [
        "2025-03-28T23:00:00Z",
        "2025-03-29T23:00:00Z",
        "2025-03-30T22:00:00Z",
        "2025-03-31T22:00:00Z",
    ];
    assert_eq!(days, expected);
    let days = bounds("1d", "Europe/Vienna", "2025-10-26T00:30:00Z", 2);
    assert_eq!(days, ["2025-10-25T22:00:00Z", "2025-10-26T23:00:00Z", "2025-10-27T23:00:00Z"]);
    let days = bounds("1d", "America/New_York", "2025-11-02T12:00:00Z", 1);
    assert_eq!(days, ["2025-11-02T04:00:00Z", "2025-11-03T05:00:00Z"]);
    let days = bounds("1d", "Asia/Kathmandu", "2025-01-01T00:00:00Z", 1);
    assert_eq!(days, ["2024-12-31T18:15:00Z", "2025-01-01T18:15:00Z"]);
    let days = bounds("1d", "Australia/Lord_Howe", "2025-04-05T20:00:00Z", 2);
    assert_eq!(days, ["2025-04-05T13:00:00Z", "2025-04-06T13:30:00Z", "2025-04-07T13:30:00Z"]);
}

#[test]
fn a_day_without_midnight_begins_with_its_first_instant() {
    let days = bounds("1d", "America/Sao_Paulo", "2018-11-04T12:00:00Z", 1);
    assert_eq!(days, ["2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"]);
    // Clocks went from 23:30 to 00:30.
    let days = bounds("1d", "America/Toronto", "1919-03-30T12:00:00Z", 2);
    assert_eq!(days, ["1919-03-30T05:00:00Z", "1919-03-31T04:30:00Z", "1919-04-01T04:00:00Z"]);
    // 30 December was left out.
    let days = bounds("1d", "Pacific/Apia", "2011-12-29T12:00:00Z", 2);
    assert_eq!(days, ["2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"]);
    // Clocks went back from 00:01, so that midnight came twice.
    let days = bounds("1d", "America/St_Johns", "2006-10-29T02:45:00Z", 1);
    assert_eq!(days, ["2006-10-29T02:30:00Z", "2006-10-30T03:30:00Z"]);
}

#[test]
fn weeks_begin_on_monday_and_months_quarters_and_years_with_their_first_day() {
    let weeks = bounds("1w", "UTC", "2025-01-01T00:00:00Z", 1);
    assert_eq!(weeks, ["2024-12-30T00:00:00Z", "2025-01-06T00:00:00Z"]);
    let months = bounds("1mo", "Europe/Vienna", "2024-02-29T00:00:00Z", 2);
    assert_eq!(months, ["2024-01-31T23:00:00Z", "2024-02-29T23:00:00Z", "2024-03-31T22:00:00Z"]);
    let quarters = bounds("1q", "UTC", "2025-06-30T23:59:59.999Z", 1);
    assert_eq!(quarters, ["2025-04-01T00:00:00Z", "2025-07-01T00:00:00Z"]);
    let years = bounds("1y", "America/New_York", "2025-01-01T04:59:59.999Z", 1);
    assert_eq!(years, ["2024-01-01T05:00:00Z", "2025-01-01T05:00:00Z"]);
    let months = bounds("2mo", "UTC", "2025-04-01T00:00:00Z", 1);
    assert_eq!(months, ["2025-03-01T00:00:00Z", "2025-05-01T00:00:00Z"]);
    let first = bounds("1d", "Europe/Vienna", "1970-01-01T00:00:00Z", 1);
    assert_eq!(first, ["1969-12-31T23:00:00Z", "1970-01-01T23:00:00Z"]);
}

#[tokio::test]
async fn the_calendar_ends_with_its_last_bucket() {
    let store = store(&[(i64::MAX as u64, json!(1)), (253_402_300_800_000, json!(2))]).await;
    let days = Aggregate::every(Width::parse("1d").unwrap());
    let buckets = answer(&store, &days).await;
    assert_eq!(buckets.len(), 1);
    assert_eq!((&buckets[0]["count"], &buckets[0]["end"]), (&json!(2), &json!(i64::MAX)));
}
