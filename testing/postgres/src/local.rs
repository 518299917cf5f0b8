//! A throw-away server from locally installed binaries.

use std::ffi::OsStr;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::watch::Watcher;

/// The oldest major version the backend supports.
const OLDEST_MAJOR: u32 = 14;
/// Somebody else may take the free port before the server does.
const PORT_ATTEMPTS: usize = 5;

/// A throw-away server of one's own, for tests that stop, kill or restart it. It listens on a free
/// loopback port; its data is removed when it is dropped and when the process ends.
#[derive(Debug)]
pub struct LocalServer {
    // The watcher stops the server and removes the data; it must go before the folder does.
    _watcher: Watcher,
    binaries: PathBuf,
    folder: TempDir,
    owner: Option<(u32, u32)>,
    port: u16,
    url: String,
}

impl LocalServer {
    /// Creates and starts a server, which takes a second or two.
    ///
    /// # Errors
    /// In one line, why there are no usable binaries or what they reported.
    pub fn start() -> Result<Self, String> {
        let binaries = find_binaries()?;
        let folder = temporary_folder()?;
        // PostgreSQL refuses to run as root.
        let owner = if owner_of(folder.path())?.0 == 0 { Some(unprivileged_user()?) } else { None };
        if let Some((user, group)) = owner {
            chown(folder.path(), Some(user), Some(group)).map_err(|error| error.to_string())?;
        }
        let password = format!("{:016x}", RandomState::new().hash_one("password"));
        let data = folder.path().join("data");
        let watcher = Watcher::start(
            "\"$1/pg_ctl\" stop -s -m immediate -D \"$2/data\"; rm -rf -- \"$2\"",
            &[binaries.as_os_str(), folder.path().as_os_str()],
            owner,
        )?;
        let url = String::new();
        let mut server = Self { _watcher: watcher, binaries, folder, owner, port: 0, url };

        let password_file = server.folder.path().join("password");
        fs::write(&password_file, &password).map_err(|error| error.to_string())?;
        if let Some((user, group)) = owner {
            chown(&password_file, Some(user), Some(group)).map_err(|error| error.to_string())?;
        }
        let mut pwfile = std::ffi::OsString::from("--pwfile=");
        pwfile.push(&password_file);
        server.run(
            "initdb",
            &[
                OsStr::new("-D"),
                data.as_os_str(),
                OsStr::new("--username=annals"),
                OsStr::new("--auth=scram-sha-256"),
                OsStr::new("--encoding=UTF8"),
                OsStr::new("--locale=C"),
                OsStr::new("--no-sync"),
                &pwfile,
            ],
        )?;
        let mut failure = String::new();
        for _ in 0..PORT_ATTEMPTS {
            server.port = free_port()?;
            match server.resume() {
                Ok(()) => {
                    server.url =
                        format!("postgres://annals:{password}@127.0.0.1:{}/postgres", server.port);
                    return Ok(server);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// The URL of its own database, with its password. It stays the same across a restart.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server at once, as a crash would: connections break, nothing is flushed.
    ///
    /// # Errors
    /// What `pg_ctl` reports.
    pub fn crash(&self) -> Result<(), String> {
        let data = self.folder.path().join("data");
        let arguments = ["stop", "-s", "-m", "immediate", "-D"].map(OsStr::new);
        self.run("pg_ctl", &[&arguments[..], &[data.as_os_str()]].concat())
    }

    /// Starts it again after [`crash`](Self::crash), on the same port and data, and waits until it
    /// takes connections.
    ///
    /// # Errors
    /// What `pg_ctl` and the server's log say.
    pub fn resume(&self) -> Result<(), String> {
        let fsync = match std::env::var(crate::FSYNC_VARIABLE).as_deref() {
            Ok("off") => "off",
            _ => "on",
        };
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync={fsync} \
             -c max_connections=300 -c shared_buffers=128MB -c log_min_messages=warning",
            self.port
        );
        let data = self.folder.path().join("data");
        let log = self.folder.path().join("log");
        let started = self.run(
            "pg_ctl",
            &[
                OsStr::new("start"),
                OsStr::new("-s"),
                OsStr::new("-w"),
                OsStr::new("-D"),
                data.as_os_str(),
                OsStr::new("-l"),
                log.as_os_str(),
                OsStr::new("-o"),
                OsStr::new(&options),
            ],
        );
        started.map_err(|error| {
            let log = fs::read_to_string(log).unwrap_or_default();
            format!("{error}; {}", log.lines().last().unwrap_or("its log is empty"))
        })
    }

    fn run(&self, program: &str, arguments: &[&OsStr]) -> Result<(), String> {
        let mut command = Command::new(self.binaries.join(program));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("LC_ALL", "C")
            // Variables of libpq and the server would reach into the throw-away server.
            .env_remove("PGDATA")
            .env_remove("PGPORT")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        // The server inherits what it is started with: a pipe would stay open as long as it runs,
        // so that the errors go to a file.
        let errors = self.folder.path().join(format!("{program}.err"));
        let file = fs::File::create(&errors).map_err(|error| error.to_string())?;
        let status = command.stderr(file).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                let said = fs::read_to_string(errors).unwrap_or_default();
                Err(format!("{program} failed ({status}): {}", said.trim().replace('\n', "; ")))
            }
            Err(error) => Err(format!("{program} cannot start: {error}")),
        }
    }
}

/// The newest installed binaries that are new enough.
fn find_binaries() -> Result<PathBuf, String> {
    let mut folders: Vec<PathBuf> =
        std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    for parent in ["/usr/lib/postgresql", "/usr", "/opt/homebrew/opt", "/usr/local/opt"] {
        let versions = fs::read_dir(parent).into_iter().flatten().flatten();
        folders.extend(versions.map(|version| version.path().join("bin")));
    }
    let newest = folders
        .into_iter()
        .filter(|folder| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file())
        .filter_map(|folder| Some((major_version(&folder)?, folder)))
        .max_by_key(|(major, _)| *major);
    match newest {
        Some((major, folder)) if major >= OLDEST_MAJOR => Ok(folder),
        Some((major, _)) => Err(format!("only version {major} is installed")),
        None => Err("no initdb and pg_ctl in PATH or /usr/lib/postgresql".to_owned()),
    }
}

/// From `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn major_version(folder: &Path) -> Option<u32> {
    let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = text.split_whitespace().find(|word| word.starts_with(char::is_numeric))?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// A folder that its owner alone can read, with parents that everyone can pass.
fn temporary_folder() -> Result<TempDir, String> {
    let builder = || tempfile::Builder::new().prefix("annals-postgres-").rand_bytes(8).to_owned();
    let parent = std::env::temp_dir();
    let passable = parent
        .ancestors()
        .all(|folder| fs::metadata(folder).is_ok_and(|is| is.permissions().mode() & 0o001 != 0));
    let folder = if passable { builder().tempdir() } else { builder().tempdir_in("/tmp") };
    folder.map_err(|error| format!("no temporary folder: {error}"))
}

fn owner_of(path: &Path) -> Result<(u32, u32), String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    Ok((metadata.uid(), metadata.gid()))
}

/// User and group id of somebody who is not root: `postgres` where that user exists.
fn unprivileged_user() -> Result<(u32, u32), String> {
    let users = fs::read_to_string("/etc/passwd").map_err(|error| error.to_string())?;
    let ids = |wanted: &str| {
        users.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            match fields[..] {
                [name, _, user, group, ..] if name == wanted => {
                    Some((user.parse().ok()?, group.parse().ok()?))
                }
                _ => None,
            }
        })
    };
    ["postgres", "nobody", "daemon"]
        .into_iter()
        .find_map(ids)
        .ok_or_else(|| "PostgreSQL refuses to run as root, and there is no other user".to_owned())
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    Ok(listener.local_addr().map_err(|error| error.to_string())?.port())
}
