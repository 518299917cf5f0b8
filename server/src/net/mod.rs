//! Connections: accepting them, and cutting off those that take nothing.

mod guard;
mod tls;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tower::ServiceExt;

use guard::Guard;
pub use tls::{Tls, TlsError};

use crate::access::Peer;
use crate::server::Server;

/// The pause after a failed `accept`, for example when no file descriptor is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What the kernel buffers for a client. A small buffer shows soon whether the client reads, and
/// bounds what one that does not read holds; the kernel doubles it for its own needs.
const SEND_BUFFER: usize = 128 << 10;
/// What a connection buffers.
const BUFFER: usize = 64 << 10;
/// What a connection beyond the limit gets.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
    content-length: 0\r\nconnection: close\r\n\r\n";

/// Accepts connections until the future is dropped, and registers them with `connections`.
pub(crate) async fn accept(
    listener: &TcpListener,
    server: &Server,
    tls: Option<&Tls>,
    connections: &GracefulShutdown,
) -> Infallible {
    let router = server.router();
    let room = Arc::new(Semaphore::new(server.config().max_connections));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = room.clone().try_acquire_owned() else {
            // If it cannot be written at once, the client learns it from the closed connection.
            let _ = stream.try_write(TOO_MANY);
            server.metrics().refused("connections");
            continue;
        };
        // Both only tune: a failure changes nothing else.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
        let accepted = Accepted { server: server.clone(), peer, _open: Open::new(server, permit) };
        let router = router.clone();
        match tls {
            None => {
                let stream = Guard::new(stream, server);
                tokio::spawn(accepted.serve(stream, router, connections.watcher()));
            }
            Some(tls) => {
                let (acceptor, watcher) = (tls.acceptor(), connections.watcher());
                tokio::spawn(async move {
                    let stream = Guard::new(stream, &accepted.server);
                    let patience = accepted.server.config().request_timeout;
                    match timeout(patience, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => accepted.serve(stream, router, watcher).await,
                        Ok(Err(error)) => {
                            tracing::debug!(%error, %peer, "no TLS");
                            accepted.server.metrics().refused("tls");
                        }
                        Err(_) => accepted.server.metrics().refused("tls"),
                    }
                });
            }
        }
    }
}

struct Accepted {
    server: Server,
    peer: SocketAddr,
    _open: Open,
}

impl Accepted {
    async fn serve<S>(
        self,
        stream: S,
        router: Router,
        watcher: hyper_util::server::graceful::Watcher,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let peer = Peer(self.peer);
        let service = router.map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            request
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.server.config().request_timeout)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, peer = %self.peer, "a connection broke");
        }
    }
}

/// An open connection, which is counted.
struct Open {
    server: Server,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn new(server: &Server, permit: OwnedSemaphorePermit) -> Self {
        server.metrics().connections.inc();
        Self { server: server.clone(), _permit: permit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.server.metrics().connections.dec();
    }
}
