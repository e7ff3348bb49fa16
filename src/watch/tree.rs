//! Which watch belongs to which directory.

use std::collections::HashMap;

use inotify::WatchDescriptor;

use super::Place;
use super::inotify::{Notice, What};

/// Both directions between watch descriptors and places.
///
/// A watch follows its inode, so that a directory that moves needs no change here.
#[derive(Debug, Default)]
pub(super) struct Watches {
    places: HashMap<WatchDescriptor, Place>,
    descriptors: HashMap<Place, WatchDescriptor>,
}

/// A notice whose watch is known.
#[derive(Debug)]
pub struct Located<'a> {
    /// The watched directory; meaningless for an overflow.
    pub place: Place,
    /// What it is about.
    pub what: super::settle::What,
    /// The name is a directory's.
    pub directory: bool,
    /// Same in both halves of a rename.
    pub cookie: u32,
    /// The name in the directory; empty where the directory itself is meant.
    pub name: &'a [u8],
}

impl Watches {
    /// Notes that `descriptor` watches `place`.
    ///
    /// The kernel gives one descriptor an inode: where the same directory is seen at two places (a
    /// bind mount, or a move whose notices were lost), the later place wins, and the one that has
    /// lost its watch is returned.
    pub(super) fn insert(&mut self, place: Place, descriptor: WatchDescriptor) -> Option<Place> {
        let displaced = self
            .places
            .insert(descriptor.clone(), place)
            .filter(|before| *before != place);
        if let Some(before) = displaced {
            self.descriptors.remove(&before);
        }
        if let Some(before) = self.descriptors.insert(place, descriptor.clone())
            && before != descriptor
        {
            self.places.remove(&before);
        }
        displaced
    }

    /// Forgets `place`; returns its descriptor if it was watched.
    pub(super) fn remove(&mut self, place: Place) -> Option<WatchDescriptor> {
        let descriptor = self.descriptors.remove(&place)?;
        self.places.remove(&descriptor);
        Some(descriptor)
    }

    pub(super) fn contains(&self, place: Place) -> bool {
        self.descriptors.contains_key(&place)
    }

    /// Hands `notice` to `take` with the place of its watch; notices of ended watches are dropped.
    pub(super) fn resolve(&mut self, notice: Notice<'_>, take: impl FnOnce(Located<'_>)) {
        let place = if notice.what == What::Overflow {
            Place(0) // comes with descriptor -1 and concerns everything
        } else if let Some(place) = self.places.get(&notice.descriptor) {
            *place
        } else {
            return;
        };
        if notice.what == What::Ended {
            self.remove(place);
        }
        take(Located {
            place,
            what: notice.what,
            directory: notice.directory,
            cookie: notice.cookie,
            name: notice.name,
        });
    }
}
