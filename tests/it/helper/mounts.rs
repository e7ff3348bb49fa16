//! Disks that come and go: mounts that nobody but the test and its service sees.

use std::path::Path;

use super::{is_root, run, skip};

/// Runs `test` on a thread with mounts of its own; skips it where that is not allowed. What the
/// test starts sees the same mounts.
pub fn in_private_mounts(test: impl FnOnce() + Send + 'static) {
    if !is_root() {
        return;
    }
    let thread = std::thread::Builder::new().spawn(move || {
        // SAFETY: nothing but the view of the mounts changes, for this thread alone; descriptors
        // and memory stay shared.
        #[expect(unsafe_code, reason = "unshare(2) may do worse with other flags")]
        let unshared =
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) };
        if unshared.is_err() {
            skip("no mounts of one's own are allowed here");
            return;
        }
        run("mount", &["--make-rprivate", "/"]);
        test();
    });
    if let Err(panic) = thread.expect("a thread can be made").join() {
        std::panic::resume_unwind(panic);
    }
}

/// Mounts a new file system in memory at `path`, which is made if need be.
pub fn mount_memory(path: &Path) {
    mount_memory_of(path, "64m");
}

/// As [`mount_memory`], of a size.
pub fn mount_memory_of(path: &Path, size: &str) {
    std::fs::create_dir_all(path).expect("the mount point can be made");
    let options = format!("size={size}");
    run(
        "mount",
        &["-t", "tmpfs", "-o", &options, "tmpfs", text(path)],
    );
}

/// Unmounts what is at `path`; fails while anybody has something open there.
pub fn unmount(path: &Path) {
    run("umount", &[text(path)]);
}

/// Shows the tree at `from` at `to` as well.
pub fn bind(from: &Path, to: &Path) {
    run("mount", &["--bind", text(from), text(to)]);
}

/// A path of a test is plain text.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is UTF-8")
}
