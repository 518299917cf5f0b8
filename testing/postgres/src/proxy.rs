//! A proxy that reads along, and breaks connections on purpose.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::traffic::{Decoder, Traffic};

/// What the proxy does to the bytes that pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Holds each piece up for so long.
    Delay(Duration),
    /// Takes connections and bytes and lets nothing through: a cable that was pulled.
    Silence,
    /// Cuts each connection after a number of bytes, in either direction, that is drawn for it.
    Cut {
        /// The same seed draws the same numbers.
        seed: u64,
        /// The greatest number of bytes.
        most: u64,
    },
    /// Cuts each connection where an answer is to pass, the number of which is drawn for it.
    CutAnswer {
        /// The same seed draws the same numbers.
        seed: u64,
        /// The greatest number of answers that pass.
        most: u64,
    },
}

/// A TCP proxy on a free loopback port, driven by a thread of its own. Its end cuts every
/// connection through it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    orders: watch::Sender<Orders>,
    cuts: Arc<AtomicU64>,
    traffic: Arc<Traffic>,
    _end: oneshot::Sender<()>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Orders {
    fault: Fault,
    /// Connections of an earlier era are cut.
    era: u64,
}

impl Proxy {
    /// Starts one in front of the server at `url`.
    ///
    /// # Errors
    /// That the URL names no host and port, or what the operating system reports.
    pub fn start(url: &str) -> Result<Self, String> {
        let server: Config = url.parse().map_err(|_| "the server's URL cannot be read")?;
        let Some(Host::Tcp(host)) = server.get_hosts().first().cloned() else {
            return Err("the server's URL has no host".to_owned());
        };
        let port = server.get_ports().first().copied().unwrap_or(5432);
        let (orders, given) = watch::channel(Orders::default());
        let (end, ended) = oneshot::channel::<()>();
        let cuts = Arc::new(AtomicU64::new(0));
        let traffic = Arc::new(Traffic::default());
        let counted = (cuts.clone(), traffic.clone());
        let (started, starting) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let _ = started.send(listener.local_addr()?);
                let serve = async {
                    for number in 0.. {
                        let (client, _) = listener.accept().await?;
                        let (host, given) = (host.clone(), given.clone());
                        let (cuts, traffic) = counted.clone();
                        tokio::spawn(async move {
                            if let Ok(server) = TcpStream::connect((&*host, port)).await {
                                let between = (client, server);
                                if connect(between, given, number, &traffic).await {
                                    cuts.fetch_add(1, Ordering::Relaxed);
                                }
                            }
                        });
                    }
                    io::Result::Ok(())
                };
                tokio::select! {
                    served = serve => served,
                    _ = ended => Ok(()),
                }
            })
        });
        let address = starting.recv().map_err(|_| "the proxy does not start")?;
        Ok(Self { address, orders, cuts, traffic, _end: end })
    }

    /// A URL of the server's, by way of this proxy.
    ///
    /// # Errors
    /// That it has no user.
    pub fn url(&self, direct: &str) -> Result<String, String> {
        let (before, after) = direct.split_once('@').ok_or("the URL has no user")?;
        let rest = after.find(['/', '?']).map_or("", |end| &after[end..]);
        Ok(format!("{before}@{}{rest}", self.address))
    }

    /// From now on, for connections that are there as well; a cut is drawn for new ones only.
    pub fn set(&self, fault: Fault) {
        self.orders.send_modify(|orders| orders.fault = fault);
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        self.orders.send_modify(|orders| orders.era += 1);
    }

    /// What the server sent.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// How many connections were cut while they were open.
    pub fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }
}

/// Passes bytes on in both directions until one of the two sides is done, or it is to be cut; returns
/// whether it was cut.
async fn connect(
    (client, server): (TcpStream, TcpStream),
    mut orders: watch::Receiver<Orders>,
    number: u64,
    traffic: &Traffic,
) -> bool {
    // What was passed on arrives, as it would from a server.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let Orders { fault, era } = *orders.borrow_and_update();
    let (mut up, mut down, mut answers) = (u64::MAX, u64::MAX, u64::MAX);
    let draw = |seed, most: u64| {
        let drawn = mix(seed ^ mix(number));
        (drawn, drawn % most.max(1))
    };
    match fault {
        Fault::Cut { seed, most } => {
            let (drawn, bytes) = draw(seed, most);
            *(if drawn >> 63 == 0 { &mut up } else { &mut down }) = 1 + bytes;
        }
        Fault::CutAnswer { seed, most } => answers = draw(seed, most).1,
        _ => {}
    }
    let watched = orders.clone();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut decoder = Decoder::new(traffic);
    tokio::select! {
        cut = pass(from_client, to_server, (up, u64::MAX), watched.clone(), |_| ()) => cut,
        cut = pass(from_server, to_client, (down, answers), watched, |sent| decoder.read(sent)) => cut,
        _ = orders.wait_for(|orders| orders.era != era) => true,
    }
}

/// Passes on `left` bytes, in so many pieces at most; returns whether it was those that ended it.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    (mut left, mut pieces): (u64, u64),
    mut orders: watch::Receiver<Orders>,
    mut read_along: impl FnMut(&[u8]),
) -> bool {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return false };
        let fault = orders.borrow().fault;
        if let Fault::Delay(delay) = fault {
            tokio::time::sleep(delay).await;
        }
        if orders.wait_for(|orders| orders.fault != Fault::Silence).await.is_err() {
            return false;
        }
        if pieces == 0 {
            return true;
        }
        pieces -= 1;
        let passed = read.min(usize::try_from(left).unwrap_or(usize::MAX));
        read_along(&buffer[..passed]);
        if to.write_all(&buffer[..passed]).await.is_err() {
            return false;
        }
        left -= passed as u64;
        if left == 0 {
            return true;
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): well spread numbers from consecutive ones.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
