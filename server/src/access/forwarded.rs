//! Where a request comes from: the peer, or what a trusted proxy says.
//!
//! Anybody can send a `Forwarded` header, so it is read only if the peer is a proxy that the settings
//! name. The entries are read from the last one, which that proxy wrote, to the first one that is not
//! a trusted proxy itself.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

/// The address of the client.
pub(super) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpAddr]) -> IpAddr {
    let mut client = peer;
    for hop in hops(headers).into_iter().rev() {
        if !trusted.contains(&client) {
            break;
        }
        // An obfuscated or unknown hop hides the rest.
        let Some(hop) = hop else { break };
        client = hop;
    }
    client
}

/// The addresses in `Forwarded` (RFC 7239), or in `X-Forwarded-For` if there is none.
fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let entries = |name: &str| -> Vec<String> {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).map(|entry| entry.trim().to_owned()).collect()
    };
    let forwarded = entries("forwarded");
    if forwarded.is_empty() {
        return entries("x-forwarded-for").iter().map(|text| address(text)).collect();
    }
    let of = |entry: &String| {
        let pairs = entry.split(';').filter_map(|pair| pair.split_once('='));
        let mut named = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
        named.next().and_then(|(_, node)| address(node.trim().trim_matches('"')))
    };
    forwarded.iter().map(of).collect()
}

fn address(node: &str) -> Option<IpAddr> {
    let bracketed = node.strip_prefix('[').and_then(|node| node.strip_suffix(']'));
    let plain = bracketed.unwrap_or(node).parse().ok();
    plain.or_else(|| node.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_trusted_proxies_wrote_is_believed() {
        let proxy: IpAddr = "10.0.0.1".parse().unwrap();
        let other: IpAddr = "10.0.0.2".parse().unwrap();
        let said = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            headers
        };
        for (peer, headers, trusted, expected) in [
            (proxy, said("forwarded", "for=192.0.2.7"), vec![], "10.0.0.1"),
            (proxy, said("forwarded", "for=192.0.2.7"), vec![other], "10.0.0.1"),
            (proxy, said("forwarded", "for=192.0.2.7;proto=https"), vec![proxy], "192.0.2.7"),
            (proxy, said("forwarded", "for=1.1.1.1, for=192.0.2.7"), vec![proxy], "192.0.2.7"),
            (proxy, said("forwarded", "for=1.1.1.1, for=10.0.0.2"), vec![proxy, other], "1.1.1.1"),
            (proxy, said("forwarded", r#"For="[2001:db8::7]:4711""#), vec![proxy], "2001:db8::7"),
            (proxy, said("forwarded", "for=_hidden"), vec![proxy], "10.0.0.1"),
            (proxy, said("x-forwarded-for", "1.1.1.1, 192.0.2.7"), vec![proxy], "192.0.2.7"),
            (proxy, HeaderMap::new(), vec![proxy], "10.0.0.1"),
        ] {
            assert_eq!(client(peer, &headers, &trusted).to_string(), expected, "{headers:?}");
        }
    }
}
