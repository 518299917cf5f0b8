//! What this machine has: binaries, folders, users, ports.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The oldest major version the backend supports.
const OLDEST_MAJOR: u32 = 14;

/// The newest installed binaries that are new enough.
pub(crate) fn find_binaries() -> Result<PathBuf, String> {
    let mut folders: Vec<PathBuf> =
        std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    for parent in ["/usr/lib/postgresql", "/usr", "/opt/homebrew/opt", "/usr/local/opt"] {
        let versions = fs::read_dir(parent).into_iter().flatten().flatten();
        folders.extend(versions.map(|version| version.path().join("bin")));
    }
    let newest = folders
        .into_iter()
        .filter(|folder| folder.join("pg_ctl").is_file())
        // Some of them may be linked to from elsewhere, without the others.
        .filter_map(|folder| Some(fs::canonicalize(folder.join("initdb")).ok()?.parent()?.into()))
        .filter_map(|folder: PathBuf| Some((major_version(&folder)?, folder)))
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
pub(crate) fn temporary_folder() -> Result<TempDir, String> {
    let builder = || tempfile::Builder::new().prefix("annals-postgres-").rand_bytes(8).to_owned();
    let parent = std::env::temp_dir();
    let passable = parent
        .ancestors()
        .all(|folder| fs::metadata(folder).is_ok_and(|is| is.permissions().mode() & 0o001 != 0));
    let folder = if passable { builder().tempdir() } else { builder().tempdir_in("/tmp") };
    folder.map_err(|error| format!("no temporary folder: {error}"))
}

pub(crate) fn owner_of(path: &Path) -> Result<(u32, u32), String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    Ok((metadata.uid(), metadata.gid()))
}

/// User and group id of somebody who is not root: `postgres` where that user exists.
pub(crate) fn unprivileged_user() -> Result<(u32, u32), String> {
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

pub(crate) fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    Ok(listener.local_addr().map_err(|error| error.to_string())?.port())
}
