//! A **selection**: which paths of one folder are entries, and which directories are entered.

use super::{Glob, GlobError};

/// What is an entry of one folder: the built-in list, and the folder's own globs.
///
/// All paths are relative to the folder, without a `/` at either end. A directory that is ignored
/// hides all that is below it, so it is neither watched nor crawled.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    include: Vec<Glob>,
    ignore: Vec<Glob>,
}

impl Selection {
    /// Reads a folder's globs; without `include` everything is an entry that is not ignored.
    ///
    /// # Errors
    /// The first glob that does not parse. The configuration has been checked for that.
    pub fn new<S: AsRef<str>>(include: &[S], ignore: &[S]) -> Result<Selection, GlobError> {
        let parse = |globs: &[S]| -> Result<Vec<Glob>, GlobError> {
            let texts = globs.iter().map(AsRef::as_ref);
            texts.map(Glob::parse).collect()
        };
        Ok(Selection {
            include: parse(include)?,
            ignore: parse(ignore)?,
        })
    }

    /// Tells whether a file at this path is an entry.
    #[must_use]
    pub fn is_entry(&self, relative_path: &[u8]) -> bool {
        let name = match relative_path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) if !self.enters(&relative_path[..slash]) => return false,
            Some(slash) => &relative_path[slash + 1..],
            None => relative_path,
        };
        !name.is_empty()
            && !is_ignored_name(name, false)
            && !self.ignore.iter().any(|glob| glob.matches(relative_path))
            && (self.include.is_empty()
                || self.include.iter().any(|glob| glob.matches(relative_path)))
    }

    /// Tells whether entries can lie in the directory at this path; the folder itself is empty.
    ///
    /// `include` does not narrow this: where a glob can match below a directory is costly to say,
    /// and a directory without entries costs little.
    #[must_use]
    pub fn enters(&self, relative_dir: &[u8]) -> bool {
        if relative_dir.is_empty() {
            return true;
        }
        let slashes = relative_dir
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/');
        let ends = slashes.map(|(at, _)| at).chain([relative_dir.len()]);
        let mut start = 0;
        for end in ends {
            let ignored = is_ignored_name(&relative_dir[start..end], true)
                || self.ignore.iter().any(|glob| {
                    let path = &relative_dir[..end];
                    glob.matches(path) || glob.matches_all_below(path)
                });
            if ignored {
                return false;
            }
            start = end + 1;
        }
        true
    }
}

/// Names that no library means, whatever they are: bins, thumbnails, what a check of the disk
/// found. All others in contract section 6 start with a dot.
const CLUTTER: [&str; 8] = [
    "@eaDir",
    "#recycle",
    "@Recycle",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
    "Thumbs.db",
    "desktop.ini",
];

/// Ends of names that a file has only until it is complete.
const PARTIAL: [&str; 4] = [".part", ".crdownload", ".!qB", ".tmp"];

/// Tells whether the built-in list ignores a file or directory of this name.
///
/// The names are compared without regard to ASCII case, since many come from systems that do the
/// same (`THUMBS.DB`, `Desktop.ini`). A directory is not a partial file: `scans.tmp` is entered.
#[must_use]
pub fn is_ignored_name(name: &[u8], is_directory: bool) -> bool {
    let ends_with = |end: &&str| {
        let start = name.len().saturating_sub(end.len());
        name[start..].eq_ignore_ascii_case(end.as_bytes())
    };
    name.starts_with(b".")
        || CLUTTER
            .iter()
            .any(|clutter| name.eq_ignore_ascii_case(clutter.as_bytes()))
        || (!is_directory && (name.starts_with(b"~$") || PARTIAL.iter().any(ends_with)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_list_knows_files_from_directories() {
        for name in [
            ".hidden",
            "._resource",
            ".song.mp3.Xa93Qz",
            ".Trash-1000",
            "@eaDir",
            "#recycle",
            "@Recycle",
            "$RECYCLE.BIN",
            "$Recycle.Bin",
            "System Volume Information",
            "lost+found",
            "Thumbs.db",
            "Desktop.ini",
        ] {
            assert!(is_ignored_name(name.as_bytes(), false), "{name}");
            assert!(is_ignored_name(name.as_bytes(), true), "{name}");
        }
        for name in [
            "film.mkv.part",
            "a.crdownload",
            "a.!qB",
            "A.TMP",
            "~$letter.docx",
        ] {
            assert!(is_ignored_name(name.as_bytes(), false), "{name}");
            assert!(!is_ignored_name(name.as_bytes(), true), "{name}");
        }
        for name in ["a", "part", "tmp", "a.partly", "~letter", "lost", "ä\u{0}"] {
            assert!(!is_ignored_name(name.as_bytes(), false), "{name}");
        }
        assert!(!is_ignored_name(b"\xff\xfe", false));
    }

    #[test]
    fn what_lies_below_an_ignored_directory_is_no_entry() {
        let selection = Selection::new(&[], &["drafts/**", "/old", "*.bak", "tmp/"]).unwrap();
        for entered in ["", "comics", "comics/drafts", "a/old", "b"] {
            assert!(selection.enters(entered.as_bytes()), "{entered}");
        }
        for hidden in [
            "drafts",
            "drafts/a",
            "old",
            "old/b",
            "x.bak",
            "a/tmp",
            "a/@eaDir/b",
            ".git",
        ] {
            assert!(!selection.enters(hidden.as_bytes()), "{hidden}");
        }
        for entry in ["a", "comics/drafts/1.cbz", "a/old", "tmp", "drafts"] {
            assert!(selection.is_entry(entry.as_bytes()), "{entry}");
        }
        for other in [
            "drafts/1", "old", "a/b.bak", "x.bak/a", "a/tmp/b", "a/.b", "",
        ] {
            assert!(!selection.is_entry(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn include_narrows_the_entries_but_not_the_directories() {
        let selection = Selection::new(&["*.cbz", "/notes/**"], &["drafts/"]).unwrap();
        assert!(selection.is_entry(b"a/b/1.cbz"));
        assert!(selection.is_entry(b"notes/b/1.txt"));
        assert!(!selection.is_entry(b"a/1.txt"));
        assert!(!selection.is_entry(b"a/drafts/1.cbz"));
        assert!(selection.enters(b"a/b"));
    }

    #[test]
    fn a_glob_that_does_not_parse_is_an_error() {
        assert!(Selection::new(&["a["], &[]).is_err());
        assert!(Selection::new(&[], &["{"]).is_err());
    }
}
