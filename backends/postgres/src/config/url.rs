//! Reading the URL.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use annals_core::{Durability, PersistenceError};

use super::{PostgresConfig, Timescale, storage};
use crate::connect::{AskedTls, Passwords, Roots, Server, SslMode, Target};
use crate::error;

/// Options of libpq that the driver understands and this crate leaves to it.
const DRIVER_OPTIONS: [&str; 16] = [
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
    "sslnegotiation",
    "tcp_user_timeout",
    "user",
];

/// Options that say how to reach one server and that the driver does not know, or knows less of.
const SERVER_OPTIONS: [&str; 7] = [
    "passfile",
    "password_file",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
];

/// Options of the history as a whole.
const OWN_OPTIONS: [&str; 16] = [
    "chunk_interval",
    "close_timeout",
    "compress_after",
    "connect_timeout",
    "create",
    "distribute",
    "durability",
    "max_value_bytes",
    "partition_interval",
    "pool_size",
    "read_url",
    "schema",
    "statement_timeout",
    "timescale",
    "wait_timeout",
    "writers",
];

type Options = Vec<(&'static str, String)>;

pub(super) fn parse(url: &str) -> Result<PostgresConfig, PersistenceError> {
    let (server, own) = split(url)?;
    let mut config = PostgresConfig::with_server(server);
    for (key, value) in own {
        match key {
            "schema" => config.schema = value,
            "create" => {
                config.create =
                    value.parse().map_err(|_| error::config("`create` is `true` or `false`"))?;
            }
            "max_value_bytes" => config.max_value_bytes = number(key, &value)?,
            "pool_size" => config.pool_size = number(key, &value)?,
            "writers" => config.writers = number(key, &value)?,
            "durability" => config.durability = durability(&value)?,
            "wait_timeout" => config.wait_timeout = duration(key, &value, 1)?,
            "close_timeout" => config.close_timeout = duration(key, &value, 1)?,
            "connect_timeout" => config.connect_timeout = duration(key, &value, 1_000)?,
            "read_url" => config.read_server = Some(read_server(&value)?),
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

/// A URL that says only how to reach a server.
pub(super) fn read_server(url: &str) -> Result<Server, PersistenceError> {
    let (server, own) =
        split(url).map_err(|error| error::config(format!("`read_url`: {error}")))?;
    match own.first() {
        None => Ok(server),
        Some((key, _)) => {
            let message = format!("`{key}` belongs into the URL itself, not into its `read_url`");
            Err(error::config(message))
        }
    }
}

/// Takes a URL apart into how to reach the server and the options of the history.
///
/// The driver's own complaints are not passed on: they may quote what they did not understand,
/// and a password with an unescaped `@` or `/` in it is exactly that.
fn split(url: &str) -> Result<(Server, Options), PersistenceError> {
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
    let (mut own, mut server) = (Options::new(), Options::new());
    let mut driver = String::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            error::config("every option in the URL is written as name=value, with `&` between them")
        })?;
        let known = |options: &[&'static str]| options.iter().copied().find(|known| *known == key);
        if let Some(key) = known(&OWN_OPTIONS) {
            own.push((key, decode(key, value)?));
        } else if let Some(key) = known(&SERVER_OPTIONS) {
            server.push((key, decode(key, value)?));
        } else if known(&DRIVER_OPTIONS).is_some() {
            driver.push_str(&format!("&{pair}"));
        } else {
            let shown: String = key.chars().take(40).flat_map(char::escape_debug).collect();
            let own = OWN_OPTIONS.join(", ");
            return Err(error::config(format!(
                "`{shown}` is not an option of the URL; there are {own}, and those of libpq"
            )));
        }
    }
    let driver = driver.strip_prefix('&').map(|query| format!("?{query}")).unwrap_or_default();
    let driver = tokio_postgres::Config::from_str(&format!("postgres://{base}{driver}"))
        .map_err(|_| unreadable())?;
    Ok((server_options(driver, server)?, own))
}

/// The last one of an option given twice counts, as with the driver's own.
fn server_options(
    driver: tokio_postgres::Config,
    options: Options,
) -> Result<Server, PersistenceError> {
    let given = |wanted: &str| {
        let mut given = options.iter().rev().filter(|(key, _)| *key == wanted);
        given.next().map(|(_, value)| value.as_str())
    };
    let file = |option: &str| match given(option) {
        Some("") => Err(error::config(format!("`{option}` is the path of a file"))),
        path => Ok(path.map(PathBuf::from)),
    };
    let passwords =
        Passwords { password_file: file("password_file")?, passfile: file("passfile")? };
    if driver.get_password().is_some() && passwords.password_file.is_some() {
        return Err(error::config("there is a password already: leave out `password_file`"));
    }
    let tls = AskedTls {
        mode: given("sslmode").map(sslmode).transpose()?,
        roots: given("sslrootcert").map(roots),
        certificate: given("sslcert").map(PathBuf::from),
        key: given("sslkey").map(PathBuf::from),
    };
    // At once, so that it is told which of two URLs is at fault.
    tls.resolve()?;
    let target = Target::parse(given("target_session_attrs").unwrap_or("any"));
    let target = target.ok_or_else(|| {
        error::config(
            "`target_session_attrs` is any, read-write, read-only, primary, standby or \
             prefer-standby",
        )
    })?;
    Ok(Server { driver, tls, passwords, target })
}

fn sslmode(mode: &str) -> Result<SslMode, PersistenceError> {
    match mode {
        "disable" => Ok(SslMode::Disable),
        "allow" | "prefer" => Ok(SslMode::Prefer),
        "require" => Ok(SslMode::Require),
        "verify-ca" => Ok(SslMode::VerifyCa),
        "verify-full" => Ok(SslMode::VerifyFull),
        _ => Err(error::config(
            "`sslmode` is disable, allow, prefer, require, verify-ca or verify-full",
        )),
    }
}

fn roots(value: &str) -> Roots {
    match value {
        "system" => Roots::System,
        path => Roots::File(path.into()),
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
