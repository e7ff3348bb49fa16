//! Tests from outside: real files, real inotify, real sockets; a module per behaviour.

#![expect(
    unreachable_pub,
    reason = "helpers are shared between modules of this binary"
)]

mod access;
mod api;
mod config;
mod daemon;
mod disorder;
mod documentation;
mod events;
mod exhaustion;
mod figures;
mod footprint;
mod helper;
mod http_server;
mod jobs;
mod library;
mod log_lines;
mod logging;
mod neighbours;
mod offline;
mod once;
mod operation;
mod polling;
mod processing;
mod processors;
mod restart;
mod scale;
mod service;
mod serving;
mod soak;
mod streams;
mod systemd;
mod watching;
