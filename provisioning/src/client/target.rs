//! Where a box is reached: `box-7f3a.local`, `192.168.1.57:4443`, `[fe80::1%eth0]:4443`.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A host and the port of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    host: String,
    port: u16,
}

/// A text that says no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address of a box: take a name or an IP address, with a port if it is not {API_PORT}")]
pub struct BadTarget(pub String);

impl Target {
    /// The host.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// As the header `Host` names it: a zone means nothing to the other end.
    pub(super) fn for_http(&self) -> String {
        let host = self.host.split('%').next().unwrap_or_default();
        if host.contains(':') { format!("[{host}]:{}", self.port) } else { format!("{host}:{}", self.port) }
    }

    fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                (is_v6(host).then_some(host)?, rest.strip_prefix(':').or(rest.is_empty().then_some(""))?)
            }
            None if is_v6(text) => (text, ""),
            None => text.split_once(':').unwrap_or((text, "")),
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if host.is_empty() || host.len() > HOST_LEN_MAX || !(is_v6(host) || host.bytes().all(is_name)) {
            return None;
        }
        let port = if port.is_empty() { API_PORT } else { port.parse().ok().filter(|port| *port > 0)? };
        Some(Self { host: host.to_owned(), port })
    }
}

impl FromStr for Target {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        Self::parse(text.trim()).ok_or_else(|| BadTarget(text.chars().take(HOST_LEN_MAX).collect()))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// With or without a zone.
fn is_v6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    address.parse::<Ipv6Addr>().is_ok() && !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The port of the API unless the configuration says otherwise.
pub const API_PORT: u16 = 4443;

const HOST_LEN_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_place_is_read_and_written() {
        for (text, shown) in [
            ("box-7f3a.local", "box-7f3a.local:4443"),
            (" 192.168.1.57 ", "192.168.1.57:4443"),
            ("192.168.1.57:8443", "192.168.1.57:8443"),
            ("fe80::1%eth0", "[fe80::1%eth0]:4443"),
            ("[::1]", "[::1]:4443"),
            ("[::1]:1", "[::1]:1"),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!(target.to_string(), shown);
            assert_eq!(shown.parse::<Target>().unwrap(), target);
            assert_eq!(target.for_http(), shown.replace("%eth0", ""));
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in
            ["", ":1", "a:", "a b", "a/b", "https://a", "a:0", "a:65536", "a:1:2", "[a]:1", "[::1", "[::1]x", "::1%"]
        {
            assert_eq!(text.parse::<Target>().is_ok(), text == "a:", "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
            if let Ok(target) = text.parse::<Target>() {
                prop_assert_eq!(target.to_string().parse::<Target>(), Ok(target));
            }
        }
    }
}
