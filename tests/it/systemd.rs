//! The service manager's side of the talk, played by the test.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Command, Stdio};
use std::time::Duration;

use shelfcast::systemd::{Notifier, listen_fds, watchdog_interval};

const DEADLINE: Duration = Duration::from_secs(20);

fn env<'a>(variables: &'a [(&'a str, String)]) -> impl Fn(&str) -> Option<OsString> + 'a {
    move |name| {
        let found = variables.iter().find(|(key, _)| *key == name)?;
        Some(found.1.clone().into())
    }
}

fn next(manager: &UnixDatagram) -> String {
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut buffer = [0; 512];
    let length = manager.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[test]
fn the_manager_is_told_how_we_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap().to_owned())];
    let notifier = Notifier::new(&env(&variables));
    notifier.ready("3 folders");
    assert_eq!(next(&manager), "READY=1\nSTATUS=3 folders");
    notifier.status("a\nb");
    assert_eq!(next(&manager), "STATUS=a b");
    notifier.watchdog();
    assert_eq!(next(&manager), "WATCHDOG=1");
    notifier.reloading();
    let reloading = next(&manager);
    let micros = reloading
        .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
        .unwrap();
    assert!(micros.parse::<u64>().unwrap() > 0);
    notifier.stopping();
    assert_eq!(next(&manager), "STOPPING=1");
}

#[test]
fn an_abstract_socket_is_reached() {
    let name = format!("shelfcast-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    let variables = [("NOTIFY_SOCKET", format!("@{name}"))];
    Notifier::new(&env(&variables)).stopping();
    assert_eq!(next(&manager), "STOPPING=1");
}

#[test]
fn without_a_manager_nothing_happens() {
    for socket in ["", "relative", "/no/such/socket", "vsock:2:1234"] {
        let variables = [("NOTIFY_SOCKET", socket.to_owned())];
        Notifier::new(&env(&variables)).ready("all well");
    }
    Notifier::new(&env(&[])).ready("all well");
    assert!(listen_fds(&env(&[])).unwrap().is_empty());
}

#[test]
fn the_watchdog_is_fed_twice_as_often_as_asked() {
    let own = std::process::id().to_string();
    for (pid, micros, interval) in [
        (Some(own.clone()), "60000000", Some(Duration::from_secs(30))),
        (None, "60000000", Some(Duration::from_secs(30))),
        (Some("1".to_owned()), "60000000", None),
        (Some("x".to_owned()), "60000000", None),
        (None, "0", None),
        (None, "-1", None),
        (None, "soon", None),
    ] {
        let mut variables = vec![("WATCHDOG_USEC", micros.to_owned())];
        variables.extend(pid.clone().map(|pid| ("WATCHDOG_PID", pid)));
        assert_eq!(
            watchdog_interval(&env(&variables)),
            interval,
            "{pid:?} {micros}"
        );
    }
    assert_eq!(watchdog_interval(&env(&[])), None);
}

#[test]
fn sockets_of_another_process_are_left_alone() {
    for (pid, count) in [("1", "1"), ("", "1"), ("x", "1")] {
        let variables = [
            ("LISTEN_PID", pid.to_owned()),
            ("LISTEN_FDS", count.to_owned()),
        ];
        assert!(listen_fds(&env(&variables)).unwrap().is_empty());
    }
}

/// Starts this test again as the service: its socket becomes descriptor 3, as systemd would have
/// it, and the shell knows the process id that `exec` keeps.
#[test]
fn a_passed_socket_is_served() {
    const ROLE: &str = "SHELFCAST_TEST_SERVICE";
    let own = |name: &str| std::env::var_os(name);
    if own(ROLE).is_some() {
        let listeners = listen_fds(&own).unwrap();
        assert_eq!(listeners.len(), 1);
        assert!(listen_fds(&own).unwrap().is_empty(), "they are taken once");
        let (mut client, _) = listeners[0].accept().unwrap();
        client.write_all(b"served").unwrap();
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut service = Command::new("/bin/sh")
        .args(["-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" --exact systemd::a_passed_socket_is_served 3<&0"])
        .arg(std::env::current_exe().unwrap())
        .env(ROLE, "1")
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut answer = String::new();
    let read = client.read_to_string(&mut answer);
    if read.is_err() {
        service.kill().unwrap();
    }
    assert!(service.wait().unwrap().success());
    assert_eq!(answer, "served");
}

#[test]
fn what_is_no_socket_is_refused() {
    const ROLE: &str = "SHELFCAST_TEST_NO_SOCKET";
    let own = |name: &str| std::env::var_os(name);
    if own(ROLE).is_some() {
        let message = listen_fds(&own).unwrap_err().to_string();
        assert!(
            message.contains("descriptor 3 from systemd is no listening TCP socket"),
            "{message}"
        );
        return;
    }
    let status = Command::new("/bin/sh")
        .args(["-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" --exact systemd::what_is_no_socket_is_refused 3</dev/null"])
        .arg(std::env::current_exe().unwrap())
        .env(ROLE, "1")
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}
