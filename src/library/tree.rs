//! The directories of the library in memory: who is below whom, and what is known of each.
//!
//! Paths are computed, never stored, so that a directory with 100,000 entries below it moves by one
//! assignment. About 200 bytes a directory.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::watch::Place;

/// Names a directory; the id of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DirId(pub u32);

impl From<DirId> for Place {
    fn from(dir: DirId) -> Place {
        Place(dir.0)
    }
}

/// What makes a file or directory the same one after a rename: inode number and birth time.
/// An inode number alone is given again soon after it is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    /// 0 where the file system's inode numbers do not last.
    pub(crate) ino: u64,
    /// Nanoseconds since 1970; 0 where the file system has none.
    pub(crate) born: i64,
}

impl Identity {
    /// Tells whether the identity says anything.
    pub(crate) fn is_known(self) -> bool {
        self.ino != 0
    }
}

/// How changes of a directory are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// Not read yet in this life of the service, or not at its place when it was to be read.
    #[default]
    Unseen,
    Watched,
    Polled,
    /// It could not be opened or read.
    Unreadable,
}

impl Coverage {
    /// Tells whether what is in the directory is still to be read.
    pub(crate) fn is_unread(self) -> bool {
        matches!(self, Coverage::Unseen | Coverage::Unreadable)
    }
}

#[derive(Debug)]
pub(crate) struct Dir {
    pub(crate) parent: Option<DirId>,
    pub(crate) name: Box<[u8]>,
    /// Index into the configured folders.
    pub(crate) folder: usize,
    pub(crate) identity: Identity,
    /// Device the directory is on, while it is known.
    pub(crate) device: Option<u64>,
    /// Change time at the last complete listing, ns; none where the next look must list.
    pub(crate) listed_at: Option<i64>,
    pub(crate) coverage: Coverage,
    /// Another file system is, or was, mounted here.
    pub(crate) mount: bool,
    /// Entries directly in it.
    pub(crate) files: u32,
    /// Sorted by [`path_order`].
    children: Vec<DirId>,
}

impl Dir {
    /// Tells whether the directory is gone, and only its rows are still to go.
    pub(crate) fn is_leaving(&self) -> bool {
        self.name.contains(&b'/')
    }

    /// Returns the name that the directory has while its rows go: none that can be on a disk, so that
    /// its own is free.
    pub(crate) fn leaving_name(&self, id: DirId) -> Vec<u8> {
        [&*self.name, format!("/(gone)/{}", id.0).as_bytes()].concat()
    }
}

/// All directories.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    dirs: HashMap<DirId, Dir>,
}

/// Orders two directory names as their paths do: by the bytes of `name/`.
fn path_order(a: &[u8], b: &[u8]) -> Ordering {
    a.iter().chain(b"/").cmp(b.iter().chain(b"/"))
}

impl Tree {
    pub(crate) fn get(&self, dir: DirId) -> Option<&Dir> {
        self.dirs.get(&dir)
    }

    pub(crate) fn get_mut(&mut self, dir: DirId) -> Option<&mut Dir> {
        self.dirs.get_mut(&dir)
    }

    pub(crate) fn len(&self) -> usize {
        self.dirs.len()
    }

    /// Returns all directories in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (DirId, &Dir)> {
        self.dirs.iter().map(|(id, dir)| (*id, dir))
    }

    /// Returns the directories directly below `dir`, in the order of their paths.
    pub(crate) fn children(&self, dir: DirId) -> &[DirId] {
        self.dirs.get(&dir).map_or(&[], |dir| &dir.children)
    }

    /// Returns the directory called `name` in `parent`.
    pub(crate) fn child(&self, parent: DirId, name: &[u8]) -> Option<DirId> {
        let children = self.children(parent);
        self.position(children, name).ok().map(|at| children[at])
    }

    /// Adds a directory without children. Its parent must be known.
    pub(crate) fn insert(
        &mut self,
        id: DirId,
        parent: Option<DirId>,
        name: &[u8],
        folder: usize,
        identity: Identity,
    ) {
        let dir = Dir {
            parent,
            name: name.into(),
            folder,
            identity,
            device: None,
            listed_at: None,
            coverage: Coverage::Unseen,
            mount: false,
            files: 0,
            children: Vec::new(),
        };
        self.dirs.insert(id, dir);
        self.attach(id);
    }

    /// Returns the parent and the name of a directory; none for a root, or one that is not known.
    pub(crate) fn place_of(&self, dir: DirId) -> Option<(DirId, Box<[u8]>)> {
        let known = self.dirs.get(&dir)?;
        Some((known.parent?, known.name.clone()))
    }

    /// Takes `dir` out of its parent; it and what is below stay known until it is attached again or
    /// removed.
    pub(crate) fn detach(&mut self, dir: DirId) {
        let Some((parent, name)) = self.place_of(dir) else {
            return;
        };
        if let Ok(at) = self.position(self.children(parent), &name)
            && let Some(parent) = self.dirs.get_mut(&parent)
            && parent.children.get(at) == Some(&dir)
        {
            parent.children.remove(at);
        }
    }

    /// Puts a detached `dir` under `parent` as `name`; what is below it belongs to that folder now.
    pub(crate) fn place(&mut self, dir: DirId, parent: DirId, name: &[u8]) {
        let Some(folder) = self.dirs.get(&parent).map(|parent| parent.folder) else {
            return;
        };
        let Some(moved) = self.dirs.get_mut(&dir) else {
            return;
        };
        moved.parent = Some(parent);
        moved.name = name.into();
        if moved.folder != folder {
            for below in self.subtree(dir) {
                if let Some(below) = self.dirs.get_mut(&below) {
                    below.folder = folder;
                }
            }
        }
        self.attach(dir);
    }

    /// Removes one directory.
    pub(crate) fn remove(&mut self, dir: DirId) {
        self.detach(dir);
        self.dirs.remove(&dir);
    }

    /// Returns `dir` and all directories below it, parents first.
    pub(crate) fn subtree(&self, dir: DirId) -> Vec<DirId> {
        let mut all = vec![dir];
        let mut next = 0;
        while let Some(dir) = all.get(next) {
            all.extend_from_slice(self.children(*dir));
            next += 1;
        }
        all
    }

    /// Tells whether `dir` is `above` or below it; what is detached is below nothing.
    pub(crate) fn is_below(&self, dir: DirId, above: DirId) -> bool {
        let mut at = dir;
        while at != above {
            let Some(known) = self.dirs.get(&at) else {
                return false;
            };
            match known.parent {
                Some(parent) if self.child(parent, &known.name) == Some(at) => at = parent,
                _ => return false,
            }
        }
        true
    }

    /// Returns the names from the folder's root (excluded) down to `dir`.
    pub(crate) fn components(&self, dir: DirId) -> Vec<&[u8]> {
        let mut names = Vec::new();
        let mut at = self.dirs.get(&dir);
        while let Some(dir) = at {
            let Some(parent) = dir.parent else { break };
            names.push(&*dir.name);
            at = self.dirs.get(&parent);
        }
        names.reverse();
        names
    }

    /// Returns the path below the folder's root, without slashes at its ends.
    pub(crate) fn relative_path(&self, dir: DirId) -> Vec<u8> {
        self.components(dir).join(&b'/')
    }

    /// Returns the path that starts with the folder's name, with a slash at its end.
    pub(crate) fn full_path(&self, dir: DirId) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = self.dirs.get(&dir);
        while let Some(dir) = at {
            names.push(&*dir.name);
            at = dir.parent.and_then(|parent| self.dirs.get(&parent));
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.extend_from_slice(name);
            path.push(b'/');
        }
        path
    }

    /// Returns the number of entries in `dir` and below.
    pub(crate) fn files_below(&self, dir: DirId) -> u64 {
        let files = |dir: &DirId| self.dirs.get(dir).map_or(0, |dir| u64::from(dir.files));
        self.subtree(dir).iter().map(files).sum()
    }

    fn attach(&mut self, dir: DirId) {
        let Some((parent, name)) = self.place_of(dir) else {
            return;
        };
        match self.position(self.children(parent), &name) {
            Ok(_) => debug_assert!(false, "two directories of one name"),
            Err(at) => {
                if let Some(parent) = self.dirs.get_mut(&parent) {
                    parent.children.insert(at, dir);
                }
            }
        }
    }

    fn position(&self, children: &[DirId], name: &[u8]) -> Result<usize, usize> {
        children.binary_search_by(|child| {
            let child = self.dirs.get(child).map_or(&[][..], |child| &child.name);
            path_order(child, name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_a_directory_changes_the_paths_below_it() {
        let mut tree = Tree::default();
        tree.insert(DirId(1), None, b"comics", 0, Identity::default());
        for (id, parent, name) in [(2, 1, "a"), (3, 2, "b"), (4, 1, "a-b"), (5, 1, "c")] {
            tree.insert(
                DirId(id),
                Some(DirId(parent)),
                name.as_bytes(),
                0,
                Identity::default(),
            );
        }
        // '-' sorts before '/', so a-b/ comes before a/.
        assert_eq!(tree.children(DirId(1)), [DirId(4), DirId(2), DirId(5)]);
        tree.detach(DirId(2));
        tree.place(DirId(2), DirId(5), b"z");
        assert_eq!(tree.full_path(DirId(3)), b"comics/c/z/b/");
        assert_eq!(tree.relative_path(DirId(3)), b"c/z/b");
        assert_eq!(tree.child(DirId(5), b"z"), Some(DirId(2)));
        assert_eq!(tree.child(DirId(1), b"a"), None);
        assert_eq!(tree.subtree(DirId(5)), [DirId(5), DirId(2), DirId(3)]);
    }
}
