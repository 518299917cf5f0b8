//! Tests of reading times.

use super::*;

fn read_all(times: &mut Times, texts: &[&str]) -> Result<Vec<u64>, String> {
    times.decide(texts.iter().copied())?;
    texts.iter().map(|text| times.read(text)).collect()
}

fn auto(texts: &[&str]) -> Result<Vec<u64>, String> {
    read_all(&mut Times::new(Some(TimeFormat::Auto), false, None), texts)
}

#[test]
fn auto_finds_the_unit_of_a_block() {
    const MS: u64 = 1_740_081_234_567;
    assert_eq!(auto(&["1740081234567"]).unwrap(), [MS]);
    assert_eq!(auto(&["1740081234.567"]).unwrap(), [MS]);
    assert_eq!(auto(&["1740081234567999"]).unwrap(), [MS]);
    assert_eq!(auto(&["1740081234567999999"]).unwrap(), [MS]);
    assert_eq!(auto(&["1740081234", "1740081235"]).unwrap(), [MS - 567, MS + 433]);
    assert_eq!(auto(&["1.740081234e9"]).unwrap(), [MS - 567]);
    // One unit for all, or none.
    assert!(auto(&["1740081234", "1740081234567"]).unwrap_err().contains("--time-format s"));
    assert!(auto(&["5"]).unwrap_err().contains("--time-format"));
    assert!(auto(&["46159.25", "46160"]).unwrap_err().contains("--time-format excel"));
    assert!(auto(&["1740081234", "yesterday"]).unwrap_err().contains("\"yesterday\""));
}

#[test]
fn iso_times_come_in_all_their_forms() {
    let vienna = TimeZone::get("Europe/Vienna").unwrap();
    let at = |text: &str, zone: Option<&TimeZone>| {
        let mut times = Times::new(None, false, zone.cloned());
        read_all(&mut times, &[text]).unwrap()[0]
    };
    for text in [
        "2025-02-20T19:53:54Z",
        "2025-02-20 19:53:54Z",
        "2025-02-20T20:53:54+01:00",
        "2025-02-20 20:53:54+01",
        "2025-02-20T20:53:54+0100",
        "2025-02-20 19:53:54 UTC",
        "2025-02-20T19:53:54",
        "2025-02-20 19:53:54.000000",
    ] {
        assert_eq!(at(text, None), 1_740_081_234_000, "{text}");
    }
    assert_eq!(at("2025-02-20 20:53:54", Some(&vienna)), 1_740_081_234_000);
    assert_eq!(at("2025-02-20 20:53", Some(&vienna)), 1_740_081_180_000);
    assert_eq!(at("2025-02-20", Some(&vienna)), 1_740_006_000_000);
    assert_eq!(at("2025-02-20 21:53:54 +0200", None), 1_740_081_234_000);
    assert_eq!(at("2025-02-20 19:53:54,567", None), 1_740_081_234_567);
    for (text, zone) in [
        ("2025-02-20 24:00", Some(&vienna)),
        ("2025-02-20T24:00:00+01:00", None),
        ("2025-02-20T24:00:00", Some(&vienna)),
    ] {
        assert_eq!(at(text, zone), 1_740_092_400_000, "{text}");
    }
    assert_eq!(at("2025-02-20T19:53:54.5679Z", None), 1_740_081_234_567);
}

#[test]
fn patterns_are_those_of_strftime() {
    let format: TimeFormat = "%d.%m.%Y %H:%M".parse().unwrap();
    let vienna = TimeZone::get("Europe/Vienna").ok();
    let mut times = Times::new(Some(format), false, vienna);
    assert_eq!(times.read("20.02.2025 20:53").unwrap(), 1_740_081_180_000);
    assert!(times.read("2025-02-20").unwrap_err().contains("%d.%m.%Y %H:%M"));
    assert!(times.remarks().is_empty());
    assert!("yyyy".parse::<TimeFormat>().unwrap_err().contains("%d.%m.%Y"));
}

/// They were read as one of two instants, or moved, without a word.
#[test]
fn local_times_that_clocks_show_twice_or_never_are_counted() {
    for (zone, twice, first, never, moved) in [
        (
            "Europe/Vienna",
            "2025-10-26 02:30:00",
            "2025-10-26T00:30:00Z",
            "2025-03-30 02:30:00",
            "2025-03-30T01:30:00Z",
        ),
        (
            "America/New_York",
            "2025-11-02 01:30:00",
            "2025-11-02T05:30:00Z",
            "2025-03-09 02:30:00",
            "2025-03-09T07:30:00Z",
        ),
    ] {
        let ms = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond() as u64;
        for format in [None, Some("%Y-%m-%d %H:%M:%S".parse().unwrap())] {
            let mut times = Times::new(format, false, TimeZone::get(zone).ok());
            let read = read_all(&mut times, &[twice, twice, never, "2025-06-01 00:00:00"]).unwrap();
            assert_eq!(read[..3], [ms(first), ms(first), ms(moved)], "{zone}");
            let remarks = times.remarks();
            let words = format!("went back, and 2 local times came twice (first {twice})");
            assert!(remarks[0].contains(&words), "{remarks:?}");
            let words = format!("went forward, and 1 local time never came ({never})");
            assert!(remarks[1].contains(&words), "{remarks:?}");
            assert_eq!(remarks.len(), 2);
        }
    }
}

#[test]
fn days_of_a_spreadsheet_are_local_times() {
    let vienna = TimeZone::get("Europe/Vienna").ok();
    let mut times = Times::new("excel".parse().ok(), false, vienna);
    for (text, at) in [
        ("46159", "2026-05-16T22:00:00Z"),
        ("46159.4375", "2026-05-17T08:30:00Z"),
        ("46159,4375", "2026-05-17T08:30:00Z"),
        // A third of a day, as a float has it.
        ("45123.333333333336", "2023-07-16T06:00:00Z"),
    ] {
        let at = at.parse::<Timestamp>().unwrap().as_millisecond() as u64;
        assert_eq!(times.read(text).unwrap(), at, "{text}");
    }
    assert!(times.read("2026-05-17").unwrap_err().contains("no number of days"));
    // As milliseconds they are remarked on.
    let mut times = Times::new(None, true, None);
    read_all(&mut times, &["45123.354"]).unwrap();
    assert!(times.remarks()[0].ends_with("use --time-format excel"));
}

/// They were taken for seconds or nanoseconds.
#[test]
fn numbers_that_are_hardly_unix_times_are_refused() {
    for (texts, words) in [
        (&["2026010112", "2026010113"][..], "--time-format '%Y%m%d%H' reads them"),
        (&["20260101"], "'%Y%m%d'"),
        (&["202601011200"], "'%Y%m%d%H%M'"),
        (&["20260101120000"], "'%Y%m%d%H%M%S'"),
        // Ticks of .NET, seconds since 1904, YYMMDDHHMM.
        (&["639146106000000000"], "s, ms, us or ns"),
        (&["3862000000"], "s, ms, us or ns"),
        (&["2605171030"], "s, ms, us or ns"),
    ] {
        assert!(auto(texts).unwrap_err().contains(words), "{texts:?}");
    }
    let pattern = |text: &str| text.parse::<TimeFormat>();
    let mut times = Times::new(pattern("%Y%m%d%H").ok(), false, None);
    assert_eq!(times.read("2026051708").unwrap(), 1_779_004_800_000);
    let twice = pattern("%d.%m.%Y %H:%M - %d.%m.%Y %H:%M").unwrap_err();
    assert!(twice.contains("%d stands in it twice"), "{twice}");
}

#[test]
fn what_does_not_fit_names_the_option_that_helps() {
    let mut times = Times::new(None, false, None);
    times.decide(["20.02.2025 20:53"].into_iter()).unwrap();
    assert!(times.read("20.02.2025 20:53").unwrap_err().contains("'%d.%m.%Y %H:%M'"));
    assert!(times.read("").unwrap_err().contains("empty"));
    assert!(times.read("9999-12-31T23:59:59Z").unwrap_err().contains("out of range"));
    let mut times = Times::new(None, true, None);
    times.decide(["5"].into_iter()).unwrap();
    assert!(times.read("2025-02-20T19:53:54Z").unwrap_err().contains("rfc3339"));
    assert!(times.read("-5").unwrap_err().contains("before 1970"));
    assert!(times.read("99999999999999999999").unwrap_err().contains("out of range"));
}

#[test]
fn an_implausible_number_is_stored_and_noted() {
    let mut times = Times::new(None, true, None);
    assert_eq!(read_all(&mut times, &["1740081234", "1740081235"]).unwrap()[0], 1_740_081_234);
    let remarks = times.remarks();
    assert!(remarks[0].contains("1970-01-21") && remarks[0].contains("--time-format s"));
    assert!(remarks[0].contains("2 times"), "{remarks:?}");
}

#[test]
fn a_text_that_does_not_fit_a_pattern_is_explained_in_plain_words() {
    let mut times = Times::new(Some("%d.%m.%Y %H:%M".parse().unwrap()), false, None);
    for (text, words) in [
        ("2026-05-17T08:30:00Z", "\n--time-format rfc3339 reads it"),
        ("17.05.2026", "\n--time-format '%d.%m.%Y' reads it, perhaps"),
        ("05/06/2026 08:30", "'%m/%d/%Y %H:%M' or '%d/%m/%Y %H:%M' reads it, perhaps"),
        ("31.02.2026 10:30", "is not a time of the form %d.%m.%Y %H:%M"),
        ("", "the time is empty"),
    ] {
        let why = times.read(text).unwrap_err();
        assert!(why.contains(words), "{text}: {why}");
        for jargon in ["expected", "parse", "strptime", "failed", "directive"] {
            assert!(!why.contains(jargon), "{why}");
        }
    }
}

#[test]
fn without_a_time_nothing_is_decided() {
    let mut times = Times::new(None, true, None);
    times.decide(std::iter::empty()).unwrap();
    assert!(times.is_open());
    times.decide(["2026-05-17T08:30:00Z"].into_iter()).unwrap();
    assert_eq!(times.read("2026-05-17T08:30:00Z").unwrap(), 1_779_006_600_000);
}
