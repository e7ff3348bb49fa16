//! The **page**: what the owner sees, embedded in the program.
//!
//! The files are compressed and named after their content when the program is built (`build.rs`),
//! so that answering is a look into a table: a browser keeps an asset for ever, and asks only
//! whether the document that names the assets is still the same.
//!
//! The way of an event through `js/`: `stream` (one EventSource, polling where it does not get
//! through) runs in `host`, which lives in `worker` or in the tab that `lease` elects; `share`
//! chooses between them. In each tab `sync` fits events and snapshot together, and `main` hands
//! them to `library` (`rows` is the list as data, `grid` and `row` on the screen), `jobs`, `feed`,
//! `health` and `details`. All texts are in `strings`.

use crate::http::request::{ApiError, Request, Response};

/// One embedded file.
struct File {
    /// Path without the leading slash.
    address: &'static str,
    /// Of the content; what has another hash is another file.
    hash: &'static str,
    plain: &'static [u8],
    /// Where compressing it pays.
    gzip: Option<&'static [u8]>,
}

static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// Only this origin; nothing inline, no frames of others around the page.
const POLICY: &str =
    "default-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'";

/// Answers what belongs to the page; `None` for every other path.
#[must_use]
pub fn answer(request: &Request) -> Option<Response> {
    let path = request.path.strip_prefix('/')?;
    let file = match path {
        "index.html" => find("")?,
        // Browsers ask for it on their own, whatever the document says.
        "favicon.ico" => find_icon()?,
        _ => match find(path) {
            Some(file) => file,
            // An asset of another version: the caller must not take another answer for it.
            None if path.starts_with("assets/") => return Some(gone()),
            None => return None,
        },
    };
    if request.method != "GET" && request.method != "HEAD" {
        let refusal = refusal(
            405,
            "method_not_allowed",
            "this can be asked with GET, HEAD",
        );
        return Some(refusal.with("Allow", "GET, HEAD"));
    }
    Some(serve(file, request))
}

fn find(address: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.address == address)
}

fn find_icon() -> Option<&'static File> {
    FILES
        .iter()
        .find(|file| file.address.starts_with("assets/icon-192."))
}

fn serve(file: &'static File, request: &Request) -> Response {
    let gzip = file.gzip.filter(|_| accepts_gzip(request));
    // One tag a representation, as RFC 9110 section 8.8.3.3 has it.
    let tag = match gzip {
        Some(_) => format!("\"{}-gz\"", file.hash),
        None => format!("\"{}\"", file.hash),
    };
    let lasting = request.path.starts_with("/assets/");
    let cache = if lasting {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let known = request.has(&tag);
    let mut response = Response {
        status: if known { 304 } else { 200 },
        headers: vec![
            ("Cache-Control", cache.to_owned()),
            ("ETag", tag),
            ("Vary", "Accept-Encoding".to_owned()),
            ("Content-Security-Policy", POLICY.to_owned()),
            ("X-Content-Type-Options", "nosniff".to_owned()),
            ("Referrer-Policy", "no-referrer".to_owned()),
        ],
        body: Default::default(),
    };
    if !known {
        response = response.with("Content-Type", content_type(file.address));
        if gzip.is_some() {
            response = response.with("Content-Encoding", "gzip");
        }
        response.body = gzip.unwrap_or(file.plain).into();
    }
    response
}

fn gone() -> Response {
    let message = "this asset is of another version: reload the page";
    refusal(404, "not_found", message).with("Cache-Control", "no-store")
}

fn refusal(status: u16, code: &'static str, message: &str) -> Response {
    let mut response = Response::from(ApiError::new(status, code, message));
    response
        .headers
        .retain(|(name, _)| *name != "Cache-Control");
    response
        .with("Content-Security-Policy", POLICY)
        .with("X-Content-Type-Options", "nosniff")
}

fn content_type(address: &str) -> &'static str {
    match address.rsplit_once('.').map(|(_, extension)| extension) {
        None => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("webmanifest") => "application/manifest+json",
        Some(_) => "application/octet-stream",
    }
}

/// Whether `Accept-Encoding` names gzip and does not refuse it with `q=0`.
fn accepts_gzip(request: &Request) -> bool {
    let accepted = request.header("accept-encoding").unwrap_or_default();
    accepted.split(',').any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let named = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
        let refused = parts.any(|part| {
            part.strip_prefix("q=")
                .and_then(|quality| quality.parse::<f32>().ok())
                .is_some_and(|quality| quality <= 0.0)
        });
        named && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str, headers: &[(&str, &str)]) -> Option<Response> {
        answer(&Request {
            method: "GET".to_owned(),
            path: path.to_owned(),
            query: Vec::new(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            body: Vec::new(),
            peer: std::net::Ipv4Addr::LOCALHOST.into(),
        })
    }

    fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
        let found = response.headers.iter().find(|(key, _)| *key == name)?;
        Some(&found.1)
    }

    /// Addresses of the assets that a document names.
    fn assets(text: &str) -> Vec<String> {
        text.split('"')
            .filter(|part| part.starts_with("assets/"))
            .map(|part| format!("/{part}"))
            .collect()
    }

    #[test]
    fn the_document_and_the_manifest_name_assets_that_are_there() {
        for path in ["/", "/manifest.webmanifest"] {
            let document = get(path, &[]).unwrap();
            let text = String::from_utf8(document.body.into_owned()).unwrap();
            let named = assets(&text);
            assert!(!named.is_empty(), "{path} names no assets");
            for asset in named {
                assert_eq!(get(&asset, &[]).unwrap().status, 200, "{asset}");
            }
        }
    }

    #[test]
    fn nothing_is_inline_and_every_address_is_relative() {
        let document = get("/", &[]).unwrap();
        let text = String::from_utf8(document.body.into_owned()).unwrap();
        for forbidden in [
            "<style",
            " style=",
            " onclick=",
            "=\"/",
            "<script>",
            "http://",
            "https://",
        ] {
            assert!(!text.contains(forbidden), "{forbidden} in the document");
        }
    }

    #[test]
    fn the_document_is_asked_for_again_and_answered_with_304() {
        let first = get("/", &[("accept-encoding", "gzip, br")]).unwrap();
        assert_eq!(header(&first, "Cache-Control"), Some("no-cache"));
        assert_eq!(header(&first, "Content-Encoding"), Some("gzip"));
        let tag = header(&first, "ETag").unwrap();
        let weak = format!("W/{tag}, \"other\"");
        let again = [
            ("accept-encoding", "gzip"),
            ("if-none-match", weak.as_str()),
        ];
        let second = get("/", &again).unwrap();
        assert_eq!((second.status, second.body.len()), (304, 0));
        assert_eq!(header(&second, "ETag"), header(&first, "ETag"));
        let other = get("/", &[("if-none-match", tag)]).unwrap();
        assert_eq!(other.status, 200, "the plain form has a tag of its own");
    }

    #[test]
    fn assets_are_kept_for_ever_and_typed() {
        let document = get("/", &[]).unwrap();
        let text = String::from_utf8(document.body.into_owned()).unwrap();
        for asset in assets(&text) {
            let response = get(&asset, &[]).unwrap();
            let cache = header(&response, "Cache-Control").unwrap();
            assert!(cache.contains("immutable"), "{asset}: {cache}");
            let kind = header(&response, "Content-Type").unwrap();
            assert_ne!(kind, "application/octet-stream", "{asset}");
        }
    }

    #[test]
    fn gzip_is_sent_only_to_who_takes_it() {
        for (accepted, gzip) in [
            ("gzip", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("", false),
        ] {
            let response = get("/", &[("accept-encoding", accepted)]).unwrap();
            let sent = header(&response, "Content-Encoding").is_some();
            assert_eq!(sent, gzip, "Accept-Encoding: {accepted}");
            assert_eq!(header(&response, "Vary"), Some("Accept-Encoding"));
        }
    }

    #[test]
    fn every_answer_forbids_inline_code_and_sniffing() {
        for path in [
            "/",
            "/index.html",
            "/favicon.ico",
            "/assets/main.000000000000.js",
        ] {
            let response = get(path, &[]).unwrap();
            let policy = header(&response, "Content-Security-Policy").unwrap();
            assert!(policy.starts_with("default-src 'self'"), "{path}: {policy}");
            assert!(!policy.contains("unsafe"), "{path}: {policy}");
            assert_eq!(header(&response, "X-Content-Type-Options"), Some("nosniff"));
        }
    }

    #[test]
    fn an_asset_of_another_version_is_not_found_and_not_kept() {
        let response = get("/assets/main.000000000000.js", &[]).unwrap();
        assert_eq!(response.status, 404);
        assert_eq!(header(&response, "Cache-Control"), Some("no-store"));
    }

    #[test]
    fn other_paths_are_left_to_others() {
        for path in ["/api/files", "/health", "/../Cargo.toml", "/index.html/x"] {
            assert!(get(path, &[]).is_none(), "{path}");
        }
    }

    #[test]
    fn the_first_view_weighs_less_than_60_kib() {
        let document = get("/", &[("accept-encoding", "gzip")]).unwrap();
        let plain = get("/", &[]).unwrap();
        let text = String::from_utf8(plain.body.into_owned()).unwrap();
        let code = assets(&text)
            .into_iter()
            .filter(|asset| asset.ends_with(".js") || asset.ends_with(".css"));
        let sizes = code.map(|asset| {
            get(&asset, &[("accept-encoding", "gzip")])
                .unwrap()
                .body
                .len()
        });
        let weight = document.body.len() + sizes.sum::<usize>();
        assert!(weight < 60 * 1024, "{weight} bytes");
    }
}
