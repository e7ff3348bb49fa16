//! Tests of the gate: who is let in, and what the others are told.

use proptest::prelude::*;

use super::*;

fn config() -> AccessConfig {
    AccessConfig {
        allow: vec![Allow::Lan],
        hosts: vec!["media.example".to_owned()],
        token: None,
    }
}

fn request(method: &str, peer: &str, headers: &[(&str, &str)]) -> Request {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Request {
        method: method.to_owned(),
        path: "/api/jobs".to_owned(),
        query: Vec::new(),
        headers: headers.iter().map(owned).collect(),
        body: Vec::new(),
        peer: peer.parse().unwrap(),
    }
}

fn code(access: &Access, request: &Request) -> Option<&'static str> {
    let admitted = access.admit(request);
    admitted.err().map(|error| error.code)
}

/// Asks what a route that changes something asks.
fn change_code(access: &Access, request: &Request) -> Option<&'static str> {
    let admitted = access
        .admit(request)
        .and_then(|()| access.admit_change(request));
    admitted.err().map(|error| error.code)
}

#[test]
fn addresses_of_the_lan_are_let_in() {
    let access = Access::new(&config());
    for peer in [
        "127.0.0.1",
        "127.9.9.9",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.9",
        "169.254.3.4",
        "::1",
        "fe80::1",
        "fd12::1",
        "::ffff:192.168.0.9",
        "::ffff:127.0.0.1",
    ] {
        assert_eq!(code(&access, &request("GET", peer, &[])), None, "{peer}");
    }
    // No test machine has these: the middle of 8.0.0.0/8 and of 2001:4860::/32 are in use elsewhere.
    for peer in [
        "8.8.8.8",
        "172.32.0.1",
        "172.15.0.1",
        "11.0.0.1",
        "100.64.0.1",
        "2001:4860:4860::8888",
        "::ffff:8.8.8.8",
        "::",
        "::7f00:1",
        "ff02::1",
    ] {
        let refused = code(&access, &request("GET", peer, &[]));
        assert_eq!(refused, Some("forbidden_address"), "{peer}");
    }
}

#[test]
fn listed_addresses_and_blocks_are_let_in_and_others_are_not() {
    let block = |address: &str, prefix| Allow::Block {
        address: address.parse().unwrap(),
        prefix,
    };
    let allow = vec![block("8.8.0.0", 16), block("2001:db8::", 32)];
    let access = Access::new(&AccessConfig { allow, ..config() });
    for (peer, let_in) in [
        ("8.8.8.8", true),
        ("::ffff:8.8.8.8", true),
        ("8.9.8.8", false),
        ("2001:db8::1", true),
        ("2001:db9::1", false),
        ("127.0.0.1", false),
    ] {
        let refused = code(&access, &request("GET", peer, &[]));
        assert_eq!(refused.is_none(), let_in, "{peer}");
    }
    access.reload(&AccessConfig {
        allow: vec![Allow::Any],
        ..config()
    });
    assert_eq!(code(&access, &request("GET", "8.9.8.8", &[])), None);
}

#[test]
fn the_machines_own_subnets_are_let_in() {
    let access = Access::new(&config());
    for subnet in interfaces::subnets() {
        let peer = subnet.address.to_string();
        assert_eq!(code(&access, &request("GET", &peer, &[])), None, "{peer}");
    }
}

#[test]
fn the_list_of_subnets_is_read_again_when_it_is_old() {
    let access = Access::new(&config());
    let address: IpAddr = "8.8.8.8".parse().unwrap();
    let now = Instant::now();
    let moved_away = vec![Subnet {
        address,
        prefix: 24,
    }];
    *access.subnets.lock().unwrap() = Some((now, moved_away));
    assert!(access.is_own_subnet(address, now));
    assert!(!access.is_own_subnet(address, now + SUBNETS_LAST));
}

#[test]
fn only_names_of_this_machine_are_answered() {
    let access = Access::new(&config());
    let own = own_name();
    let local = format!("{}.local:5000", own.split('.').next().unwrap());
    for host in [
        "localhost",
        "LOCALHOST:5000",
        "localhost.",
        "192.168.1.2:5000",
        "8.8.8.8",
        "[::1]:5000",
        "media.example",
        "Media.Example.:8080",
        &own,
        &local,
    ] {
        let refused = code(&access, &request("GET", "127.0.0.1", &[("host", host)]));
        assert_eq!(refused, None, "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "media.example.evil",
        "xmedia.example",
        "",
        "localhost:x",
        "a b",
        "localhost, evil.example",
        "\u{e4}",
        "0x7f.1",
        "[::1",
    ] {
        let refused = code(&access, &request("GET", "127.0.0.1", &[("host", host)]));
        assert_eq!(refused, Some("forbidden_host"), "{host}");
    }
    let twice = [("host", "localhost"), ("host", "localhost")];
    let refused = code(&access, &request("GET", "127.0.0.1", &twice));
    assert_eq!(refused, Some("forbidden_host"));
}

#[test]
fn changes_must_be_json() {
    let access = Access::new(&config());
    for (media_type, refused) in [
        ("application/json", None),
        ("Application/JSON; charset=utf-8", None),
        (" application/json ;x=y", None),
        ("text/plain", Some("unsupported_media_type")),
        (
            "application/x-www-form-urlencoded",
            Some("unsupported_media_type"),
        ),
        (
            "text/plain; application/json",
            Some("unsupported_media_type"),
        ),
        ("application/jsonp", Some("unsupported_media_type")),
        ("", Some("unsupported_media_type")),
    ] {
        let headers = [("host", "localhost"), ("content-type", media_type)];
        assert_eq!(
            change_code(&access, &request("POST", "::1", &headers)),
            refused,
            "{media_type:?}"
        );
    }
    let bare = request("POST", "::1", &[("host", "localhost")]);
    assert_eq!(change_code(&access, &bare), Some("unsupported_media_type"));
    // Whether there is anything to change is the routes' business: it may be a wrong method.
    assert_eq!(code(&access, &bare), None);
}

#[test]
fn changes_come_from_our_own_page() {
    let access = Access::new(&config());
    for (host, origin, refused) in [
        ("localhost:5000", "http://localhost:5000", None),
        ("localhost:5000", "https://media.example", None),
        ("127.0.0.1:5000", "https://media.example:8443", None),
        (
            "localhost:5000",
            "http://localhost:8080",
            Some("forbidden_origin"),
        ),
        (
            "localhost:5000",
            "http://evil.example",
            Some("forbidden_origin"),
        ),
        ("localhost:5000", "null", Some("forbidden_origin")),
        ("localhost:5000", "", Some("forbidden_origin")),
    ] {
        let headers = [
            ("host", host),
            ("origin", origin),
            ("content-type", "application/json"),
        ];
        let found = change_code(&access, &request("POST", "::1", &headers));
        assert_eq!(found, refused, "{origin} to {host}");
        // Reading is for the browser to refuse: no CORS header lets another origin see it.
        assert_eq!(code(&access, &request("GET", "::1", &headers)), None);
    }
}

#[test]
fn where_a_token_is_set_changes_need_it() {
    let token = Some("correct-horse".to_owned());
    let access = Access::new(&AccessConfig { token, ..config() });
    for (name, value, refused) in [
        ("authorization", "Bearer correct-horse", None),
        ("authorization", "bearer  correct-horse ", None),
        ("x-shelfcast-token", "correct-horse", None),
        ("authorization", "Bearer wrong", Some("unauthorized")),
        ("authorization", "Bearer", Some("unauthorized")),
        ("authorization", "Basic correct-horse", Some("unauthorized")),
        ("x-shelfcast-token", "", Some("unauthorized")),
        ("cookie", "correct-horse", Some("unauthorized")),
    ] {
        let headers = [("content-type", "application/json"), (name, value)];
        assert_eq!(
            change_code(&access, &request("POST", "::1", &headers)),
            refused,
            "{name}: {value}"
        );
    }
    assert_eq!(code(&access, &request("GET", "::1", &[])), None);
}

#[test]
fn refusals_are_counted_and_say_what_to_do() {
    let access = Access::new(&config());
    let refusals = access.refusals();
    for _ in 0..3 {
        let error = access.admit(&request("GET", "8.8.8.8", &[])).unwrap_err();
        assert_eq!(error.status, 403);
        assert!(
            error.message.contains("add it to `allow`"),
            "{}",
            error.message
        );
    }
    let host = access.admit(&request("GET", "::1", &[("host", "nas\u{1b}[1m.example")]));
    let message = host.unwrap_err().message;
    assert!(message.contains("add the name to `hosts`"), "{message}");
    assert!(!message.contains('\u{1b}'), "{message:?}");
    assert_eq!(refusals.address.get(), 3);
    assert_eq!(refusals.host.get(), 1);
    assert_eq!(refusals.token.get(), 0);
}

proptest! {
    #[test]
    fn no_head_makes_it_panic_and_none_gets_past_host_and_address(
        method in "(GET|POST|[a-z]{0,3})", peer: IpAddr, host in ".{0,20}|[a-z.]{1,9}",
        origin in ".{0,20}", media_type in ".{0,20}",
    ) {
        let access = Access::new(&config());
        let headers = [("host", &*host), ("origin", &*origin), ("content-type", &*media_type)];
        let admitted = access.admit(&request(&method, &peer.to_string(), &headers)).is_ok();
        let changes = change_code(
            &access, &request(&method, &peer.to_string(), &headers)).is_none();
        prop_assert!(admitted || !changes);
        let own = access.is_own_subnet(peer.to_canonical(), Instant::now());
        prop_assert!(!admitted || is_local(peer.to_canonical()) || own);
        prop_assert!(!admitted || Authority::parse(&host).is_some());
    }
}
