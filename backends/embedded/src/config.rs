//! Options and URLs, the same for every embedded engine.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::thread::available_parallelism;
use std::time::Duration;

use annals_core::{
    BackendError, DEFAULT_MAX_VALUE_BYTES, Durability, ErrorKind, PersistenceError, Result,
    duration,
};
use percent_encoding::percent_decode_str;

use crate::tuning::Tuning;

/// The options that all embedded engines have. Their setters are those of
/// [`shared_options!`](crate::shared_options).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedConfig {
    /// The path of the file.
    pub path: PathBuf,
    /// Whether a missing file is created.
    pub create: bool,
    /// Whether the file is only read.
    pub read_only: bool,
    /// What an acknowledged row survives.
    pub durability: Durability,
    /// The size of the engine's page cache in bytes.
    pub cache_bytes: usize,
    /// The largest accepted value, in bytes of JSON text.
    pub max_value_bytes: usize,
    /// The number of stores in the queue beyond which a store waits.
    pub queue_capacity: usize,
    /// The number of reads that run at the same time.
    pub readers: usize,
    /// How long a stream keeps its snapshot while nobody asks for its next page. `None`: no limit.
    pub snapshot_timeout: Option<Duration>,
    /// When the head is flushed and runs are merged; for tests.
    #[doc(hidden)]
    pub tuning: Tuning,
}

/// The options in URLs that [`EmbeddedConfig`] reads.
const SHARED: &str = "mode, create, cache_bytes, max_value_bytes, queue_capacity, readers, \
                      snapshot_timeout";

impl EmbeddedConfig {
    /// The defaults: created if missing, [`Durability::PowerLoss`], values of up to 16 MiB, a queue
    /// of 4,096 stores, a reader per core (2 to 8), no snapshot timeout.
    pub fn new(path: impl AsRef<Path>, cache_bytes: usize) -> Self {
        let cores = available_parallelism().map_or(2, |cores| cores.get());
        Self {
            path: path.as_ref().to_owned(),
            create: true,
            read_only: false,
            durability: Durability::PowerLoss,
            cache_bytes,
            max_value_bytes: DEFAULT_MAX_VALUE_BYTES,
            queue_capacity: 4096,
            readers: cores.clamp(2, 8),
            snapshot_timeout: None,
            tuning: Tuning::default(),
        }
    }

    /// Reads `engine:path?option=value&…` into the configuration that `new` makes for the path.
    ///
    /// After the scheme comes the path as it is (`sqlite:history.db`, `sqlite:/var/lib/history.db`),
    /// or `//` and the path (`sqlite://history.db`, `sqlite:///var/lib/history.db`), as in sqlx. Path
    /// and options are percent-decoded: `%3f` is a `?` in the path. `set` sets the engine's `own`
    /// options and returns false for all others.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] names what is wrong.
    pub fn from_url<C: AsMut<Self>>(
        engine: &'static str,
        url: &str,
        new: impl FnOnce(PathBuf) -> C,
        own: &str,
        set: impl Fn(&mut C, &str, &str) -> Result<bool>,
    ) -> Result<C> {
        let (path, options) = parse_url(engine, url)?;
        let mut config = new(path);
        for (option, value) in options {
            if !set(&mut config, &option, &value)?
                && !config.as_mut().set(engine, &option, &value)?
            {
                let message =
                    format!("unknown option \"{option}\"; the options are {own}, {SHARED}");
                return Err(refused(engine, message));
            }
        }
        Ok(config)
    }

    fn set(&mut self, engine: &'static str, option: &str, value: &str) -> Result<bool> {
        match option {
            "mode" => {
                self.read_only = choose(engine, option, value, &[("rw", false), ("ro", true)])?;
            }
            "create" => {
                let choices = [("true", true), ("false", false)];
                self.create = choose(engine, option, value, &choices)?;
            }
            "cache_bytes" => self.cache_bytes = positive(engine, option, value)?,
            "max_value_bytes" => self.max_value_bytes = positive(engine, option, value)?,
            "queue_capacity" => self.queue_capacity = positive(engine, option, value)?,
            "readers" => self.readers = positive(engine, option, value)?,
            // The second name is that of older releases.
            "snapshot_timeout" | "snapshot_timeout_ms" => {
                self.snapshot_timeout = Some(timeout(engine, option, value)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Defines the setters of [`EmbeddedConfig`] on an engine's configuration, which has one in a field
/// `shared`.
#[doc(hidden)]
#[macro_export]
macro_rules! shared_options {
    ($config:ident) => {
        impl $config {
            /// The path of the file.
            pub fn path(&self) -> &::std::path::Path {
                &self.shared.path
            }

            /// Whether a missing file is created (the default). Otherwise a file that is missing,
            /// empty or of another kind is refused and left as it is. A file of an older format is
            /// converted either way.
            #[must_use]
            pub fn with_create(mut self, create: bool) -> Self {
                self.shared.create = create;
                self
            }

            /// Whether the file is only read: it is not created, converted or written to, and no other
            /// file is made beside it. Permission to read it is enough, and the medium may be read-only.
            /// A file of an older format, which would have to be converted, is refused. Calls that
            /// change the history fail with
            /// [`ErrorKind::Permission`](::annals_core::ErrorKind::Permission).
            #[must_use]
            pub fn with_read_only(mut self, read_only: bool) -> Self {
                self.shared.read_only = read_only;
                self
            }

            /// The size of the page cache in bytes.
            #[must_use]
            pub fn with_cache_bytes(mut self, bytes: usize) -> Self {
                self.shared.cache_bytes = bytes;
                self
            }

            /// The largest accepted value, in bytes of JSON text; 16 MiB by default.
            #[must_use]
            pub fn with_max_value_bytes(mut self, bytes: usize) -> Self {
                self.shared.max_value_bytes = bytes;
                self
            }

            /// The number of stores in the queue beyond which a store waits; 4,096 by default.
            #[must_use]
            pub fn with_queue_capacity(mut self, stores: usize) -> Self {
                self.shared.queue_capacity = stores;
                self
            }

            /// The number of reads that run at the same time; one per core by default, at least 2
            /// and at most 8. A stream that nobody reads does not count.
            #[must_use]
            pub fn with_readers(mut self, readers: usize) -> Self {
                self.shared.readers = readers;
                self
            }

            /// How long a stream keeps its snapshot while nobody asks for its next page (of up to
            /// 8,192 rows or 512 KiB); without a limit by default. While a snapshot is held, the
            /// space of what was written meanwhile cannot be reused. A stream that has lost its
            /// snapshot returns the rest of its page and ends with
            /// [`ErrorKind::Timeout`](::annals_core::ErrorKind::Timeout).
            #[must_use]
            pub fn with_snapshot_timeout(mut self, timeout: ::std::time::Duration) -> Self {
                self.shared.snapshot_timeout = Some(timeout);
                self
            }

            /// When the head is flushed and runs are merged; for tests.
            #[doc(hidden)]
            #[must_use]
            pub fn with_tuning(mut self, tuning: $crate::Tuning) -> Self {
                self.shared.tuning = tuning;
                self
            }
        }

        impl AsMut<$crate::EmbeddedConfig> for $config {
            fn as_mut(&mut self) -> &mut $crate::EmbeddedConfig {
                &mut self.shared
            }
        }
    };
}

fn refused(engine: &'static str, message: String) -> PersistenceError {
    BackendError::new(engine, "open", ErrorKind::Config, message).into()
}

/// Reads a whole number above 0.
fn positive<N: FromStr + Default + PartialOrd>(
    engine: &'static str,
    option: &str,
    value: &str,
) -> Result<N> {
    value.parse().ok().filter(|number| *number > N::default()).ok_or_else(|| {
        let message =
            format!("the option {option} must be a whole number above 0, not \"{value}\"");
        refused(engine, message)
    })
}

/// Reads a duration above 0, such as `500ms` or `30s`. A number without a unit counts milliseconds.
///
/// # Errors
/// [`ErrorKind::Config`] names the option.
pub fn timeout(engine: &'static str, option: &str, value: &str) -> Result<Duration> {
    let timeout = match value.parse() {
        Ok(milliseconds) => Ok(Duration::from_millis(milliseconds)),
        Err(_) => duration::parse(value).map_err(|error| error.to_string()),
    };
    let refuse = |reason| refused(engine, format!("the option {option} is wrong: {reason}"));
    match timeout {
        Ok(Duration::ZERO) => Err(refuse("it must be above 0".to_owned())),
        timeout => timeout.map_err(refuse),
    }
}

/// Reads one of several words.
///
/// # Errors
/// [`ErrorKind::Config`] names the option and the words.
pub fn choose<T: Copy>(
    engine: &'static str,
    option: &str,
    value: &str,
    choices: &[(&str, T)],
) -> Result<T> {
    choices.iter().find(|(word, _)| *word == value).map(|(_, choice)| *choice).ok_or_else(|| {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let words = words.join(" or ");
        refused(engine, format!("the option {option} must be {words}, not \"{value}\""))
    })
}

fn parse_url(engine: &'static str, url: &str) -> Result<(PathBuf, Vec<(String, String)>)> {
    let refuse = |message: String| refused(engine, message);
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
        return Err(refuse(format!(
            "the URL names no file; write {engine}:history.db, for example"
        )));
    }
    let options = options.split('&').filter(|option| !option.is_empty()).map(|option| {
        let (name, value) = option
            .split_once('=')
            .ok_or_else(|| refuse(format!("the option {option} has no value")))?;
        Ok((decode(name)?, decode(value)?))
    });
    Ok((path.into(), options.collect::<Result<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Config(EmbeddedConfig);

    impl AsMut<EmbeddedConfig> for Config {
        fn as_mut(&mut self) -> &mut EmbeddedConfig {
            &mut self.0
        }
    }

    fn read(url: &str) -> Result<EmbeddedConfig> {
        let new = |path| Config(EmbeddedConfig::new(path, 1));
        EmbeddedConfig::from_url("redb", url, new, "own", |_, option, _| Ok(option == "own"))
            .map(|config| config.0)
    }

    #[test]
    fn paths_are_read_as_people_write_them() {
        for (url, path) in [
            ("redb:history.db", "history.db"),
            ("redb:./data/history.db", "./data/history.db"),
            ("redb:/var/lib/h.db", "/var/lib/h.db"),
            ("redb://history.db", "history.db"),
            ("redb:///var/lib/h.db", "/var/lib/h.db"),
            ("redb:what%3f%20now.db", "what? now.db"),
        ] {
            assert_eq!(read(url).unwrap().path, PathBuf::from(path), "{url}");
        }
    }

    #[test]
    fn every_option_is_read() {
        let url = "redb:h?mode=ro&create=false&cache_bytes=2&max_value_bytes=3&queue_capacity=4&readers=%35\
                   &snapshot_timeout=1.5s&own=x";
        let config = EmbeddedConfig {
            create: false,
            read_only: true,
            max_value_bytes: 3,
            queue_capacity: 4,
            readers: 5,
            snapshot_timeout: Some(Duration::from_millis(1_500)),
            ..EmbeddedConfig::new("h", 2)
        };
        assert_eq!(read(url).unwrap(), config);
    }

    #[test]
    fn every_mistake_is_named() {
        for (url, named) in [
            ("redb:", "no file"),
            ("redb:?readers=1", "no file"),
            ("redb:h?readers", "readers"),
            ("redb:%ff", "%ff"),
            ("sqlite:h", "redb:"),
            ("redb:h?reader=1", "readers"),
            ("redb:h?readers=0", "readers"),
            ("redb:h?readers=-1", "readers"),
            ("redb:h?cache_bytes=big", "cache_bytes"),
            ("redb:h?max_value_bytes=1.5", "max_value_bytes"),
            ("redb:h?snapshot_timeout=", "snapshot_timeout"),
            ("redb:h?snapshot_timeout_ms=0", "above 0"),
            ("redb:h?snapshot_timeout=1mo", "1mo"),
            ("redb:h?create=no", "true or false"),
            ("redb:h?mode=read", "rw or ro"),
        ] {
            let error = read(url).unwrap_err().to_string();
            assert!(error.contains(named), "{url}: {error}");
        }
    }
}
