//! To **reconcile**: index rows and what is on disk in, what really differs out. Pure.
//!
//! Ids stay with their files: a name that appeared is the file that vanished elsewhere if inode and
//! birth time say so. Where a new file took the name of an old one, the name's entry goes on (an
//! editor's atomic save), unless the new file had been an entry of its own for a while (a rename
//! over another entry): then the renamed one keeps its id.

use std::collections::{HashMap, HashSet};

use super::disk::{FileMeta, Found};
use super::tree::{DirId, Identity};

/// Names an entry; survives renames, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(pub i64);

/// A directory and a name in it.
pub(crate) type Spot = (DirId, Box<[u8]>);

/// What the index has at a spot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Row {
    File {
        id: EntryId,
        meta: FileMeta,
        /// It became an entry only a moment ago, as the temporary file of an atomic save does.
        young: bool,
    },
    Directory {
        id: DirId,
        identity: Identity,
    },
}

/// One spot that was looked at.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) spot: Spot,
    pub(crate) row: Option<Row>,
    pub(crate) disk: Option<Found>,
    /// The spot that the watch says it was renamed from.
    pub(crate) renamed_from: Option<Spot>,
    /// Where nothing is on disk: its row is gone for good, and not just moved to a place that is
    /// still to be looked at.
    pub(crate) surely: bool,
}

/// One difference to put right in the index.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Add(Spot, FileMeta),
    Change(EntryId, FileMeta),
    Move(EntryId, Spot, FileMeta),
    Remove(EntryId),
    AddDirectory(Spot, Identity),
    /// Same name, but another directory: what is in it must be read again.
    ReplaceDirectory(DirId, Identity),
    MoveDirectory(DirId, Spot),
    RemoveDirectory(DirId),
    /// Something else has its name: it is gone, or elsewhere.
    DisplaceDirectory(DirId),
    /// What was here has left, and may turn up elsewhere: to be looked at again.
    Doubt(Spot),
}

/// Compares; `elsewhere` finds a row of the index by identity at a spot that is not among `seen`
/// and whose file is no longer there, and which is not one of those that it was given as taken (two
/// new names of one file cannot both be the old one).
pub(crate) fn reconcile(
    seen: Vec<Seen>,
    mut elsewhere: impl FnMut(&Found, &[Option<Row>]) -> Option<Row>,
) -> Vec<Action> {
    let mut actions = Vec::new();
    // Rows whose own spot does not hold them any more, and spots that hold something else.
    let mut homeless: Vec<(Spot, Row)> = Vec::new();
    let mut doubtful: HashSet<Spot> = HashSet::new();
    let mut arrived: Vec<(usize, Found)> = Vec::new();
    let mut displaced: HashMap<Spot, Row> = HashMap::new();
    let mut hints: Vec<Option<Spot>> = Vec::new();
    let mut spots: Vec<Spot> = Vec::new();

    for Seen {
        spot,
        row,
        disk,
        renamed_from,
        surely,
    } in seen
    {
        match (row, disk) {
            (None, None) => {}
            (Some(row), None) => {
                if !surely {
                    doubtful.insert(spot.clone());
                }
                homeless.push((spot, row));
            }
            (Some(row), Some(found)) if is_same(&row, &found, renamed_from.is_some()) => {
                actions.extend(update(&row, &found));
            }
            (row, Some(found)) => {
                if let Some(row) = row {
                    homeless.push((spot.clone(), row.clone()));
                    displaced.insert(spot.clone(), row);
                }
                arrived.push((spots.len(), found));
                spots.push(spot);
                hints.push(renamed_from);
            }
        }
    }

    // First every arrival finds out whom it was, then what is left is settled.
    let mut known: Vec<Option<Row>> = Vec::with_capacity(arrived.len());
    for (index, found) in &arrived {
        let hint = hints[*index].as_ref();
        let at = find(&homeless, found, hint);
        let row = match at {
            Some(at) => Some(homeless.swap_remove(at).1),
            None => elsewhere(found, &known),
        };
        if let Some(row) = &row {
            displaced.retain(|_, other| !is_same_row(row, other));
        }
        known.push(row);
    }
    for ((index, found), row) in arrived.into_iter().zip(known) {
        let spot = spots[index].clone();
        let here = displaced.remove(&spot);
        if let Some(here) = &here {
            homeless.retain(|(_, row)| !is_same_row(row, here));
        }
        settle(&mut actions, spot, found, row, here);
    }
    actions.extend(homeless.into_iter().map(|(spot, row)| {
        if doubtful.contains(&spot) {
            Action::Doubt(spot)
        } else {
            remove(row)
        }
    }));
    actions
}

/// Decides about one arrival at `spot`: `row` is whom it was elsewhere, `here` who had the name.
fn settle(
    actions: &mut Vec<Action>,
    spot: Spot,
    found: Found,
    row: Option<Row>,
    here: Option<Row>,
) {
    match (row, found) {
        (Some(Row::File { id, young, .. }), Found::File(meta)) => match here {
            Some(Row::File { id: kept, .. }) if young => {
                actions.push(Action::Remove(id));
                actions.push(Action::Change(kept, meta));
            }
            here => {
                actions.extend(here.map(displace));
                actions.push(Action::Move(id, spot, meta));
            }
        },
        (Some(Row::Directory { id, .. }), Found::Directory(_)) => {
            actions.extend(here.map(displace));
            actions.push(Action::MoveDirectory(id, spot));
        }
        (_, Found::File(meta)) => match here {
            Some(Row::File { id, .. }) => actions.push(Action::Change(id, meta)),
            here => {
                actions.extend(here.map(displace));
                actions.push(Action::Add(spot, meta));
            }
        },
        (_, Found::Directory(meta)) => match here {
            Some(Row::Directory { id, .. }) => {
                actions.push(Action::ReplaceDirectory(id, meta.identity));
            }
            here => {
                actions.extend(here.map(displace));
                actions.push(Action::AddDirectory(spot, meta.identity));
            }
        },
    }
}

fn displace(row: Row) -> Action {
    match row {
        Row::File { id, .. } => Action::Remove(id),
        Row::Directory { id, .. } => Action::DisplaceDirectory(id),
    }
}

fn remove(row: Row) -> Action {
    match row {
        Row::File { id, .. } => Action::Remove(id),
        Row::Directory { id, .. } => Action::RemoveDirectory(id),
    }
}

fn update(row: &Row, found: &Found) -> Option<Action> {
    match (row, found) {
        (Row::File { id, meta, .. }, Found::File(now)) => {
            let same = meta.size == now.size
                && meta.modified == now.modified
                && meta.identity == now.identity;
            (!same).then_some(Action::Change(*id, *now))
        }
        _ => None,
    }
}

/// Tells whether `found` is what `row` knows at its own spot. Without lasting identities a name is
/// its file, unless the watch says that something was renamed to it.
fn is_same(row: &Row, found: &Found, renamed: bool) -> bool {
    let unknown =
        |row: Identity, found: Identity| !renamed && (!row.is_known() || !found.is_known());
    match (row, found) {
        (Row::File { meta, .. }, Found::File(now)) => {
            unknown(meta.identity, now.identity) || matches(meta.identity, now.identity)
        }
        (Row::Directory { identity, .. }, Found::Directory(now)) => {
            unknown(*identity, now.identity) || matches(*identity, now.identity)
        }
        _ => false,
    }
}

fn matches(row: Identity, found: Identity) -> bool {
    row.is_known() && row == found
}

pub(crate) fn is_same_row(a: &Row, b: &Row) -> bool {
    match (a, b) {
        (Row::File { id: a, .. }, Row::File { id: b, .. }) => a == b,
        (Row::Directory { id: a, .. }, Row::Directory { id: b, .. }) => a == b,
        _ => false,
    }
}

/// Finds the homeless row that `found` is: by the watch's word first (it alone tells two links of
/// one file apart, and is all there is where inodes do not last), then by identity.
fn find(homeless: &[(Spot, Row)], found: &Found, hint: Option<&Spot>) -> Option<usize> {
    let identity = |row: &Row| match (row, found) {
        (Row::File { meta, .. }, Found::File(now)) => Some((meta.identity, now.identity)),
        (Row::Directory { identity, .. }, Found::Directory(now)) => Some((*identity, now.identity)),
        _ => None,
    };
    let hinted = homeless.iter().position(|(spot, row)| {
        Some(spot) == hint
            && identity(row)
                .is_some_and(|(row, now)| !row.is_known() || !now.is_known() || row == now)
    });
    hinted.or_else(|| {
        let same = |row: &Row| identity(row).is_some_and(|(row, now)| matches(row, now));
        homeless.iter().position(|(_, row)| same(row))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(ino: u64, size: u64) -> FileMeta {
        FileMeta {
            size,
            modified: 1,
            identity: Identity { ino, born: 7 },
            links: 1,
        }
    }

    fn spot(name: &str) -> Spot {
        (DirId(1), name.as_bytes().into())
    }

    fn row(id: i64, ino: u64) -> Option<Row> {
        Some(Row::File {
            id: EntryId(id),
            meta: file(ino, 1),
            young: false,
        })
    }

    fn seen(name: &str, row: Option<Row>, disk: Option<FileMeta>) -> Seen {
        Seen {
            spot: spot(name),
            row,
            disk: disk.map(Found::File),
            renamed_from: None,
            surely: true,
        }
    }

    fn actions(seen: Vec<Seen>) -> Vec<Action> {
        reconcile(seen, |_, _| None)
    }

    #[test]
    fn what_is_equal_needs_nothing() {
        assert_eq!(actions(vec![seen("a", row(1, 10), Some(file(10, 1)))]), []);
    }

    #[test]
    fn a_renamed_file_keeps_its_id() {
        let batch = vec![
            seen("b", None, Some(file(10, 1))),
            seen("a", row(1, 10), None),
        ];
        assert_eq!(
            actions(batch),
            [Action::Move(EntryId(1), spot("b"), file(10, 1))]
        );
    }

    #[test]
    fn what_has_left_may_turn_up_elsewhere() {
        let mut left = seen("a", row(1, 10), None);
        left.surely = false;
        assert_eq!(actions(vec![left.clone()]), [Action::Doubt(spot("a"))]);
        let batch = vec![left, seen("b", None, Some(file(10, 1)))];
        let moved = Action::Move(EntryId(1), spot("b"), file(10, 1));
        assert_eq!(actions(batch), [moved]);
    }

    #[test]
    fn two_files_that_change_names_change_ids_with_them() {
        let batch = vec![
            seen("a", row(1, 10), Some(file(20, 1))),
            seen("b", row(2, 20), Some(file(10, 1))),
        ];
        let expected = [
            Action::Move(EntryId(2), spot("a"), file(20, 1)),
            Action::Move(EntryId(1), spot("b"), file(10, 1)),
        ];
        assert_eq!(actions(batch), expected);
    }

    #[test]
    fn a_new_file_under_an_old_name_goes_on_as_the_old_entry() {
        let batch = vec![seen("a", row(1, 10), Some(file(20, 5)))];
        assert_eq!(actions(batch), [Action::Change(EntryId(1), file(20, 5))]);
    }

    #[test]
    fn an_atomic_save_keeps_the_id_of_the_name_a_rename_that_of_the_file() {
        let young = Some(Row::File {
            id: EntryId(2),
            meta: file(20, 1),
            young: true,
        });
        let target = || seen("a", row(1, 10), Some(file(20, 1)));
        assert_eq!(
            actions(vec![seen("new", young, None), target()]),
            [
                Action::Remove(EntryId(2)),
                Action::Change(EntryId(1), file(20, 1))
            ]
        );
        assert_eq!(
            actions(vec![seen("new", row(2, 20), None), target()]),
            [
                Action::Remove(EntryId(1)),
                Action::Move(EntryId(2), spot("a"), file(20, 1))
            ]
        );
    }

    #[test]
    fn a_file_in_place_of_a_directory_is_another_thing() {
        let directory = Some(Row::Directory {
            id: DirId(5),
            identity: Identity { ino: 10, born: 7 },
        });
        let expected = [
            Action::DisplaceDirectory(DirId(5)),
            Action::Add(spot("a"), file(10, 1)),
        ];
        assert_eq!(
            actions(vec![seen("a", directory, Some(file(10, 1)))]),
            expected
        );
    }

    #[test]
    fn where_inodes_do_not_last_the_watch_s_word_is_taken() {
        let mut to = seen("b", None, Some(file(0, 1)));
        to.renamed_from = Some(spot("a"));
        let batch = vec![seen("a", row(1, 0), None), to];
        assert_eq!(
            actions(batch),
            [Action::Move(EntryId(1), spot("b"), file(0, 1))]
        );
    }

    #[test]
    fn of_two_links_the_one_that_was_renamed_moves() {
        let mut to = seen("c", None, Some(file(10, 1)));
        to.renamed_from = Some(spot("b"));
        let batch = vec![seen("a", row(1, 10), None), seen("b", row(2, 10), None), to];
        let expected = [
            Action::Move(EntryId(2), spot("c"), file(10, 1)),
            Action::Remove(EntryId(1)),
        ];
        assert_eq!(actions(batch), expected);
    }
}
