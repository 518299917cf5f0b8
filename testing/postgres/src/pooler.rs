//! PgBouncer in front of a server.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::TestServer;
use crate::machine::{free_port, owner_of, temporary_folder, unprivileged_user};
use crate::watch::Watcher;

/// A PgBouncer in transaction mode, which gives each transaction whatever session is free. It is
/// stopped when it is dropped and when the process ends.
#[derive(Debug)]
pub struct Pooler {
    _watcher: Watcher,
    _folder: TempDir,
    port: u16,
}

impl Pooler {
    /// Whether there is one to start.
    ///
    /// # Errors
    /// Where it was looked for.
    pub fn find() -> Result<PathBuf, String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        let mut files = folders.map(|folder| folder.join("pgbouncer"));
        files.find(|file| file.is_file()).ok_or_else(|| {
            "no pgbouncer in PATH or /usr/sbin (Debian's package has that name)".to_owned()
        })
    }

    /// The one in front of [`TestServer`], with a few connections to it.
    ///
    /// # Errors
    /// What [`TestServer::get`] and [`start`](Self::start) report.
    pub fn get() -> Result<&'static Self, String> {
        static POOLER: OnceLock<Result<Pooler, String>> = OnceLock::new();
        let start = || Self::start(TestServer::get()?.url(), 10, "");
        POOLER.get_or_init(start).as_ref().map_err(Clone::clone)
    }

    /// Starts one in front of the server at `url`, with at most `connections` to each database
    /// and more `settings`, one a line.
    ///
    /// # Errors
    /// In one line, why it cannot be started.
    pub fn start(url: &str, connections: usize, settings: &str) -> Result<Self, String> {
        let binary = Self::find()?;
        let server: Config = url.parse().map_err(|_| "the server's URL cannot be read")?;
        let (Some(Host::Tcp(host)), Some(user)) = (server.get_hosts().first(), server.get_user())
        else {
            return Err("the server's URL has no host, or no user".to_owned());
        };
        let server_port = server.get_ports().first().copied().unwrap_or(5432);
        let password = String::from_utf8_lossy(server.get_password().unwrap_or_default());
        let folder = temporary_folder()?;
        let owner = if owner_of(folder.path())?.0 == 0 { Some(unprivileged_user()?) } else { None };
        let port = free_port()?;
        let place = folder.path().display();
        let configuration = format!(
            "[databases]\n* = host={host} port={server_port}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = {place}/users\n\
             pidfile = {place}/pid\nlogfile = {place}/log\n\
             pool_mode = transaction\ndefault_pool_size = {connections}\n\
             max_client_conn = 1000\n{settings}\n"
        );
        let users = format!("\"{user}\" \"{}\"\n", password.replace('"', "\"\""));
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            fs::write(&file, text)?;
            own(&file, owner)
        };
        write("ini", &configuration)
            .and_then(|()| write("users", &users))
            .and_then(|()| own(folder.path(), owner))
            .map_err(|error| error.to_string())?;
        let watcher = Watcher::start(
            "kill \"$(cat \"$1/pid\")\"; rm -rf -- \"$1\"",
            &[folder.path().as_os_str()],
            owner,
        )?;
        let mut command = Command::new(binary);
        command.arg("-q").arg("-d").arg(folder.path().join("ini"));
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((user, group)) = owner {
            command.uid(user).gid(group);
        }
        let status = command.status().map_err(|error| format!("pgbouncer: {error}"))?;
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(Self { _watcher: watcher, _folder: folder, port });
            }
            thread::sleep(Duration::from_millis(10));
        }
        let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        let last = log.lines().last().unwrap_or("its log is empty");
        Err(format!("pgbouncer does not answer ({status}): {last}"))
    }

    /// A URL of the server's, by way of this pooler.
    ///
    /// # Errors
    /// That it has no host.
    pub fn url(&self, direct: &str) -> Result<String, String> {
        let (before, after) = direct.split_once('@').ok_or("the URL has no user")?;
        let rest = after.find(['/', '?']).map_or("", |end| &after[end..]);
        Ok(format!("{before}@127.0.0.1:{}{rest}", self.port))
    }
}

fn own(path: &Path, owner: Option<(u32, u32)>) -> std::io::Result<()> {
    match owner {
        Some((user, group)) => chown(path, Some(user), Some(group)),
        None => Ok(()),
    }
}
