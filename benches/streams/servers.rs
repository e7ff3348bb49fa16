//! The servers that are compared: how each is started, subscribed to, and published through.

use shelfcast::events::types::{ErrorEvent, Event};
use shelfcast::events::{Broadcaster, Scope, Settings};
use shelfcast::http::request::{ApiError, Gate, Request, Response, Routes};
use shelfcast::http::socket::raise_descriptor_limit;
use shelfcast::http::{Parts, Server, ServerSettings, bind};
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Shelfcast,
    Nchan,
    Flask,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Shelfcast, Kind::Nchan, Kind::Flask];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Shelfcast => "shelfcast",
            Kind::Nchan => "nchan",
            Kind::Flask => "flask",
        }
    }
}

/// A server process; dropping it ends it.
pub(crate) struct Running {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    child: Child,
    _files: TempDir,
}

impl Running {
    pub(crate) fn subscribe(&self) -> String {
        let path = match self.kind {
            Kind::Shelfcast => "/api/events/stream",
            Kind::Nchan | Kind::Flask => "/stream",
        };
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
    }

    pub(crate) fn publish(&self, body: &str) -> String {
        let length = body.len();
        format!(
            "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // nginx and gunicorn end their workers on SIGTERM; ours ends with its standard input.
        drop(self.child.stdin.take());
        let pid = i32::try_from(self.pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok(); // it may have ended
        }
        drop(self.child.wait());
    }
}

/// Starts a server for so many streams; nothing when it is not installed.
pub(crate) fn start(kind: Kind, clients: usize) -> Option<Running> {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let files = TempDir::new().unwrap();
    let mut command = match kind {
        Kind::Shelfcast => {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["serve", &address.to_string()]);
            command
        }
        Kind::Nchan => nchan(&files, port),
        Kind::Flask => {
            let mut command = Command::new("gunicorn");
            let threads = (clients + 16).to_string();
            let application = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/streams");
            command
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .args(["--chdir", application, "--bind", &address.to_string()])
                .args([
                    "--worker-class",
                    "gthread",
                    "--workers",
                    "1",
                    "--threads",
                    &threads,
                ])
                .args(["--worker-connections", &threads, "--log-level", "critical"])
                .args(["--timeout", "600", "--keep-alive", "600", "queue_app:app"]);
            command
        }
    };
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        if child.try_wait().unwrap().is_some() || Instant::now() > deadline {
            return None;
        }
        let never = crossbeam_channel::never::<()>();
        assert!(never.recv_timeout(Duration::from_millis(20)).is_err());
    }
    Some(Running {
        kind,
        address,
        pid: child.id(),
        child,
        _files: files,
    })
}

fn nchan(files: &TempDir, port: u16) -> Command {
    let directory = files.path().display();
    let configuration = format!(
        "load_module /usr/lib/nginx/modules/ngx_nchan_module.so;\n\
         worker_processes 1;\ndaemon off;\npid {directory}/pid;\nerror_log {directory}/error.log;\n\
         worker_rlimit_nofile 20000;\n\
         events {{ worker_connections 19000; }}\n\
         http {{\n access_log off;\n keepalive_requests 10000000;\n nchan_shared_memory_size 256M;\n\
         client_body_temp_path {directory};\n\
         server {{ listen 127.0.0.1:{port} backlog=4096;\n\
         location /publish {{ nchan_publisher; nchan_channel_id a; nchan_message_buffer_length 1000; }}\n\
         location /stream {{ nchan_subscriber eventsource; nchan_channel_id a;\n\
         nchan_subscriber_first_message newest; nchan_message_buffer_length 1000; }}\n\
         }} }}\n"
    );
    let path = files.path().join("nginx.conf");
    std::fs::write(&path, configuration).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-c").arg(path).arg("-p").arg(files.path());
    command
}

/// Serves Shelfcast's streams on `address` until standard input ends.
pub(crate) fn serve(address: &str) {
    raise_descriptor_limit().unwrap();
    let events = Broadcaster::start(Settings::default()).unwrap();
    let parts = Parts {
        events: events.clone(),
        routes: Arc::new(Publishing(events)),
        gate: Arc::new(Open),
        folders: Arc::new(|_| false),
        metrics: Arc::default(),
    };
    let settings = ServerSettings {
        clients: 50_000,
        clients_per_address: 50_000,
        ..ServerSettings::default()
    };
    let listener = bind(address.parse().unwrap()).unwrap();
    let server = Server::start(settings, vec![listener], parts).unwrap();
    drop(std::io::stdin().read(&mut [0; 1]));
    server.stop();
}

struct Publishing(Broadcaster);

impl Routes for Publishing {
    fn answer(&self, request: &Request) -> Response {
        let event = Event::Error(ErrorEvent {
            code: "load".to_owned(),
            message: String::from_utf8_lossy(&request.body).into_owned(),
            hint: None,
            folder: None,
        });
        self.0.publish(event, Scope::Everyone);
        Response::json(202, &"published")
    }
}

struct Open;

impl Gate for Open {
    fn admit(&self, _: &Request) -> Result<(), ApiError> {
        Ok(())
    }
}
