//! Finds the password. Files are read for each connection, so that a password can be changed while the
//! program runs.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use annals_core::ErrorKind;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::config::Passwords;
use crate::error::ConnectError;

impl Passwords {
    /// The password for one host: from `password_file`, `PGPASSWORD` or libpq's password file, in
    /// this order. `None` if the configuration itself has one, or none is found.
    pub(super) fn find(&self, config: &Config) -> Result<Option<Vec<u8>>, ConnectError> {
        if config.get_password().is_some() {
            return Ok(None);
        }
        if let Some(path) = &self.password_file {
            return whole(path).map(Some);
        }
        if let Some(password) = env::var_os("PGPASSWORD").filter(|password| !password.is_empty()) {
            return Ok(Some(password.into_encoded_bytes()));
        }
        let (path, chosen) = match &self.passfile {
            Some(path) => (path.clone(), true),
            None => match default_passfile(|name| env::var_os(name)) {
                Some(path) => (path, false),
                None => return Ok(None),
            },
        };
        match read_passfile(&path) {
            Ok(lines) => Ok(look_up(&lines, config)),
            Err(error) if chosen => Err(error),
            // As with libpq, the default file need not exist.
            Err(error) if error.kind == ErrorKind::Config => Ok(None),
            Err(error) => {
                tracing::warn!("{}: the file is ignored", error.message);
                Ok(None)
            }
        }
    }
}

fn default_passfile(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let named = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("PGPASSFILE").or_else(|| Some(named("HOME")?.join(".pgpass")))
}

/// The whole file, without the line break that an editor adds.
fn whole(path: &Path) -> Result<Vec<u8>, ConnectError> {
    let mut password = fs::read(path).map_err(|error| unreadable("password_file", path, &error))?;
    if password.ends_with(b"\n") {
        password.pop();
    }
    if password.ends_with(b"\r") {
        password.pop();
    }
    if password.is_empty() {
        let message = format!("`password_file` {} is empty", path.display());
        return Err(ConnectError::new(ErrorKind::Config, message));
    }
    Ok(password)
}

fn read_passfile(path: &Path) -> Result<Vec<u8>, ConnectError> {
    let metadata = fs::metadata(path).map_err(|error| unreadable("passfile", path, &error))?;
    let refused = |why: &str| {
        let message = format!("`passfile` {} {why}", path.display());
        Err(ConnectError::new(ErrorKind::Permission, message))
    };
    if !metadata.is_file() {
        return refused("is not a plain file");
    }
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::mode(&metadata) & 0o077 != 0 {
        return refused("can be read by others; its mode must be 0600 or less");
    }
    fs::read(path).map_err(|error| unreadable("passfile", path, &error))
}

pub(super) fn unreadable(option: &str, path: &Path, error: &io::Error) -> ConnectError {
    let message = format!("`{option}` {} cannot be read: {error}", path.display());
    // A missing file is a mistake in the configuration: a rotation replaces files as a whole.
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied => ErrorKind::Permission,
        _ => ErrorKind::Config,
    };
    ConnectError::new(kind, message)
}

/// The password of the first line that matches.
fn look_up(lines: &[u8], config: &Config) -> Option<Vec<u8>> {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        _ => "localhost".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or_default().to_string();
    let user = config.get_user().unwrap_or_default();
    let database = config.get_dbname().unwrap_or(user);
    let wanted = [host.as_str(), &port, database, user].map(str::as_bytes);
    lines.split(|byte| *byte == b'\n').find_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.starts_with(b"#") {
            return None;
        }
        let fields = fields(line)?;
        let matches = |(field, wanted): (&Field, &[u8])| field.any || field.text == wanted;
        fields.iter().zip(wanted).all(matches).then(|| fields[4].text.clone())
    })
}

#[derive(Default)]
struct Field {
    text: Vec<u8>,
    /// A lone `*`.
    any: bool,
}

/// The five fields of a line. A backslash makes the next character literal; the last field may contain
/// colons.
fn fields(line: &[u8]) -> Option<[Field; 5]> {
    let mut fields: [Field; 5] = Default::default();
    let mut place = 0;
    let mut bytes = line.iter().copied();
    let mut escaped = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                escaped = true;
                fields[place].text.push(bytes.next()?);
            }
            b':' if place < 4 => {
                fields[place].any = fields[place].text == b"*" && !escaped;
                escaped = false;
                place += 1;
            }
            byte => fields[place].text.push(byte),
        }
    }
    (place == 4 && !fields[4].text.is_empty()).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: &str, url: &str) -> Option<String> {
        let config: Config = url.parse().unwrap();
        let config = super::super::hosts::Host::all(&config)[0].config(&config);
        look_up(lines.as_bytes(), &config).map(|found| String::from_utf8(found).unwrap())
    }

    #[test]
    fn the_first_matching_line_has_the_password() {
        let lines = "# a comment\nh:5432:db:ada:one\n\nbroken\nh:*:db:ada:two\r\n\
                     h2:5433:*:*:th\\:r:e\\\\e\n\\*:*:*:*:never\n*:5434:*:ada:four\n*:*:*:*:";
        let found = |url| found(lines, url);
        assert_eq!(found("postgres://ada@h/db").as_deref(), Some("one"));
        assert_eq!(found("postgres://ada@h:1/db").as_deref(), Some("two"));
        assert_eq!(found("postgres://bob@h2:5433/x").as_deref(), Some("th:r:e\\e"));
        assert_eq!(found("postgres://ada@h3:5434/x").as_deref(), Some("four"));
        assert_eq!(found("postgres://bob@h3:5434/x"), None);
        assert_eq!(found("postgres://ada@H/db"), None);
    }

    /// The database defaults to the user's name; a socket counts as `localhost`.
    #[test]
    fn defaults_are_those_of_libpq() {
        let lines = "localhost:5432:ada:ada:one";
        assert_eq!(found(lines, "postgres://ada@localhost").as_deref(), Some("one"));
        assert_eq!(found(lines, "host=/run/postgresql user=ada").as_deref(), Some("one"));
        assert_eq!(found("127.0.0.1:5432:*:*:one", "hostaddr=127.0.0.1").as_deref(), Some("one"));
    }

    #[test]
    fn the_variable_comes_before_the_home() {
        let variables = |all: &'static [(&str, &str)]| {
            default_passfile(move |name| Some(all.iter().find(|(key, _)| *key == name)?.1.into()))
        };
        assert_eq!(variables(&[("HOME", "/h")]), Some("/h/.pgpass".into()));
        assert_eq!(variables(&[("HOME", "/h"), ("PGPASSFILE", "/p")]), Some("/p".into()));
        assert_eq!(variables(&[("HOME", "/h"), ("PGPASSFILE", "")]), Some("/h/.pgpass".into()));
        assert_eq!(variables(&[]), None);
    }
}
