//! The kernel's notices in any order, with any names: all that was noticed is handed on, once the
//! time has come, and barriers come last.
//!
//! Each notice is 3 bytes (what it is about and whose; a cookie and the time that passed; the
//! length of the name) and its name.

#![no_main]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use shelfcast::watch::settle::{Located, Settle, What};
use shelfcast::watch::{Change, Place};

const WHAT: [What; 10] = [
    What::Created,
    What::Deleted,
    What::Modified,
    What::Closed,
    What::Attributes,
    What::MovedFrom,
    What::MovedTo,
    What::Itself,
    What::Ended,
    What::Overflow,
];

fuzz_target!(|bytes: &[u8]| {
    let mut settle = Settle::default();
    let mut now = Instant::now();
    let (mut noticed, mut told) = (BTreeSet::new(), BTreeSet::new());
    let mut lost = false;
    let mut rest = bytes;
    let mut hear = |changes: Vec<Change>| {
        for change in changes {
            match change {
                Change::Name { place, name, .. } => {
                    told.insert((place, name.to_vec()));
                }
                Change::Moved { from, to } => {
                    told.insert((from.0, from.1.to_vec()));
                    told.insert((to.0, to.1.to_vec()));
                }
                Change::Directory(_) | Change::Lost => lost = true,
                Change::Itself(_) | Change::Mounts | Change::Barrier(_) => {}
            }
        }
    };
    while let [what, when, length, more @ ..] = rest {
        let (name, after) = more.split_at(usize::from(*length % 16).min(more.len()));
        rest = after;
        let place = Place(u32::from(what >> 6));
        let what = WHAT[usize::from(what & 0x1f) % WHAT.len()];
        let cookie = u32::from(when & 3);
        now += Duration::from_millis(u64::from(when >> 2));
        if !name.is_empty() && !matches!(what, What::Itself | What::Ended | What::Overflow) {
            noticed.insert((place, name.to_vec()));
        }
        let directory = length & 0x10 != 0;
        settle.notice(
            Located {
                place,
                what,
                directory,
                cookie,
                name,
            },
            now,
        );
        if length & 0x20 != 0 {
            hear(settle.take(now, 4));
        }
        if length & 0xc0 == 0xc0 {
            settle.mounts_changed();
        }
    }
    // Everything is due in the end, and then nothing is left.
    now += Duration::from_secs(2);
    while settle.is_due(now) {
        hear(settle.take(now, 64));
    }
    assert_eq!(settle.next_due(), None);
    assert!(lost || noticed.is_subset(&told), "{noticed:?} {told:?}");
});
