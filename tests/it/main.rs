//! Tests from outside: real files, real inotify, real sockets; a module per behaviour.

mod config;
mod http_server;
mod logging;
mod serving;
mod streams;
mod systemd;
