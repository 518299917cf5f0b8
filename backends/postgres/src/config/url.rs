//! Reading the URL.

use std::str::FromStr;
use std::time::Duration;

use annals_core::{Durability, PersistenceError};

use super::{PostgresConfig, Timescale, storage};
use crate::error;

/// Options of libpq that the driver understands.
const DRIVER_OPTIONS: [&str; 18] = [
    "application_name",
    "channel_binding",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslmode",
    "sslnegotiation",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// Takes this crate's options out of the query part and leaves the rest to the driver.
///
/// The driver's own complaints are not passed on: they may quote what they did not understand,
/// and a password with an unescaped `@` or `/` in it is exactly that.
pub(super) fn parse(url: &str) -> Result<PostgresConfig, PersistenceError> {
    let unreadable = || {
        error::config(
            "the URL cannot be read; it is postgres://user:password@host:port/database?option=\
             value, with special characters in each part percent-encoded (`@` as `%40`)",
        )
    };
    let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
    let rest = rest.ok_or_else(unreadable)?;
    let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = base.split_once('/').unwrap_or((base, ""));
    // Otherwise half a password would be taken for a host or a database, and shown in messages.
    if path.contains(['@', '/']) || query.contains('@') || authority.matches('@').count() > 1 {
        return Err(error::config(
            "an `@`, `/` or `?` in a part of the URL must be percent-encoded (`%40`, `%2F`, `%3F`)",
        ));
    }
    let mut own = Vec::new();
    let mut driver = String::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            error::config("every option in the URL is written as name=value, with `&` between them")
        })?;
        match key {
            "schema" | "max_value_bytes" | "pool_size" | "writers" | "durability"
            | "wait_timeout" | "connect_timeout" | "statement_timeout" | "timescale"
            | "chunk_interval" | "compress_after" | "partition_interval" | "distribute" => {
                own.push((key, decode(key, value)?));
            }
            "sslmode" => driver.push_str(&format!("&sslmode={}", ssl_mode(value)?)),
            key if key.starts_with("ssl") && !DRIVER_OPTIONS.contains(&key) => {
                return Err(error::config(format!("`{key}`: TLS is not supported yet")));
            }
            key if DRIVER_OPTIONS.contains(&key) => driver.push_str(&format!("&{pair}")),
            key => {
                let shown: String = key.chars().take(40).flat_map(char::escape_debug).collect();
                return Err(error::config(format!("`{shown}` is not an option of the URL")));
            }
        }
    }
    let driver = driver.strip_prefix('&').map(|query| format!("?{query}")).unwrap_or_default();
    let server = tokio_postgres::Config::from_str(&format!("postgres://{base}{driver}"))
        .map_err(|_| unreadable())?;
    let mut config = PostgresConfig::from_server(server);
    for (key, value) in own {
        match key {
            "schema" => config.schema = value,
            "max_value_bytes" => config.max_value_bytes = number(key, &value)?,
            "pool_size" => config.pool_size = number(key, &value)?,
            "writers" => config.writers = number(key, &value)?,
            "durability" => config.durability = durability(&value)?,
            "wait_timeout" => config.wait_timeout = duration(key, &value, 1)?,
            "connect_timeout" => config.connect_timeout = duration(key, &value, 1_000)?,
            "timescale" => config.storage.timescale = Timescale::parse(&value)?,
            "chunk_interval" => {
                config.storage.chunk_interval = Some(storage::interval(key, &value)?);
            }
            "compress_after" => {
                config.storage.compress_after = Some(storage::compress_after(&value)?);
            }
            "partition_interval" => {
                config.storage.partition_interval = Some(storage::interval(key, &value)?);
            }
            "distribute" => config.storage.distribute = storage::distribute(&value)?,
            _ => config.statement_timeout = duration(key, &value, 1)?,
        }
    }
    Ok(config)
}

fn ssl_mode(value: &str) -> Result<&'static str, PersistenceError> {
    match value {
        "disable" => Ok("disable"),
        "allow" | "prefer" => Ok("prefer"),
        "require" | "verify-ca" | "verify-full" => Err(error::config(format!(
            "TLS is not supported yet, and `sslmode={value}` asks for it; a tunnel or \
             `sslmode=prefer` on a network you trust are the ways around it"
        ))),
        _ => Err(error::config("`sslmode` is disable, prefer, require, verify-ca or verify-full")),
    }
}

fn durability(value: &str) -> Result<Durability, PersistenceError> {
    [Durability::PowerLoss, Durability::Process]
        .into_iter()
        .find(|level| level.as_str() == value)
        .ok_or_else(|| error::config("`durability` is `power-loss` or `process`"))
}

fn number(key: &str, value: &str) -> Result<usize, PersistenceError> {
    value.parse().map_err(|_| error::config(format!("`{key}` is a whole number")))
}

/// A time with its unit, or a plain number of `plain_unit_ms`.
fn duration(key: &str, value: &str, plain_unit_ms: u64) -> Result<Duration, PersistenceError> {
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (count, unit) = value.split_at(digits);
    let unit_ms = match unit {
        "" => Some(plain_unit_ms),
        "ms" => Some(1),
        "s" => Some(1_000),
        "min" => Some(60_000),
        _ => None,
    };
    let time = unit_ms.zip(count.parse().ok()).and_then(|(unit, count): (u64, u64)| {
        Some(Duration::from_millis(count.checked_mul(unit)?)).filter(|time| !time.is_zero())
    });
    // PostgreSQL takes at most i32::MAX milliseconds.
    time.filter(|time| time.as_millis() <= i32::MAX as u128).ok_or_else(|| {
        error::config(format!("`{key}` is a time such as 500ms, 30s or 2min, more than nothing"))
    })
}

/// Percent-decodes an option's value.
fn decode(key: &str, value: &str) -> Result<String, PersistenceError> {
    let bad = || error::config(format!("`{key}` is not percent-encoded UTF-8"));
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (hex, tail) = rest.split_at_checked(2).ok_or_else(bad)?;
        let hex = str::from_utf8(hex).map_err(|_| bad())?;
        bytes.push(u8::from_str_radix(hex, 16).map_err(|_| bad())?);
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

#[cfg(test)]
mod tests;
