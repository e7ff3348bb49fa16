//! What **systemd** and we tell each other, by hand: a datagram each way is no reason for a crate.
//!
//! The promise: outside of systemd every call here does nothing. What goes wrong is written to the
//! log and stops nobody, since the service itself works.
//!
//! Sources: sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3).

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use log::{debug, warn};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::time::{ClockId, clock_gettime};

/// Looks up an environment variable; `&|name| std::env::var_os(name)` outside of tests.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Tells the service manager how we are. Any thread may use it.
#[derive(Debug)]
pub struct Notifier {
    manager: Option<(UnixDatagram, SocketAddr)>,
}

impl Notifier {
    /// Returns the notifier that `$NOTIFY_SOCKET` asks for; without it, one that does nothing.
    #[must_use]
    pub fn new(env: Env<'_>) -> Notifier {
        let connect = |name: OsString| -> io::Result<(UnixDatagram, SocketAddr)> {
            let address = address(&name)?;
            let socket = UnixDatagram::unbound()?;
            // systemd reads at once; where it hangs, we do not.
            socket.set_write_timeout(Some(Duration::from_secs(1)))?;
            Ok((socket, address))
        };
        let manager = env("NOTIFY_SOCKET").and_then(|name| match connect(name.clone()) {
            Ok(manager) => Some(manager),
            Err(error) => {
                warn!("cannot reach the service manager at {name:?}: {error}");
                None
            }
        });
        Notifier { manager }
    }

    /// Says that the start, or a reload, is done.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// Says in a line what is going on; `systemctl status` shows it.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", one_line(status)));
    }

    /// Says that the configuration is being read again; [`Notifier::ready`] must follow.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        // `Type=notify-reload` tells by the time which reload this is (systemd.service(5)).
        let now = Duration::try_from(now).unwrap_or_default().as_micros();
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
    }

    /// Says that we are ending.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Says that all threads are alive; see [`watchdog_interval`].
    pub fn watchdog(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.manager
            && let Err(error) = socket.send_to_addr(message.as_bytes(), address)
        {
            debug!("cannot tell the service manager {message:?}: {error}");
        }
    }
}

/// Reads `/path` or `@abstract`.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "neither a path nor an abstract name",
        )),
    }
}

/// A line break would start a message of its own.
fn one_line(status: &str) -> String {
    let blank = |sign: char| if sign.is_control() { ' ' } else { sign };
    status.chars().map(blank).collect()
}

/// Returns how often to call [`Notifier::watchdog`]: half the time after which systemd ends us.
#[must_use]
pub fn watchdog_interval(env: Env<'_>) -> Option<Duration> {
    let number = |name| env(name)?.to_str()?.parse::<u64>().ok();
    // Children inherit the variables, but only one process is watched.
    if env("WATCHDOG_PID").is_some() && number("WATCHDOG_PID") != Some(std::process::id().into()) {
        return None;
    }
    let interval = Duration::from_micros(number("WATCHDOG_USEC")? / 2);
    (!interval.is_zero()).then_some(interval)
}

/// The first descriptor that is passed (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;
/// A unit lists its sockets one by one; more than this is a broken environment.
const MOST: RawFd = 64;

/// Takes the listening sockets of a socket unit; none outside of it, and none the second time.
///
/// They are closed in processors that we start.
///
/// # Errors
/// A descriptor is missing, or is no listening TCP socket.
pub fn listen_fds(env: Env<'_>) -> io::Result<Vec<TcpListener>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |name| env(name)?.to_str()?.parse::<u32>().ok();
    let count = number("LISTEN_FDS").unwrap_or(0);
    if number("LISTEN_PID") != Some(std::process::id()) || count == 0 {
        return Ok(Vec::new());
    }
    let Some(count) = RawFd::try_from(count).ok().filter(|count| *count <= MOST) else {
        let message = format!("LISTEN_FDS={count}: at most {MOST} sockets are taken");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    };
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    // All are looked at before one is owned: an error leaves them as they were.
    for fd in FIRST..FIRST + count {
        // SAFETY: systemd made these descriptors for this process (LISTEN_PID) and nothing here
        // closes them; should one not be open after all, the calls below fail with EBADF.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        check_listener(borrowed).map_err(|error| {
            let message = format!(
                "descriptor {fd} from systemd is no listening TCP socket: {error}; give the socket \
                 unit a `ListenStream=` with a port"
            );
            io::Error::new(error.kind(), message)
        })?;
    }
    let owned = (FIRST..FIRST + count).map(|fd| {
        // SAFETY: checked to be open above, passed for us to own, and taken only once (TAKEN).
        TcpListener::from(unsafe { OwnedFd::from_raw_fd(fd) })
    });
    Ok(owned.collect())
}

fn check_listener(fd: impl AsFd) -> io::Result<()> {
    let fd = fd.as_fd();
    fcntl_setfd(fd, FdFlags::CLOEXEC)?;
    let is_tcp = sockopt::socket_type(fd)? == SocketType::STREAM
        && [AddressFamily::INET, AddressFamily::INET6].contains(&sockopt::socket_domain(fd)?)
        && sockopt::socket_acceptconn(fd)?;
    match is_tcp {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is another kind of socket",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listening_tcp_sockets_are_taken() {
        check_listener(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        assert!(check_listener(UnixDatagram::unbound().unwrap()).is_err());
        assert!(check_listener(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).is_err());
        assert!(check_listener(tempfile::tempfile().unwrap()).is_err());
        let flags = rustix::net::SocketFlags::CLOEXEC;
        let kind = SocketType::STREAM;
        let idle = rustix::net::socket_with(AddressFamily::INET, kind, flags, None).unwrap();
        assert!(check_listener(idle).is_err());
    }

    #[test]
    fn a_status_is_one_line() {
        assert_eq!(one_line("a\nREADY=1\r\u{1b}ä"), "a READY=1  ä");
    }
}
