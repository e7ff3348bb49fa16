//! Threads with a name, a stated stack and an owner.
//!
//! The promise: whoever drops a [`Handle`] has joined its thread, unless it was [detached](Handle::detach). A thread is told to end by
//! closing its channel, so a struct lists its sender *before* its handle (fields drop in order).

use std::thread::{Builder, JoinHandle};

/// A running thread; dropping it waits for the thread to end.
#[derive(Debug)]
pub struct Handle {
    thread: Option<JoinHandle<()>>,
}

/// Starts `run` on a thread called `name` (Linux keeps 15 bytes of it) with `stack_bytes` of stack.
///
/// A panic in `run` ends that thread alone; the panic hook logs it with its place.
///
/// # Errors
/// The kernel refuses (EAGAIN: the limit of threads or of memory is reached).
pub fn spawn(
    name: &str,
    stack_bytes: usize,
    run: impl FnOnce() + Send + 'static,
) -> std::io::Result<Handle> {
    debug_assert!(name.len() <= 15, "the kernel would cut {name:?}");
    let thread = Builder::new()
        .name(name.to_owned())
        .stack_size(stack_bytes)
        .spawn(run)?;
    Ok(Handle {
        thread: Some(thread),
    })
}

impl Handle {
    /// Tells whether the thread has ended; then joining it does not wait.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Lets go of the thread without joining it: for one that hangs in the kernel, where nothing ends it.
    pub fn detach(mut self) {
        drop(self.thread.take());
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            if thread.thread().id() == std::thread::current().id() {
                return; // a thread that drops its own handle cannot wait for itself
            }
            // A panic was already logged by the hook; it must not spread to whoever stops us.
            drop(thread.join());
        }
    }
}
