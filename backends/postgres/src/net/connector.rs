//! Makes connections for a pool: tries the hosts in turn, with the right password and TLS mode.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use annals_core::{ErrorKind, Result};
use deadpool_postgres::Connect;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout;
use tokio_postgres::config::SslMode as DriverMode;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};

use super::hosts::{self, Host};
use super::tls::{self, Handshakes};
use crate::config::{Role, Server, SslMode, Tls};
use crate::error::{self, ConnectError};

/// A connection, and the task that drives it. The pool aborts the task when it drops the connection:
/// that closes the socket even if the server has stopped reading from it.
type Connection = (Client, JoinHandle<()>);

tokio::task_local! {
    /// Why the connection of the current [`reporting`] call was not made. The pool's error type can
    /// carry only errors of the driver, and files and timeouts have none.
    static FAILURE: Cell<Option<ConnectError>>;
}

/// Runs `work`, which may make a connection, and returns also why that failed.
pub(super) async fn reporting<T>(work: impl Future<Output = T>) -> (T, Option<ConnectError>) {
    FAILURE.scope(Cell::new(None), async { (work.await, FAILURE.with(Cell::take)) }).await
}

/// Makes connections to one server.
pub(super) struct Connector {
    server: Server,
    tls: Tls,
    handshakes: Arc<Handshakes>,
    /// For looking up a name, and for connecting and logging in to each address. The driver limits
    /// only the TCP connect; an address that hangs later would use up the time of the others.
    limit: Duration,
    /// Raised with each notification that arrives, and when a connection ends.
    notified: Option<Arc<Notify>>,
}

impl Connector {
    pub(super) fn new(server: Server, limit: Duration) -> Result<Self> {
        let tls = server.tls.resolve()?;
        let handshakes =
            Arc::new(Handshakes::new(tls.clone(), server.driver.get_ssl_negotiation()));
        Ok(Self { server, tls, handshakes, limit, notified: None })
    }

    /// Tells of notifications, and of the end of a connection.
    pub(super) fn with_notifications(self, notified: Arc<Notify>) -> Self {
        Self { notified: Some(notified), ..self }
    }

    pub(super) fn handshakes(&self) -> Arc<Handshakes> {
        self.handshakes.clone()
    }

    /// Tries every host in turn, once for each role in order of preference.
    async fn any_host(&self) -> Result<Connection, ConnectError> {
        let driver = &self.server.driver;
        let hosts = hosts::shuffled(driver, Host::all(driver));
        let mut failed: Vec<(String, ConnectError)> = Vec::new();
        for role in self.server.target.0 {
            failed.clear();
            for host in &hosts {
                match self.host(host, *role).await {
                    Ok(connection) => return Ok(connection),
                    Err(error) => failed.push((host.to_string(), error)),
                }
            }
        }
        Err(together(failed))
    }

    /// Tries every address of a host.
    async fn host(&self, host: &Host, role: Role) -> Result<Connection, ConnectError> {
        let mut config = host.config(&self.server.driver);
        if let Some(password) = self.server.passwords.find(&config)? {
            config.password(password);
        }
        let addresses = timeout(self.limit, host.addresses()).await;
        let addresses = addresses.map_err(|_| too_slow())??;
        let shuffled = hosts::shuffled(&self.server.driver, addresses);
        let mut failed = ConnectError::new(ErrorKind::Connection, "it has no address");
        for address in shuffled {
            let mut config = config.clone();
            if let Some(address) = address {
                config.hostaddr(address);
            }
            let logged_in = timeout(self.limit, self.log_in(host, &mut config, role)).await;
            match logged_in.unwrap_or_else(|_| Err(too_slow())) {
                Ok(connection) => return Ok(connection),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Connects to one address, logs in and checks the server's role.
    async fn log_in(
        &self,
        host: &Host,
        config: &mut Config,
        role: Role,
    ) -> Result<Connection, ConnectError> {
        let mode = if host.is_local() { SslMode::Disable } else { self.tls.mode };
        let connection = match mode {
            SslMode::Disable => self.plain(config).await?,
            SslMode::Prefer => match self.encrypted(config, DriverMode::Prefer).await {
                Err(error) if tls::may_go_without(&error) => self.plain(config).await?,
                result => result?,
            },
            _ => self.encrypted(config, DriverMode::Require).await?,
        };
        let (client, driven) = connection;
        let abort = AbortOnDrop(driven.abort_handle(), true);
        role.check(&client).await?;
        abort.disarm();
        Ok((client, driven))
    }

    async fn encrypted(
        &self,
        config: &mut Config,
        mode: DriverMode,
    ) -> Result<Connection, ConnectError> {
        config.ssl_mode(mode);
        let tls = self.handshakes.connector()?;
        let connected = config.connect(tls).await;
        let (client, connection) = connected.map_err(|error| self.tls.explain(error))?;
        Ok((client, tokio::spawn(drive(connection, self.notified.clone()))))
    }

    async fn plain(&self, config: &mut Config) -> Result<Connection, ConnectError> {
        config.ssl_mode(DriverMode::Disable);
        self.plain_connection(config).await.map_err(error::connecting)
    }

    async fn plain_connection(&self, config: &Config) -> Result<Connection, tokio_postgres::Error> {
        let (client, connection) = config.connect(NoTls).await?;
        Ok((client, tokio::spawn(drive(connection, self.notified.clone()))))
    }
}

/// Ends the task of a connection that is not handed over, for example because the time is up.
struct AbortOnDrop(AbortHandle, bool);

impl AbortOnDrop {
    fn disarm(mut self) {
        self.1 = false;
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if self.1 {
            self.0.abort();
        }
    }
}

impl Connect for Connector {
    /// The configuration is not used: it has all hosts at once. The error is a placeholder for the
    /// one that [`reporting`] returns.
    fn connect(
        &self,
        _: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<Connection, tokio_postgres::Error>> + Send + '_>> {
        Box::pin(async {
            let error = match self.any_host().await {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            // Outside of `reporting` nobody asks for the reason.
            let _ = FAILURE.try_with(|failure| failure.set(Some(error)));
            // Without a host it fails before it does anything, with an error of the driver.
            self.plain_connection(&Config::new()).await
        })
    }
}

async fn drive<S, T>(
    mut connection: tokio_postgres::Connection<S, T>,
    notified: Option<Arc<Notify>>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let ended = match &notified {
        None => connection.await,
        Some(notified) => loop {
            match poll_fn(|cx| connection.poll_message(cx)).await {
                Some(Ok(AsyncMessage::Notification(_))) => notified.notify_one(),
                Some(Ok(_)) => {}
                Some(Err(error)) => break Err(error),
                None => break Ok(()),
            }
        },
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
    if let Some(notified) = notified {
        notified.notify_one();
    }
}

fn too_slow() -> ConnectError {
    let message = "the server did not accept the login within `connect_timeout`";
    ConnectError::new(ErrorKind::Timeout, message)
}

/// Combines the errors of all hosts. A transient one wins, because another attempt may then help.
fn together(mut failed: Vec<(String, ConnectError)>) -> ConnectError {
    let several = failed.len() > 1;
    let all: Vec<_> =
        failed.iter().map(|(host, error)| format!("{host}: {}", error.message)).collect();
    let first = failed.iter().position(|(_, error)| error.is_transient()).unwrap_or(0);
    if first >= failed.len() {
        return ConnectError::new(ErrorKind::Config, "there is no host to connect to");
    }
    let (_, mut error) = failed.swap_remove(first);
    if several {
        error.message = format!("no host is usable: {}", all.join("; "));
    }
    error
}
