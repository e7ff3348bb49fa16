//! The HTTP server from outside: methods, limits, slow and silent clients, and running out.

use crate::serving::{Client, Serving, eventually};
use shelfcast::http::ServerSettings;
use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

fn short() -> ServerSettings {
    ServerSettings {
        head_timeout: Duration::from_millis(400),
        body_timeout: Duration::from_millis(400),
        keep_alive: Duration::from_millis(400),
        ..ServerSettings::default()
    }
}

#[test]
fn path_and_query_reach_the_routes_decoded() {
    let serving = Serving::start();
    let answer = serving.get("/a%20b/%C3%BC?x=1+2&y=%26");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json()["path"], "/a b/ü");
    assert_eq!(
        answer.json()["query"],
        serde_json::json!([["x", "1 2"], ["y", "&"]])
    );
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(answer.header("date").is_some());
    for target in ["/%zz", "/%ff", "/?a=%e2"] {
        assert_eq!(serving.get(target).status(), 400, "{target}");
    }
}

#[test]
fn one_connection_serves_many_requests_also_when_they_come_at_once() {
    let serving = Serving::start();
    let one = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = serving.send(&one.repeat(3));
    client.read_until("three answers", |text| {
        text.matches("HTTP/1.1 200").count() == 3
    });
    client.socket.write_all(one.as_bytes()).unwrap();
    client.read_until("the fourth", |text| {
        text.matches("HTTP/1.1 200").count() == 4
    });
}

#[test]
fn head_is_get_without_a_body_and_options_tells_the_methods() {
    let serving = Serving::start();
    let head = serving.ask("HEAD", "/page", "");
    assert_eq!((head.status(), head.body()), (200, ""));
    let length: usize = head.header("content-length").unwrap().parse().unwrap();
    assert_eq!(serving.get("/page").body().len(), length);
    let options = serving.ask("OPTIONS", "/echo", "");
    assert_eq!(
        (options.status(), options.header("allow")),
        (204, Some("POST, OPTIONS"))
    );
    assert_eq!(options.header("content-length"), None);
    let everything = serving.ask("OPTIONS", "*", "");
    assert_eq!(
        (everything.status(), everything.header("allow")),
        (204, Some("GET, HEAD, POST, OPTIONS"))
    );
    let unchanged = serving.get("/unchanged");
    assert_eq!(
        (unchanged.status(), unchanged.header("content-length")),
        (304, None)
    );
}

#[test]
fn a_panic_costs_one_request() {
    let serving = Serving::start();
    let answer = serving.get("/panic");
    assert_eq!(answer.status(), 500);
    assert_eq!(answer.json()["error"]["code"], "internal");
    assert_eq!(serving.get("/page").status(), 200);
    assert!(
        serving
            .get("/metrics")
            .body()
            .contains("shelfcast_http_panics_total 1\n")
    );
}

#[test]
fn the_gate_comes_before_everything() {
    let serving = Serving::start();
    for target in [
        "/page",
        "/api/events/stream",
        "/api/events",
        "/metrics",
        "/panic",
    ] {
        let answer = serving.ask("GET", target, "X-Foreign: 1\r\n");
        assert_eq!(answer.status(), 403, "{target}");
    }
}

#[test]
fn heads_of_16_kib_pass_and_larger_ones_are_refused() {
    let serving = Serving::start();
    let header = |length| format!("X-Long: {}\r\n", "x".repeat(length));
    assert_eq!(serving.ask("GET", "/", &header(16_000)).status(), 200);
    assert_eq!(serving.ask("GET", "/", &header(17_000)).status(), 431);
    assert_eq!(
        serving.ask("GET", "/", &"X: y\r\n".repeat(200)).status(),
        431
    );
    // One that never ends is cut off as soon as it is too long.
    let mut endless = serving.send("GET / HTTP/1.1\r\nHost: a\r\nX-Long: ");
    let piece = [b'x'; 4_096];
    for _ in 0..8 {
        if endless.socket.write_all(&piece).is_err() {
            break;
        }
    }
    endless.read_until("the refusal", |text| text.starts_with("HTTP/1.1 431"));
}

#[test]
fn bodies_of_1_mib_pass_and_larger_ones_are_refused() {
    let serving = Serving::start();
    let post = |length: usize| {
        let head = format!(
            "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        let mut client = serving.send(&head);
        // The server may refuse and close before all of it is sent.
        drop(client.socket.write_all(&vec![b'b'; length]));
        client.answer()
    };
    let answer = post(1024 * 1024);
    assert_eq!((answer.status(), answer.body().len()), (200, 1024 * 1024));
    assert_eq!(post(1024 * 1024 + 1).status(), 413);
}

#[test]
fn a_body_may_come_in_chunks() {
    let serving = Serving::with(ServerSettings {
        body_timeout: Duration::from_secs(2),
        ..ServerSettings::default()
    });
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n";
    let next = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut client = serving.send(&format!(
        "{head}\r\n2;x=y\r\nab\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n{next}"
    ));
    client.read_to_end();
    assert!(
        client.text.contains("\r\n\r\nab0123456789HTTP/1.1 200"),
        "{:?}",
        client.text
    );
    assert!(
        client.text.contains("\"/next\""),
        "what follows is a request: {:?}",
        client.text
    );
    // Piece by piece, and asked for.
    let mut client = serving.send(&format!("{head}Expect: 100-continue\r\n\r\n"));
    client.read_until("the invitation", |text| text.ends_with("Continue\r\n\r\n"));
    for byte in b"3\r\nabc\r\n0\r\n\r\n" {
        client.socket.write_all(&[*byte]).unwrap();
    }
    client.read_until("the answer", |text| text.ends_with("\r\n\r\nabc"));
    // The same bounds.
    let refused = |body: &str| {
        let mut client = serving.send(&format!("{head}Connection: close\r\n\r\n"));
        drop(client.socket.write_all(body.as_bytes()));
        client.answer().status()
    };
    let large = format!("80000\r\n{}\r\n", "b".repeat(0x80000));
    assert_eq!(refused(&large.repeat(3)), 413);
    assert_eq!(refused("5\r\nabc"), 408, "it breaks off");
    assert_eq!(refused("no length\r\n"), 400);
    let gzip = serving.ask("POST", "/echo", "Transfer-Encoding: gzip\r\n");
    assert_eq!(gzip.status(), 501);
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
    let serving = Serving::start();
    let mut client = serving.send(
        "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    );
    client.read_until("the invitation", |text| {
        text == "HTTP/1.1 100 Continue\r\n\r\n"
    });
    client.socket.write_all(b"ok").unwrap();
    client.read_until("the answer", |text| text.ends_with("\r\n\r\nok"));
}

#[test]
fn a_client_that_is_too_slow_is_closed_however_it_drips() {
    let serving = Serving::with(short());
    let mut silent = Client::connect(serving.address);
    let half = serving.send("GET / HT");
    let body = serving.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf");
    let mut drip = Client::connect(serving.address);
    let start = Instant::now();
    // One byte at a time never lets a read wait long, and is too slow all the same.
    while drip.socket.write_all(b"G").is_ok() && drip.read_more() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "the dripping client stays"
        );
    }
    silent.read_to_end();
    assert_eq!(silent.text, "");
    for mut late in [half, body] {
        late.read_to_end();
        assert!(late.text.starts_with("HTTP/1.1 408"), "{:?}", late.text);
        assert!(
            late.text.contains("{\"error\":{\"code\":\"too_slow\""),
            "{:?}",
            late.text
        );
    }
}

#[test]
fn what_is_no_http_is_not_waited_for() {
    let serving = Serving::with(ServerSettings {
        head_timeout: Duration::from_secs(3600),
        ..ServerSettings::default()
    });
    let mut https = Client::connect(serving.address);
    https
        .socket
        .write_all(b"\x16\x03\x01\x02\x00\x01\x00")
        .unwrap();
    https.read_to_end();
    assert_eq!(https.text, "");
    // An empty line is a leftover of the body before.
    let mut client = serving.send("\r\nGET /page HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.read_to_end();
    assert!(client.text.starts_with("HTTP/1.1 200"), "{:?}", client.text);
}

#[test]
fn silent_connections_cost_nobody_anything() {
    let serving = Serving::start();
    let silent: Vec<_> = (0..200).map(|_| Client::connect(serving.address)).collect();
    let half: Vec<_> = (0..200).map(|_| serving.send("GET / HT")).collect();
    let start = Instant::now();
    assert_eq!(serving.get("/page").status(), 200);
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    drop((silent, half));
    eventually("their connections to be closed", || {
        serving
            .get("/metrics")
            .body()
            .contains("shelfcast_http_connections 1\n")
    });
}

#[test]
fn slow_answers_do_not_hold_up_fast_ones() {
    let serving = Serving::start();
    let slow: Vec<_> = (0..20)
        .map(|_| serving.send("GET /slow?ms=3000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
        .collect();
    let start = Instant::now();
    for _ in 0..10 {
        assert_eq!(serving.get("/page").status(), 200);
    }
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    for client in slow {
        assert_eq!(client.answer().status(), 200);
    }
}

#[test]
fn more_requests_than_workers_are_told_to_try_again() {
    let serving = Serving::with(ServerSettings {
        workers: 2,
        ..ServerSettings::default()
    });
    let slow: Vec<_> = (0..2)
        .map(|_| serving.send("GET /slow?ms=1500 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
        .collect();
    eventually("both workers to be busy", || {
        let answer = serving.get("/page");
        answer.status() == 503 && answer.json()["error"]["code"] == "overloaded"
    });
    for client in slow {
        assert_eq!(client.answer().status(), 200);
    }
    eventually("service again", || serving.get("/page").status() == 200);
}

#[test]
fn when_connections_run_out_the_one_that_waits_longest_makes_room() {
    let serving = Serving::with(ServerSettings {
        clients: 0,
        other_connections: 10,
        ..ServerSettings::default()
    });
    let mut silent: Vec<_> = (0..10).map(|_| Client::connect(serving.address)).collect();
    assert_eq!(serving.get("/page").status(), 200);
    silent[0].read_to_end();
}

#[test]
fn connections_that_are_reset_or_half_closed_do_no_harm() {
    let serving = Serving::start();
    for round in 0..100 {
        let client = serving.send("GET /page HT");
        if round % 2 == 0 {
            client.socket.shutdown(Shutdown::Write).unwrap();
        } else {
            let linger = Some(Duration::ZERO); // closing it is a reset
            rustix::net::sockopt::set_socket_linger(&client.socket, linger).unwrap();
        }
    }
    assert_eq!(serving.get("/page").status(), 200);
    let server = serving.server.as_ref().unwrap();
    assert!(server.answers(Duration::from_secs(5)));
}

#[test]
fn a_client_that_takes_nothing_of_its_answer_is_given_up() {
    let mut serving = Serving::with(ServerSettings {
        write_timeout: Duration::from_millis(300),
        ..ServerSettings::default()
    });
    let _stalled = serving.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the connection to be closed", || {
        serving
            .get("/metrics")
            .body()
            .contains("shelfcast_http_connections 1\n")
    });
    let start = Instant::now();
    serving.server.take();
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn the_port_can_be_bound_again_right_after_a_stop() {
    let mut serving = Serving::start();
    let client = serving.stream("/api/events/stream", "");
    let address = serving.address;
    serving.server.take();
    let again = Serving::on(ServerSettings::default(), address);
    assert_eq!(again.get("/page").status(), 200);
    drop(client);
}

#[test]
fn ipv6_listeners_serve_ipv4_as_ipv4() {
    let Ok(address) = "[::]:0".parse() else {
        return;
    };
    if shelfcast::http::bind(address).is_err() {
        return; // IPv6 is off here
    }
    let serving = Serving::on(ServerSettings::default(), address);
    let v4 = format!("127.0.0.1:{}", serving.address.port())
        .parse()
        .unwrap();
    let mut client = Client::connect(v4);
    client
        .socket
        .write_all(b"GET /page HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    assert_eq!(client.answer().status(), 200);
}
