//! A **panic** is a defect of ours: its place goes to the log, and its thread alone ends.

use std::any::Any;
use std::panic::PanicHookInfo;

/// Lets the log tell of panics, in place of several lines on standard error.
pub(super) fn log_panics() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let message = message(info.payload());
        match info.location() {
            Some(place) => log::error!("panicked at={place} message={message:?}"),
            None => log::error!("panicked message={message:?}"),
        }
    }));
}

fn message(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let string = || payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(string).unwrap_or("(not text)")
}
