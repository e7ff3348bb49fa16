//! Contract section 7 from the other side of a cable: who may connect, by where he comes from.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::io::Write;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use crate::helper::networks::{Outside, in_private_network, ip};
use crate::helper::run;
use crate::service::{Daemon, command, configure, desk};
use crate::serving::{Answer, Client, eventually};

/// The addresses of the box: public ones, as where every machine of a LAN has its own.
const BOX: [&str; 2] = ["198.51.100.1", "2001:db8:1::1"];

/// A service on all addresses, IPv4 and IPv6, with `extra` in its configuration.
fn daemon(extra: &str) -> Daemon {
    for address in ["198.51.100.1/24", "2001:db8:1::1/64 nodad"] {
        ip(&format!("address add {address} dev lan"));
    }
    let desk = desk();
    configure(desk.path(), extra);
    let mut command = command(desk.path());
    // The first is the one that the test is told; the port of the second is free here for sure.
    command.args(["--listen", "127.0.0.1:0", "--listen", "[::]:5000"]);
    Daemon::run(desk, &mut command)
}

/// Gives the other end an address, and the box a way back to it.
fn move_in(outside: &Outside, address: &str) {
    let (bits, options) = match address.contains(':') {
        true => (128, " nodad"),
        false => (32, ""),
    };
    outside.ip(&format!("address add {address}/{bits} dev wire{options}"));
    ip(&format!("route replace {address}/{bits} dev lan"));
    for to in BOX.iter().filter(|to| to.contains(':') == (bits == 128)) {
        outside.ip(&format!("route replace {to}/{bits} dev wire"));
    }
}

/// Asks from an address of the other end.
fn ask(outside: &Outside, from: &str, method: &str, target: &str, more: &str) -> Answer {
    let from: IpAddr = from.parse().unwrap();
    let to: IpAddr = BOX[usize::from(from.is_ipv6())].parse().unwrap();
    let to = SocketAddr::from((to, 5000));
    outside.run(|| {
        let mut client = Client::connect_from(from, to);
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n{more}\r\n");
        client.socket.write_all(head.as_bytes()).unwrap();
        client.answer()
    })
}

fn status(outside: &Outside, from: &str) -> u16 {
    ask(outside, from, "GET", "/api/version", "").status()
}

#[test]
fn the_lan_is_let_in_and_the_internet_is_not() {
    in_private_network(|outside| {
        let service = daemon("");
        let let_in = [
            // The subnets of the box, although they are public.
            "198.51.100.7",
            "2001:db8:1::7",
            // Private (RFC 1918), also behind a router.
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.254",
            "192.168.77.7",
            // Link-local and unique-local.
            "169.254.7.7",
            "fd12:3456::7",
            "fc00::7",
        ];
        let refused = [
            "198.51.101.7",
            "203.0.113.7",
            "172.15.255.254",
            "172.32.0.1",
            "192.169.0.1",
            "11.0.0.1",
            "169.253.7.7",
            // What a provider's routers share (RFC 6598) is not ours.
            "100.64.0.7",
            "2001:db8:1:1::7",
            "2001:db8:2::7",
            "2600::7",
            // Once site-local, and never private since.
            "fec0::7",
        ];
        for from in let_in {
            move_in(outside, from);
            assert_eq!(status(outside, from), 200, "{from}: {}", service.log());
        }
        for from in refused {
            move_in(outside, from);
            let answer = ask(outside, from, "GET", "/api/version", "");
            assert_eq!(answer.status(), 403, "{from}");
            let error = &answer.json()["error"];
            assert_eq!(error["code"], "forbidden_address", "{from}");
            // As people know it, not as the IPv6 socket has it.
            let message = error["message"].as_str().unwrap();
            assert!(message.starts_with(&format!("{from} ")), "{message}");
        }
        let metrics = service.get("/metrics").text;
        let counted = format!(
            "shelfcast_access_refused_total{{reason=\"address\"}} {}\n",
            refused.len()
        );
        assert!(metrics.contains(&counted), "{metrics}");
        let logged = service.log().matches("code=forbidden_address").count();
        assert_eq!(logged, 1, "{}", service.log());
    });
}

#[test]
fn a_link_local_neighbour_is_let_in() {
    in_private_network(|outside| {
        let _service = daemon("");
        ip("address add fe80::1/64 dev lan nodad");
        outside.ip("address add fe80::7/64 dev wire nodad");
        let answer = outside.run(|| {
            let said = run("ip", &["-oneline", "link", "show", "wire"]);
            let index = said.split(':').next().unwrap().parse().unwrap();
            let to = SocketAddrV6::new("fe80::1".parse().unwrap(), 5000, 0, index);
            let mut client = Client::connect(to.into());
            let request = "GET /api/version HTTP/1.0\r\nHost: [fe80::1%25wire]:5000\r\n\r\n";
            client.socket.write_all(request.as_bytes()).unwrap();
            client.answer()
        });
        assert_eq!(answer.status(), 200, "{}", answer.text);
    });
}

#[test]
fn a_foreign_address_gets_nothing_whatever_it_says() {
    in_private_network(|outside| {
        let _service = daemon("[access]\nhosts = [\"media.example\"]\n");
        for from in ["203.0.113.7", "2001:db8:2::7"] {
            move_in(outside, from);
            for (method, target) in [
                ("GET", "/"),
                ("HEAD", "/"),
                ("GET", "/api/files"),
                ("GET", "/api/events/stream"),
                ("GET", "/api/events"),
                ("GET", "/metrics"),
                ("GET", "/health"),
                ("GET", "/openapi.json"),
                ("GET", "/no/such/page"),
                ("OPTIONS", "/api/jobs"),
                ("POST", "/api/cache/rebuild"),
                ("DELETE", "/"),
            ] {
                let claims = "X-Forwarded-For: 10.0.0.1\r\nX-Real-IP: 127.0.0.1\r\n\
                              Forwarded: for=127.0.0.1\r\nContent-Type: application/json\r\n";
                let answer = ask(outside, from, method, target, claims);
                assert_eq!(answer.status(), 403, "{from} {method} {target}");
            }
        }
    });
}

#[test]
fn own_subnets_follow_the_interfaces() {
    in_private_network(|outside| {
        let service = daemon("");
        for (from, own) in [
            ("203.0.113.7", "203.0.113.1/24"),
            ("2001:db8:2::7", "2001:db8:2::1/64 nodad"),
        ] {
            move_in(outside, from);
            assert_eq!(status(outside, from), 403);
            ip(&format!("address add {own} dev lan"));
            eventually("the new subnet is known", || status(outside, from) == 200);
            ip(&format!(
                "address del {} dev lan",
                own.split(' ').next().unwrap()
            ));
            ip(&format!("route replace {from} dev lan"));
            eventually("it is not ours any more", || status(outside, from) == 403);
        }
        assert_eq!(service.get("/health").status(), 200);
    });
}

#[test]
fn what_is_configured_replaces_the_lan() {
    in_private_network(|outside| {
        let service = daemon("[access]\nallow = [\"203.0.113.0/28\", \"2001:db8:2::/64\"]\n");
        let own = service.directory.path().to_owned();
        for (from, expected) in [
            ("203.0.113.7", 200),
            ("203.0.113.16", 403),
            ("2001:db8:2::7", 200),
            ("2001:db8:3::7", 403),
            ("198.51.100.7", 403),
            ("10.0.0.1", 403),
        ] {
            move_in(outside, from);
            assert_eq!(status(outside, from), expected, "{from}");
        }
        configure(&own, "[access]\nallow = [\"any\"]\n");
        service.signal(rustix::process::Signal::HUP);
        service.wait_for_log("configuration read again");
        for from in ["203.0.113.16", "2001:db8:3::7", "198.51.100.7"] {
            assert_eq!(status(outside, from), 200, "{from}");
        }
    });
}
