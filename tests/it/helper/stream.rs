//! A client of the event stream: a thread that reads, and a list of what came.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{PATIENCE, wait_until};

/// One event, and when it was read.
#[derive(Clone, Debug)]
pub struct Event {
    pub id: String,
    pub kind: String,
    pub data: Value,
    pub timestamp: f64,
    pub read_at: Instant,
}

#[derive(Debug, Default)]
struct Heard {
    events: Vec<Event>,
    ended: bool,
}

/// An open stream.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    heard: Arc<Mutex<Heard>>,
    thread: Option<JoinHandle<()>>,
}

impl Stream {
    /// Opens the stream at `target`, for example `/api/events/stream?types=error`.
    pub fn open(address: SocketAddr, target: &str, last_event_id: Option<&str>) -> Stream {
        Stream::try_open(address, target, last_event_id)
            .unwrap_or_else(|error| panic!("{target} cannot be opened: {error}"))
    }

    /// As [`Stream::open`], where the service may be gone.
    pub fn try_open(
        address: SocketAddr,
        target: &str,
        last_event_id: Option<&str>,
    ) -> std::io::Result<Stream> {
        let mut socket = TcpStream::connect(address)?;
        let last = last_event_id.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
        // HTTP/1.0, so that the body is the stream itself.
        let request = format!("GET {target} HTTP/1.0\r\nHost: {address}\r\n{last}\r\n");
        socket.write_all(request.as_bytes())?;
        socket.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut reader = BufReader::new(socket.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        assert!(line.contains(" 200 "), "{target}: {line}");
        while line.trim_end() != "" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                break;
            }
        }
        let heard = Arc::new(Mutex::new(Heard::default()));
        let list = Arc::clone(&heard);
        let thread = std::thread::Builder::new().spawn(move || listen(reader, &list));
        Ok(Stream {
            socket,
            heard,
            thread: Some(thread?),
        })
    }

    /// Returns what came so far.
    pub fn events(&self) -> Vec<Event> {
        self.lock().events.clone()
    }

    /// Takes what came so far out of the list.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.lock().events)
    }

    /// Tells whether the service, or its death, ended the stream.
    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Waits for an event that `wanted` accepts, among those that came already too.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        let mut found = None;
        let came = wait_until(PATIENCE, || {
            found = self
                .lock()
                .events
                .iter()
                .find(|event| wanted(event))
                .cloned();
            found.is_some()
        });
        if !came {
            let events = self.events();
            let tail = &events[events.len().saturating_sub(20)..];
            panic!("waited for the event: {what}\nthe last events are {tail:#?}");
        }
        found.unwrap()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The service may have ended it before.
        drop(self.socket.shutdown(Shutdown::Both));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn listen(mut reader: BufReader<TcpStream>, heard: &Mutex<Heard>) {
    let (mut id, mut data, mut line) = (String::new(), String::new(), Vec::new());
    while let Ok(1..) = reader.read_until(b'\n', &mut line) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        if let Some(value) = text.strip_prefix("id: ") {
            value.clone_into(&mut id);
        } else if let Some(value) = text.strip_prefix("data: ") {
            data.push_str(value);
        } else if text.is_empty() && !data.is_empty() {
            let value: Value = serde_json::from_str(&data).unwrap_or_default();
            data.clear();
            // A heartbeat has no type inside.
            let Some(kind) = value["type"].as_str().map(str::to_owned) else {
                continue;
            };
            let event = Event {
                id: id.clone(),
                kind,
                data: value["data"].clone(),
                timestamp: value["timestamp"].as_f64().unwrap_or_default(),
                read_at: Instant::now(),
            };
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.events.push(event);
        }
    }
    heard.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
}
