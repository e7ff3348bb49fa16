//! Entries in the order of their paths, without a path in the index.
//!
//! A walk through the tree that takes files and directories of each level in turn gives the bytewise
//! order of whole paths, if a directory counts as `name/`. Each level is read in pieces by the
//! index on (dir, name), so that a page costs what it shows, wherever it begins.

use rusqlite::{Connection, params};

use super::index::{COLUMNS, EntryRow, IndexError};
use super::query::Bits;
use super::tree::{DirId, Tree};

/// Rows of one directory that are read at once.
const PIECE: u16 = 256;

/// Which way to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Up,
    Down,
}

/// One directory that is being walked.
struct Level {
    dir: DirId,
    /// Directories that are still to come, the next one last.
    children: Vec<DirId>,
    /// Files that have been read and are to come, the next one last.
    files: Vec<EntryRow>,
    /// Read on after this name; none for the first piece.
    after: Option<Vec<u8>>,
    exhausted: bool,
}

/// Walks all entries below some roots.
pub(crate) struct Walk<'a> {
    tree: &'a Tree,
    connection: &'a Connection,
    direction: Direction,
    roots: Vec<DirId>,
    levels: Vec<Level>,
    /// Entries of other directories are passed over unread.
    only_in: Option<&'a Bits>,
}

impl<'a> Walk<'a> {
    /// Begins after the path `after` (with the folder's name; it need not exist any more), or at the
    /// first entry.
    pub(crate) fn new(
        tree: &'a Tree,
        connection: &'a Connection,
        mut roots: Vec<DirId>,
        direction: Direction,
        after: Option<&[u8]>,
    ) -> Walk<'a> {
        let key = |dir: &DirId| tree.full_path(*dir);
        roots.sort_by_key(key);
        // The next one last.
        if direction == Direction::Up {
            roots.reverse();
        }
        let mut walk = Walk {
            tree,
            connection,
            direction,
            roots,
            levels: Vec::new(),
            only_in: None,
        };
        if let Some(after) = after {
            walk.skip_to(after);
        }
        walk
    }

    /// Leaves out the entries that are not directly in one of `directories`.
    pub(crate) fn only_in(mut self, directories: Option<&'a Bits>) -> Walk<'a> {
        self.only_in = directories;
        for level in &mut self.levels {
            level.exhausted |= directories.is_some_and(|only| !only.has(level.dir.0.into()));
        }
        self
    }

    /// Returns the next entry.
    pub(crate) fn next(&mut self) -> Result<Option<EntryRow>, IndexError> {
        loop {
            let Some(level) = self.levels.last_mut() else {
                let Some(root) = self.roots.pop() else {
                    return Ok(None);
                };
                self.enter(root, None);
                continue;
            };
            if level.files.is_empty() && !level.exhausted {
                read_piece(self.connection, level, self.direction)?;
            }
            let file = level.files.last();
            let child = level.children.last().copied();
            let file_first = match (file, child.and_then(|child| self.tree.get(child))) {
                (Some(file), Some(child)) => {
                    let before = file.name.iter().lt(child.name.iter().chain(b"/"));
                    before == (self.direction == Direction::Up)
                }
                (Some(_), None) => true,
                (None, _) => false,
            };
            if file_first {
                return Ok(level.files.pop());
            }
            match level.children.pop() {
                Some(child) => self.enter(child, None),
                None => drop(self.levels.pop()),
            }
        }
    }

    fn enter(&mut self, dir: DirId, after: Option<Vec<u8>>) {
        let Some(known) = self.tree.get(dir) else {
            return;
        };
        let mut children = self.tree.children(dir).to_vec();
        if self.direction == Direction::Up {
            children.reverse();
        }
        self.levels.push(Level {
            dir,
            children,
            files: Vec::new(),
            after,
            exhausted: known.files == 0 || self.only_in.is_some_and(|only| !only.has(dir.0.into())),
        });
    }

    /// Makes the levels as they are right after `path`.
    fn skip_to(&mut self, path: &[u8]) {
        let mut names = path.split(|byte| *byte == b'/').peekable();
        let Some(folder) = names.next() else { return };
        let passed = |tree: &Tree, dir: &DirId, name: &[u8], direction| {
            let known = tree.get(*dir).map_or(&[][..], |dir| &dir.name);
            let order = known.iter().chain(b"/").cmp(name.iter().chain(b"/"));
            if direction == Direction::Up {
                order.is_lt()
            } else {
                order.is_gt()
            }
        };
        let (tree, direction) = (self.tree, self.direction);
        while self
            .roots
            .last()
            .is_some_and(|root| passed(tree, root, folder, direction))
        {
            self.roots.pop();
        }
        let is_folder = |dir: &DirId| tree.get(*dir).is_some_and(|dir| *dir.name == *folder);
        let Some(root) = self.roots.pop_if(|root| is_folder(root)) else {
            return;
        };
        self.enter(root, None);
        while let Some(name) = names.next() {
            let is_file = names.peek().is_none();
            let Some(level) = self.levels.last_mut() else {
                return;
            };
            // A directory sorts as `name/`, a file as `name`.
            let mut key = name.to_vec();
            if !is_file {
                key.push(b'/');
            }
            level.children.retain(|child| {
                let child = tree.get(*child).map_or(&[][..], |dir| &dir.name);
                let order = child.iter().chain(b"/").cmp(key.iter());
                let ahead = if direction == Direction::Up {
                    order.is_gt()
                } else {
                    order.is_lt()
                };
                ahead || (!is_file && child == name)
            });
            level.after = Some(key);
            if is_file {
                return;
            }
            let is_next = |dir: &DirId| tree.get(*dir).is_some_and(|dir| *dir.name == *name);
            let Some(child) = level.children.pop_if(|child| is_next(child)) else {
                return; // it has gone: what follows it is next
            };
            self.enter(child, None);
        }
    }
}

fn read_piece(
    connection: &Connection,
    level: &mut Level,
    direction: Direction,
) -> Result<(), IndexError> {
    let (compare, order) = match direction {
        Direction::Up => (">", "ASC"),
        Direction::Down => ("<", "DESC"),
    };
    let condition = match &level.after {
        Some(_) => format!("AND name {compare} ?3"),
        None => "AND ?3 IS NULL".to_owned(),
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM entry WHERE dir = ?1 {condition} ORDER BY name {order} LIMIT ?2"
    );
    let mut find = connection.prepare_cached(&sql)?;
    let rows = find.query_map(params![level.dir.0, PIECE, level.after], EntryRow::read)?;
    level.files = rows.collect::<Result<_, _>>()?;
    level.exhausted = level.files.len() < usize::from(PIECE);
    level.after = level.files.last().map(|row| row.name.to_vec());
    level.files.reverse();
    Ok(())
}
