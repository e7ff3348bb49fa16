//! The machine's own subnets, read from its network interfaces.
//!
//! Not by `getifaddrs`: it asks by a netlink socket, and the hardened unit allows only the
//! families AF_UNIX, AF_INET and AF_INET6. The older ways need nothing else: ioctls for IPv4
//! (netdevice(7)), a file for IPv6. Routes would not do: a VPN that takes all traffic has a route
//! to half the internet, which is no subnet of ours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::ioctl::{Opcode, Updater, ioctl};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// The addresses whose first `prefix` bits are those of `address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subnet {
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
}

impl Subnet {
    pub(super) fn contains(self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

/// Returns the subnets of all interfaces; what cannot be read is left out, which lets nobody in.
pub(super) fn subnets() -> Vec<Subnet> {
    let mut subnets = v4().unwrap_or_default();
    let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    subnets.extend(table.lines().filter_map(v6));
    // An interface without a mask would make everybody a neighbour.
    subnets.retain(|subnet| subnet.prefix > 0);
    subnets
}

/// Reads a line of /proc/net/if_inet6: address, index, prefix, scope and flags in hexadecimal.
fn v6(line: &str) -> Option<Subnet> {
    let mut fields = line.split_ascii_whitespace();
    let address = u128::from_str_radix(fields.next()?, 16).ok()?;
    let prefix = u8::from_str_radix(fields.nth(1)?, 16).ok()?;
    Some(Subnet {
        address: Ipv6Addr::from_bits(address).into(),
        prefix: prefix.min(128),
    })
}

const SIOCGIFCONF: Opcode = 0x8912;
const SIOCGIFNETMASK: Opcode = 0x891B;
const AF_INET: u16 = 2;
/// More addresses than this has no box of ours; the bound only ends the doubling below.
const MOST_ADDRESSES: usize = 4096;

/// `struct ifreq` where its union holds a `sockaddr_in` (netdevice(7)).
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Interface {
    name: [u8; 16],
    family: u16,
    port: u16,
    address: [u8; 4],
    /// The union is as large as its `struct ifmap`: two words more than what is used of it.
    rest: [usize; 2],
}

/// `struct ifconf` (netdevice(7)).
#[repr(C)]
struct Interfaces {
    length: i32,
    buffer: *mut Interface,
}

// As the kernel has them: 40 bytes where a word has 8, 32 where it has 4.
const _: () = assert!(size_of::<Interface>() == 24 + 2 * size_of::<usize>());
const _: () = assert!(size_of::<Interfaces>() == 2 * size_of::<usize>());

fn v4() -> rustix::io::Result<Vec<Subnet>> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let mut buffer = vec![Interface::default(); 32];
    let count = loop {
        let bytes = size_of_val(buffer.as_slice());
        let mut interfaces = Interfaces {
            length: i32::try_from(bytes).unwrap_or(i32::MAX),
            buffer: buffer.as_mut_ptr(),
        };
        // SAFETY: SIOCGIFCONF takes a `struct ifconf`, whose layout `Interfaces` has. The kernel
        // writes at most `length` bytes to `buffer`, which are ours until the call returns; every
        // bit pattern is an `Interface`.
        unsafe {
            ioctl(
                &socket,
                Updater::<SIOCGIFCONF, Interfaces>::new(&mut interfaces),
            )?
        };
        let filled = usize::try_from(interfaces.length).unwrap_or(0);
        // It fills what there is room for and does not say that there would be more.
        if filled < bytes || buffer.len() >= MOST_ADDRESSES {
            break filled / size_of::<Interface>();
        }
        buffer.resize(buffer.len() * 2, Interface::default());
    };
    let mut subnets = Vec::new();
    for interface in buffer
        .iter()
        .take(count)
        .filter(|found| found.family == AF_INET)
    {
        let mut mask = *interface;
        // SAFETY: SIOCGIFNETMASK takes a `struct ifreq`, whose layout `Interface` has, and writes
        // nothing beyond it.
        let asked = unsafe {
            ioctl(
                &socket,
                Updater::<SIOCGIFNETMASK, Interface>::new(&mut mask),
            )
        };
        // An interface that has just gone has no mask; the others still have.
        if asked.is_ok() {
            subnets.push(Subnet {
                address: Ipv4Addr::from(interface.address).into(),
                prefix: prefix(mask.address),
            });
        }
    }
    Ok(subnets)
}

fn prefix(mask: [u8; 4]) -> u8 {
    u8::try_from(u32::from_be_bytes(mask).leading_ones()).unwrap_or(32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        let (address, prefix) = text.split_once('/').unwrap();
        Subnet {
            address: address.parse().unwrap(),
            prefix: prefix.parse().unwrap(),
        }
    }

    #[test]
    fn a_subnet_holds_what_shares_its_first_bits() {
        for (block, inside, outside) in [
            ("192.0.2.77/24", "192.0.2.1", "192.0.3.1"),
            ("192.0.2.77/32", "192.0.2.77", "192.0.2.76"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("2001:db8::5/64", "2001:db8::ffff", "2001:db8:0:1::5"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("128.0.0.0/1", "200.0.0.1", "1.0.0.1"),
        ] {
            assert!(
                subnet(block).contains(inside.parse().unwrap()),
                "{inside} in {block}"
            );
            assert!(
                !subnet(block).contains(outside.parse().unwrap()),
                "{outside} in {block}"
            );
        }
    }

    #[test]
    fn the_loopback_of_this_machine_is_found() {
        let found = subnets();
        assert!(found.contains(&subnet("127.0.0.1/8")), "{found:?}");
    }

    #[test]
    fn lines_of_if_inet6_are_read() {
        let line = "fd000000000000000000000000000002 04 40 00 82     eth0";
        assert_eq!(v6(line), Some(subnet("fd00::2/64")));
        for broken in ["", "fd", "xyz 01 40", "fd000000000000000000000000000002 04"] {
            assert!(
                v6(broken).is_none_or(|found| found.prefix <= 128),
                "{broken}"
            );
        }
    }

    #[test]
    fn masks_count_their_leading_ones() {
        assert_eq!(prefix([255, 255, 255, 0]), 24);
        assert_eq!(prefix([255, 255, 255, 255]), 32);
        assert_eq!(prefix([0, 0, 0, 0]), 0);
    }
}
