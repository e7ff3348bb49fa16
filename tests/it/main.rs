//! Tests from outside: real files, real inotify, real sockets; a module per behaviour.

mod access;
mod api;
mod config;
mod daemon;
mod documentation;
mod events;
mod exhaustion;
mod figures;
mod http_server;
mod log_lines;
mod logging;
mod operation;
mod polling;
mod serving;
mod streams;
mod systemd;
