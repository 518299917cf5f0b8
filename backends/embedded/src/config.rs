//! Settings and URLs, the same for every embedded engine.

use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use annals_core::{BackendError, DEFAULT_MAX_VALUE_BYTES, ErrorKind, PersistenceError};
use percent_encoding::percent_decode_str;

use crate::tuning::Tuning;

/// What all embedded engines can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedConfig {
    /// The largest value taken, in bytes of JSON text.
    pub max_value_bytes: usize,
    /// How many stores may wait in the queue before the next one waits to get in.
    pub queue_capacity: usize,
    /// How many reads are worked on at the same time.
    pub readers: usize,
    /// How long a stream may keep its snapshot while nobody asks for its next page; without a limit
    /// by default.
    ///
    /// A snapshot keeps space from being used again, in the file or the log beside it, for as long
    /// as it is held. A stream that lost it gives the page it has and ends with
    /// [`ErrorKind::Timeout`]. A page is up to 8,192 rows or 512 KiB.
    pub snapshot_timeout: Option<Duration>,
    /// When the head is folded and runs are merged; for tests.
    #[doc(hidden)]
    pub tuning: Tuning,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        let cores = available_parallelism().map_or(2, |cores| cores.get());
        Self {
            max_value_bytes: DEFAULT_MAX_VALUE_BYTES,
            queue_capacity: 4096,
            readers: cores.clamp(2, 8),
            snapshot_timeout: None,
            tuning: Tuning::default(),
        }
    }
}

impl EmbeddedConfig {
    /// Sets one option by its name in a URL; answers whether there is such an option.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the value is not a whole number above 0.
    pub fn set(
        &mut self,
        engine: &'static str,
        option: &str,
        value: &str,
    ) -> Result<bool, PersistenceError> {
        let target = match option {
            "max_value_bytes" => &mut self.max_value_bytes,
            "queue_capacity" => &mut self.queue_capacity,
            "readers" => &mut self.readers,
            "snapshot_timeout_ms" => {
                let milliseconds = parse_bytes(engine, option, value)? as u64;
                self.snapshot_timeout = Some(Duration::from_millis(milliseconds));
                return Ok(true);
            }
            _ => return Ok(false),
        };
        *target = parse_bytes(engine, option, value)?;
        Ok(true)
    }
}

/// Reads a whole number above 0.
///
/// # Errors
/// [`ErrorKind::Config`], which names the option.
pub fn parse_bytes(
    engine: &'static str,
    option: &str,
    value: &str,
) -> Result<usize, PersistenceError> {
    value.parse().ok().filter(|number| *number > 0).ok_or_else(|| {
        let message = format!("the option {option} wants a whole number above 0, not \"{value}\"");
        BackendError::new(engine, "open", ErrorKind::Config, message).into()
    })
}

/// Takes `scheme:path?option=value&…` apart.
///
/// After the scheme comes a path as it is (`sqlite:history.db`, `sqlite:./history.db`,
/// `sqlite:/var/lib/history.db`), or `//` and a path (`sqlite://history.db`,
/// `sqlite:///var/lib/history.db`), as sqlx reads it. `%3f` stands for a `?` in the path and so on:
/// both path and options are percent-decoded.
///
/// # Errors
/// [`ErrorKind::Config`] when the scheme is another, the path is empty, or what is decoded is not
/// UTF-8.
pub fn parse_url(
    engine: &'static str,
    url: &str,
) -> Result<(PathBuf, Vec<(String, String)>), PersistenceError> {
    let refuse = |message: String| -> PersistenceError {
        BackendError::new(engine, "open", ErrorKind::Config, message).into()
    };
    let decode = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(refuse(format!("\"{text}\" does not decode to UTF-8"))),
    };
    let rest = url
        .strip_prefix(engine)
        .and_then(|rest| rest.strip_prefix(':'))
        .ok_or_else(|| refuse(format!("the URL does not begin with {engine}:")))?;
    let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
    let path = decode(path.strip_prefix("//").unwrap_or(path))?;
    if path.is_empty() {
        return Err(refuse(format!("the URL names no file; write {engine}:history.db, say")));
    }
    let options = options.split('&').filter(|option| !option.is_empty()).map(|option| {
        let (name, value) = option
            .split_once('=')
            .ok_or_else(|| refuse(format!("the option {option} has no value")))?;
        Ok((decode(name)?, decode(value)?))
    });
    Ok((path.into(), options.collect::<Result<_, PersistenceError>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_people_write_them() {
        for (url, path) in [
            ("sqlite:history.db", "history.db"),
            ("sqlite:./data/history.db", "./data/history.db"),
            ("sqlite:/var/lib/h.db", "/var/lib/h.db"),
            ("sqlite://history.db", "history.db"),
            ("sqlite:///var/lib/h.db", "/var/lib/h.db"),
            ("sqlite:what%3f%20now.db", "what? now.db"),
        ] {
            assert_eq!(parse_url("sqlite", url).unwrap().0, PathBuf::from(path), "{url}");
        }
    }

    #[test]
    fn options_are_decoded_and_refused_when_wrong() {
        let (_, options) = parse_url("redb", "redb:h.redb?a=1&b=x%26y").unwrap();
        assert_eq!(options, [("a".into(), "1".into()), ("b".into(), "x&y".into())]);
        for url in ["redb:", "redb:?a=1", "redb:h?a", "sqlite:h.db", "redb:%ff"] {
            assert!(parse_url("redb", url).is_err(), "{url}");
        }
        let mut config = EmbeddedConfig::default();
        assert!(config.set("redb", "readers", "3").unwrap());
        assert!(!config.set("redb", "reader", "3").unwrap());
        for wrong in ["0", "-1", "many", "", "1.5"] {
            assert!(config.set("redb", "readers", wrong).is_err(), "{wrong}");
        }
        assert_eq!(config.readers, 3);
        assert!(config.set("redb", "snapshot_timeout_ms", "1500").unwrap());
        assert_eq!(config.snapshot_timeout, Some(Duration::from_millis(1_500)));
    }
}
