//! A container, where Docker can be reached.

use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::thread;

use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, GenericImage, ImageExt};

use crate::watch::Watcher;

/// A container with a server in it. It is removed when this is dropped and when the process ends.
#[derive(Debug)]
pub(crate) struct ContainerServer {
    _container: Container<GenericImage>,
    // testcontainers removes a container when it is dropped, which a static never is.
    _watcher: Watcher,
    url: String,
}

impl ContainerServer {
    pub(crate) fn start() -> Result<Self, String> {
        // The blocking runner has a runtime of its own, which must not start within another.
        let starter = thread::spawn(Self::start_here);
        starter.join().unwrap_or_else(|_| Err("starting the container panicked".to_owned()))
    }

    fn start_here() -> Result<Self, String> {
        let image = std::env::var(crate::IMAGE_VARIABLE);
        let image = image.unwrap_or_else(|_| "postgres:17-alpine".to_owned());
        // A registry may have a port: a tag stands after the last slash.
        let (name, tag) = match image.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (image.as_str(), "latest"),
        };
        let password = format!("{:016x}", RandomState::new().hash_one("password"));
        let container = GenericImage::new(name, tag)
            .with_exposed_port(5432.tcp())
            // The first start only creates the database and ends again; this one is the second.
            .with_wait_for(WaitFor::message_on_stdout("PostgreSQL init process complete"))
            .with_wait_for(WaitFor::message_on_stderr("ready to accept connections"))
            .with_env_var("POSTGRES_USER", "annals")
            .with_env_var("POSTGRES_PASSWORD", &password)
            .with_env_var("POSTGRES_DB", "postgres")
            .with_env_var("POSTGRES_INITDB_ARGS", "--encoding=UTF8 --locale=C")
            .with_cmd(["-c", "max_connections=300"])
            .start()
            .map_err(|error| error.to_string())?;
        let watcher =
            Watcher::start("docker rm -f -v \"$1\"", &[OsStr::new(container.id())], None)?;
        let host = container.get_host().map_err(|error| error.to_string())?;
        let port = container.get_host_port_ipv4(5432).map_err(|error| error.to_string())?;
        let url = format!("postgres://annals:{password}@{host}:{port}/postgres");
        Ok(Self { _container: container, _watcher: watcher, url })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}
