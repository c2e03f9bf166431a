//! Incremental fetch sessions (KIP-227): the broker remembers what a client fetches.

use crate::types::{Epoch, Offset, PartitionIndex, Uuid};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Bytes that a partition takes in a session, besides its topic's name: the entry and its place in the map.
const PARTITION_BYTES: usize = 192;

/// The request carries its whole list, and no session is wanted.
const EPOCH_FINAL: i32 = -1;
/// The request carries its whole list, and a session is wanted.
const EPOCH_INITIAL: i32 = 0;

/// A topic as the client names it: by id from version 13 on.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum TopicRef {
    Name(Arc<str>),
    Id(Uuid),
}

/// What is to be fetched of one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    pub offset: Offset,
    pub bytes_max: i32,
    pub leader_epoch: Epoch,
}

pub type Key = (TopicRef, PartitionIndex);

#[derive(Debug)]
struct Remembered {
    wanted: Wanted,
    /// High watermark and log start as last told; `None` before the first answer and after an error.
    told: Option<(Offset, Offset)>,
}

#[derive(Debug, Default)]
struct Session {
    /// The epoch that the next request must have.
    epoch_next: i32,
    used: u64,
    partitions: BTreeMap<Key, Remembered>,
    bytes: usize,
}

fn key_bytes(key: &Key) -> usize {
    PARTITION_BYTES
        + match &key.0 {
            TopicRef::Name(name) => name.len(),
            TopicRef::Id(_) => 0,
        }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionError {
    /// FETCH_SESSION_ID_NOT_FOUND
    NotFound,
    /// INVALID_FETCH_SESSION_EPOCH
    Epoch,
}

/// How a request is to be answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Begun {
    /// 0: no session.
    pub id: i32,
    /// Only what is new goes into the answer.
    pub incremental: bool,
    pub partitions: Vec<(Key, Wanted)>,
}

/// The sessions of one shard. The ids of different shards differ, so that a client that comes back to another core is told
/// to begin anew.
#[derive(Debug)]
pub struct Sessions {
    by_id: HashMap<i32, Session>,
    sessions_max: usize,
    /// Of all sessions together.
    bytes: usize,
    bytes_max: usize,
    id_next: i32,
    id_step: i32,
    clock: u64,
}

impl Sessions {
    /// Up to `sessions_max` sessions, which may take `bytes_max` together.
    pub fn new(sessions_max: usize, bytes_max: usize, shard: u16, shards: u16) -> Sessions {
        assert!(shard < shards);
        Sessions {
            by_id: HashMap::new(),
            sessions_max,
            bytes: 0,
            bytes_max,
            id_next: i32::from(shard) + 1,
            id_step: i32::from(shards),
            clock: 0,
        }
    }

    pub fn begin(
        &mut self,
        id: i32,
        epoch: i32,
        partitions: Vec<(Key, Wanted)>,
        forgotten: &[Key],
    ) -> Result<Begun, SessionError> {
        self.clock += 1;
        if epoch == EPOCH_FINAL || epoch == EPOCH_INITIAL {
            self.remove(id);
            let id = if epoch == EPOCH_INITIAL && !partitions.is_empty() { self.create(&partitions) } else { 0 };
            return Ok(Begun { id, incremental: false, partitions });
        }
        let clock = self.clock;
        let session = self.by_id.get_mut(&id).ok_or(SessionError::NotFound)?;
        if session.epoch_next != epoch {
            return Err(SessionError::Epoch);
        }
        session.epoch_next = next(epoch);
        session.used = clock;
        let before = session.bytes;
        for (key, wanted) in partitions {
            let bytes = key_bytes(&key);
            let remembered = session.partitions.entry(key).or_insert_with(|| {
                session.bytes += bytes;
                Remembered { wanted, told: None }
            });
            remembered.wanted = wanted;
        }
        for key in forgotten.iter().filter(|key| session.partitions.remove(key).is_some()) {
            session.bytes -= key_bytes(key);
        }
        self.bytes = self.bytes - before + session.bytes;
        let partitions = session.partitions.iter().map(|(key, r)| (key.clone(), r.wanted)).collect();
        // This one is the last used. If it is too large by itself, the client is told to begin anew with its next request.
        while self.bytes > self.bytes_max {
            self.remove_oldest();
        }
        Ok(Begun { id, incremental: true, partitions })
    }

    fn remove(&mut self, id: i32) {
        if let Some(session) = self.by_id.remove(&id) {
            self.bytes -= session.bytes;
        }
    }

    fn remove_oldest(&mut self) {
        let oldest = self.by_id.iter().min_by_key(|(_, session)| session.used).map(|(id, _)| *id);
        self.remove(oldest.expect("there is a session"));
    }

    /// Makes a session. Returns its id; 0 if there is no room for one.
    fn create(&mut self, partitions: &[(Key, Wanted)]) -> i32 {
        let remember = |(key, wanted): &(Key, Wanted)| (key.clone(), Remembered { wanted: *wanted, told: None });
        let bytes_most: usize = partitions.iter().map(|(key, _)| key_bytes(key)).sum();
        if self.sessions_max == 0 || bytes_most > self.bytes_max {
            return 0;
        }
        while self.by_id.len() >= self.sessions_max || self.bytes + bytes_most > self.bytes_max {
            self.remove_oldest();
        }
        let id = self.id_next;
        self.id_next = id.checked_add(self.id_step).unwrap_or(id % self.id_step + self.id_step);
        let partitions: BTreeMap<Key, Remembered> = partitions.iter().map(remember).collect();
        let bytes = partitions.keys().map(key_bytes).sum();
        self.bytes += bytes;
        self.by_id.insert(id, Session { epoch_next: 1, used: self.clock, partitions, bytes });
        id
    }

    /// Returns whether the answer must name this partition, and notes that it does. `has_data`: there are records or an
    /// error.
    pub fn tell(&mut self, id: i32, key: &Key, has_data: bool, ok: bool, offsets: (Offset, Offset)) -> bool {
        let Some(remembered) = self.by_id.get_mut(&id).and_then(|session| session.partitions.get_mut(key)) else {
            return true;
        };
        let news = has_data || !ok || remembered.told != Some(offsets);
        remembered.told = ok.then_some(offsets);
        news
    }
}

fn next(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: i32) -> Key {
        (TopicRef::Name("t".into()), index)
    }

    fn wanted(offset: i64) -> Wanted {
        Wanted { offset, bytes_max: 100, leader_epoch: Epoch::NONE }
    }

    #[test]
    fn a_session_remembers_updates_and_forgets() {
        let mut sessions = Sessions::new(2, 10_000, 0, 1);
        let begun = sessions.begin(0, 0, vec![(key(0), wanted(5)), (key(1), wanted(6))], &[]).unwrap();
        assert!(begun.id > 0 && !begun.incremental);
        let id = begun.id;
        assert!(sessions.tell(id, &key(0), false, true, (9, 0)));
        let begun = sessions.begin(id, 1, vec![(key(0), wanted(7))], &[key(1)]).unwrap();
        assert_eq!(begun, Begun { id, incremental: true, partitions: vec![(key(0), wanted(7))] });
        assert!(!sessions.tell(id, &key(0), false, true, (9, 0)), "nothing is new");
        assert!(sessions.tell(id, &key(0), true, true, (9, 0)));
        assert!(sessions.tell(id, &key(0), false, true, (10, 0)));
        assert!(sessions.tell(id, &key(0), false, false, (-1, -1)), "an error is told each time");
        assert_eq!(sessions.begin(id, 1, vec![], &[]), Err(SessionError::Epoch));
        assert_eq!(sessions.begin(77, 1, vec![], &[]), Err(SessionError::NotFound));
        sessions.begin(id, -1, vec![], &[]).unwrap();
        assert_eq!(sessions.begin(id, 2, vec![], &[]), Err(SessionError::NotFound));
    }

    #[test]
    fn the_least_used_session_makes_room() {
        let mut sessions = Sessions::new(2, 10_000, 1, 4);
        let mut open = || sessions.begin(0, 0, vec![(key(0), wanted(0))], &[]).unwrap().id;
        let ids = [open(), open(), open()];
        assert_eq!(ids, [2, 6, 10]);
        assert_eq!(sessions.begin(ids[0], 1, vec![], &[]), Err(SessionError::NotFound));
        assert!(sessions.begin(ids[1], 1, vec![], &[]).is_ok());
    }

    #[test]
    fn sessions_are_bounded_by_what_they_remember() {
        let many = |count: i32| (0..count).map(|index| (key(index), wanted(0))).collect::<Vec<_>>();
        let ten = 10 * key_bytes(&key(0));
        let mut sessions = Sessions::new(100, 2 * ten, 0, 1);
        let first = sessions.begin(0, 0, many(10), &[]).unwrap().id;
        let second = sessions.begin(0, 0, many(9), &[]).unwrap().id;
        assert_eq!(sessions.bytes, 2 * ten - key_bytes(&key(0)));
        assert!(sessions.begin(first, 1, vec![], &[]).is_ok());
        // The least used one makes room, for a new session and for one that grows.
        let third = sessions.begin(0, 0, many(10), &[]).unwrap().id;
        assert_eq!(sessions.begin(second, 1, vec![], &[]), Err(SessionError::NotFound));
        assert!(sessions.begin(third, 1, many(15), &[]).is_ok());
        assert_eq!(sessions.begin(first, 2, vec![], &[]), Err(SessionError::NotFound));
        let forgotten: Vec<Key> = (0..12).map(key).collect();
        assert!(sessions.begin(third, 2, vec![], &forgotten).is_ok());
        assert_eq!(sessions.bytes, 3 * key_bytes(&key(0)));
        // One that is too large is none.
        assert_eq!(sessions.begin(0, 0, many(21), &[]).unwrap().id, 0);
        assert_eq!(sessions.begin(third, 3, many(21), &[]).unwrap().partitions.len(), 21);
        assert_eq!(sessions.begin(third, 4, vec![], &[]), Err(SessionError::NotFound));
        assert_eq!(sessions.bytes, 0);
    }
}
