//! What the headers of a write say: the type of its body, its batch, and when to answer.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::batches::{ClientBatch, MAX_NUMBER};
use crate::problem::Problem;

pub(crate) const WRITER: HeaderName = HeaderName::from_static("annals-writer");
pub(crate) const BATCH: HeaderName = HeaderName::from_static("annals-batch");
/// RFC 7240.
pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Refuses a body that does not say that it is JSON: that is what keeps pages of other origins from
/// sending one without being asked.
pub(super) fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    match kind.trim().eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => {
            let detail = "the content type must be application/json";
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
        }
    }
}

/// Refuses bodies that are compressed in a way that the server does not read.
pub(crate) async fn known_encoding(request: Request, next: Next) -> Response {
    let encodings = request.headers().get_all(header::CONTENT_ENCODING);
    let is_known = |encoding: &HeaderValue| {
        let text = encoding.to_str().unwrap_or_default().trim();
        ["gzip", "identity"].iter().any(|known| text.eq_ignore_ascii_case(known))
    };
    if encodings.iter().all(is_known) {
        return next.run(request).await;
    }
    let detail = "a body may be compressed with gzip, and with nothing else";
    let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).applied(false);
    ([(header::ACCEPT_ENCODING, "gzip")], problem).into_response()
}

/// The client's id of the batch, with which a retry is recognized.
pub(super) fn batch_id(headers: &HeaderMap) -> Result<Option<ClientBatch>, Problem> {
    let text = |name: &HeaderName, shown| match headers.get(name) {
        None => Ok(None),
        Some(value) => value
            .to_str()
            .map(Some)
            .map_err(|_| Problem::bad_request(format!("{shown} must be visible ASCII"))),
    };
    match (text(&WRITER, "Annals-Writer")?, text(&BATCH, "Annals-Batch")?) {
        (None, None) => Ok(None),
        (Some(writer), Some(number)) => {
            let writer = parse_writer(writer).ok_or_else(|| {
                Problem::bad_request("Annals-Writer must be a UUID or 32 hexadecimal digits")
            })?;
            let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
            let number = number
                .parse()
                .ok()
                .filter(|_| is_number)
                .filter(|number| (1..=MAX_NUMBER).contains(number));
            let number = number.ok_or_else(|| {
                Problem::bad_request(format!(
                    "Annals-Batch must be a number from 1 to {MAX_NUMBER}"
                ))
            })?;
            Ok(Some(ClientBatch { writer, number }))
        }
        _ => Err(Problem::bad_request("Annals-Writer and Annals-Batch must be sent together")),
    }
}

fn parse_writer(text: &str) -> Option<u128> {
    let digits: String = match text.len() {
        36 => {
            let groups: Vec<&str> = text.split('-').collect();
            let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
            (lengths == [8, 4, 4, 4, 12]).then(|| groups.concat())?
        }
        32 => text.to_owned(),
        _ => return None,
    };
    // `from_str_radix` accepts a sign.
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
    u128::from_str_radix(&digits, 16).ok()
}

pub(super) fn prefers_async(headers: &HeaderMap) -> bool {
    let preferences = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    preferences
        .flat_map(|value| value.split(','))
        .any(|preference| preference.trim().eq_ignore_ascii_case("respond-async"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_a_uuid_with_or_without_dashes() {
        let same = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;
        assert_eq!(parse_writer("0123456789abcdef0123456789ABCDEF"), Some(same));
        assert_eq!(parse_writer("01234567-89ab-cdef-0123-456789abcdef"), Some(same));
        for text in [
            "",
            "1",
            "+123456789abcdef0123456789abcdef0",
            "0123456789abcdef0123456789abcdeg",
            "0123-456789ab-cdef-0123-456789abcdef",
            "------------------------------------",
            "0123456789abcdef0123456789abcdef0",
            "éééééééééééééééé",
        ] {
            assert_eq!(parse_writer(text), None, "{text}");
        }
    }
}
