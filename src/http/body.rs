//! The **body** of a request: read whole, within its bounds of size and time.

use super::request::ApiError;
use super::server::Shared;
use super::socket::Connection;
use std::io::ErrorKind;
use std::time::Instant;

/// A body may have this much (contract section 7).
const MAX_BODY_BYTES: u64 = 1024 * 1024;
/// For a client that asks before it sends a body.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Reads the body of which the head told `declared_bytes` and `expect`; what follows it stays
/// unread.
///
/// # Errors
/// The answer to a body that is too large, too slow or cut off.
pub(super) fn read_body(
    connection: &mut Connection,
    declared_bytes: u64,
    expect: Option<&str>,
    shared: &Shared,
) -> Result<Vec<u8>, ApiError> {
    let wanted = usize::try_from(declared_bytes.min(MAX_BODY_BYTES + 1)).unwrap_or(usize::MAX);
    if declared_bytes > MAX_BODY_BYTES {
        let message = "a request body may have 1 MiB";
        return Err(ApiError::new(413, "body_too_large", message));
    }
    match expect {
        None => {}
        Some(word) if word.eq_ignore_ascii_case("100-continue") => {
            let missing = connection.unread.len() < wanted;
            let go_on: &[u8] = if missing { CONTINUE } else { b"" };
            connection
                .write_all(go_on, shared.settings.write_timeout)
                .map_err(|_| gone())?;
        }
        Some(_) => {
            let message = "only 100-continue can be expected";
            return Err(ApiError::new(417, "expectation_failed", message));
        }
    }
    let deadline = Instant::now() + shared.settings.body_timeout;
    while connection.unread.len() < wanted {
        match connection.fill_by(wanted, deadline) {
            Ok(1..) => {}
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                shared.figures.timed_out.increment();
                let message = "the request body did not come in time";
                return Err(ApiError::new(408, "too_slow", message));
            }
            Ok(0) | Err(_) => return Err(gone()),
        }
    }
    let rest = connection.unread.split_off(wanted);
    Ok(std::mem::replace(&mut connection.unread, rest))
}

/// Nobody will read this.
fn gone() -> ApiError {
    ApiError::new(400, "bad_request", "the connection ended within the body")
}
