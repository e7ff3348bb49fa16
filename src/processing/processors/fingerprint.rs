//! The built-in processor **`fingerprint`**: BLAKE3 of the content.
//!
//! Two promises. It runs at the speed of the disk or of one core, whichever is slower. And it
//! leaves the page cache as it was: what others had in memory stays there, what only we read is
//! given back, so that a verify of the whole library does not slow down everybody else.

use std::io::IoSliceMut;
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;

use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};

/// The name in events and history.
pub(crate) const NAME: &str = "fingerprint";

/// Large enough for BLAKE3's widest instructions and few system calls, small enough for the
/// second-level cache of a Raspberry Pi.
pub(crate) const BUFFER_BYTES: usize = 128 * 1024;

/// What was read is given back in pieces of this size.
const GIVE_BACK_BYTES: u64 = 4 * 1024 * 1024;

/// The outcome of reading a whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hashed {
    /// Hash and length.
    Whole([u8; 32], u64),
    /// `go_on` said to stop.
    Stopped,
    /// There was more than `expected_bytes`: somebody writes, and it might never end.
    Longer,
}

/// Hashes what the open file holds, from its start. `go_on` is called with the bytes read so far,
/// at least once every few MiB.
///
/// # Errors
/// As read(2).
pub(crate) fn fingerprint(
    fd: BorrowedFd<'_>,
    expected_bytes: u64,
    buffer: &mut [u8],
    mut go_on: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<Hashed, Errno> {
    let mut hasher = blake3::Hasher::new();
    let mut cache = Cache::new(fd, expected_bytes);
    let mut at = 0;
    loop {
        let count = cache.read(at, buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        at += count as u64;
        cache.done(at);
        if at > expected_bytes {
            return Ok(Hashed::Longer);
        }
        // A file that fits the buffer once needs no second look at the clock.
        if at > BUFFER_BYTES as u64 && go_on(at).is_break() {
            return Ok(Hashed::Stopped);
        }
        if at == expected_bytes && count < buffer.len() {
            break; // a short read at the expected end: that was all
        }
    }
    Ok(Hashed::Whole(*hasher.finalize().as_bytes(), at))
}

/// Reads a file and gives back the memory that only we filled.
struct Cache<'fd> {
    fd: BorrowedFd<'fd>,
    /// Others had it in memory before us.
    keep: bool,
    given_back: u64,
}

impl<'fd> Cache<'fd> {
    fn new(fd: BorrowedFd<'fd>, bytes: u64) -> Cache<'fd> {
        // Looking at three places tells whether somebody works with the file; the kernel reads
        // nothing from disk for it (preadv2(2), RWF_NOWAIT).
        let last = bytes.saturating_sub(1);
        let places = [0, last, last / 2];
        let places = if bytes > BUFFER_BYTES as u64 {
            &places[..]
        } else {
            &places[..1]
        };
        let keep = places.iter().all(|at| is_in_memory(fd, *at));
        if !keep && bytes > BUFFER_BYTES as u64 {
            // Twice the read-ahead. Advice may be refused, nothing depends on it.
            rustix::fs::fadvise(fd, 0, None, Advice::Sequential).unwrap_or(());
        }
        Cache {
            fd,
            keep,
            given_back: 0,
        }
    }

    fn read(&self, at: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        loop {
            match rustix::io::pread(self.fd, &mut *buffer, at) {
                Err(Errno::INTR) => {}
                other => return other,
            }
        }
    }

    fn done(&mut self, at: u64) {
        if !self.keep && at - self.given_back >= GIVE_BACK_BYTES {
            self.give_back(at);
        }
    }

    fn give_back(&mut self, up_to: u64) {
        if let Some(bytes) = std::num::NonZeroU64::new(up_to - self.given_back) {
            // Pages that are not yet written to disk stay, so that nothing gets lost or slow.
            let advice = Advice::DontNeed;
            rustix::fs::fadvise(self.fd, self.given_back, Some(bytes), advice).unwrap_or(());
            self.given_back = up_to;
        }
    }
}

impl Drop for Cache<'_> {
    fn drop(&mut self) {
        if !self.keep {
            // Read-ahead may have gone further than we did; no length means up to the end.
            rustix::fs::fadvise(self.fd, self.given_back, None, Advice::DontNeed).unwrap_or(());
        }
    }
}

fn is_in_memory(fd: BorrowedFd<'_>, at: u64) -> bool {
    let mut byte = [0];
    let mut buffers = [IoSliceMut::new(&mut byte)];
    match rustix::io::preadv2(fd, &mut buffers, at, ReadWriteFlags::NOWAIT) {
        Ok(_) => true,
        Err(Errno::AGAIN) => false,
        // File systems without RWF_NOWAIT do not tell: better to leave the cache alone.
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    fn hash(content: &[u8], expected: u64, stop_at: u64) -> (Hashed, Vec<u64>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, content).unwrap();
        let file = File::open(&path).unwrap();
        let mut calls = Vec::new();
        let mut buffer = vec![0; BUFFER_BYTES];
        let hashed = fingerprint(file.as_fd(), expected, &mut buffer, |at| {
            calls.push(at);
            if at >= stop_at {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        (hashed.unwrap(), calls)
    }

    #[test]
    fn it_is_blake3_of_the_content_at_every_size() {
        for size in [
            0,
            1,
            BUFFER_BYTES - 1,
            BUFFER_BYTES,
            BUFFER_BYTES + 1,
            9_000_000,
        ] {
            let content: Vec<u8> = (0..=250).cycle().step_by(7).take(size).collect();
            let expected = *blake3::hash(&content).as_bytes();
            let (hashed, _) = hash(&content, size as u64, u64::MAX);
            assert_eq!(hashed, Hashed::Whole(expected, size as u64), "{size}");
        }
        // The test vector of the BLAKE3 specification for empty input.
        let (Hashed::Whole(empty, 0), _) = hash(b"", 0, u64::MAX) else {
            panic!("not whole")
        };
        assert_eq!(empty[..4], [0xaf, 0x13, 0x49, 0xb9]);
    }

    #[test]
    fn it_stops_when_told_and_at_a_file_that_grows() {
        let content = vec![1; 3_000_000];
        let (hashed, calls) = hash(&content, 3_000_000, 1_000_000);
        assert_eq!(hashed, Hashed::Stopped);
        assert!(calls.len() > 2 && calls.is_sorted());
        assert_eq!(hash(&content, 2_000_000, u64::MAX).0, Hashed::Longer);
    }

    #[test]
    fn a_shorter_file_is_hashed_as_it_is() {
        let (hashed, _) = hash(b"abc", 10, u64::MAX);
        assert_eq!(hashed, Hashed::Whole(*blake3::hash(b"abc").as_bytes(), 3));
    }
}
