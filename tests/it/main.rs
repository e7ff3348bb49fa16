//! Tests from outside: real files, real inotify, real sockets; a module per behaviour.

mod config;
mod logging;
mod systemd;
mod http_server;
mod serving;
mod streams;
