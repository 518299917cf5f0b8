//! What columns tell of a predicate is what the text of each row says.

use annals_core::{Comparison, Predicate, Scalar};

use super::*;
use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};

const ALL: [Comparison; 6] = [Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual];

/// Compares the verdicts on all rows with their texts, and says how many rows were decided.
fn verdicts_agree(rows: &Block, encoded: &[u8], predicate: &Predicate) -> usize {
    let read = Block::decode(encoded).unwrap().verdicts(predicate).unwrap().unwrap();
    assert_eq!((read.len(), read.is_final(0..rows.len())), (rows.len(), true));
    let agree = |verdicts: &Verdicts| {
        let all = rows.iter().zip(verdicts.of(0..rows.len()));
        let decided = all.filter(|((_, _, json), verdict)| {
            let holds = predicate.test(json);
            match verdict {
                Verdict::Unknown => {}
                Verdict::Yes => assert!(matches!(holds, Ok(true)), "{predicate}: {json}"),
                Verdict::No => assert!(matches!(holds, Ok(false)), "{predicate}: {json}"),
            }
            **verdict != Verdict::Unknown
        });
        decided.count()
    };
    let decided = agree(&read);
    // Nothing was asked for: that is what the statistics tell.
    let by_statistics = Block::decode_verdicts(encoded, predicate, 0..0).unwrap().unwrap();
    assert!(agree(&by_statistics) <= decided);
    let asked = 0..rows.len().div_ceil(3);
    let some = Block::decode_verdicts(encoded, predicate, asked.clone()).unwrap().unwrap();
    assert!(some.is_final(asked));
    agree(&some);
    let (_, statistics) =
        Block::decode_statistics(encoded, &Member::value(), Some(predicate)).unwrap();
    for Statistics { rows: range, verdict, .. } in statistics {
        assert!(by_statistics.of(range).iter().all(|one| *one == verdict));
    }
    decided
}

/// Numbers next to what an `f64` still holds, in every form in which a column keeps them.
#[test]
fn numbers_are_compared_exactly() {
    let bounds = [
        "9007199254740991",
        "9007199254740992",
        "9007199254740993",
        "9007199254740993.0",
        "-9007199254740993",
        "900719925474099.3",
        "0",
        "-0",
        "-0.0",
        "0.1",
        "20.5",
        "1e5",
        "100000",
        "1e308",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
    ];
    let steps: [&dyn Fn(usize) -> String; 7] = [
        &|at| (9_007_199_254_740_990_u64 + at as u64 % 5).to_string(),
        &|at| format!("{}.{}", 9_007_199_254_740_990_u64 + at as u64 % 5, at % 2),
        &|at| format!("-{}", 9_007_199_254_740_990_u64 + at as u64 % 5),
        &|at| (at as f64 / 10.0).to_string(),
        &|at| format!("{:?}", dice(at) as f64 / 1e19),
        &|at| bounds[at % bounds.len()].to_owned(),
        &|at| if at % 4 == 0 { "\"20.5\"".into() } else { format!("{}", at % 2) },
    ];
    for (step, form) in steps.iter().enumerate() {
        let rows = many(300, |at| format!(r#"{{"a":{},"b":null}}"#, form(at)));
        let encoded = rows.encode_columns(STATISTICS_ROWS).unwrap().unwrap();
        for bound in bounds {
            for comparison in ["=", "!=", "<", "<=", ">", ">="] {
                let predicate = Predicate::parse(&format!("a {comparison} {bound}")).unwrap();
                assert_eq!(verdicts_agree(&rows, &encoded, &predicate), 300, "{step}");
            }
        }
    }
}

#[test]
fn statistics_rule_a_block_out_without_its_columns() {
    let rows = many(400, |at| format!(r#"{{"a":{}.5,"ok":{},"s":"x"}}"#, at % 50, at % 3 == 0));
    let encoded = rows.encode_columns(STATISTICS_ROWS).unwrap().unwrap();
    for (text, expected) in [
        ("a > 49.5", Verdict::No),
        ("a >= 49.5", Verdict::Unknown),
        ("a < 0.5", Verdict::No),
        ("a != 60", Verdict::Yes),
        ("a = 60 or b = 1", Verdict::No),
        ("not (a = 60)", Verdict::Yes),
        ("a < 30 and a > 60", Verdict::No),
        ("a < 30 and a >= 0", Verdict::Unknown),
        // A boolean is no number, and a string has no statistics.
        ("ok != 1", Verdict::Unknown),
        ("ok > 1", Verdict::No),
        ("s = 1", Verdict::No),
        ("s != 1", Verdict::Yes),
        ("s = 'y'", Verdict::Unknown),
        ("exists a", Verdict::Yes),
        ("exists b", Verdict::No),
        ("b != 1", Verdict::No),
    ] {
        let predicate = Predicate::parse(text).unwrap();
        let known = Block::decode_verdicts(&encoded, &predicate, 0..0).unwrap().unwrap();
        assert_eq!(known.of(0..400), [expected; 400], "{text}");
        verdicts_agree(&rows, &encoded, &predicate);
    }
    // Nearest numbers are no bounds.
    let rows = many(300, |at| format!(r#"{{"a":{}}}"#, (1_u64 << 53) + at as u64 % 2));
    let encoded = rows.encode_columns(STATISTICS_ROWS).unwrap().unwrap();
    let above = Predicate::parse("a > 9007199254740992").unwrap();
    assert_eq!(verdicts_agree(&rows, &encoded, &above), 300);
    let known = Block::decode_verdicts(&encoded, &above, 0..0).unwrap().unwrap();
    assert_eq!(known.of(0..1), [Verdict::Unknown]);
    // A block of text tells nothing.
    let text = rows.encode().unwrap();
    assert_eq!(Block::decode_verdicts(&text, &above, 0..1).unwrap(), None);
    assert_eq!(Block::decode(&text).unwrap().verdicts(&above).unwrap(), None);
}

#[test]
fn strings_are_compared_as_what_they_stand_for() {
    let words = ["open", "\\u006fpen", "o\\\"p", "", "\u{e9}", "\\u00e9", "opener"];
    let of = |words: &'static [&'static str], repeated: bool| {
        many(300, move |at| {
            let number = if repeated { String::new() } else { at.to_string() };
            format!(r#"{{"s":"{number}{}","n":{at}}}"#, words[at % words.len()])
        })
    };
    let word: &'static [&'static str] = Box::leak(Box::new(words));
    for rows in [of(word, true), of(word, false), of(&["open", "shut"], false)] {
        let encoded = rows.encode_columns(STATISTICS_ROWS).unwrap().unwrap();
        for with in ["open", "o\"p", "", "\u{e9}", "17open", "200", "z"] {
            for comparison in ALL {
                let predicate = Predicate::compare("s", comparison, with).unwrap();
                assert_eq!(verdicts_agree(&rows, &encoded, &predicate), 300);
            }
        }
        for other in ["s = 1", "s != 1", "s < 1", "s = null", "s != true"] {
            let predicate = Predicate::parse(other).unwrap();
            assert_eq!(verdicts_agree(&rows, &encoded, &predicate), 300);
        }
    }
}

fn any_predicate() -> impl Strategy<Value = Predicate> {
    let member = prop::sample::select(vec!["a", "b", "", "/a/0", "/0", "\u{e9}", "/b/a", "/a/b/1"]);
    let scalar = prop_oneof![
        Just(Scalar::Null),
        any::<bool>().prop_map(Scalar::from),
        (-10_i64..400).prop_map(Scalar::from),
        any::<i64>().prop_map(Scalar::from),
        any::<u64>().prop_map(Scalar::from),
        (-1000_i32..1000).prop_map(|number| Scalar::from(f64::from(number) / 100.0)),
        "[a-c]{0,3}".prop_map(Scalar::from),
    ];
    let leaf = prop_oneof![
        5 => (member.clone(), prop::sample::select(ALL.to_vec()), scalar).prop_map(
            |(member, comparison, scalar)| {
                let comparison = if scalar.is_ordered() { comparison } else { NotEqual };
                Predicate::compare(member, comparison, scalar).unwrap()
            }
        ),
        1 => member.prop_map(|member| Predicate::exists(member).unwrap()),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|one| !one),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| one.and(other)),
            (inner.clone(), inner).prop_map(|(one, other)| one.or(other)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_predicate_on_any_mixture_of_shapes(
        rows in any_block(),
        predicates in prop::collection::vec(any_predicate(), 8),
    ) {
        if let Some(encoded) = rows.encode_columns(STATISTICS_ROWS).unwrap() {
            for predicate in &predicates {
                verdicts_agree(&rows, &encoded, predicate);
            }
        }
    }
}
