//! Connecting to one of several hosts, each with a time limit of its own.

use std::collections::hash_map::RandomState;
use std::future::{self, Future};
use std::hash::BuildHasher;
use std::pin::Pin;
use std::time::Duration;

use deadpool_postgres::Connect;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::LoadBalanceHosts;
use tokio_postgres::{Client, Config, Error, NoTls};

type Connecting<'a> =
    Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + 'a>>;

/// The driver limits how long a host may take to accept a connection, but not how long it may take
/// to let us in: one that hangs there would use up the time of those after it.
pub(crate) struct HostByHost {
    /// To connect and log in, for each host.
    pub(crate) limit: Duration,
}

impl Connect for HostByHost {
    fn connect(&self, server: &Config) -> Connecting<'_> {
        let hosts = one_by_one(server);
        Box::pin(async move {
            let mut last = None;
            for host in hosts {
                match timeout(self.limit, host.connect(NoTls)).await {
                    Ok(Ok((client, connection))) => {
                        let task = tokio::spawn(async move {
                            if let Err(error) = connection.await {
                                tracing::debug!(%error, "a connection ended");
                            }
                        });
                        return Ok((client, task));
                    }
                    Ok(Err(error)) => last = Some(error),
                    Err(_) => tracing::debug!("a host did not let us in within `connect_timeout`"),
                }
            }
            match last {
                Some(error) => Err(error),
                // All hung. The pool's limit, the sum of theirs, ends this with its own error.
                None => future::pending().await,
            }
        })
    }
}

/// How many hosts there are.
pub(crate) fn count(server: &Config) -> usize {
    server.get_hosts().len().max(server.get_hostaddrs().len())
}

/// A configuration for each host, in the order in which they are to be tried.
fn one_by_one(server: &Config) -> Vec<Config> {
    let (hosts, addresses) = (server.get_hosts(), server.get_hostaddrs());
    let ports = server.get_ports();
    let count = count(server);
    let odd = !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len();
    // With one there is nothing to take apart; of what does not fit together the driver complains.
    if count < 2 || odd || (ports.len() > 1 && ports.len() != count) {
        return vec![server.clone()];
    }
    let mut order: Vec<usize> = (0..count).collect();
    if server.get_load_balance_hosts() == LoadBalanceHosts::Random {
        let random = RandomState::new();
        order.sort_by_cached_key(|place| random.hash_one(place));
    }
    let one = |place: usize| {
        let mut one = without_hosts(server);
        match hosts.get(place) {
            Some(tokio_postgres::config::Host::Tcp(host)) => drop(one.host(host)),
            #[cfg(unix)]
            Some(tokio_postgres::config::Host::Unix(path)) => drop(one.host_path(path)),
            None => {}
        }
        if let Some(address) = addresses.get(place) {
            one.hostaddr(*address);
        }
        if let Some(port) = ports.get(place).or_else(|| ports.first()) {
            one.port(*port);
        }
        one
    };
    order.into_iter().map(one).collect()
}

/// Everything else; the driver has no way to take hosts out again.
fn without_hosts(server: &Config) -> Config {
    let mut config = Config::new();
    server.get_user().map(|user| config.user(user));
    server.get_password().map(|password| config.password(password));
    server.get_dbname().map(|name| config.dbname(name));
    server.get_options().map(|options| config.options(options));
    server.get_application_name().map(|name| config.application_name(name));
    server.get_connect_timeout().map(|limit| config.connect_timeout(*limit));
    server.get_tcp_user_timeout().map(|limit| config.tcp_user_timeout(*limit));
    server.get_keepalives_interval().map(|interval| config.keepalives_interval(interval));
    server.get_keepalives_retries().map(|retries| config.keepalives_retries(retries));
    config
        .keepalives(server.get_keepalives())
        .keepalives_idle(server.get_keepalives_idle())
        .ssl_mode(server.get_ssl_mode())
        .ssl_negotiation(server.get_ssl_negotiation())
        .target_session_attrs(server.get_target_session_attrs())
        .channel_binding(server.get_channel_binding())
        .load_balance_hosts(server.get_load_balance_hosts());
    config
}
