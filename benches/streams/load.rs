//! The generator: many streams read by one thread, and one connection that publishes.
//!
//! Each event carries a number between tildes; a client has it when it has read that.

use super::servers::{Kind, Running};
use rustix::event::{Timespec, epoll};
use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Longest time in which everybody must have an event.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Load<'a> {
    running: &'a Running,
    epoll: OwnedFd,
    clients: Vec<Client>,
    /// Opened with the first event: a connection that says nothing for long is closed.
    publisher: Option<TcpStream>,
    /// Number of the next event.
    next: u64,
    /// Arrivals of the events since `first`.
    first: u64,
    arrived: usize,
    arrivals: Vec<Instant>,
    /// Never read.
    stalled: Vec<TcpStream>,
    /// Kept until the next, so that closing it does not cut the answer off.
    answering: Option<TcpStream>,
}

struct Client {
    socket: TcpStream,
    /// Digits of a number whose end has not come yet.
    number: Option<u64>,
    has_head: bool,
}

impl<'a> Load<'a> {
    /// Opens the streams; nothing when some of them do not open.
    pub(crate) fn open(running: &'a Running, clients: usize) -> Option<Load<'a>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut load = Load {
            running,
            epoll,
            clients: Vec::new(),
            publisher: None,
            next: 1,
            first: u64::MAX,
            arrived: 0,
            arrivals: Vec::new(),
            stalled: Vec::new(),
            answering: None,
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        for place in 0..clients {
            let mut socket = TcpStream::connect(running.address).ok()?;
            socket.write_all(running.subscribe().as_bytes()).ok()?;
            socket.set_nonblocking(true).unwrap();
            let data = epoll::EventData::new_u64(place as u64);
            epoll::add(&load.epoll, &socket, data, epoll::EventFlags::IN).unwrap();
            load.clients.push(Client {
                socket,
                number: None,
                has_head: false,
            });
            if place % 50 == 0 {
                load.read(Some(Duration::ZERO)); // as they come, not all at once
            }
        }
        while !load.clients.iter().all(|client| client.has_head) {
            if Instant::now() > deadline {
                return None;
            }
            load.read(Some(Duration::from_millis(100)));
        }
        Some(load)
    }

    /// Opens streams that are never read, and publishes until their buffers must be full.
    pub(crate) fn stall(&mut self, count: usize) {
        for _ in 0..count {
            let mut socket = TcpStream::connect(self.running.address).unwrap();
            rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 4_096).unwrap();
            let request = self.running.subscribe();
            socket.write_all(request.as_bytes()).unwrap();
            self.stalled.push(socket);
        }
        if count > 0 {
            for _ in 0..20 {
                self.publish_and_wait(50);
            }
        }
    }

    /// Reads whatever comes for so long.
    pub(crate) fn settle(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.read(Some(left.min(Duration::from_millis(500))));
        }
    }

    /// Publishes `count` events at once, and returns how long each client waited for each.
    pub(crate) fn publish_and_wait(&mut self, count: u64) -> Vec<Duration> {
        self.settle(Duration::from_millis(50));
        self.expect(count);
        let start = Instant::now();
        self.publish(count);
        let wanted = self.clients.len() * usize::try_from(count).unwrap();
        while self.arrived < wanted && start.elapsed() < PATIENCE {
            self.read(Some(Duration::from_millis(100)));
        }
        let lost = wanted - self.arrived;
        let waited = self.arrivals.iter().map(|at| *at - start);
        waited.chain(std::iter::repeat_n(PATIENCE, lost)).collect()
    }

    /// Returns the highest of some rates that is sustained for two seconds without loss.
    pub(crate) fn highest_rate(&mut self) -> u64 {
        let mut highest = 0;
        for rate in [50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000] {
            if !self.sustains(rate) {
                break;
            }
            highest = rate;
        }
        highest
    }

    fn sustains(&mut self, rate: u64) -> bool {
        let total = rate * 2;
        self.settle(Duration::from_millis(200));
        self.expect(total);
        let start = Instant::now();
        let mut published = 0;
        while published < total {
            let due = start.elapsed().as_millis() * u128::from(rate) / 1_000;
            let due = u64::try_from(due).unwrap().min(total);
            if due > published {
                self.publish(due - published);
                published = due;
            }
            self.read(Some(Duration::from_millis(2)));
            if start.elapsed() > Duration::from_secs(4) {
                return false; // publishing itself does not keep up
            }
        }
        let wanted = self.clients.len() * usize::try_from(total).unwrap();
        let end = Instant::now() + Duration::from_secs(1);
        while self.arrived < wanted && Instant::now() < end {
            self.read(Some(Duration::from_millis(50)));
        }
        self.arrived == wanted
    }

    fn expect(&mut self, count: u64) {
        self.first = self.next;
        self.arrived = 0;
        self.arrivals.clear();
        self.arrivals
            .reserve(self.clients.len() * usize::try_from(count).unwrap());
    }

    fn publish(&mut self, count: u64) {
        let first = self.next;
        self.next += count;
        // About what a processed file weighs.
        let bodies: Vec<String> = (first..self.next)
            .map(|number| format!("~{number}~{}", "x".repeat(180)))
            .collect();
        if self.running.kind == Kind::Flask {
            // gunicorn's threads do not go on with a second request that is there already, and
            // close connections as they like: one request of its own carries all events.
            let mut socket = TcpStream::connect(self.running.address).unwrap();
            let request = self.running.publish(&bodies.join("\n"));
            socket.write_all(request.as_bytes()).unwrap();
            self.answering = Some(socket);
            return;
        }
        let requests: Vec<u8> = bodies
            .iter()
            .flat_map(|body| self.running.publish(body).into_bytes())
            .collect();
        if self.publisher.is_none() {
            let publisher = TcpStream::connect(self.running.address).unwrap();
            publisher.set_nonblocking(true).unwrap();
            publisher.set_nodelay(true).unwrap();
            let publishing = epoll::EventData::new_u64(u64::MAX);
            epoll::add(&self.epoll, &publisher, publishing, epoll::EventFlags::IN).unwrap();
            self.publisher = Some(publisher);
        }
        let mut rest = &requests[..];
        while !rest.is_empty() {
            match self.publisher.as_ref().unwrap().write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.read(Some(Duration::from_millis(1)));
                }
                Err(error) => panic!("publishing: {error}"),
            }
        }
    }

    fn read(&mut self, wait: Option<Duration>) {
        let wait = wait.map(|time| Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap(),
            tv_nsec: i64::from(time.subsec_millis()) * 1_000_000,
        });
        let mut events = [MaybeUninit::uninit(); 1_024];
        let (events, _) = epoll::wait(&self.epoll, &mut events, wait.as_ref()).unwrap();
        let mut piece = [0u8; 65_536];
        for event in events {
            let place = event.data.u64();
            if place == u64::MAX {
                drop(self.publisher.as_ref().unwrap().read(&mut piece)); // the answers to publishing
                continue;
            }
            let client = &mut self.clients[usize::try_from(place).unwrap()];
            let length = match client.socket.read(&mut piece) {
                Ok(0) => {
                    epoll::delete(&self.epoll, &client.socket).unwrap(); // ended: events are lost
                    continue;
                }
                Ok(length) => length,
                Err(_) => continue,
            };
            let now = Instant::now();
            client.has_head = true;
            for byte in &piece[..length] {
                match (byte, client.number) {
                    (b'~', None) => client.number = Some(0),
                    (b'~', Some(number)) => {
                        client.number = None;
                        if number >= self.first && number < self.next {
                            self.arrived += 1;
                            self.arrivals.push(now);
                        }
                    }
                    (b'0'..=b'9', Some(number)) => {
                        client.number = Some(number * 10 + u64::from(byte - b'0'));
                    }
                    _ => {}
                }
            }
        }
    }
}
