//! Reads a JSON object: finds the parts of a row in it.

mod own;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::entry::Entry;
use super::text::shown;
use super::unused::{self, Unused};
use super::value;

/// JSON Pointers (RFC 6901) to the parts of a row in an object.
#[derive(Debug, Clone)]
pub(super) struct Pointers {
    record: Part,
    value: Vec<String>,
    time: Vec<String>,
    /// Whether an option says where the time stands, so that each row must have one.
    is_time_named: bool,
    /// Whether the members are annals' own, and no others are allowed.
    own: bool,
}

#[derive(Debug, Clone)]
enum Part {
    Constant(String),
    /// What stands there, joined by `::`.
    Pointers(Vec<Vec<String>>),
}

impl Pointers {
    /// Without any pointer, the members are `record`, `value` and `stored_at` and no others.
    ///
    /// # Errors
    /// Which pointer is invalid.
    pub(super) fn new(
        constant: Option<&str>,
        record: &[String],
        value: Option<&str>,
        time: Option<&str>,
    ) -> Result<Self, String> {
        let own = constant.is_none() && record.is_empty() && value.is_none() && time.is_none();
        let record = match (constant, record) {
            (Some(name), _) => Part::Constant(name.to_owned()),
            (None, []) => Part::Pointers(vec![steps("/record")?]),
            (None, record) => {
                let pointers = record.iter().map(|pointer| steps(pointer));
                Part::Pointers(pointers.collect::<Result<_, _>>()?)
            }
        };
        let value = steps(value.unwrap_or("/value"))?;
        let is_time_named = time.is_some();
        let time = steps(time.unwrap_or("/stored_at"))?;
        Ok(Self { record, value, time, is_time_named, own })
    }

    /// Which members become which parts of rows: the same text for pointers with the same target.
    pub(super) fn fingerprint(&self) -> String {
        format!("{:?} {:?} {:?}", self.record, self.value, self.time)
    }

    pub(super) fn is_own(&self) -> bool {
        self.own
    }

    /// Shows the members of an object to `unused` that are no part of a row, if nothing says where the
    /// time stands.
    pub(super) fn look_for_times(&self, object: &str, unused: &mut Unused) {
        if self.own || self.is_time_named {
            return;
        }
        let mut used = vec![&self.value[..]];
        if let Part::Pointers(pointers) = &self.record {
            used.extend(pointers.iter().map(Vec::as_slice));
        }
        unused.see_object(object, &used);
    }

    /// The same within the value of an entry, which keeps its record and time unless a pointer was
    /// given for them.
    pub(super) fn within(&self, entry: Entry<'static>) -> Result<Entry<'static>, String> {
        let object: &RawValue =
            serde_json::from_str(&entry.value).map_err(|_| line_mistake(&entry.value))?;
        let value = find(object, &self.value)?
            .ok_or_else(|| missing("value", &self.value, &entry.value))?;
        let value = Cow::Owned(value.get().to_owned());
        let record = match &self.record {
            Part::Constant(name) => Cow::Owned(name.clone()),
            Part::Pointers(_) => entry.record,
        };
        Ok(Entry { record, value, time: entry.time })
    }

    /// Reads one object. The text of its value is kept letter for letter.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn entry<'a>(&self, text: &'a str) -> Result<Entry<'a>, String> {
        // Serde would read the members from an array, too.
        if !text.starts_with('{') {
            let found = match text.as_bytes().first() {
                Some(b'[') => "an array",
                Some(b'"') => "a string",
                _ => return Err(not_an_object(text)),
            };
            return Err(format!("it is {found} where an object {{\"record\":…}} is needed"));
        }
        if self.own {
            return own::entry(text);
        }
        let object: &RawValue = serde_json::from_str(text).map_err(|_| value::mistake(text, ""))?;
        let record = match &self.record {
            Part::Constant(name) => Cow::Owned(name.clone()),
            Part::Pointers(pointers) => {
                let part = |steps: &Vec<String>| {
                    let raw = find(object, steps)?.ok_or_else(|| missing("record", steps, text))?;
                    name_or_number(raw)
                };
                match &pointers[..] {
                    [steps] => part(steps)?,
                    pointers => {
                        let parts = pointers.iter().map(part).collect::<Result<Vec<_>, _>>()?;
                        Cow::Owned(parts.join("::"))
                    }
                }
            }
        };
        let value =
            find(object, &self.value)?.ok_or_else(|| missing("value", &self.value, text))?;
        let time = match find(object, &self.time)? {
            Some(raw) => Some(time_text(raw)?),
            None if self.is_time_named => return Err(missing("time", &self.time, text)),
            None => None,
        };
        Ok(Entry { record, value: Cow::Borrowed(value.get()), time })
    }
}

/// How to take out the rows of an array in an object, if there is one.
fn rows_within(object: &str) -> String {
    let members: BTreeMap<Cow<'_, str>, &RawValue> =
        serde_json::from_str(object).unwrap_or_default();
    let is_array = |raw: &RawValue| {
        raw.get().strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with('{'))
    };
    let deeper = members.iter().find(|(_, raw)| is_array(raw)).map(|(name, _)| shown(name));
    deeper.map_or(String::new(), |name| {
        format!("\nif its rows are in {name}, jq -c '.{name}[]' takes them out")
    })
}

fn not_an_object(text: &str) -> String {
    let hint = match text.bytes().any(|byte| matches!(byte, b',' | b';' | b'\t')) {
        true => "\n--input csv reads CSV",
        false => "",
    };
    format!("it is not a JSON object {{\"record\":…,\"value\":…,\"stored_at\":…}}{hint}")
}

fn line_mistake(text: &str) -> String {
    // The mistake may be anywhere in the object.
    let mistake = value::mistake(text, "").replacen("the value", "the line", 1);
    match mistake.strip_suffix(" of the value") {
        Some(before) => format!("{before} of the line"),
        None => mistake,
    }
}

fn no_name(text: &str) -> String {
    match text.starts_with('"') {
        true => format!("the record's name {} has an escape of no character", shown(text)),
        false => format!("the record's name must be a string or a number, not {}", shown(text)),
    }
}

fn no_time(text: &str) -> String {
    let text = shown(text);
    format!("the time must be a number or a string, not {text}\nleave it out for now")
}

/// A number's text is a name: many systems number their items.
fn name(raw: &RawValue) -> Result<Cow<'_, str>, String> {
    if matches!(raw.get().as_bytes()[0], b'0'..=b'9' | b'-') {
        return Ok(Cow::Borrowed(raw.get()));
    }
    string(raw).ok_or_else(|| no_name(raw.get()))
}

/// A name, or the text of a number: an id in other programs.
fn name_or_number(raw: &RawValue) -> Result<Cow<'_, str>, String> {
    match raw.get().as_bytes()[0] {
        b'0'..=b'9' | b'-' => Ok(Cow::Borrowed(raw.get())),
        _ => name(raw),
    }
}

fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Borrowed<'_>>(raw.get()).ok().map(|text| text.0)
}

fn time_text(raw: &RawValue) -> Result<Cow<'_, str>, String> {
    match raw.get().as_bytes()[0] {
        b'"' => string(raw).ok_or_else(|| no_time(raw.get())),
        b'0'..=b'9' | b'-' => Ok(Cow::Borrowed(raw.get())),
        _ => Err(no_time(raw.get())),
    }
}

/// Begins what is said of a row in which a pointer finds nothing.
pub(super) const NOTHING_AT: &str = "it has nothing at";

fn missing(what: &str, steps: &[String], object: &str) -> String {
    let pointer: String = steps.iter().map(|step| format!("/{step}")).collect();
    format!(
        "{NOTHING_AT} {} for the {what}\nit has {}{}",
        shown(&pointer),
        unused::pointers(object),
        rows_within(object)
    )
}

/// The steps of a pointer.
fn steps(pointer: &str) -> Result<Vec<String>, String> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let Some(rest) = pointer.strip_prefix('/') else {
        return Err(format!("a pointer begins with a slash: /{pointer}"));
    };
    Ok(rest.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect())
}

/// The target of a pointer. Of members with the same name the last counts.
fn find<'a>(raw: &'a RawValue, steps: &[String]) -> Result<Option<&'a RawValue>, String> {
    let Some((step, steps)) = steps.split_first() else { return Ok(Some(raw)) };
    let inner: Option<&RawValue> = match raw.get().as_bytes()[0] {
        b'{' => {
            let members: BTreeMap<Cow<'_, str>, &RawValue> =
                serde_json::from_str(raw.get()).map_err(|_| line_mistake(raw.get()))?;
            members.get(step.as_str()).copied()
        }
        b'[' => {
            let elements: Vec<&RawValue> =
                serde_json::from_str(raw.get()).map_err(|_| line_mistake(raw.get()))?;
            step.parse::<usize>().ok().and_then(|index| elements.get(index).copied())
        }
        _ => None,
    };
    inner.map_or(Ok(None), |inner| find(inner, steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Pointers {
        Pointers::new(None, &[], None, None).unwrap()
    }

    fn refusal(line: &str) -> String {
        own().entry(line).unwrap_err()
    }

    #[test]
    fn the_text_of_a_value_is_kept_letter_for_letter() {
        for value in ["1.50e+02", "{ \"a\" : [ 1,2 ] }", "\"\\u00e9\\/\"", "null", "-0.0"] {
            let line = format!(r#"{{"record":"a","value": {value} ,"stored_at":5}}"#);
            let entry = own().entry(&line).unwrap();
            assert_eq!(entry.value, value);
            assert_eq!((&*entry.record, entry.time.as_deref()), ("a", Some("5")));
        }
    }

    #[test]
    fn members_come_in_any_order_and_the_time_may_be_missing_or_text() {
        let entry = own().entry("{\"value\":1,\"record\":\"a\\u0062\\n\"}").unwrap();
        assert_eq!((&*entry.record, entry.time), ("ab\n", None));
        let line = r#"{"record":"a","value":1,"stored_at":"2026-05-17T08:30:00Z"}"#;
        assert_eq!(own().entry(line).unwrap().time.unwrap(), "2026-05-17T08:30:00Z");
    }

    #[test]
    fn every_other_line_is_refused_in_plain_words() {
        for (line, reason) in [
            (r#"["a",1,5]"#, "it is an array where an object"),
            ("nonsense", "not a JSON object"),
            ("a;b;c", "--input csv"),
            (r#"{"value":1}"#, "no member record\n--record-pointer"),
            (r#"{"record":"a"}"#, "no member value\n--value-pointer"),
            (r#"{"record":"a","value":1,"storedAt":5}"#, "the member storedAt"),
            (r#"{"record":"a","record":"b","value":1}"#, "the member record twice"),
            (r#"{"record":[7],"value":1}"#, "must be a string or a number, not [7]"),
            (r#"{"record":true,"value":1}"#, "must be a string or a number, not true"),
            (r#"{"record":"\ud83d","value":1}"#, "an escape of no character"),
            (r#"{"metrics":[{"name":"cpu"}]}"#, "jq -c '.metrics[]' takes them out"),
            (r#"{"record":null,"value":1}"#, "must be a string or a number, not null"),
            (r#"{"record":"a","value":1,"stored_at":null}"#, "not null\nleave it out"),
            (r#"{"record":"a","value":nul}"#, "is not JSON"),
            (r#"{"record":"a","value":1"#, "ends before it is complete"),
            (r#"{"record":"a","value":1} {"record":"a","value":1}"#, "something follows"),
        ] {
            let refusal = refusal(line);
            assert!(refusal.contains(reason), "{line}: {refusal}");
            for jargon in ["expected", "EOF", "invalid type", "line 1"] {
                assert!(!refusal.contains(jargon), "{refusal}");
            }
        }
        assert_eq!(own().entry(r#"{"record":"a","value":null}"#).unwrap().value, "null");
    }

    #[test]
    fn a_number_names_a_record_with_its_text() {
        let line = r#"{"record":23296,"value":1,"id":-1.50}"#;
        assert!(refusal(line).contains("the member id"));
        let pointers = Pointers::new(None, &["/id".to_owned()], None, None).unwrap();
        assert_eq!(pointers.entry(line).unwrap().record, "-1.50");
        assert_eq!(own().entry(r#"{"record":23296,"value":1}"#).unwrap().record, "23296");
    }

    #[test]
    fn pointers_find_the_parts_of_any_object() {
        let pointers = |constant, record: Option<&str>, value, time| {
            let record: Vec<_> = record.iter().map(|record| (*record).to_owned()).collect();
            Pointers::new(constant, &record, value, time).unwrap()
        };
        let line = r#"{"labels":{"a/b":"x"},"ts":17,"v":[1,{"y":2.50}],"more":null}"#;
        let found = pointers(None, Some("/labels/a~1b"), Some("/v/1/y"), Some("/ts"));
        let entry = found.entry(line).unwrap();
        assert_eq!((&*entry.record, &*entry.value, &*entry.time.unwrap()), ("x", "2.50", "17"));
        let whole = pointers(Some("all"), None, Some(""), Some("/ts"));
        let entry = whole.entry(line).unwrap();
        assert_eq!((&*entry.record, &*entry.value), ("all", line));
        let lost = pointers(None, Some("/labels"), None, None).entry(line).unwrap_err();
        assert!(lost.contains("must be a string"), "{lost}");
        let lost = pointers(Some("a"), None, Some("/w"), None).entry(line).unwrap_err();
        assert!(
            lost.contains("nothing at /w for the value\nit has /labels/a~1b, /more, "),
            "{lost}"
        );
        let lost = pointers(Some("a"), None, Some("/v"), Some("/time")).entry(line).unwrap_err();
        assert!(lost.contains("nothing at /time for the time"), "{lost}");
        assert!(Pointers::new(None, &["ts".to_owned()], None, None).unwrap_err().contains("/ts"));
        let two = ["/labels/a~1b".to_owned(), "/ts".to_owned()];
        let entry = Pointers::new(None, &two, Some("/v"), None).unwrap();
        assert_eq!(entry.entry(line).unwrap().record, "x::17");
    }
}
