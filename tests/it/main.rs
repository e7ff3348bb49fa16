//! Tests from outside: real files, real inotify, real sockets; a module per behaviour.

#![expect(
    unreachable_pub,
    reason = "helpers are shared between modules of this binary"
)]

mod config;
mod disorder;
mod documentation;
mod events;
mod exhaustion;
mod figures;
mod helper;
mod http_server;
mod library;
mod log_lines;
mod logging;
mod polling;
mod serving;
mod streams;
mod systemd;
mod watching;
