//! A throw-away server from locally installed binaries.

use std::ffi::OsStr;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::machine::{find_binaries, free_port, owner_of, temporary_folder, unprivileged_user};
use crate::watch::Watcher;

/// Another process may take the free port before the server does.
const PORT_ATTEMPTS: usize = 5;

/// A separate throw-away server, for tests that stop, kill or restart it. It listens on a free
/// loopback port; its data is removed when it is dropped and when the process ends.
#[derive(Debug)]
pub struct LocalServer {
    // The watcher stops the server and removes the data; it must go before the folder does.
    _watcher: Watcher,
    binaries: PathBuf,
    folder: TempDir,
    owner: Option<(u32, u32)>,
    port: u16,
    password: String,
    url: String,
}

impl LocalServer {
    /// Creates and starts a server, which takes a second or two.
    ///
    /// # Errors
    /// In one line, why there are no usable binaries or what they reported.
    pub fn start() -> Result<Self, String> {
        let password = format!("{:016x}", RandomState::new().hash_one("password"));
        let server = Self::prepare(password)?;
        let mut pwfile = std::ffi::OsString::from("--pwfile=");
        pwfile.push(server.put(&server.folder.path().join("password"), &server.password)?);
        server.run(
            "initdb",
            &[
                OsStr::new("-D"),
                server.data().as_os_str(),
                OsStr::new("--username=annals"),
                OsStr::new("--auth=scram-sha-256"),
                OsStr::new("--encoding=UTF8"),
                OsStr::new("--locale=C"),
                OsStr::new("--no-sync"),
                &pwfile,
            ],
        )?;
        server.configure("max_connections = 300")?;
        server.on_a_free_port()
    }

    /// Creates and starts a standby of this server, which streams from it.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn standby(&self) -> Result<Self, String> {
        let server = Self::prepare(self.password.clone())?;
        let source = format!("--dbname={}", self.url);
        server.run(
            "pg_basebackup",
            &[
                OsStr::new("-D"),
                server.data().as_os_str(),
                OsStr::new(&source),
                OsStr::new("--write-recovery-conf"),
                OsStr::new("--checkpoint=fast"),
                OsStr::new("--no-sync"),
            ],
        )?;
        server.on_a_free_port()
    }

    /// The folder and the process that removes it.
    fn prepare(password: String) -> Result<Self, String> {
        let binaries = find_binaries()?;
        let folder = temporary_folder()?;
        // PostgreSQL refuses to run as root.
        let owner = if owner_of(folder.path())?.0 == 0 { Some(unprivileged_user()?) } else { None };
        if let Some((user, group)) = owner {
            chown(folder.path(), Some(user), Some(group)).map_err(|error| error.to_string())?;
        }
        let watcher = Watcher::start(
            "read -r pid <\"$2/data/postmaster.pid\" && kill -CONT \"$pid\"; \
             \"$1/pg_ctl\" stop -s -m immediate -D \"$2/data\"; rm -rf -- \"$2\"",
            &[binaries.as_os_str(), folder.path().as_os_str()],
            owner,
        )?;
        let url = String::new();
        Ok(Self { _watcher: watcher, binaries, folder, owner, port: 0, password, url })
    }

    fn on_a_free_port(mut self) -> Result<Self, String> {
        let mut failure = String::new();
        for _ in 0..PORT_ATTEMPTS {
            self.port = free_port()?;
            self.url =
                format!("postgres://annals:{}@127.0.0.1:{}/postgres", self.password, self.port);
            match self.resume() {
                Ok(()) => return Ok(self),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// The URL of its own database, with its password. It stays the same across a restart.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The port it listens on, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The password of the role `annals`.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Writes a file that the server can read and nobody else, and returns its path, which is
    /// relative to the data directory unless it is absolute.
    ///
    /// # Errors
    /// What the operating system reports.
    pub fn put(&self, path: &Path, text: &str) -> Result<PathBuf, String> {
        let path = self.data().join(path);
        let write = || {
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            match self.owner {
                Some((user, group)) => chown(&path, Some(user), Some(group)),
                None => Ok(()),
            }
        };
        write().map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    /// Adds lines to its configuration, for the next start or [`reload`](Self::reload).
    ///
    /// # Errors
    /// What the operating system reports.
    pub fn configure(&self, lines: &str) -> Result<(), String> {
        let path = self.data().join("postgresql.conf");
        let before = fs::read_to_string(&path).map_err(|error| error.to_string())?;
        self.put(&path, &format!("{before}\n{lines}\n")).map(drop)
    }

    /// Makes the server reload its configuration.
    ///
    /// # Errors
    /// What `pg_ctl` reports.
    pub fn reload(&self) -> Result<(), String> {
        self.control("reload", &[])
    }

    /// Makes a standby a primary, and waits until it is.
    ///
    /// # Errors
    /// What `pg_ctl` reports.
    pub fn promote(&self) -> Result<(), String> {
        self.control("promote", &["-w"])
    }

    /// Stops the server at once, as a crash would: connections break, nothing is flushed.
    ///
    /// # Errors
    /// What `pg_ctl` reports.
    pub fn crash(&self) -> Result<(), String> {
        self.control("stop", &["-m", "immediate"])
    }

    /// Halts all its processes (SIGSTOP): it neither answers nor goes away.
    ///
    /// # Errors
    /// That its processes cannot be found or signalled.
    pub fn halt(&self) -> Result<(), String> {
        self.signal("STOP")
    }

    /// Resumes it after [`halt`](Self::halt).
    ///
    /// # Errors
    /// As [`halt`](Self::halt).
    pub fn go_on(&self) -> Result<(), String> {
        self.signal("CONT")
    }

    /// The first process first: it starts no others then. Of the others one may just have ended.
    fn signal(&self, signal: &str) -> Result<(), String> {
        let file = self.data().join("postmaster.pid");
        let script = "read -r pid <\"$2\" && kill -\"$1\" \"$pid\" && \
                      for child in $(cat /proc/\"$pid\"/task/\"$pid\"/children); do \
                      kill -\"$1\" \"$child\" || true; done";
        let arguments = ["-c", script, "signal", signal].map(OsStr::new);
        let arguments = [&arguments[..], &[file.as_os_str()]].concat();
        self.run("/bin/sh", &arguments)
    }

    fn control(&self, verb: &str, options: &[&str]) -> Result<(), String> {
        let data = self.data();
        let mut arguments = vec![OsStr::new(verb), OsStr::new("-s"), OsStr::new("-D")];
        arguments.push(data.as_os_str());
        arguments.extend(options.iter().map(OsStr::new));
        self.run("pg_ctl", &arguments)
    }

    /// Starts it again after [`crash`](Self::crash), on the same port and data, and waits until it
    /// accepts connections.
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
             -c shared_buffers=128MB -c log_min_messages=warning",
            self.port
        );
        let log = self.folder.path().join("log");
        let log_option = log.to_string_lossy().into_owned();
        let started = self.control("start", &["-w", "-l", &log_option, "-o", &options]);
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
        let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
        let errors = self.folder.path().join(format!("{name}.err"));
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
