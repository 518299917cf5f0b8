//! The SQL function `time_bucket`: the start of the bucket that a time is in.

use std::cell::RefCell;

use annals::aggregate::{Locator, Plan};
use annals::{Aggregate, PersistenceError, Width};
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Error};

/// The width and the zone of the last call, and their locator.
type Last = RefCell<Option<(String, String, Locator)>>;

/// Adds `time_bucket(width, stored_at)` and `time_bucket(width, stored_at, zone)`.
pub(super) fn attach(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    for arguments in [2, 3] {
        let last = Last::default();
        let call = move |context: &mut Context<'_>| time_bucket(context, &last);
        connection.create_scalar_function(c"time_bucket", arguments, flags, call)?;
    }
    Ok(())
}

fn time_bucket(context: &Context<'_>, last: &Last) -> rusqlite::Result<Value> {
    let text = |index: usize, name: &str| match context.get_raw(index) {
        ValueRef::Text(text) => String::from_utf8(text.to_vec())
            .map_err(|_| refused(format!("time_bucket: the {name} is not UTF-8"))),
        // A number is a width in milliseconds.
        ValueRef::Integer(ms) if index == 0 => Ok(format!("{ms}ms")),
        _ => Err(refused(format!("time_bucket: the {name} is not text"))),
    };
    let is_null = |index| context.get_raw(index) == ValueRef::Null;
    if (0..context.len()).any(is_null) {
        return Ok(Value::Null);
    }
    let ValueRef::Integer(time) = context.get_raw(1) else {
        let message = "time_bucket: the time is not an integer of Unix milliseconds";
        return Err(refused(message.to_owned()));
    };
    let width = text(0, "width")?;
    let zone = if context.len() == 3 { text(2, "time zone")? } else { "UTC".to_owned() };
    let mut last = last.borrow_mut();
    let locator = match &mut *last {
        Some((last_width, last_zone, locator)) if *last_width == width && *last_zone == zone => {
            locator
        }
        last => {
            let locator = locator(&width, &zone).map_err(|error| refused(error.to_string()))?;
            &mut last.insert((width, zone, locator)).2
        }
    };
    Ok(Value::Integer(locator.locate(time).start))
}

fn locator(width: &str, zone: &str) -> Result<Locator, PersistenceError> {
    let aggregate = Aggregate::every(Width::parse(width)?).time_zone(zone);
    Ok(Plan::new("*", &aggregate)?.locator())
}

fn refused(message: String) -> Error {
    Error::UserFunctionError(message.into())
}
