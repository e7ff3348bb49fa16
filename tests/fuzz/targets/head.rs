//! A request head, as the door has it: any bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shelfcast::http::head;

fuzz_target!(|bytes: &[u8]| {
    let Some(end) = head::end(bytes, 0) else {
        return;
    };
    // Found at the same place however the bytes came in.
    for searched in [1, end / 2, end - 1] {
        assert_eq!(head::end(bytes, searched), Some(end));
    }
    let Ok(head) = head::parse(&bytes[..end]) else {
        return;
    };
    assert!(head.path.starts_with('/') || head.path == "*", "{head:?}");
    for (name, value) in &head.headers {
        assert_eq!(*name, name.to_ascii_lowercase());
        assert!(!value.contains(['\r', '\n', '\0']), "{head:?}");
    }
    let hosts = head.headers.iter().filter(|(name, _)| name == "host");
    assert!(hosts.count() <= 1, "{head:?}");
    let _ = head.keeps_alive();
});
