//! Tests from outside: real files, real inotify, real sockets; a module per behaviour.

#![expect(
    unreachable_pub,
    reason = "helpers are shared between modules of this binary"
)]

mod config;
mod disorder;
mod helper;
mod http_server;
mod library;
mod logging;
mod offline;
mod restart;
mod scale;
mod serving;
mod streams;
mod systemd;
mod watching;
