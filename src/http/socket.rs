//! **Sockets**: listening ones and their options, connections, and waiting for many of them.

use super::figures::HttpFigures;
use rustix::event::{self, EventfdFlags, PollFd, PollFlags, Timespec, epoll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use rustix::process::{self, Resource, Rlimit};
use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Connections that the kernel holds for us until they are accepted (bounded by
/// `net.core.somaxconn`): a page that is opened by everybody after a restart comes at once.
const BACKLOG: i32 = 1_024;

/// Returns a listening socket on `address`; `[::]` takes IPv4 as well.
///
/// The address can be bound again right after a stop (`SO_REUSEADDR`).
///
/// # Errors
/// Those of bind(2): above all `AddrInUse`, `PermissionDenied` for a port below 1024, and
/// `AddrNotAvailable` or `Unsupported` where IPv6 is off.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let kind = SocketType::STREAM;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, kind, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if let SocketAddr::V6(v6) = address {
        // Set either way: what the system defaults to is /proc/sys/net/ipv6/bindv6only.
        sockopt::set_ipv6_v6only(&socket, !v6.ip().is_unspecified())?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// Raises the number of descriptors that this process may have to what the system allows it, and
/// returns that; every stream and every connection is one.
///
/// Programs that are started afterwards inherit it: processors are given the usual 1,024 back.
///
/// # Errors
/// The kernel refuses, which it does not for a limit within bounds.
pub fn raise_descriptor_limit() -> io::Result<Option<u64>> {
    let limit = process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    process::setrlimit(Resource::Nofile, raised)?;
    Ok(limit.maximum)
}

/// Sets what every accepted socket inherits from `listener` (Linux does; measured).
pub(super) fn prepare(listener: &TcpListener, unacknowledged: Duration) -> io::Result<()> {
    listener.set_nonblocking(true)?; // this one is not inherited
    sockopt::set_tcp_nodelay(listener, true)?; // an event is worth a packet of its own
    // Keepalive does not find a peer that vanishes while data is in flight, nor one that stays and
    // never reads; this does, for both (5.6 to 6.8 s for a value of 5 s).
    let timeout_ms = u32::try_from(unacknowledged.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(listener, timeout_ms)?;
    sockopt::set_socket_keepalive(listener, true)?;
    Ok(())
}

/// One accepted connection and what was read from it beyond the requests so far.
#[derive(Debug)]
pub(super) struct Connection {
    /// Never blocks.
    pub(super) socket: TcpStream,
    /// An IPv4 address is one, also where the listener speaks IPv6.
    pub(super) peer: IpAddr,
    pub(super) unread: Vec<u8>,
    figures: Arc<HttpFigures>,
}

impl Connection {
    pub(super) fn new(
        socket: TcpStream,
        peer: SocketAddr,
        figures: Arc<HttpFigures>,
    ) -> io::Result<Connection> {
        socket.set_nonblocking(true)?;
        figures.connections.add(1);
        Ok(Connection {
            socket,
            peer: peer.ip().to_canonical(),
            unread: Vec::new(),
            figures,
        })
    }

    /// Reads what is there into `unread`, which grows to at most `limit`; tells how much came.
    /// 0 is the end, `WouldBlock` that nothing is there.
    pub(super) fn fill(&mut self, limit: usize) -> io::Result<usize> {
        let before = self.unread.len();
        let room = limit.saturating_sub(before).min(16 * 1024);
        self.unread.resize(before + room, 0);
        let result = loop {
            match self.socket.read(&mut self.unread[before..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.unread
            .truncate(before + result.as_ref().copied().unwrap_or(0));
        result
    }

    /// Waits until `deadline` for more to read, and reads it as [`Connection::fill`] does.
    pub(super) fn fill_by(&mut self, limit: usize, deadline: Instant) -> io::Result<usize> {
        loop {
            match self.fill(limit) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    wait_for(&self.socket, PollFlags::IN, deadline)?;
                }
                result => return result,
            }
        }
    }

    /// Writes everything; the client may take nothing for `patience`, and ten times that in all.
    pub(super) fn write_all(&mut self, mut bytes: &[u8], patience: Duration) -> io::Result<()> {
        let end = Instant::now() + patience * 10;
        while !bytes.is_empty() {
            match self.socket.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let deadline = end.min(Instant::now() + patience);
                    wait_for(&self.socket, PollFlags::OUT, deadline)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Closes in such a way that the last answer arrives although the client is still sending:
    /// closing at once would answer what it sends with a reset, which throws the answer away.
    pub(super) fn close_gently(mut self) {
        if self.socket.shutdown(std::net::Shutdown::Write).is_err() {
            return; // it is gone already
        }
        let deadline = Instant::now() + Duration::from_secs(1);
        for _ in 0..256 {
            self.unread.clear();
            if !matches!(self.fill_by(16 * 1024, deadline), Ok(1..)) {
                return;
            }
        }
    }

    /// Closes at once and gives back what the kernel still holds to be sent.
    pub(super) fn reset(self) {
        // Where this fails the kernel keeps the data until TCP_USER_TIMEOUT.
        sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO)).ok();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.figures.connections.add(-1);
    }
}

fn wait_for(socket: &TcpStream, what: PollFlags, deadline: Instant) -> io::Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        let mut waiting = [PollFd::new(socket, what)];
        match event::poll(&mut waiting, Some(&whole_milliseconds(left))) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Wakes a loop that waits for descriptors; a loop that is about to look anyway costs no call.
#[derive(Debug)]
pub(super) struct Waker {
    descriptor: OwnedFd,
    pending: AtomicBool,
}

impl Waker {
    pub(super) fn new() -> io::Result<Waker> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Waker {
            descriptor: event::eventfd(0, flags)?,
            pending: AtomicBool::new(false),
        })
    }

    pub(super) fn wake(&self) {
        if !self.pending.swap(true, SeqCst) {
            // It can fail only when 2^64 - 1 wake-ups wait, and then one does.
            rustix::io::write(&self.descriptor, &1u64.to_ne_bytes()).ok();
        }
    }

    /// Notes that the loop looks now: what is handed in from here on wakes it again.
    fn woken(&self) {
        // Read first: a wake-up that comes in between writes again, and is not lost.
        rustix::io::read(&self.descriptor, &mut [0u8; 8]).ok();
        self.pending.store(false, SeqCst);
    }
}

/// Waits for many descriptors, each with a key of its own.
#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
    waker: Arc<Waker>,
}

/// A descriptor that is ready.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) key: u64,
    pub(super) flags: epoll::EventFlags,
}

/// Key of the waker, which no descriptor has.
const WAKER: u64 = u64::MAX;

impl Poller {
    pub(super) fn new(waker: Arc<Waker>) -> io::Result<Poller> {
        let poller = Poller {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            waker,
        };
        let waker = &poller.waker.descriptor;
        poller.add(waker, WAKER, epoll::EventFlags::IN)?;
        Ok(poller)
    }

    pub(super) fn add(
        &self,
        descriptor: impl AsFd,
        key: u64,
        flags: epoll::EventFlags,
    ) -> io::Result<()> {
        let data = epoll::EventData::new_u64(key);
        Ok(epoll::add(&self.epoll, descriptor, data, flags)?)
    }

    pub(super) fn remove(&self, descriptor: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, descriptor)?)
    }

    /// Waits until a descriptor is ready, the waker is used, or `deadline` has come.
    pub(super) fn wait(&self, deadline: Option<Instant>, ready: &mut Vec<Ready>) {
        ready.clear();
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = left.map(whole_milliseconds);
        let mut events = [MaybeUninit::uninit(); 256];
        let Ok((events, _)) = epoll::wait(&self.epoll, &mut events, timeout.as_ref()) else {
            return; // EINTR, the only error of a descriptor that is one: the caller looks and waits
        };
        for event in events {
            let (key, flags) = (event.data.u64(), event.flags);
            if key == WAKER {
                self.waker.woken();
            } else {
                ready.push(Ready { key, flags });
            }
        }
    }
}

/// Rounds up, so that a deadline has come when the wait for it ends, and because kernels before
/// 5.11 do not take less.
fn whole_milliseconds(wait: Duration) -> Timespec {
    let ms = i64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX);
    Timespec {
        tv_sec: ms / 1_000,
        tv_nsec: (ms % 1_000) * 1_000_000,
    }
}
