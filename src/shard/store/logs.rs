//! The logs of a store by place. The place of a deleted log is used again; its index names nothing from then on.

use super::StoredLog;

/// A log by its place in the store, and by how many logs had that place before.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub struct LogIndex {
    place: u32,
    life: u32,
}

impl LogIndex {
    pub(super) fn place(self) -> u32 {
        self.place
    }
}

#[derive(Default, Debug)]
struct Place {
    life: u32,
    stored: Option<Box<StoredLog>>,
}

#[derive(Default, Debug)]
pub(super) struct Logs {
    places: Vec<Place>,
    free: Vec<u32>,
}

impl Logs {
    pub(super) fn insert(&mut self, stored: StoredLog) -> LogIndex {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            u32::try_from(self.places.len() - 1).expect("a core has fewer partitions")
        });
        let free = &mut self.places[place as usize];
        assert!(free.stored.is_none(), "a place has one log");
        free.stored = Some(Box::new(stored));
        LogIndex { place, life: free.life }
    }

    fn place(&mut self, index: LogIndex) -> Option<&mut Place> {
        self.places.get_mut(index.place as usize).filter(|place| place.life == index.life)
    }

    pub(super) fn get(&self, index: LogIndex) -> Option<&StoredLog> {
        let place = self.places.get(index.place as usize).filter(|place| place.life == index.life)?;
        place.stored.as_deref()
    }

    pub(super) fn get_mut(&mut self, index: LogIndex) -> Option<&mut StoredLog> {
        self.place(index)?.stored.as_deref_mut()
    }

    /// Takes the log out for a moment, until [`Logs::put_back`].
    pub(super) fn take(&mut self, index: LogIndex) -> Option<Box<StoredLog>> {
        self.place(index)?.stored.take()
    }

    pub(super) fn put_back(&mut self, index: LogIndex, stored: Box<StoredLog>) {
        let place = self.place(index).expect("its place is kept");
        assert!(place.stored.is_none(), "a place has one log");
        place.stored = Some(stored);
    }

    pub(super) fn remove(&mut self, index: LogIndex) -> Option<Box<StoredLog>> {
        let place = self.place(index)?;
        let stored = place.stored.take()?;
        // After four billion lives it stays empty.
        if let Some(life) = place.life.checked_add(1) {
            place.life = life;
            self.free.push(index.place);
        }
        Some(stored)
    }

    /// The logs from a place on.
    pub(super) fn iter_from(&self, first: u32) -> impl Iterator<Item = (LogIndex, &StoredLog)> {
        let places = self.places.iter().enumerate().skip(first as usize);
        places.filter_map(|(place, found)| {
            let index = LogIndex { place: place as u32, life: found.life };
            Some((index, found.stored.as_deref()?))
        })
    }

    /// The logs from a place on, with their places.
    pub(super) fn from(&mut self, first: u32) -> impl Iterator<Item = (u32, &mut StoredLog)> {
        let places = self.places.iter_mut().enumerate().skip(first as usize);
        places.filter_map(|(place, found)| Some((place as u32, found.stored.as_deref_mut()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Log, Settings};
    use crate::types::{PartitionId, Uuid};
    use std::sync::Arc;

    fn stored(index: i32) -> StoredLog {
        let id = PartitionId { topic: Uuid([1; 16]), index };
        let settings = Settings {
            segment_bytes: 1,
            segment_ms: 1,
            segment_jitter_ms: 0,
            index_bytes_max: 1,
            index_interval: 1,
            retention_ms: None,
            retention_bytes: None,
            delete_delay_ms: 0,
            ack_memory: false,
        };
        let log = Log::new(id, "t-0".into(), Arc::new(settings));
        StoredLog::new(log)
    }

    #[test]
    fn places_are_used_again_and_former_indexes_name_nothing() {
        let mut logs = Logs::default();
        let first = logs.insert(stored(0));
        let other = logs.insert(stored(1));
        let mut former = first;
        for index in 2..1000 {
            assert!(logs.remove(former).is_some());
            let next = logs.insert(stored(index));
            assert!(logs.get(former).is_none() && logs.remove(former).is_none() && logs.take(former).is_none());
            assert_eq!(logs.get(next).unwrap().log.id().index, index);
            former = next;
        }
        assert_eq!(logs.places.len(), 2);
        assert_eq!(logs.get(other).unwrap().log.id().index, 1);
        let all = logs.iter_from(0).map(|(index, _)| index).collect::<Vec<_>>();
        assert_eq!(all, [former, other]);
        assert_eq!(logs.from(1).map(|(place, stored)| (place, stored.log.id().index)).collect::<Vec<_>>(), [(1, 1)]);
    }
}
