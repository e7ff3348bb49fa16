//! Addresses, address blocks and host names of the configuration.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use super::Allow;
use super::complaint::{At, Complaints, did_you_mean};

/// The port of contract section 1.
pub(super) const DEFAULT_PORT: u16 = 5000;

/// Returns the address that stands for all: IPv6 takes IPv4 along, where it is not switched off.
pub(super) fn everywhere(port: u16) -> SocketAddr {
    match ipv6_works() {
        true => (Ipv6Addr::UNSPECIFIED, port).into(),
        false => (Ipv4Addr::UNSPECIFIED, port).into(),
    }
}

/// Tells whether the kernel lets us listen on IPv6. Only trying tells: it may be left out of the
/// kernel, be switched off at boot (`ipv6.disable=1`), or be refused by the unit.
fn ipv6_works() -> bool {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok()
}

/// Reads addresses to listen on; one that is given twice, or that another takes along, counts once:
/// the kernel would refuse the second of `[::]:5000` and `0.0.0.0:5000`.
pub(super) fn listen(said: &[At<String>], complaints: &mut Complaints) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for at in said {
        match address(&at.value) {
            Ok(address) if addresses.contains(&address) => {}
            Ok(address) => addresses.push(address),
            Err(message) => complaints.add(&at.place, message),
        }
    }
    let all = addresses.clone();
    addresses.retain(|address| !all.iter().any(|wide| takes_along(wide, address)));
    addresses
}

/// Tells whether listening on `wide` is listening on the other address, too.
fn takes_along(wide: &SocketAddr, other: &SocketAddr) -> bool {
    wide != other
        && wide.ip().is_unspecified()
        && (wide.is_ipv6() || other.is_ipv4())
        && wide.port() == other.port()
        && wide.port() != 0 // the kernel gives each its own
}

fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(match address.ip() {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => everywhere(address.port()),
            _ => address,
        });
    }
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse() {
        return Ok(everywhere(port));
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        let whole = SocketAddr::new(ip, DEFAULT_PORT);
        return Err(format!("{text:?} has no port: write `{whole}`"));
    }
    Err(format!(
        "{text:?} is no address: write one with a port, such as `192.168.1.2:5000`, `[::1]:5000`, \
         or `:5000` for all addresses (a name does not do)"
    ))
}

/// Reads one value of `access.allow`.
pub(super) fn allow(at: &At<String>, complaints: &mut Complaints) -> Option<Allow> {
    let read = match at.value.as_str() {
        "lan" => Ok(Allow::Lan),
        "any" => Ok(Allow::Any),
        text => block(text),
    };
    read.map_err(|message| complaints.add(&at.place, message))
        .ok()
}

fn block(text: &str) -> Result<Allow, String> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        let nearest = did_you_mean(text, &["lan", "any"]);
        return Err(format!(
            "{text:?} is no address{nearest} (write \"lan\", \"any\", an address such as \
             \"192.168.1.7\", or a block such as \"10.8.0.0/24\" or \"fd00::/8\")"
        ));
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    // `+24` parses as a number, but nobody means it.
    let number = |prefix: &str| match prefix.bytes().all(|byte| byte.is_ascii_digit()) {
        true => prefix.parse::<u8>().ok().filter(|prefix| *prefix <= most),
        false => None,
    };
    let Some(prefix) = prefix.map_or(Some(most), number) else {
        return Err(format!(
            "{text:?} is no block: behind the `/` stands a number from 0 to {most}"
        ));
    };
    // Clients that are IPv4 are looked at as such, however their socket shows them.
    Ok(match address {
        IpAddr::V6(v6) if prefix >= 96 => match v6.to_ipv4_mapped() {
            Some(v4) => Allow::Block {
                address: v4.into(),
                prefix: prefix - 96,
            },
            None => Allow::Block { address, prefix },
        },
        _ => Allow::Block { address, prefix },
    })
}

/// Reads `access.hosts`.
pub(super) fn hosts(said: &[At<String>], complaints: &mut Complaints) -> Vec<String> {
    let mut hosts = Vec::new();
    for at in said {
        let host = at
            .value
            .strip_suffix('.')
            .unwrap_or(&at.value)
            .to_ascii_lowercase();
        if !is_host_name(&host) && host.parse::<IpAddr>().is_err() {
            let message = format!(
                "{:?} is no host name: write the name alone, such as \"media.example\", without \
                 `http://` and port (what is not ASCII in its `xn--` form)",
                at.value
            );
            complaints.add(&at.place, message);
        } else if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

/// Tells whether a text can be a host name (RFC 1123 section 2.1; `_` is seen on real networks).
fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    text.len() <= 253 && text.split('.').all(label)
}
