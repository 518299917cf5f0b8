//! Parses the URL.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use annals_core::{Durability, Result, duration};
use percent_encoding::percent_decode_str;

use super::{
    Passwords, PostgresConfig, Roots, Server, SslMode, Target, Timescale, TlsOptions, storage,
};
use crate::error;

/// Options of libpq that are left to the driver.
const DRIVER_OPTIONS: &str = "application_name channel_binding dbname host hostaddr keepalives \
    keepalives_idle keepalives_interval keepalives_retries load_balance_hosts options password port \
    sslnegotiation tcp_user_timeout user";

/// Options about one server that the driver does not support, or not fully.
const SERVER_OPTIONS: &str =
    "passfile password_file sslcert sslkey sslmode sslrootcert target_session_attrs";

/// Options of the backend.
const OWN_OPTIONS: &str = "chunk_interval close_timeout compress_after connect_timeout create distribute \
    durability listen max_value_bytes partition_interval pool_size read_url schema statement_timeout \
    timescale wait_timeout writers";

type Options = Vec<(&'static str, String)>;

pub(super) fn parse(url: &str) -> Result<PostgresConfig> {
    let (server, own) = split(url)?;
    let mut config = PostgresConfig::with_server(server);
    for (key, value) in own {
        match key {
            "schema" => config.schema = value,
            "create" => config.create = truth(key, &value)?,
            "listen" => config.listen = truth(key, &value)?,
            "max_value_bytes" => config.max_value_bytes = number(key, &value)?,
            "pool_size" => config.pool_size = number(key, &value)?,
            "writers" => config.writers = number(key, &value)?,
            "durability" => config.durability = durability(&value)?,
            "wait_timeout" => config.wait_timeout = timeout(key, &value, 1)?,
            "close_timeout" => config.close_timeout = timeout(key, &value, 1)?,
            "connect_timeout" => config.connect_timeout = timeout(key, &value, 1_000)?,
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
            _ => config.statement_timeout = timeout(key, &value, 1)?,
        }
    }
    Ok(config)
}

/// Parses a URL that says only how to reach a server.
pub(super) fn read_server(url: &str) -> Result<Server> {
    let (server, own) =
        split(url).map_err(|error| error::config(format!("`read_url`: {error}")))?;
    match own.first() {
        None => Ok(server),
        Some((key, _)) => {
            let message = format!("`{key}` belongs in the URL itself, not in `read_url`");
            Err(error::config(message))
        }
    }
}

/// Splits a URL into the server and the options of the backend.
///
/// The driver's error messages are not passed on: they may quote what could not be parsed, for example a
/// password with an unescaped `@` or `/`.
fn split(url: &str) -> Result<(Server, Options)> {
    let unreadable = || {
        error::config(
            "the URL cannot be parsed; write postgres://user:password@host:port/database?option=\
             value, with special characters in each part percent-encoded (`@` as `%40`)",
        )
    };
    let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
    let rest = rest.ok_or_else(unreadable)?;
    let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = base.split_once('/').unwrap_or((base, ""));
    // Otherwise a part of a password could become a host or a database, and appear in messages.
    if path.contains(['@', '/']) || query.contains('@') || authority.matches('@').count() > 1 {
        return Err(error::config(
            "an `@`, `/` or `?` in a part of the URL must be percent-encoded (`%40`, `%2F`, `%3F`)",
        ));
    }
    let (mut own, mut server) = (Options::new(), Options::new());
    let mut driver = String::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            error::config("write each option of the URL as name=value, with `&` between options")
        })?;
        let known = |options: &'static str| options.split(' ').find(|known| *known == key);
        if let Some(key) = known(OWN_OPTIONS) {
            own.push((key, decode(key, value)?));
        } else if let Some(key) = known(SERVER_OPTIONS) {
            server.push((key, decode(key, value)?));
        } else if known(DRIVER_OPTIONS).is_some() {
            driver.push_str(&format!("&{pair}"));
        } else {
            let shown: String = key.chars().take(40).flat_map(char::escape_debug).collect();
            let own = OWN_OPTIONS.replace(' ', ", ");
            return Err(error::config(format!(
                "`{shown}` is not an option of the URL; known are {own}, and those of libpq"
            )));
        }
    }
    let driver = driver.strip_prefix('&').map(|query| format!("?{query}")).unwrap_or_default();
    let driver = tokio_postgres::Config::from_str(&format!("postgres://{base}{driver}"))
        .map_err(|_| unreadable())?;
    Ok((server_options(driver, server)?, own))
}

fn truth(key: &str, value: &str) -> Result<bool> {
    value.parse().map_err(|_| error::config(format!("`{key}` must be `true` or `false`")))
}

/// If an option is given twice, the last one counts, as in the driver.
fn server_options(driver: tokio_postgres::Config, options: Options) -> Result<Server> {
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
        return Err(error::config("the URL already contains a password: omit `password_file`"));
    }
    let tls = TlsOptions {
        mode: given("sslmode").map(sslmode).transpose()?,
        roots: given("sslrootcert").map(roots),
        certificate: given("sslcert").map(PathBuf::from),
        key: given("sslkey").map(PathBuf::from),
    };
    // Checked here, so that the error names the right one of two URLs.
    tls.resolve()?;
    let target = Target::parse(given("target_session_attrs").unwrap_or("any"));
    let target = target.ok_or_else(|| {
        error::config(
            "`target_session_attrs` must be any, read-write, read-only, primary, standby or \
             prefer-standby",
        )
    })?;
    Ok(Server { driver, tls, passwords, target })
}

fn sslmode(mode: &str) -> Result<SslMode> {
    match mode {
        "disable" => Ok(SslMode::Disable),
        "allow" | "prefer" => Ok(SslMode::Prefer),
        "require" => Ok(SslMode::Require),
        "verify-ca" => Ok(SslMode::VerifyCa),
        "verify-full" => Ok(SslMode::VerifyFull),
        _ => Err(error::config(
            "`sslmode` must be disable, allow, prefer, require, verify-ca or verify-full",
        )),
    }
}

fn roots(value: &str) -> Roots {
    match value {
        "system" => Roots::System,
        path => Roots::File(path.into()),
    }
}

fn durability(value: &str) -> Result<Durability> {
    [Durability::PowerLoss, Durability::Process]
        .into_iter()
        .find(|level| level.as_str() == value)
        .ok_or_else(|| error::config("`durability` must be `power-loss` or `process`"))
}

fn number(key: &str, value: &str) -> Result<usize> {
    value.parse().map_err(|_| error::config(format!("`{key}` must be a whole number")))
}

/// A duration, or a plain number of `plain_unit_ms`. [`PostgresConfig::check`] checks the range.
fn timeout(key: &str, value: &str, plain_unit_ms: u64) -> Result<Duration> {
    if let Ok(plain) = value.parse::<u64>() {
        return Ok(Duration::from_millis(plain.saturating_mul(plain_unit_ms)));
    }
    duration::parse(value).map_err(|error| error::config(format!("`{key}`: {error}")))
}

/// Percent-decodes the value of an option.
fn decode(key: &str, value: &str) -> Result<String> {
    let is_escape = |rest: &str| {
        rest.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    };
    let decoded = percent_decode_str(value).decode_utf8();
    match decoded {
        Ok(decoded) if value.split('%').skip(1).all(is_escape) => Ok(decoded.into_owned()),
        _ => Err(error::config(format!("`{key}` is not percent-encoded UTF-8"))),
    }
}

#[cfg(test)]
mod tests;
