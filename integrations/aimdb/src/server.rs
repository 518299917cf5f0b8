//! An AimX server for AimDB 2.x whose `record.query` reports errors in full.
//!
//! Everything else is AimDB's own server. AimDB's `record.query` parses the parameters before its
//! handler, ignores those of the wrong type, and replies to a failure with a code and no reason.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use aimdb_core_2::connector::ConnectorBuilder;
use aimdb_core_2::remote::{AimxConfig, QUERY_ALL_PATTERN, QueryHandlerFn, QueryHandlerParams};
use aimdb_core_2::session::aimx::{AimxCodec, AimxDispatch};
use aimdb_core_2::session::{
    AuthError, BoxFut, BoxStream, CodecError, Dispatch, EnvelopeCodec, Inbound, Listener, Outbound,
    Payload, PeerInfo, RpcError, Session, SessionConfig, SessionCtx, SessionLimits, SubUpdate,
    serve,
};
use aimdb_core_2::{AimDb, DbResult};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::ext::not_configured;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
type Bind = Box<dyn Fn(Arc<Checked>, SessionConfig) -> DbResult<Task> + Send + Sync>;

/// AimDB 2.x's AimX server, with full error messages for `record.query`. Use it in place of
/// `UdsServer` or another transport's server:
///
/// ```
/// # #[cfg(unix)] {
/// use aimdb_core_2::AimDbBuilder;
/// use aimdb_core_2::remote::AimxConfig;
/// use annals_aimdb::AimxServer;
///
/// let config = AimxConfig::uds_default().socket_path("/run/weather.sock");
/// let builder = AimDbBuilder::new().with_connector(AimxServer::unix(config));
/// # let _ = builder;
/// # }
/// ```
///
/// A parameter of the wrong type is an error that names it; AimDB's own server ignores it. An error
/// reply has AimDB's code, which its clients know, and a member `message`:
/// `{"t":"reply","id":1,"err":"internal","message":"`limit` is \"5\" …"}`. All other methods are
/// AimDB's own.
pub struct AimxServer {
    config: AimxConfig,
    bind: Bind,
    scheme: String,
}

impl AimxServer {
    /// Serves the listener that `bind` returns; `build()` calls it. Policy and limits come from
    /// `config`.
    pub fn new<L, F>(config: AimxConfig, bind: F) -> Self
    where
        L: Listener + 'static,
        F: Fn() -> DbResult<L> + Send + Sync + 'static,
    {
        let bind: Bind = Box::new(move |dispatch, session| {
            Ok(Box::pin(serve(bind()?, Arc::new(Codec), dispatch, session)))
        });
        Self { config, bind, scheme: "uds".to_owned() }
    }

    /// Serves the Unix socket that `config` names, as AimDB's `UdsServer` does: it replaces an
    /// existing socket, and only the owner may use it unless `config` sets other permissions.
    #[cfg(unix)]
    pub fn unix(config: AimxConfig) -> Self {
        let bound = config.clone();
        Self::new(config, move || unix::bind(&bound))
    }

    /// Sets the scheme under which the server is registered. Default: `uds`.
    #[must_use]
    pub fn scheme(mut self, scheme: impl Into<String>) -> Self {
        self.scheme = scheme.into();
        self
    }
}

impl fmt::Debug for AimxServer {
    /// Without the configuration, which contains a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AimxServer").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

impl ConnectorBuilder for AimxServer {
    fn build<'a>(
        &'a self,
        db: &'a AimDb,
    ) -> Pin<Box<dyn Future<Output = DbResult<Vec<Task>>> + Send + 'a>> {
        // `record.list` reports which records are writable.
        for key in self.config.security_policy.writable_records() {
            let record = db.inner().resolve_str(&key).and_then(|id| db.inner().storage(id));
            if let Some(record) = record {
                record.set_writable_erased(true);
            }
        }
        let db = Arc::new(db.clone());
        let inner = AimxDispatch::new(db.clone(), self.config.clone());
        let session = SessionConfig {
            limits: SessionLimits {
                max_connections: self.config.max_connections,
                max_subs_per_connection: self.config.max_subs_per_connection,
            },
            reads_hello: false,
            acks_subscribe: false,
        };
        let task = (self.bind)(Arc::new(Checked { inner, db }), session);
        Box::pin(async move { Ok(vec![task?]) })
    }

    fn scheme(&self) -> &str {
        &self.scheme
    }
}

/// AimDB's dispatch, with sessions that answer `record.query`.
struct Checked {
    inner: AimxDispatch,
    db: Arc<AimDb>,
}

impl Dispatch for Checked {
    fn authenticate<'a>(
        &'a self,
        peer: &'a PeerInfo,
        first: Option<&'a [u8]>,
    ) -> BoxFut<'a, Result<SessionCtx, AuthError>> {
        self.inner.authenticate(peer, first)
    }

    fn open(&self, ctx: &SessionCtx) -> Box<dyn Session> {
        Box::new(CheckedSession { inner: self.inner.open(ctx), db: self.db.clone() })
    }
}

struct CheckedSession {
    inner: Box<dyn Session>,
    db: Arc<AimDb>,
}

impl Session for CheckedSession {
    fn call<'a>(
        &'a mut self,
        method: &'a str,
        params: Payload,
    ) -> BoxFut<'a, Result<Payload, RpcError>> {
        if method != "record.query" {
            return self.inner.call(method, params);
        }
        let db = self.db.clone();
        Box::pin(async move {
            let answered = match parse_params(&params) {
                Ok(params) => match db.extensions().get::<QueryHandlerFn>() {
                    Some(answer) => answer(params).await,
                    None => Err(not_configured().to_string()),
                },
                Err(refusal) => Err(refusal),
            };
            Ok(match answered {
                Ok(answer) => answer.to_string().into_bytes().into(),
                Err(message) => refusal(&message),
            })
        })
    }

    fn subscribe<'a>(
        &'a mut self,
        topic: &'a str,
    ) -> BoxFut<'a, Result<BoxStream<'static, SubUpdate>, RpcError>> {
        self.inner.subscribe(topic)
    }

    fn snapshots(&mut self, topic: &str) -> Vec<(String, Payload)> {
        self.inner.snapshots(topic)
    }

    fn write<'a>(
        &'a mut self,
        topic: &'a str,
        payload: Payload,
    ) -> BoxFut<'a, Result<(), RpcError>> {
        self.inner.write(topic, payload)
    }
}

/// The parameters of a `record.query`, or what is wrong with them. Null counts as absent.
fn parse_params(params: &[u8]) -> Result<QueryHandlerParams, String> {
    let params = match serde_json::from_slice(params) {
        Ok(Value::Object(params)) => params,
        Ok(Value::Null) => Map::new(),
        _ => return Err("the parameters of record.query are an object".to_owned()),
    };
    let given = |member: &str| params.get(member).filter(|value| !value.is_null());
    let number = |member: &str| match given(member) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(number) => Ok(Some(number)),
            None => Err(wrong(member, value, "a whole number from 0 on")),
        },
    };
    let name = match given("name") {
        None => QUERY_ALL_PATTERN.to_owned(),
        Some(Value::String(name)) => name.clone(),
        Some(value) => return Err(wrong("name", value, "text")),
    };
    let limit = number("limit")?.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(QueryHandlerParams { name, limit, start: number("start")?, end: number("end")? })
}

fn wrong(member: &str, value: &Value, expected: &str) -> String {
    const SHOWN: usize = 40;
    let mut shown = value.to_string();
    if let Some((end, _)) = shown.char_indices().nth(SHOWN) {
        shown.replace_range(end.., "…");
    }
    format!("`{member}` is {shown} where {expected} is expected")
}

/// The first byte of a payload that is an error message; no JSON text starts with it. Sessions use
/// it to pass a message through AimDB's engine, whose errors are only codes, to the codec.
const REFUSAL: u8 = b'!';

fn refusal(message: &str) -> Payload {
    [&[REFUSAL], message.as_bytes()].concat().into()
}

/// AimDB's codec, which turns a payload marked with [`REFUSAL`] into an error reply with a message.
struct Codec;

#[derive(Serialize)]
struct Refused<'a> {
    t: &'a str,
    id: u64,
    err: &'a str,
    message: &'a str,
}

impl EnvelopeCodec for Codec {
    fn decode(&self, frame: &[u8]) -> Result<Inbound, CodecError> {
        AimxCodec.decode(frame)
    }

    fn encode(&self, message: Outbound<'_>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let Outbound::Reply { id, result: Ok(payload) } = &message else {
            return AimxCodec.encode(message, out);
        };
        let Some((&REFUSAL, message_text)) = payload.split_first() else {
            return AimxCodec.encode(message, out);
        };
        let message = str::from_utf8(message_text).map_err(|_| CodecError::Malformed)?;
        let refused = Refused { t: "reply", id: *id, err: "internal", message };
        serde_json::to_writer(out, &refused).map_err(|_| CodecError::Malformed)
    }

    fn encode_inbound(&self, message: Inbound, out: &mut Vec<u8>) -> Result<(), CodecError> {
        AimxCodec.encode_inbound(message, out)
    }

    fn decode_outbound<'a>(&self, frame: &'a [u8]) -> Result<Outbound<'a>, CodecError> {
        AimxCodec.decode_outbound(frame)
    }
}

#[cfg(unix)]
mod unix {
    use std::fs::{self, Permissions};
    use std::io;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};

    use aimdb_core_2::remote::AimxConfig;
    use aimdb_core_2::{DbError, DbResult};
    use aimdb_uds_connector_2::UdsListener;
    use tokio::net::UnixListener;

    const OWNER_ONLY: u32 = 0o600;

    pub(super) fn bind(config: &AimxConfig) -> DbResult<UdsListener> {
        let path = &config.socket_path;
        let failed = |what: &str, source: io::Error| DbError::IoWithContext {
            context: format!("the socket {path} cannot be {what}"),
            source,
        };
        // A file that is no socket is left alone, and binding fails.
        if fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket()) {
            fs::remove_file(path).map_err(|error| failed("replaced", error))?;
        }
        let listener = UnixListener::bind(path).map_err(|error| failed("bound", error))?;
        let mode = Permissions::from_mode(config.socket_permissions.unwrap_or(OWNER_ONLY));
        fs::set_permissions(path, mode).map_err(|error| failed("protected", error))?;
        Ok(UdsListener::new(listener))
    }
}
