//! The **arguments** of a command: placeholders filled in with raw bytes. Pure.
//!
//! A file name is data: whatever bytes it has, it stays part of the one argument that it was put
//! into. There is no shell, so there is nothing to quote.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// What a command is told of its entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    /// Absolute path of the file.
    pub(crate) path: &'a [u8],
    /// Last component of the path.
    pub(crate) name: &'a [u8],
    /// Name of the folder.
    pub(crate) folder: &'a str,
    /// Id of the entry.
    pub(crate) id: i64,
}

impl About<'_> {
    /// Returns the environment variables that say the same.
    pub(crate) fn environment(&self) -> [(&'static str, OsString); 4] {
        let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        [
            ("SHELFCAST_PATH", text(self.path)),
            ("SHELFCAST_NAME", text(self.name)),
            ("SHELFCAST_FOLDER", text(self.folder.as_bytes())),
            ("SHELFCAST_ID", self.id.to_string().into()),
        ]
    }

    fn value(&self, placeholder: &[u8]) -> Option<Vec<u8>> {
        Some(match placeholder {
            b"path" => self.path.to_vec(),
            b"name" => self.name.to_vec(),
            b"folder" => self.folder.as_bytes().to_vec(),
            b"id" => self.id.to_string().into_bytes(),
            _ => return None,
        })
    }
}

/// Fills the placeholders of one argument; other braces are text. What is filled in is not looked
/// at again, so a file called `{id}` keeps its name.
pub(crate) fn fill(template: &str, about: &About<'_>) -> OsString {
    let mut filled = Vec::new();
    let mut rest = template.as_bytes();
    while let Some(open) = rest.iter().position(|byte| *byte == b'{') {
        filled.extend_from_slice(&rest[..open]);
        rest = &rest[open..];
        let close = rest.iter().position(|byte| *byte == b'}');
        let value = close.and_then(|close| Some((close, about.value(&rest[1..close])?)));
        if let Some((close, value)) = value {
            filled.extend_from_slice(&value);
            rest = &rest[close + 1..];
        } else {
            filled.push(b'{');
            rest = &rest[1..];
        }
    }
    filled.extend_from_slice(rest);
    OsString::from_vec(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStrExt;

    const ABOUT: About<'_> = About {
        path: b"/srv/comics/a {id}\xff\n\"; $(x) -rf",
        name: b"a {id}\xff\n\"; $(x) -rf",
        folder: "comics",
        id: 42,
    };

    #[test]
    fn placeholders_are_filled_with_the_very_bytes() {
        assert_eq!(fill("{path}", &ABOUT).as_bytes(), ABOUT.path);
        assert_eq!(
            fill("--in={name}.", &ABOUT).as_bytes(),
            [b"--in=", ABOUT.name, b"."].concat()
        );
        assert_eq!(fill("{folder}/{id}", &ABOUT), "comics/42");
    }

    #[test]
    fn other_braces_are_text() {
        for text in [
            "",
            "{}",
            "{print $1}",
            "{",
            "}",
            "{{",
            "{path",
            "path}",
            "{ path }",
        ] {
            assert_eq!(fill(text, &ABOUT), text);
        }
        assert_eq!(fill("{{id}}", &ABOUT), "{42}");
    }

    proptest! {
        #[test]
        fn a_value_is_never_filled_again(name: Vec<u8>) {
            let about = About { name: &name, ..ABOUT };
            let filled = fill("<{name}>", &about);
            prop_assert_eq!(filled.as_bytes(), [b"<".as_slice(), &name, b">"].concat());
        }
    }
}
