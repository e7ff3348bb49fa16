//! **HTTP**: tiny_http, a thread per connection, routing, limits, access rules, stream writing.

pub mod access;
pub mod request;
