//! Who has a port: for the message of one that is in use.

use std::path::Path;

/// The state LISTEN in /proc/net/tcp (include/net/tcp_states.h).
const LISTEN: &str = "0A";

/// Returns name and number of the process that listens on a TCP port, as far as this user may see.
#[must_use]
pub(crate) fn holder(port: u16) -> Option<String> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, port))
        .collect();
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let name = process.file_name();
        let Some(number) = name
            .to_str()
            .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        else {
            continue;
        };
        if has_socket(&process.path(), &inodes) {
            let command = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {number})", command.trim()));
        }
    }
    None
}

/// Inodes of the sockets that listen on `port`: the tenth column (proc(5)).
fn listening(table: &str, port: u16) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|columns| {
            columns.get(1).is_some_and(|local| local.ends_with(&suffix))
                && columns.get(3) == Some(&LISTEN)
        })
        .filter_map(|columns| columns.get(9).map(|inode| (*inode).to_owned()))
        .collect()
}

fn has_socket(process: &Path, inodes: &[String]) -> bool {
    let Ok(descriptors) = std::fs::read_dir(process.join("fd")) else {
        return false; // another user's
    };
    descriptors.flatten().any(|descriptor| {
        let Ok(target) = std::fs::read_link(descriptor.path()) else {
            return false;
        };
        let target = target.to_string_lossy();
        let inode = target
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'));
        inode.is_some_and(|inode| inodes.iter().any(|one| one == inode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_port_is_ours() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = holder(listener.local_addr().unwrap().port()).unwrap();
        assert!(
            holder.ends_with(&format!("(process {})", std::process::id())),
            "{holder}"
        );
    }
}
