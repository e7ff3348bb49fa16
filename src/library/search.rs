//! Finding a substring in a million paths, without an index that is larger than the names.
//!
//! Beside its row, each entry has a record in a **block** of [`BLOCK`] entries: folded name,
//! directory and status, nothing else. A search reads all blocks one after another, at the speed of
//! memory; names of directories are matched in the [`Tree`], once each. It takes needles of any
//! length (a trigram index needs three characters), gives exact counts, and costs 30 bytes an entry.
//! Measured on 1,000,000 entries: see docs/INDEX.md.

use memchr::memmem::Finder;

use super::tree::{DirId, Tree};

/// Entries a block holds: ids with the same upper bits.
pub(crate) const BLOCK: i64 = 128;
/// The same number, as the length of an array.
const RECORDS: usize = 128;

/// Bit of [`Record::flags`] that says that the entry is a duplicate; the bits below are its status.
pub(crate) const DUPLICATE: u8 = 0x80;

/// Bytes of the fixed part of a record: slot, flags, directory, end of the name.
const HEAD: usize = 8;

/// What a search knows of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) id: i64,
    pub(crate) dir: DirId,
    pub(crate) flags: u8,
}

/// Folds case as a search does.
pub(crate) fn fold(name: &[u8]) -> Vec<u8> {
    if name.is_ascii() {
        name.to_ascii_lowercase()
    } else {
        String::from_utf8_lossy(name).to_lowercase().into_bytes()
    }
}

/// A block that can be changed.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// By slot: the lower bits of the id.
    records: std::collections::BTreeMap<u8, (u8, DirId, Box<[u8]>)>,
}

impl Block {
    /// Reads the stored form; what does not parse is left out, and put right when it is next written.
    pub(crate) fn decode(bytes: &[u8]) -> Block {
        let mut block = Block::default();
        if let Some(parts) = Parts::of(bytes) {
            for index in 0..parts.count {
                let (slot, flags, dir) = parts.head(index);
                block
                    .records
                    .insert(slot, (flags, dir, parts.name(index).into()));
            }
        }
        block
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(2 + self.records.len() * (HEAD + 24));
        // A block has at most 128 records, and a folded name at most 255 * 3 bytes.
        bytes.extend_from_slice(&u16::try_from(self.records.len()).unwrap_or(0).to_le_bytes());
        let mut end = 0_usize;
        for (slot, (flags, dir, name)) in &self.records {
            end += name.len() + 1;
            bytes.push(*slot);
            bytes.push(*flags);
            bytes.extend_from_slice(&dir.0.to_le_bytes());
            // Two bytes would do for 128 short names only, so the unit is bytes past the last end.
            bytes.extend_from_slice(&u16::try_from(name.len() + 1).unwrap_or(0).to_le_bytes());
        }
        bytes.reserve(end);
        for (_, _, name) in self.records.values() {
            bytes.extend_from_slice(name);
            bytes.push(0); // no name holds a NUL, so no match spans two names
        }
        bytes
    }

    pub(crate) fn put(&mut self, id: i64, dir: DirId, name: &[u8], flags: u8) {
        self.records
            .insert(slot(id), (flags, dir, fold(name).into()));
    }

    pub(crate) fn set_flags(&mut self, id: i64, flags: u8) {
        if let Some(record) = self.records.get_mut(&slot(id)) {
            record.0 = flags;
        }
    }

    pub(crate) fn remove(&mut self, id: i64) {
        self.records.remove(&slot(id));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

fn slot(id: i64) -> u8 {
    u8::try_from(id.rem_euclid(BLOCK)).unwrap_or(0)
}

/// The stored form, in place.
struct Parts<'a> {
    count: usize,
    heads: &'a [u8],
    names: &'a [u8],
    ends: [u32; RECORDS],
}

impl<'a> Parts<'a> {
    fn of(bytes: &'a [u8]) -> Option<Parts<'a>> {
        let (count, rest) = bytes.split_first_chunk::<2>()?;
        let count = usize::from(u16::from_le_bytes(*count));
        let (heads, names) = rest.split_at_checked(count * HEAD)?;
        let mut ends = [0; RECORDS];
        let mut end = 0;
        for (index, head) in heads.chunks_exact(HEAD).enumerate() {
            end += u32::from(u16::from_le_bytes([head[6], head[7]]));
            *ends.get_mut(index)? = end;
        }
        (names.len() == end as usize).then_some(Parts {
            count,
            heads,
            names,
            ends,
        })
    }

    fn head(&self, index: usize) -> (u8, u8, DirId) {
        let head = &self.heads[index * HEAD..][..HEAD];
        let dir = u32::from_le_bytes([head[2], head[3], head[4], head[5]]);
        (head[0], head[1], DirId(dir))
    }

    fn start(&self, index: usize) -> usize {
        index
            .checked_sub(1)
            .map_or(0, |before| self.ends[before] as usize)
    }

    fn name(&self, index: usize) -> &'a [u8] {
        &self.names[self.start(index)..self.ends[index] as usize - 1]
    }
}

/// What a directory says about the entries in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InDirectory {
    /// Outside of what is searched.
    No,
    /// The name decides.
    Name,
    /// Its own path matches, so all of them do.
    All,
    /// Its path ends as the needle begins, up to the needle's last slash: the name must go on so.
    Rest,
}

/// A search, prepared for one state of the tree.
pub(crate) struct Search {
    finder: Finder<'static>,
    /// The part of the needle after its last slash; equal to the needle without one.
    rest: Vec<u8>,
    has_slash: bool,
    /// By the number of the directory; a directory made later is not there and decides by name.
    directories: Vec<InDirectory>,
    folder_only: bool,
}

impl std::fmt::Debug for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Search")
            .field("rest", &self.rest)
            .finish_non_exhaustive()
    }
}

impl Search {
    /// Prepares a search for `needle` (empty: everything) in the paths below `roots`; paths start
    /// with the folder's name. Where `folder_only`, directories that are not below them are left out.
    pub(crate) fn new(tree: &Tree, roots: &[DirId], needle: &str, folder_only: bool) -> Search {
        let needle = fold(needle.as_bytes());
        let slash = needle
            .iter()
            .rposition(|byte| *byte == b'/')
            .map_or(0, |at| at + 1);
        let finder = Finder::new(&needle).into_owned();
        let (head, rest) = needle.split_at(slash);
        let highest = tree.iter().map(|(dir, _)| dir.0).max().unwrap_or(0);
        let mut directories = vec![
            if folder_only {
                InDirectory::No
            } else {
                InDirectory::Name
            };
            highest as usize + 1
        ];
        if needle.contains(&0) {
            // No name holds a NUL, but it ends each name of a block.
            directories.fill(InDirectory::No);
        }
        // A path of its own for each level, so that a deep tree costs no copies.
        let mut stack: Vec<(DirId, Vec<u8>)> = Vec::new();
        for root in roots.iter().filter(|_| !needle.contains(&0)) {
            let parent = tree.get(*root).and_then(|dir| dir.parent);
            let above = parent.map_or_else(Vec::new, |parent| fold(&tree.full_path(parent)));
            stack.push((*root, above));
        }
        while let Some((id, above)) = stack.pop() {
            let Some(dir) = tree.get(id) else { continue };
            let mut path = above;
            path.extend_from_slice(&fold(&dir.name));
            path.push(b'/');
            let answer = if finder.find(&path).is_some() {
                InDirectory::All
            } else if slash > 0 && path.ends_with(head) {
                InDirectory::Rest
            } else {
                InDirectory::Name
            };
            directories[id.0 as usize] = answer;
            stack.extend(tree.children(id).iter().map(|child| (*child, path.clone())));
        }
        Search {
            finder,
            rest: rest.to_vec(),
            has_slash: slash > 0,
            directories,
            folder_only,
        }
    }

    /// Tells whether an entry called `name` in `dir` is found.
    pub(crate) fn finds(&self, dir: DirId, name: &[u8]) -> bool {
        self.finds_folded(self.in_directory(dir), || fold(name))
    }

    /// Hands every entry of the stored block `number` that is found to `take`.
    pub(crate) fn scan(&self, number: i64, bytes: &[u8], mut take: impl FnMut(Record)) {
        let Some(parts) = Parts::of(bytes) else {
            return;
        };
        let mut hit = self.next_hit(&parts, 0);
        for index in 0..parts.count {
            let (slot, flags, dir) = parts.head(index);
            let end = parts.ends[index] as usize;
            let in_directory = self.in_directory(dir);
            let found = match in_directory {
                // One pass of the finder over all names of the block, not one a name.
                InDirectory::Name => hit.is_some_and(|at| at < end),
                other => self.finds_folded(other, || parts.name(index).to_vec()),
            };
            if hit.is_some_and(|at| at < end) {
                hit = self.next_hit(&parts, end);
            }
            if found {
                let id = number * BLOCK + i64::from(slot);
                take(Record { id, dir, flags });
            }
        }
    }

    fn next_hit(&self, parts: &Parts<'_>, from: usize) -> Option<usize> {
        if self.has_slash {
            return None; // a name holds no slash
        }
        self.finder.find(&parts.names[from..]).map(|at| from + at)
    }

    fn in_directory(&self, dir: DirId) -> InDirectory {
        let unknown = if self.folder_only {
            InDirectory::No
        } else {
            InDirectory::Name
        };
        self.directories
            .get(dir.0 as usize)
            .copied()
            .unwrap_or(unknown)
    }

    fn finds_folded(&self, directory: InDirectory, name: impl FnOnce() -> Vec<u8>) -> bool {
        match directory {
            InDirectory::No => false,
            InDirectory::All => true,
            InDirectory::Name => !self.has_slash && self.finder.find(&name()).is_some(),
            InDirectory::Rest => name().starts_with(&self.rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::tree::Identity;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.insert(DirId(1), None, b"Comics", 0, Identity::default());
        tree.insert(DirId(2), Some(DirId(1)), b"Asterix", 0, Identity::default());
        tree.insert(DirId(3), None, b"music", 1, Identity::default());
        tree
    }

    fn found(needle: &str, folder: Option<DirId>) -> Vec<i64> {
        let tree = tree();
        let mut block = Block::default();
        for (id, dir, name) in [
            (256, 1, "Index.txt"),
            (257, 2, "01 GALLIER.cbz"),
            (258, 3, "ÄRZTE.mp3"),
        ] {
            block.put(id, DirId(dir), name.as_bytes(), 0);
        }
        let bytes = Block::decode(&block.encode()).encode();
        let roots = folder.map_or(vec![DirId(1), DirId(3)], |folder| vec![folder]);
        let search = Search::new(&tree, &roots, needle, folder.is_some());
        let mut ids = Vec::new();
        search.scan(2, &bytes, |record| ids.push(record.id));
        let by_one: Vec<i64> = [
            (256, 1, "Index.txt"),
            (257, 2, "01 GALLIER.cbz"),
            (258, 3, "ÄRZTE.mp3"),
        ]
        .into_iter()
        .filter(|(_, dir, name)| search.finds(DirId(*dir), name.as_bytes()))
        .map(|(id, ..)| id)
        .collect();
        assert_eq!(ids, by_one, "both ways agree on {needle:?}");
        ids
    }

    #[test]
    fn a_needle_is_found_in_names_directories_and_across_slashes() {
        assert_eq!(found("gallier", None), [257]);
        assert_eq!(found("i", None), [256, 257, 258]); // Index, Comics, music
        assert_eq!(found("comics", None), [256, 257]);
        assert_eq!(found("asterix/01", None), [257]);
        assert_eq!(found("cs/ast", None), [257]);
        assert_eq!(found("cs/ind", None), [256]);
        assert_eq!(found("/", None), [256, 257, 258]);
        assert_eq!(found("ärz", None), [258]);
        assert_eq!(found("x/y", None), [] as [i64; 0]);
        assert_eq!(found("", None), [256, 257, 258]);
        assert_eq!(found("cbz\u{0}", None), [] as [i64; 0]);
    }

    #[test]
    fn a_folder_bounds_the_search() {
        assert_eq!(found("i", Some(DirId(3))), [258]);
        assert_eq!(found("", Some(DirId(1))), [256, 257]);
    }
}
