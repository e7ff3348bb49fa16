//! Contract section 7 against the built binary: who is let in, and what others are told.

use crate::service::Daemon;

const JSON: &str = "Content-Type: application/json\r\n";

fn code(service: &Daemon, method: &str, target: &str, headers: &str) -> (u16, String) {
    let answer = service.ask(method, target, headers, "");
    let code = match answer.status() {
        400.. => answer.json()["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        _ => String::new(),
    };
    (answer.status(), code)
}

#[test]
fn only_names_of_this_machine_are_answered() {
    let service = Daemon::start("[access]\nhosts = [\"media.example\"]\n");
    for host in ["localhost", "127.0.0.1:1", "[::1]:5000", "Media.Example:80"] {
        let (status, _) = code(&service, "GET", "/", &format!("Host: {host}\r\n"));
        assert_eq!(status, 200, "{host}");
    }
    for target in ["/", "/api/files", "/api/events/stream", "/metrics", "/x"] {
        let (status, code) = code(&service, "GET", target, "Host: evil.example\r\n");
        assert_eq!((status, &*code), (403, "forbidden_host"), "{target}");
    }
}

#[test]
fn refusals_are_counted_one_by_one_and_logged_once_a_minute() {
    let service = Daemon::start("");
    for _ in 0..5 {
        code(&service, "GET", "/", "Host: evil.example\r\n");
    }
    let metrics = service.get("/metrics").text;
    assert!(
        metrics.contains("shelfcast_access_refused_total{reason=\"host\"} 5\n"),
        "{metrics}"
    );
    assert!(metrics.contains("shelfcast_access_refused_total{reason=\"address\"} 0\n"));
    let lines = service.log().matches("code=forbidden_host").count();
    assert_eq!(lines, 1, "{}", service.log());
}

#[test]
fn changes_are_json_from_our_own_page() {
    let service = Daemon::start("");
    let own = service.address;
    let target = "/api/cache/rebuild";
    for (headers, expected) in [
        (String::new(), (415, "unsupported_media_type")),
        (
            "Content-Type: text/plain\r\n".to_owned(),
            (415, "unsupported_media_type"),
        ),
        (JSON.to_owned(), (202, "")),
        (format!("{JSON}Origin: http://{own}\r\n"), (202, "")),
        (
            format!("{JSON}Origin: http://evil.example\r\n"),
            (403, "forbidden_origin"),
        ),
        (format!("{JSON}Origin: null\r\n"), (403, "forbidden_origin")),
    ] {
        let (status, code) = code(
            &service,
            "POST",
            target,
            &format!("Host: {own}\r\n{headers}"),
        );
        assert_eq!((status, &*code), expected, "{headers}");
    }
}

#[test]
fn a_wrong_method_is_told_so_whatever_it_sends() {
    let service = Daemon::start("[access]\ntoken = \"correct-horse\"\n");
    for (method, target, allow) in [
        ("POST", "/api/files", "GET, HEAD, OPTIONS"),
        ("POST", "/", "GET, HEAD, OPTIONS"),
        ("POST", "/api/events/stream", "GET, HEAD, OPTIONS"),
        ("DELETE", "/api/jobs", "GET, HEAD, POST, OPTIONS"),
        ("GET", "/api/cache/rebuild", "POST, OPTIONS"),
        ("PUT", "/api/watcher", "POST, OPTIONS"),
    ] {
        let answer = service.ask(method, target, "Host: localhost\r\n", "");
        assert_eq!(answer.status(), 405, "{method} {target}");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {target}");
        let options = service.ask("OPTIONS", target, "Host: localhost\r\n", "");
        assert_eq!(options.status(), 204, "{target}");
        assert_eq!(options.header("allow"), Some(allow), "{target}");
    }
    assert_eq!(service.ask("POST", "/x", "Host: a\r\n", "").status(), 403);
    assert_eq!(
        service
            .ask("POST", "/x", "Host: localhost\r\n", "")
            .status(),
        404
    );
}

#[test]
fn every_route_that_changes_something_needs_the_token() {
    let service = Daemon::start("[access]\ntoken = \"correct-horse\"\n");
    for target in [
        "/api/cache/rebuild",
        "/api/watcher",
        "/api/folders/library/accept",
        "/api/jobs",
        "/api/jobs/1/cancel",
    ] {
        let answer = service.post(target, "{}");
        assert_eq!(answer.status(), 401, "{target}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        let with = format!("Host: localhost\r\n{JSON}Authorization: Bearer correct-horse\r\n");
        let (status, _) = code(&service, "POST", target, &with);
        assert_ne!(status, 401, "{target}");
    }
    assert_eq!(service.get("/api/files").status(), 200);
    assert!(!service.log().contains("correct-horse"));
}

#[test]
fn an_address_that_is_not_allowed_gets_nothing() {
    let service = Daemon::start("[access]\nallow = [\"192.0.2.0/24\"]\n");
    let (status, code) = code(&service, "GET", "/", "Host: localhost\r\n");
    assert_eq!((status, &*code), (403, "forbidden_address"));
    let over_6 = Daemon::on("[::1]", "[access]\nallow = [\"::1\"]\n");
    assert_eq!(over_6.get("/").status(), 200);
}

#[test]
fn no_answer_lets_another_origin_read_it_or_guess_its_type() {
    let service = Daemon::start("");
    for (method, target) in [
        ("GET", "/"),
        ("OPTIONS", "/api/jobs"),
        ("GET", "/api/files"),
        ("GET", "/x"),
    ] {
        let headers = "Host: localhost\r\nOrigin: http://evil.example\r\n\
                       Access-Control-Request-Method: POST\r\n";
        let answer = service.ask(method, target, headers, "");
        let lower = answer.text.to_lowercase();
        assert!(!lower.contains("access-control-"), "{lower}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    let policy = service.get("/");
    let policy = policy.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
}

#[test]
fn what_is_too_large_is_refused() {
    let service = Daemon::start("");
    let long = format!("Host: localhost\r\nX: {}\r\n", "x".repeat(17 * 1024));
    assert_eq!(service.ask("GET", "/", &long, "").status(), 431);
    let head = "POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Connection: close\r\nContent-Length: 1048577\r\n\r\n";
    assert_eq!(service.send(head.as_bytes()).answer().status(), 413);
    let deep = "[".repeat(100_000);
    assert_eq!(service.post("/api/jobs", &deep).status(), 400);
    assert_eq!(service.get("/health").status(), 200);
}

#[test]
fn hostile_queries_are_refused_and_harm_nobody() {
    let service = Daemon::start("");
    let huge = "9".repeat(400);
    for target in [
        "/api/files?limit=0".to_owned(),
        "/api/files?limit=1001".to_owned(),
        "/api/files?limit=-1".to_owned(),
        format!("/api/files?limit={huge}"),
        "/api/files?cursor=%00".to_owned(),
        format!("/api/files?cursor={huge}"),
        "/api/files?sort=x".to_owned(),
        "/api/files?status=x".to_owned(),
        "/api/files?folder=x".to_owned(),
        "/api/files?search=%ff".to_owned(),
        "/api/history?cursor=0".to_owned(),
        "/api/events?wait=31".to_owned(),
        format!("/api/events?wait={huge}"),
        "/api/events/stream?types=x".to_owned(),
        "/%2".to_owned(),
    ] {
        assert_eq!(service.get(&target).status(), 400, "{target}");
    }
    for target in [
        format!("/api/files/{huge}"),
        "/api/files/-1".to_owned(),
        "/api/jobs/01".to_owned(),
        "/assets/../../etc/passwd".to_owned(),
        "/assets/%2e%2e%2f%2e%2e%2fetc/passwd".to_owned(),
        "/api/files?directory=library/../..".to_owned(),
    ] {
        assert_eq!(service.get(&target).status(), 404, "{target}");
    }
    for body in [
        "",
        "null",
        "{\"action\":\"process\",\"files\":[9223372036854775808]}",
        "{\"action\":\"process\",\"scope\":\"all\",\"scope\":\"all\"}",
    ] {
        assert_eq!(service.post("/api/jobs", body).status(), 400, "{body}");
    }
    let metrics = service.get("/metrics").text;
    assert!(metrics.contains("shelfcast_http_panics_total 0\n"));
}
