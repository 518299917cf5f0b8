//! Where an AimX server listens.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where an AimX server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A Unix socket, on both AimDB lines.
    Unix(PathBuf),
    /// `host:port`, with brackets around an IPv6 address. Only AimDB 2.x listens on TCP.
    Tcp(String),
}

const FORMS: &str = "an AimX address is unix:/path/to.sock or tcp:HOST:PORT";

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // AimDB's own tools take a path alone for a socket.
        if text.starts_with(['/', '.']) {
            return Ok(Self::Unix(text.into()));
        }
        let (scheme, rest) = text.split_once(':').ok_or(FORMS)?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        match scheme {
            "unix" | "uds" if rest.is_empty() => Err(format!("the path is missing; {FORMS}")),
            "unix" | "uds" => Ok(Self::Unix(rest.into())),
            "tcp" => host_and_port(rest),
            "serial" => Err("AimX over a serial line is not supported; ask over a Unix socket or \
                             TCP"
            .to_owned()),
            _ => Err(FORMS.to_owned()),
        }
    }
}

fn host_and_port(rest: &str) -> Result<Address, String> {
    let (host, port) = rest.rsplit_once(':').ok_or("the port is missing, as in tcp:host:7001")?;
    if port.parse::<u16>().is_err() {
        return Err("the port is a number from 0 to 65535, as in tcp:host:7001".to_owned());
    }
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.contains(':') && !bracketed {
        return Err("an IPv6 address stands in brackets, as in tcp:[::1]:7001".to_owned());
    }
    if host.is_empty() || host == "[]" {
        return Err("the host is missing, as in tcp:host:7001".to_owned());
    }
    Ok(Address::Tcp(rest.to_owned()))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(target) => write!(f, "tcp:{target}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_are_read() {
        for (text, shown) in [
            ("unix:/run/a.sock", "unix:/run/a.sock"),
            ("unix:///run/a.sock", "unix:/run/a.sock"),
            ("uds:///run/a.sock", "unix:/run/a.sock"),
            ("unix:a.sock", "unix:a.sock"),
            ("/run/a.sock", "unix:/run/a.sock"),
            ("./a.sock", "unix:./a.sock"),
            ("tcp:localhost:7001", "tcp:localhost:7001"),
            ("tcp://[::1]:7001", "tcp:[::1]:7001"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn other_text_is_refused_with_what_to_write() {
        for (text, hint) in [
            ("a.sock", "unix:/path/to.sock"),
            ("unix:", "the path is missing"),
            ("unix://", "the path is missing"),
            ("http://host:1", "unix:/path/to.sock"),
            ("tcp:host", "port is missing"),
            ("tcp:host:fast", "port is a number"),
            ("tcp:::1:7001", "brackets"),
            ("tcp::7001", "host is missing"),
            ("serial:/dev/ttyACM0", "serial line"),
        ] {
            let refusal = text.parse::<Address>().unwrap_err();
            assert!(refusal.contains(hint), "{text}: {refusal}");
        }
    }
}
