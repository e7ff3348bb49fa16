//! The **resources** of the HTTP interface, one a file: request in, typed call, answer out.

pub mod events;
pub mod files;
pub mod history;
pub mod jobs;
pub mod library;
pub mod service;

use super::request::{ApiError, Request};
use serde::de::DeserializeOwned;

/// Returns a query parameter; an empty one counts as absent.
fn parameter<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.parameter(name).filter(|value| !value.is_empty())
}

/// Returns a query parameter that is a number between two bounds.
fn number(request: &Request, name: &str, least: u64, most: u64) -> Result<Option<u64>, ApiError> {
    let Some(text) = parameter(request, name) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
        _ => {
            let message = format!("{name}={text:?}: a number from {least} to {most} is wanted");
            Err(ApiError::new(400, "bad_parameter", message))
        }
    }
}

/// Reads a JSON body.
fn json_body<T: DeserializeOwned>(request: &Request) -> Result<T, ApiError> {
    serde_json::from_slice(&request.body).map_err(|error| {
        ApiError::new(
            400,
            "bad_body",
            format!("the body is not as wanted: {error}"),
        )
    })
}
