//! Looking at single names on disk, and what follows from it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rustix::io::Errno;

use super::Keeper;
use super::folders::Folder;
use crate::library::crawl::Expected;
use crate::library::disk::{DirMeta, FileMeta, Found, Sight, Sighted};
use crate::library::index::{EntryRow, IndexError};
use crate::library::reconcile::{EntryId, Row, Seen, Spot, is_same_row, reconcile};
use crate::library::tree::{Coverage, DirId, Identity};
use crate::watch::Told;

/// Names to look at, by directory.
#[derive(Debug, Default)]
pub(super) struct Looks {
    names: BTreeMap<DirId, BTreeMap<Box<[u8]>, Hint>>,
}

/// What is known of a name besides that it is worth a look.
#[derive(Clone, Debug, Default)]
struct Hint {
    told: Told,
    renamed_from: Option<Spot>,
}

impl Looks {
    pub(super) fn name(&mut self, dir: DirId, name: Box<[u8]>, told: Told) {
        let hint = self.hint((dir, name));
        if told != Told::Touched {
            hint.told = told;
        }
    }

    pub(super) fn moved(&mut self, from: Spot, to: Spot) {
        self.hint(from.clone());
        let hint = self.hint(to);
        hint.told = Told::Finished;
        hint.renamed_from = Some(from);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn hint(&mut self, spot: Spot) -> &mut Hint {
        self.names
            .entry(spot.0)
            .or_default()
            .entry(spot.1)
            .or_default()
    }
}

/// Why a directory was not opened.
pub(super) enum NotOpened {
    /// It is not where the tree has it.
    Elsewhere,
    /// It cannot be told.
    Unreadable(Errno),
    /// Its folder is offline, or it is not known.
    Unknown,
}

impl Keeper {
    /// Looks at `looks`, and writes what differs.
    pub(super) fn look(&mut self, looks: Looks) -> Result<(), IndexError> {
        let mut todo = looks.names;
        // By device, since nothing moves from one to another.
        let mut seen: BTreeMap<u64, Vec<Seen>> = BTreeMap::new();
        let mut done: BTreeSet<Spot> = BTreeSet::new();
        let mut finished: Vec<Spot> = Vec::new();
        let mut unfinished: Vec<Spot> = Vec::new();
        while let Some((dir, names)) = todo.pop_first() {
            self.tasks.touch(dir);
            let names: Vec<_> = names
                .into_iter()
                .map(|(name, hint)| ((dir, name), hint))
                .filter(|(spot, _)| done.insert(spot.clone()))
                .collect();
            let sighted = match self.sight(dir, names.iter().map(|((_, name), _)| &**name)) {
                Ok(sighted) => sighted,
                Err(NotOpened::Elsewhere) => {
                    // Where the directory is now, or that it is gone, is for its parent to say; its
                    // names are read again if it is still ours.
                    if let Some(spot) = self.spot_of(dir) {
                        self.read_again(dir, false);
                        if !done.contains(&spot) {
                            todo.entry(spot.0).or_default().entry(spot.1).or_default();
                        }
                    } else {
                        self.root_changed(dir);
                    }
                    continue;
                }
                Err(NotOpened::Unreadable(error)) => {
                    self.unreadable(dir, error);
                    continue;
                }
                Err(NotOpened::Unknown) => continue,
            };
            for ((spot, hint), found) in names.into_iter().zip(sighted.found) {
                match self.wanted(sighted.meta, &spot, found) {
                    Ok(Some(disk)) => {
                        if let (Ok(Some(Found::File(meta))), None) = (found, disk) {
                            self.look_behind_ignored(dir, &meta)?;
                        }
                        if matches!(disk, Some(Found::Directory(_))) {
                            self.try_again_below(&spot);
                        }
                        if hint.told == Told::Finished {
                            &mut finished
                        } else {
                            &mut unfinished
                        }
                        .push(spot.clone());
                        seen.entry(sighted.meta.device).or_default().push(Seen {
                            row: self.row_at(&spot)?,
                            disk,
                            renamed_from: hint.renamed_from,
                            surely: hint.told == Told::Deleted,
                            spot,
                        });
                    }
                    Ok(None) => {
                        let mount = self.shared.read().tree.child(spot.0, &spot.1);
                        mount.into_iter().for_each(|dir| self.mount_is_away(dir));
                    }
                    Err(error) => {
                        log::warn!("cannot look at {:?}: {error}", self.show(&spot));
                        self.unreadable(dir, error); // so that it is looked at again
                    }
                }
            }
        }
        for (device, seen) in seen {
            self.reconcile(device, seen)?;
        }
        self.note_writers(&finished, &unfinished)
    }

    /// A file that is ignored may have been written by this name, and be an entry by another.
    fn look_behind_ignored(&mut self, dir: DirId, meta: &FileMeta) -> Result<(), IndexError> {
        let view = self.shared.read();
        let folder = view.tree.get(dir).map(|dir| dir.folder);
        drop(view);
        let folder = folder.and_then(|folder| self.folders.get(folder));
        if meta.links > 1 && folder.is_some_and(Folder::lasting_inodes) {
            self.look_at_links(EntryId(0), meta.identity, Some(meta))?;
        }
        Ok(())
    }

    /// A notice of a directory that could not be read may be of its mode, or it has come back from
    /// elsewhere: it is tried again.
    fn try_again_below(&mut self, spot: &Spot) {
        let view = self.shared.read();
        let unread = view.tree.child(spot.0, &spot.1).filter(|child| {
            let known = view.tree.get(*child);
            known.is_some_and(|dir| dir.coverage.is_unread())
        });
        drop(view);
        if let Some(dir) = unread {
            self.read_again(dir, true);
        }
    }

    /// Compares what was seen on one device with the index, and applies the differences.
    pub(super) fn reconcile(&mut self, device: u64, seen: Vec<Seen>) -> Result<(), IndexError> {
        if seen.is_empty() {
            return Ok(());
        }
        let spots: BTreeSet<Spot> = seen.iter().map(|seen| seen.spot.clone()).collect();
        let mut failure = None;
        let actions = reconcile(seen, |found, taken| {
            if self.bulk {
                return None; // nothing was known before, so nothing can have moved
            }
            self.elsewhere(device, found, &spots, taken)
                .unwrap_or_else(|error| {
                    failure = Some(error);
                    None
                })
        });
        match failure {
            Some(error) => Err(error),
            None => self.apply(actions),
        }
    }

    /// Finds the row of a file or directory that was renamed to a spot that is looked at.
    fn elsewhere(
        &mut self,
        device: u64,
        found: &Found,
        spots: &BTreeSet<Spot>,
        taken: &[Option<Row>],
    ) -> Result<Option<Row>, IndexError> {
        let is_free = |row: &Row| !taken.iter().flatten().any(|one| is_same_row(one, row));
        match found {
            Found::File(meta) if meta.identity.is_known() => {
                for row in self.index.entries_by_identity(meta.identity)? {
                    if !self.is_on(row.dir, device, meta.identity) {
                        continue;
                    }
                    let spot = (row.dir, row.name.clone());
                    let row = self.file_row(&row);
                    if !spots.contains(&spot) && is_free(&row) && self.has_left(&spot, found) {
                        self.look_later(spot);
                        return Ok(Some(row));
                    }
                }
            }
            Found::Directory(meta) if meta.identity.is_known() => {
                for dir in self.index.dirs_by_identity(meta.identity)? {
                    let spot = self.spot_of(dir);
                    let Some(spot) = spot.filter(|_| self.is_on(dir, meta.device, meta.identity))
                    else {
                        continue;
                    };
                    let row = Row::Directory {
                        id: dir,
                        identity: meta.identity,
                    };
                    if !spots.contains(&spot) && is_free(&row) && self.has_left(&spot, found) {
                        self.look_later(spot);
                        return Ok(Some(row));
                    }
                }
            }
            _ => {}
        }
        Ok(None)
    }

    /// Tells whether what has `identity` in a directory may be on `device`. Every disk has the same inode
    /// numbers: only a birth time tells two disks apart where it is not known which one it was.
    fn is_on(&self, dir: DirId, device: u64, identity: Identity) -> bool {
        let view = self.shared.read();
        let mut at = view.tree.get(dir);
        while let Some(known) = at {
            let root = self.folders.get(known.folder);
            let root = root.and_then(|folder| folder.root_info.as_ref());
            let of_root = root.filter(|_| known.parent.is_none());
            match known.device.or(of_root.map(|root| root.meta.device)) {
                Some(known) => return known == device,
                None if known.mount => break,
                None => at = known.parent.and_then(|parent| view.tree.get(parent)),
            }
        }
        identity.born != 0
    }

    /// What was at `spot` has been found elsewhere: what is there now may be something that nobody has
    /// told of, for example since the service was off then, and that a crawl has passed already.
    fn look_later(&mut self, (dir, name): Spot) {
        self.later.name(dir, name, Told::Touched);
    }

    /// Tells whether something that was at `spot` is there no longer. What cannot be told is "no":
    /// a second link or an unreadable disk must not make an entry move.
    fn has_left(&mut self, spot: &Spot, now: &Found) -> bool {
        let mut sighted = match self.sight(spot.0, [&*spot.1]) {
            Ok(sighted) => sighted,
            Err(NotOpened::Elsewhere) => {
                // Most often it has been moved out of a directory that went as well. But it may have a
                // second name there, so the directory is listed wherever it turns up.
                if let Some(known) = self.shared.write().tree.get_mut(spot.0) {
                    known.listed_at = None;
                }
                return true;
            }
            Err(NotOpened::Unreadable(_) | NotOpened::Unknown) => return false,
        };
        let Some(found) = sighted.found.pop() else {
            return false;
        };
        match (self.wanted(sighted.meta, spot, found), now) {
            (Ok(Some(None)), _) => true,
            (Ok(Some(Some(Found::File(there)))), Found::File(now)) => {
                there.identity != now.identity
            }
            (Ok(Some(Some(Found::Directory(there)))), Found::Directory(now)) => {
                there.identity != now.identity
            }
            (Ok(Some(Some(_))), _) => true,
            (Ok(None) | Err(_), _) => false,
        }
    }

    /// Makes of what is at a name what counts for the index. Outer `None`: its row must be left as it
    /// is. Inner `None`: no entry there. `above` is the directory of the name.
    fn wanted(
        &self,
        above: DirMeta,
        spot: &Spot,
        found: Result<Option<Found>, Errno>,
    ) -> Result<Option<Option<Found>>, Errno> {
        let mut found = found?;
        let view = self.shared.read();
        let Some(dir) = view.tree.get(spot.0) else {
            return Ok(Some(None));
        };
        let Some(folder) = self.folders.get(dir.folder) else {
            return Ok(Some(None));
        };
        let mut path = view.tree.relative_path(spot.0);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&spot.1);
        let known = view
            .tree
            .child(spot.0, &spot.1)
            .and_then(|child| view.tree.get(child));
        let mounted_here = known.is_some_and(|known| known.mount);
        drop(view);
        let lasting = folder.lasting_inodes();
        match &mut found {
            Some(Found::File(_)) if !folder.selection.is_entry(&path) => found = None,
            Some(Found::Directory(_)) if !folder.selection.enters(&path) => found = None,
            Some(Found::Directory(meta)) => {
                if mounted_here && meta.device == above.device {
                    return Ok(None);
                }
                if !lasting {
                    meta.identity = Identity::default();
                }
            }
            Some(Found::File(meta)) if !lasting => meta.identity = Identity::default(),
            _ => {}
        }
        if found.is_none() && mounted_here {
            return Ok(None);
        }
        Ok(Some(found))
    }

    pub(super) fn row_at(&self, spot: &Spot) -> Result<Option<Row>, IndexError> {
        let view = self.shared.read();
        if let Some(id) = view.tree.child(spot.0, &spot.1) {
            let identity = view
                .tree
                .get(id)
                .map_or_else(Identity::default, |dir| dir.identity);
            return Ok(Some(Row::Directory { id, identity }));
        }
        drop(view);
        let row = self.index.entry_at(spot.0, &spot.1)?;
        Ok(row.map(|row| self.file_row(&row)))
    }

    pub(super) fn file_row(&self, row: &EntryRow) -> Row {
        Row::File {
            id: row.id,
            meta: row.meta,
            young: self.young_ids.contains(&row.id),
        }
    }

    /// Looks at names in a directory where the tree has it, if it is the one that the tree means.
    pub(super) fn sight<'a>(
        &mut self,
        dir: DirId,
        names: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Sighted, NotOpened> {
        let view = self.shared.read();
        let known = view.tree.get(dir).ok_or(NotOpened::Unknown)?;
        let index = known.folder;
        let folder = self.folders.get(index).ok_or(NotOpened::Unknown)?;
        let root = folder.root_info.as_ref().ok_or(NotOpened::Unknown)?;
        let expected = if known.parent.is_none() {
            Expected {
                identity: root.meta.identity,
                device: Some(root.meta.device),
            }
        } else {
            Expected {
                identity: known.identity,
                device: known.device,
            }
        };
        let boxed = |names: Vec<&[u8]>| names.into_iter().map(Box::from).collect();
        let sight = Sight {
            root: Arc::clone(&folder.path),
            path: boxed(view.tree.components(dir)),
            expected,
            names: boxed(names.into_iter().collect()),
        };
        drop(view);
        let sighted = self.on_disk(index, move |pulse| sight.look(|| pulse.beat()));
        match sighted {
            None => Err(NotOpened::Unknown), // its folder is offline now
            Some(Ok(Some(sighted))) => Ok(sighted),
            Some(Ok(None) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => {
                Err(NotOpened::Elsewhere)
            }
            Some(Err(error)) => Err(NotOpened::Unreadable(error)),
        }
    }

    /// Returns where the tree has a directory; none for the root of a folder.
    pub(super) fn spot_of(&self, dir: DirId) -> Option<Spot> {
        self.shared.read().tree.place_of(dir)
    }

    pub(super) fn unreadable(&mut self, dir: DirId, error: Errno) {
        let mut view = self.shared.write();
        let path = String::from_utf8_lossy(&view.tree.full_path(dir)).into_owned();
        let Some(known) = view.tree.get_mut(dir) else {
            return;
        };
        let before = std::mem::replace(&mut known.coverage, Coverage::Unreadable);
        known.listed_at = None;
        let (folder, is_root) = (known.folder, known.parent.is_none());
        drop(view);
        let error = std::io::Error::from(error);
        if before != Coverage::Unreadable {
            log::warn!("cannot read {path:?}: {error}"); // once, not at every poll
        }
        self.status_changed = true;
        if is_root {
            self.next_check = std::time::Instant::now();
        }
        if let Some(folder) = self.folders.get_mut(folder) {
            folder.cannot_read(dir, path, &error);
        }
    }

    /// Remembers which entries their writers have finished, for those who process them.
    fn note_writers(&mut self, finished: &[Spot], unfinished: &[Spot]) -> Result<(), IndexError> {
        // Bounds the memory for a library that nobody processes; without the note an entry is
        // complete when it has stood still.
        const MOST: usize = 65_536;
        let mut ids: HashMap<_, bool> = HashMap::new();
        for (spots, is_finished) in [(finished, true), (unfinished, false)] {
            for spot in spots {
                if let Some(row) = self.index.entry_at(spot.0, &spot.1)? {
                    ids.insert(row.id, is_finished);
                }
            }
        }
        let mut view = self.shared.write();
        for (id, is_finished) in ids {
            if !is_finished {
                view.finished.remove(&id);
            } else if view.finished.len() < MOST {
                view.finished.insert(id);
            }
        }
        Ok(())
    }

    pub(super) fn show(&self, spot: &Spot) -> String {
        let mut path = self.shared.read().tree.full_path(spot.0);
        path.extend_from_slice(&spot.1);
        String::from_utf8_lossy(&path).into_owned()
    }
}
