//! Tests from outside: real files, real inotify, real sockets; a module per behaviour.

mod config;
mod daemon;
mod http_server;
mod jobs;
mod logging;
mod processing;
mod processors;
mod serving;
mod streams;
mod systemd;
