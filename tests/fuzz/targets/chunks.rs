//! A body in chunks: what it means does not depend on how it arrives.
//!
//! The first two bytes say how large the pieces are in which the rest arrives.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shelfcast::http::body::Chunks;

/// The body and what follows it, nothing yet, or the status that refuses it.
fn read(bytes: &[u8], piece: usize) -> Result<Option<(Vec<u8>, Vec<u8>)>, u16> {
    let (mut chunks, mut unread) = (Chunks::default(), Vec::new());
    let mut pieces = bytes.chunks(piece.max(1));
    while let Some(piece) = pieces.next() {
        unread.extend_from_slice(piece);
        if chunks.take(&mut unread).map_err(|error| error.status)? {
            unread.extend(pieces.flatten());
            return Ok(Some((chunks.into_body(), unread)));
        }
    }
    Ok(None)
}

fuzz_target!(|bytes: &[u8]| {
    let [low, high, text @ ..] = bytes else {
        return;
    };
    let whole = read(text, text.len());
    assert_eq!(
        whole,
        read(text, usize::from(u16::from_le_bytes([*low, *high])))
    );
    assert_eq!(whole, read(text, 1));
});
