//! A server that can go away and come back.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use annals_core::{MemoryBackend, StoreExt};
use annals_server::{Config, router};
use serde_json::json;
use tokio::task::JoinHandle;

/// A name that would run a script if it were HTML.
pub(crate) const HOSTILE: &str = "<img src=x onerror=alert(1)>";

/// The page over a history in memory.
pub(crate) struct Site {
    pub(crate) history: MemoryBackend,
    config: Config,
    address: SocketAddr,
    task: JoinHandle<()>,
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

impl Site {
    pub(crate) async fn start(history: MemoryBackend) -> Self {
        Self::with(history, Config::default()).await
    }

    pub(crate) async fn with(history: MemoryBackend, config: Config) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (address, task) = serve(&history, &config, any).await;
        Self { history, config, address, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Stops listening and ends every connection.
    pub(crate) async fn go_away(&mut self) {
        self.task.abort();
        // An aborted task ends with an error.
        let _ended = (&mut self.task).await;
    }

    /// Listens again at the same address.
    pub(crate) async fn come_back(&mut self) {
        self.task = serve(&self.history, &self.config, self.address).await.1;
    }
}

async fn serve(
    history: &MemoryBackend,
    config: &Config,
    address: SocketAddr,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = tokio::net::TcpSocket::new_v4().unwrap();
    listener.set_reuseaddr(true).unwrap();
    listener.bind(address).unwrap();
    let listener = listener.listen(256).unwrap();
    let address = listener.local_addr().unwrap();
    let router = router(Arc::new(history.clone()), config.clone()).unwrap();
    let task = tokio::spawn(async move {
        // Connections are in this set, so that they end with the task.
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            let socket = hyper_util::rt::TokioIo::new(socket);
            connections.spawn(async move {
                let connection = hyper::server::conn::http1::Builder::new();
                // A client may go at any time.
                let _ended = connection.serve_connection(socket, service).await;
            });
        }
    });
    (address, task)
}

/// An hour of two processors, a counter, a state, objects and a hostile name, until now.
pub(crate) async fn hour() -> MemoryBackend {
    let history = MemoryBackend::new();
    let now = now();
    for step in (0..720_u64).rev() {
        let at = now - step * 5_000;
        let wave = (step as f64 / 40.0).sin();
        for core in 0..2 {
            let percent = 50.0 + 30.0 * wave + f64::from(core) * 10.0 + (step % 7) as f64;
            let value = json!({ "percent": percent });
            history.put_at(&format!("host::cpu{core}"), &value, at).await.unwrap();
        }
    }
    for (step, state) in ["open", "closed", "open", "closed"].iter().enumerate() {
        let at = now - 3_000_000 + step as u64 * 700_000;
        history.put_at("door::front", &json!({ "state": state }), at).await.unwrap();
    }
    history.put_at(HOSTILE, &json!({ HOSTILE: 5, "text": HOSTILE }), now - 60_000).await.unwrap();
    history
}
