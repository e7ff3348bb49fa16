//! A glob of the configuration, and a path from the disk: the first line and the rest.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shelfcast::glob::{Glob, Selection, is_ignored_name};

fuzz_target!(|bytes: &[u8]| {
    let cut = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(bytes.len());
    let (pattern, path) = (&bytes[..cut], bytes.get(cut + 1..).unwrap_or_default());
    // Only such paths are asked for: relative, of names that are not empty.
    if path.split(|byte| *byte == b'/').any(<[u8]>::is_empty) {
        return;
    }
    let _ = (is_ignored_name(path, false), is_ignored_name(path, true));
    let Ok(pattern) = std::str::from_utf8(pattern) else {
        return;
    };
    let Ok(glob) = Glob::parse(pattern) else {
        return;
    };
    assert_eq!(glob.as_str(), pattern);
    let matches = glob.matches(path);
    if glob.matches_all_below(path) {
        assert!(
            glob.matches(&[path, b"/x"].concat()),
            "{pattern:?} {path:?}"
        );
    }
    // What is ignored is no entry, whatever else is said of it.
    let selection = Selection::new(&[] as &[&str], &[pattern]).expect("it was read before");
    assert!(
        !(matches && selection.is_entry(path)),
        "{pattern:?} {path:?}"
    );
    let _ = selection.enters(path);
});
