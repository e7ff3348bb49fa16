//! The helper of the HTTP tests: a server in this process, and clients that are plain sockets.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of tests: what fails here fails the test"
)]

use rustix::net::{AddressFamily, SocketType};
use shelfcast::events::types::{ErrorEvent, Event, JobStatus, JobUpdated, Progress};
use shelfcast::events::{Broadcaster, EventId, Scope, Settings};
use shelfcast::http::request::{ApiError, Gate, Request, Response, Routes};
use shelfcast::http::{Parts, Server, ServerSettings, bind};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer than anything that is waited for takes, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Serving {
    pub(crate) events: Broadcaster,
    pub(crate) server: Option<Server>,
    pub(crate) address: SocketAddr,
}

impl Serving {
    pub(crate) fn start() -> Serving {
        Serving::with(ServerSettings::default())
    }

    pub(crate) fn with(settings: ServerSettings) -> Serving {
        Serving::on(settings, "127.0.0.1:0".parse().unwrap())
    }

    pub(crate) fn on(settings: ServerSettings, address: SocketAddr) -> Serving {
        let events = Broadcaster::start(Settings::default()).unwrap();
        let parts = Parts {
            events: events.clone(),
            routes: Arc::new(Stub),
            gate: Arc::new(Stub),
            folders: Arc::new(|name| name == "comics" || name == "films"),
            metrics: Arc::default(),
        };
        let listener = bind(address).unwrap();
        let server = Server::start(settings, vec![listener], parts).unwrap();
        Serving {
            events,
            address: server.addresses()[0],
            server: Some(server),
        }
    }

    pub(crate) fn publish(&self, code: &str) -> EventId {
        self.events.publish(error(code), Scope::Everyone)
    }

    /// Sends `request` and returns the client, which has read nothing yet.
    pub(crate) fn send(&self, request: &str) -> Client {
        let mut client = Client::connect(self.address);
        client.socket.write_all(request.as_bytes()).unwrap();
        client
    }

    /// Returns the whole answer to `GET target`.
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, "")
    }

    pub(crate) fn ask(&self, method: &str, target: &str, headers: &str) -> Answer {
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n");
        self.send(&request).answer()
    }

    /// Opens an event stream and reads its head.
    pub(crate) fn stream(&self, target: &str, headers: &str) -> Client {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let mut client = self.send(&request);
        client.read_until("the head of the stream", |text| text.contains("\r\n\r\n"));
        client
    }

    /// Waits until so many streams are open.
    pub(crate) fn wait_for_clients(&self, count: u64) {
        eventually(&format!("{count} open streams"), || {
            self.events.stats().active_clients == count
        });
    }
}

/// What answers in place of the appliance.
struct Stub;

impl Routes for Stub {
    fn answer(&self, request: &Request) -> Response {
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/echo") => Response {
                status: 200,
                headers: Vec::new(),
                body: request.body.clone().into(),
            },
            (_, "/echo") => {
                Response::from(ApiError::new(405, "method_not_allowed", "")).with("Allow", "POST")
            }
            (_, "/panic") => panic!("asked to"),
            (_, "/unchanged") => Response {
                status: 304,
                headers: vec![("ETag", "\"1\"".to_owned())],
                body: (&[][..]).into(),
            },
            ("GET", "/slow") => {
                let wait = request.parameter("ms").unwrap().parse().unwrap();
                pause(Duration::from_millis(wait));
                Response::json(200, &"slept")
            }
            ("GET", "/large") => Response {
                status: 200,
                headers: Vec::new(),
                body: vec![b'x'; 8 * 1024 * 1024].into(),
            },
            ("GET", path) => {
                let query: Vec<_> = request.query.iter().collect();
                Response::json(200, &serde_json::json!({"path": path, "query": query}))
            }
            _ => Response::from(ApiError::new(404, "not_found", "")),
        }
    }
}

impl Gate for Stub {
    fn admit(&self, request: &Request) -> Result<(), ApiError> {
        assert!(request.body.is_empty(), "the gate sees no body");
        match request.header("x-foreign") {
            Some(_) => Err(ApiError::new(403, "forbidden", "not from here")),
            None => Ok(()),
        }
    }
}

pub(crate) fn error(code: &str) -> Event {
    Event::Error(ErrorEvent {
        code: code.to_owned(),
        message: String::new(),
        hint: None,
        folder: None,
    })
}

pub(crate) fn job(id: &str, status: JobStatus) -> Event {
    Event::JobUpdated(JobUpdated {
        job_id: id.to_owned(),
        action: "process".to_owned(),
        status,
        progress: Progress::default(),
        current_file: None,
        eta_s: None,
    })
}

pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    /// Everything that was read.
    pub(crate) text: String,
    raw: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        Client::of(TcpStream::connect(address).unwrap())
    }

    /// Connects from another address of this machine.
    pub(crate) fn connect_from(source: IpAddr, address: SocketAddr) -> Client {
        let family = match source {
            IpAddr::V4(_) => AddressFamily::INET,
            IpAddr::V6(_) => AddressFamily::INET6,
        };
        let kind = SocketType::STREAM;
        let socket = rustix::net::socket(family, kind, None).unwrap();
        rustix::net::bind(&socket, &SocketAddr::from((source, 0))).unwrap();
        rustix::net::connect(&socket, &address).unwrap();
        Client::of(socket.into())
    }

    fn of(socket: TcpStream) -> Client {
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        Client {
            socket,
            text: String::new(),
            raw: Vec::new(),
        }
    }

    /// Reads until `condition` holds for the whole text, or panics saying what was waited for.
    pub(crate) fn read_until(&mut self, what: &str, condition: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(&self.text) {
            assert!(
                Instant::now() < deadline,
                "waited for {what}: {:?}",
                self.tail()
            );
            assert!(self.read_more(), "ended before {what}: {:?}", self.tail());
        }
    }

    /// The end of what was read, for a message.
    fn tail(&self) -> String {
        let skip = self.text.chars().count().saturating_sub(1_000);
        self.text.chars().skip(skip).collect()
    }

    /// Reads to the end of the connection.
    pub(crate) fn read_to_end(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.read_more() {
            assert!(
                Instant::now() < deadline,
                "waited for the end: {:?}",
                self.text
            );
        }
    }

    /// Returns the complete answer of a connection that ends with it.
    pub(crate) fn answer(mut self) -> Answer {
        self.read_to_end();
        Answer { text: self.text }
    }

    /// Reads what comes within a moment; false at the end.
    pub(crate) fn read_more(&mut self) -> bool {
        let mut piece = [0; 65_536];
        match self.socket.read(&mut piece) {
            Ok(0) => false,
            Ok(length) => {
                self.raw.extend_from_slice(&piece[..length]);
                self.text = String::from_utf8_lossy(&self.raw).into_owned();
                true
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => true,
                ErrorKind::ConnectionReset => false,
                _ => panic!("{error}"),
            },
        }
    }

    /// The body of an event stream without its chunks' framing.
    pub(crate) fn body(&self) -> String {
        dechunked(
            self.text
                .split_once("\r\n\r\n")
                .map_or("", |(_, body)| body),
        )
    }

    /// The events that have arrived, as JSON with their ids.
    pub(crate) fn events(&self) -> Vec<(Option<String>, serde_json::Value)> {
        messages(&self.body())
    }

    pub(crate) fn wait_for_events(
        &mut self,
        count: usize,
    ) -> Vec<(Option<String>, serde_json::Value)> {
        self.read_until(&format!("{count} events"), |text| {
            let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            messages(&dechunked(body)).len() >= count
        });
        self.events()
    }
}

/// The data of complete `onmessage` messages.
pub(crate) fn messages(body: &str) -> Vec<(Option<String>, serde_json::Value)> {
    let complete = body.rfind("\n\n").map_or("", |end| &body[..end]);
    complete
        .split("\n\n")
        .filter(|message| !message.contains("event: ") && message.contains("data: "))
        .map(|message| {
            let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name));
            let data = field("data: ").unwrap();
            (
                field("id: ").map(str::to_owned),
                serde_json::from_str(data).unwrap(),
            )
        })
        .collect()
}

/// What tells events apart in these tests.
pub(crate) fn codes(events: &[(Option<String>, serde_json::Value)]) -> Vec<String> {
    events
        .iter()
        .map(|(_, event)| match event["type"].as_str().unwrap() {
            "error" => event["data"]["code"].as_str().unwrap().to_owned(),
            "reset" => format!("reset:{}", event["data"]["reason"].as_str().unwrap()),
            "job_updated" => event["data"]["job_id"].as_str().unwrap().to_owned(),
            other => other.to_owned(),
        })
        .collect()
}

/// Takes the framing of chunks away; the last one may be incomplete.
pub(crate) fn dechunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("chunk {size:?}"));
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size.min(rest.len())]);
        body = rest.get(size + 2..).unwrap_or("");
    }
    whole
}

pub(crate) struct Answer {
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        let status = self.text.split(' ').nth(1);
        status
            .unwrap_or_else(|| panic!("no status: {:?}", self.text))
            .parse()
            .unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let (head, _) = self.text.split_once("\r\n\r\n").unwrap();
        head.lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub(crate) fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").unwrap().1
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.body()).unwrap_or_else(|_| panic!("{:?}", self.text))
    }
}

/// Waits for `condition`, or panics saying what was waited for.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited for {what}");
        pause(Duration::from_millis(5));
    }
}

/// Between two looks; never in place of a condition.
pub(crate) fn pause(time: Duration) {
    // Nobody sends: the only outcome is the end of the wait.
    let waited = crossbeam_channel::never::<()>().recv_timeout(time);
    assert!(waited.is_err());
}
