//! The `Host` and `Origin` headers: what was typed into the address bar.

use std::net::{IpAddr, Ipv6Addr};

/// A host as a client names it, with or without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    pub(super) host: Host,
    pub(super) port: Option<u16>,
}

/// What names a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// An address; IPv6 that stands for IPv4 is shown as that.
    Address(IpAddr),
    /// A name in lower case, without a dot at its end.
    Name(String),
}

impl Authority {
    /// Reads `name`, `name:port`, `192.0.2.1:port`, `[2001:db8::1]:port` (RFC 9112 section 3.2).
    pub(super) fn parse(text: &str) -> Option<Authority> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                // Some clients leave the zone of a link-local address in (RFC 6874).
                let (address, _zone) = address.split_once('%').unwrap_or((address, ""));
                let address: Ipv6Addr = address.parse().ok()?;
                (Host::Address(address.to_canonical()), port)
            }
            None => {
                let end = text.find(':').unwrap_or(text.len());
                (Host::parse(&text[..end])?, &text[end..])
            }
        };
        let port = match port.strip_prefix(':') {
            // `name:` is allowed and means the default port (RFC 3986 section 3.2.3).
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            None if port.is_empty() => None,
            _ => return None,
        };
        Some(Authority { host, port })
    }
}

impl Host {
    fn parse(text: &str) -> Option<Host> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Host::Address(address.to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_name = !name.is_empty() && name.len() <= 253 && name.bytes().all(plain);
        is_name.then(|| Host::Name(name.to_ascii_lowercase()))
    }

    /// Reads a host of the configuration, which has been checked.
    pub(super) fn configured(text: &str) -> Option<Host> {
        Host::parse(text)
    }

    /// Tells whether this is `localhost` or the machine's own name: as it is, its first label,
    /// and either with `.local`, by which multicast DNS announces it (RFC 6762).
    pub(super) fn is_own(&self, own_name: &str) -> bool {
        let Host::Name(name) = self else {
            return false;
        };
        let own = own_name.trim_end_matches('.').to_ascii_lowercase();
        let label = own.split('.').next().unwrap_or_default();
        let bare = name.strip_suffix(".local").unwrap_or(name);
        name == "localhost"
            || (!own.is_empty() && *name == own)
            || (!label.is_empty() && bare == label)
    }
}

/// Where a page comes from, as its browser says (RFC 6454 section 7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) host: Host,
    port: u16,
    default_port: u16,
}

impl Origin {
    /// Reads `http://name:port`. `null`, which sandboxed and local pages send, is no origin.
    pub(super) fn parse(text: &str) -> Option<Origin> {
        let (scheme, rest) = text.split_once("://")?;
        let default_port = match scheme.to_ascii_lowercase().as_str() {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let Authority { host, port } = Authority::parse(rest)?;
        let port = port.unwrap_or(default_port);
        Some(Origin {
            host,
            port,
            default_port,
        })
    }

    /// Tells whether a page of this origin talks to its own server. A proxy may have taken TLS
    /// off, so that the scheme is the origin's.
    pub(super) fn is_same(&self, server: &Authority) -> bool {
        self.host == server.host && self.port == server.port.unwrap_or(self.default_port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str, port: Option<u16>) -> Option<Authority> {
        let host = Host::Name(text.to_owned());
        Some(Authority { host, port })
    }

    fn address(text: &str, port: Option<u16>) -> Option<Authority> {
        let host = Host::Address(text.parse().unwrap());
        Some(Authority { host, port })
    }

    #[test]
    fn hosts_are_read_in_every_form() {
        for (text, read) in [
            ("nas", name("nas", None)),
            ("NAS.Local.:5000", name("nas.local", Some(5000))),
            ("nas:", name("nas", None)),
            ("192.168.1.2", address("192.168.1.2", None)),
            ("192.168.1.2:80", address("192.168.1.2", Some(80))),
            ("[::1]:5000", address("::1", Some(5000))),
            ("[fe80::1%25eth0]", address("fe80::1", None)),
            ("[::ffff:10.0.0.1]", address("10.0.0.1", None)),
            ("::1", None),
            ("[::1", None),
            ("[nas]", None),
            ("[::1]x", None),
            ("nas:port", None),
            ("nas:+80", None),
            ("nas:99999", None),
            ("", None),
            (".", None),
            (":80", None),
            ("user@nas", None),
            ("nas/path", None),
            ("näs", None),
            ("a b", None),
        ] {
            assert_eq!(Authority::parse(text), read, "{text:?}");
        }
    }

    #[test]
    fn the_own_name_is_known_in_every_form() {
        for (own, host, is_own) in [
            ("nas", "nas", true),
            ("nas", "nas.local", true),
            ("NAS", "nas.local", true),
            ("nas.example.org", "nas.example.org", true),
            ("nas.example.org", "nas", true),
            ("nas.example.org", "nas.local", true),
            ("nas.example.org", "nas.example.com", false),
            ("nas", "localhost", true),
            ("nas", "nas.evil.example", false),
            ("nas", "local", false),
            ("", "nas", false),
            ("", ".local", false),
        ] {
            let host = Host::Name(host.to_owned());
            assert_eq!(host.is_own(own), is_own, "{host:?} on {own}");
        }
    }

    #[test]
    fn an_origin_is_the_same_by_host_and_port() {
        for (origin, server, same) in [
            ("http://nas.local:5000", "nas.local:5000", true),
            ("http://NAS.local:5000", "nas.local.:5000", true),
            ("http://nas.local", "nas.local", true),
            ("http://nas.local", "nas.local:80", true),
            ("https://media.example", "media.example", true),
            ("https://media.example", "media.example:443", true),
            ("http://[::1]:5000", "[::1]:5000", true),
            ("http://nas.local", "nas.local:5000", false),
            ("http://nas.local:8080", "nas.local:5000", false),
            ("http://evil.example:5000", "nas.local:5000", false),
        ] {
            let server = Authority::parse(server).unwrap();
            let found = Origin::parse(origin).unwrap().is_same(&server);
            assert_eq!(found, same, "{origin} to {server:?}");
        }
        for none in [
            "null",
            "",
            "file://",
            "http://",
            "ftp://nas",
            "nas.local",
            "http://a/b",
        ] {
            assert_eq!(Origin::parse(none), None, "{none:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_reading_panic(text in prop_oneof![".*", "(https?://)?\\[?[a-f0-9.:%]{0,12}\\]?(:[0-9]{0,6})?"]) {
            let authority = Authority::parse(&text);
            if let Some(Authority { host: Host::Name(name), .. }) = authority {
                prop_assert!(name.is_ascii() && name == name.to_lowercase());
            }
            Origin::parse(&text);
        }

        #[test]
        fn what_is_written_is_read(address: std::net::SocketAddr) {
            let read = Authority::parse(&address.to_string());
            let host = Host::Address(address.ip().to_canonical());
            let v6_without_zone = !address.to_string().contains('%');
            prop_assume!(v6_without_zone);
            prop_assert_eq!(read, Some(Authority { host, port: Some(address.port()) }));
        }
    }
}
