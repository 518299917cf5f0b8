//! The messages of AimX 1.0 and 3.0 that history needs.
//!
//! Both are JSON objects. Values are borrowed as text and passed on byte for byte.

use std::borrow::Cow;

use annals::RawRow;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::fault::Fault;

/// The version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// AimX 1.0 of AimDB 1.x.
    One,
    /// AimX 3.0 of AimDB 2.x.
    Three,
}

const CLIENT: &str = "annals";
/// The hello is the first request.
pub(crate) const HELLO_ID: u64 = 1;

/// The parameters of `record.query`.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Ask<'a> {
    /// `None` means every record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<&'a str>,
    /// The newest rows of each record. It is always sent, since servers have different defaults.
    pub(crate) limit: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) start: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<u64>,
}

#[derive(Serialize)]
struct Hello<'a> {
    client: &'a str,
    version: &'a str,
}

/// A request of either version; the members before `id` are the hello of 1.0.
#[derive(Serialize)]
struct Request<'a, P> {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    t: Option<&'a str>,
    id: u64,
    method: &'a str,
    params: P,
}

/// A hello for both versions. To 1.0 it is a line with `version` and `client`, to 3.0 a request, and
/// both ignore the other members. So one line detects the version.
pub(crate) fn hello_to_either(token: Option<&str>) -> Result<String, Fault> {
    let either = Request {
        version: Some("1.0"),
        client: Some(CLIENT),
        auth_token: token,
        ..hello_to_three()
    };
    text(&either)
}

/// The hello of 3.0 alone.
pub(crate) fn hello() -> Result<String, Fault> {
    text(&hello_to_three())
}

fn hello_to_three() -> Request<'static, Hello<'static>> {
    let params = Hello { client: CLIENT, version: "3.0" };
    request(Version::Three, HELLO_ID, "hello", params)
}

/// A `record.query`.
pub(crate) fn query(version: Version, id: u64, ask: &Ask<'_>) -> Result<String, Fault> {
    text(&request(version, id, "record.query", ask))
}

fn request<P>(version: Version, id: u64, method: &str, params: P) -> Request<'_, P> {
    let t = (version == Version::Three).then_some("req");
    Request { version: None, client: None, auth_token: None, t, id, method, params }
}

fn text(message: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(message).map_err(|_| Fault::Malformed("cannot be asked that"))
}

/// Any message of a server.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    t: Option<Cow<'a, str>>,
    id: Option<u64>,
    #[serde(borrow)]
    version: Option<Cow<'a, str>>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    ok: Option<&'a RawValue>,
    #[serde(borrow)]
    err: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    /// The reason for `err`, which annals' own server of 3.0 sends and AimDB's does not.
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
}

const NOT_AIMX: Fault = Fault::Malformed("sent what is not AimX");
const ODD_SHAPE: Fault = Fault::Malformed("answered record.query in a shape that is not AimDB's");

impl<'a> Message<'a> {
    fn read(frame: &'a [u8]) -> Result<Self, Fault> {
        serde_json::from_slice(frame).map_err(|_| NOT_AIMX)
    }
}

/// The version of the server, from its answer to the hello.
pub(crate) fn welcome(frame: &[u8], sent_token: bool) -> Result<Version, Fault> {
    #[derive(Deserialize)]
    struct Welcome {
        version: String,
    }
    let message = Message::read(frame)?;
    match message {
        Message { t: Some(t), .. } if t != "reply" => Err(NOT_AIMX),
        Message { t: Some(_), ok: Some(ok), .. } => {
            let Welcome { version } = serde_json::from_str(ok.get()).map_err(|_| NOT_AIMX)?;
            expect(version.into(), "3", Version::Three)
        }
        Message { t: Some(_), err: Some(code), .. } => match &*code {
            "version_mismatch" => Err(Fault::Version(None)),
            code => Err(refusal(code)),
        },
        Message { error: Some(error), .. } => {
            // In the hello of 1.0 the code is where a reply has an object.
            let code: String = serde_json::from_str(error.get()).unwrap_or_default();
            Err(match &*code {
                "authentication_required" | "authentication_failed" => {
                    Fault::Token { sent: sent_token }
                }
                "unsupported_version" => Fault::Version(None),
                "" => NOT_AIMX,
                code => Fault::refused(code, "it did not accept the hello"),
            })
        }
        Message { version: Some(version), .. } => expect(version, "1", Version::One),
        _ => Err(NOT_AIMX),
    }
}

fn expect(version: Cow<'_, str>, major: &str, spoken: Version) -> Result<Version, Fault> {
    let theirs = version.split('.').next();
    if theirs == Some(major) {
        Ok(spoken)
    } else {
        let shown: String = version.chars().filter(|c| !c.is_control()).take(20).collect();
        Err(Fault::Version(Some(shown)))
    }
}

#[derive(Deserialize)]
struct WireRows<'a> {
    #[serde(borrow, alias = "records")]
    values: Vec<WireRow<'a>>,
}

/// 1.0 names the members `record`, `value` and `stored_at`.
#[derive(Deserialize)]
struct WireRow<'a> {
    #[serde(borrow, alias = "topic")]
    record: Cow<'a, str>,
    #[serde(borrow, alias = "payload")]
    value: &'a RawValue,
    #[serde(alias = "ts")]
    stored_at: u64,
}

/// The rows in a frame, by record, then newest first. `None` for a frame that is not an answer, such
/// as an event.
pub(crate) fn rows(version: Version, id: u64, frame: &[u8]) -> Result<Option<Vec<RawRow>>, Fault> {
    let message = Message::read(frame)?;
    let result = match version {
        Version::One => match message {
            Message { error: Some(error), .. } => return Err(error_of_one(error)),
            Message { result: Some(result), id: Some(theirs), .. } if theirs == id => result,
            _ => return Err(NOT_AIMX),
        },
        Version::Three => match message {
            Message { t: Some(t), .. } if t != "reply" => return Ok(None),
            Message { t: Some(_), id: Some(theirs), ok, err, message, .. } if theirs == id => {
                match (ok, err, message) {
                    (Some(ok), ..) => ok,
                    (None, Some(code), Some(why)) => return Err(Fault::refused(&code, &why)),
                    (None, Some(code), None) => return Err(refusal(&code)),
                    (None, None, _) => return Err(ODD_SHAPE),
                }
            }
            _ => return Err(NOT_AIMX),
        },
    };
    let WireRows { values } = serde_json::from_str(result.get()).map_err(|_| ODD_SHAPE)?;
    let mut rows: Vec<RawRow> = values
        .into_iter()
        .map(|WireRow { record, value, stored_at }| {
            RawRow::new(record.into(), value.get().into(), stored_at)
        })
        .collect();
    // 3.0 sends the oldest first. Among equal times the last to arrive comes first here, so their
    // order is reversed too; the sort is stable.
    if version == Version::Three {
        rows.reverse();
    }
    rows.sort_by(|a, b| a.record.cmp(&b.record).then(b.stored_at.cmp(&a.stored_at)));
    Ok(Some(rows))
}

fn error_of_one(error: &RawValue) -> Fault {
    #[derive(Deserialize)]
    struct ErrorObject {
        code: String,
        #[serde(default)]
        message: String,
    }
    match serde_json::from_str::<ErrorObject>(error.get()) {
        Err(_) => NOT_AIMX,
        Ok(ErrorObject { code, message }) => match &*code {
            "not_configured" => Fault::NoHandler,
            "method_not_found" => Fault::NoMethod,
            "permission_denied" => Fault::Denied,
            code => Fault::refused(code, &message),
        },
    }
}

/// 3.0 has a code only, unless the server adds a message.
fn refusal(code: &str) -> Fault {
    match code {
        "not_found" => Fault::NoMethod,
        "denied" => Fault::Denied,
        "internal" => Fault::Internal,
        "version_mismatch" => Fault::Version(None),
        code => Fault::refused(code, "it gives no reason"),
    }
}

#[cfg(test)]
mod tests;
