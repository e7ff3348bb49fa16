//! **Signals**: SIGTERM and SIGINT stop, SIGHUP reloads; signal(7).

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// End cleanly.
    Stop,
    /// Read the configuration again.
    Reload,
}

/// The signals of this process. Handlers set a flag and write a byte, nothing more.
#[derive(Debug)]
pub struct Signals {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    bell: UnixStream,
}

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    /// The kernel refuses a handler or a socket pair.
    pub fn install() -> std::io::Result<Signals> {
        let (bell, ring) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let (stop, reload) = (Arc::default(), Arc::default());
        for (signal, flag) in [(SIGTERM, &stop), (SIGINT, &stop), (SIGHUP, &reload)] {
            signal_hook::flag::register(signal, Arc::clone(flag))?;
            signal_hook::low_level::pipe::register(signal, ring.try_clone()?)?;
        }
        Ok(Signals { stop, reload, bell })
    }

    /// Waits for a signal, at most for `timeout`; for ever without one.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Option<Signal> {
        loop {
            if self.stop.load(Ordering::SeqCst) {
                return Some(Signal::Stop);
            }
            if self.reload.swap(false, Ordering::SeqCst) {
                return Some(Signal::Reload);
            }
            let limit = timeout.map(|limit| rustix::time::Timespec {
                tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: limit.subsec_nanos().into(),
            });
            let mut ready = [PollFd::from_borrowed_fd(self.bell.as_fd(), PollFlags::IN)];
            // An error is an interruption by a handler, whose flag is set.
            if poll(&mut ready, limit.as_ref()) == Ok(0) {
                return None;
            }
            let mut bytes = [0; 64];
            if let Err(error) = self.bell.read(&mut bytes) {
                debug_assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
            }
        }
    }
}
