//! The metadata log of a node that is alone: what is synced is committed.
//!
//! The log is a row of files of which the last one is written. Zeros are written behind its end before they are needed,
//! so that an append changes neither the file's length nor its blocks: on a full disk the room that is there can still be
//! written. Its last part, [`RESERVE_BYTES`], is for decisions that free space. A snapshot begins a new file, and the
//! files before it go when no entry behind the *former* snapshot is in them.

use super::decided::{Body, DecidedLog, Entry, NotLeader, Role};
use super::log::{self, FRAME_HEADER_BYTES, Frame, HEADER_BYTES, Kind};
use std::collections::VecDeque;

/// How much the room of a file grows at a time, at least.
const ROOM_STEP_BYTES: u64 = 1 << 20;
/// Room that only decisions that free space may use: thousands of deletions.
const RESERVE_BYTES: u64 = 256 << 10;
/// An append takes no further entry when it holds so many bytes.
const APPEND_BYTES_MAX: usize = 4 << 20;
/// A snapshot is due when the last file is longer than this and than the last snapshot, so recovery reads at most about
/// three times what the image needs.
pub const SNAPSHOT_LOG_BYTES: u64 = 16 << 20;

/// A write to the log, to be synced before it is answered. `file` is the index of the entry before the file's first, of
/// which [`log::file_name`] makes its name.
#[derive(Debug, PartialEq, Eq)]
pub enum Write {
    /// Makes a file of `bytes` and zeros up to `room`, then removes the files `remove`; one that cannot be removed does
    /// no harm. If the new file cannot be made, nothing is left of it.
    Begin {
        /// The new file.
        file: u64,
        /// What it begins with.
        bytes: Vec<u8>,
        /// How long it becomes.
        room: u64,
        /// Files that go afterwards.
        remove: Vec<u64>,
    },
    /// Writes zeros from `from` to `to`. If there is no space for all of them, the file is cut to `from` again.
    Grow {
        /// The file that grows.
        file: u64,
        /// How long it is.
        from: u64,
        /// How long it becomes.
        to: u64,
    },
    /// Writes `bytes` at `position`. If there is no space for them, the file is cut to `position`.
    Append {
        /// The file that is written.
        file: u64,
        /// Where its entries end.
        position: u64,
        /// The next entries.
        bytes: Vec<u8>,
    },
}

/// What came of a [`Write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The bytes are durable.
    Synced,
    /// There was no space; the file is as long as it was.
    Full,
    /// Nobody knows what the file holds.
    Failed,
}

/// A file of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogFile {
    /// Index of the entry before its first.
    pub index_before: u64,
    /// Up to here it holds entries.
    pub bytes: u64,
    /// Up to here it is written.
    pub room: u64,
}

#[derive(Debug)]
enum Writing {
    Begin(LogFile, Vec<u64>),
    Grow { to: u64 },
    Append { entries: Vec<Entry>, bytes: u64 },
}

#[derive(Debug)]
struct Pending {
    entry: Entry,
    frees: bool,
}

impl Pending {
    fn bytes(&self) -> usize {
        FRAME_HEADER_BYTES + payload(&self.entry).len()
    }
}

fn payload(entry: &Entry) -> &[u8] {
    match &entry.body {
        Body::TermBegins => b"",
        Body::Records(records) => records,
    }
}

/// The log of a cluster of one.
#[derive(Debug)]
pub struct Alone {
    role: Role,
    term: u64,
    index_last: u64,
    index_committed: u64,
    /// The term of the last entry that is committed.
    term_committed: u64,
    /// Entries that nothing has begun to write, in order.
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    writing: Option<Writing>,
    committed: Vec<Entry>,
    /// In order; the last one is written.
    files: VecDeque<LogFile>,
    /// The next append goes to a new file.
    begins: bool,
    /// The last attempt to get more room found none.
    full: bool,
    /// The entry up to which a snapshot is in its place.
    snapshot_index: u64,
    /// Files that begin before this entry go with the next new file.
    keep_from: u64,
    /// Length of the last file at which a snapshot is due.
    snapshot_log_bytes: u64,
}

impl Alone {
    /// The log of a node that has recovered. `last` is the index and term of its last entry; `snapshot` the index of
    /// the last snapshot and its bytes. The node leads it, in a new term.
    pub(super) fn new(last: (u64, u64), files: VecDeque<LogFile>, snapshot: (u64, u64)) -> Alone {
        let ((index, term), (snapshot_index, snapshot_bytes)) = (last, snapshot);
        let mut log = Alone {
            role: Role::Follower,
            term,
            index_last: index,
            index_committed: index,
            term_committed: term,
            pending: VecDeque::new(),
            pending_bytes: 0,
            writing: None,
            committed: Vec::new(),
            begins: files.is_empty(),
            files,
            full: false,
            snapshot_index,
            keep_from: snapshot_index,
            snapshot_log_bytes: SNAPSHOT_LOG_BYTES.max(snapshot_bytes),
        };
        log.lead();
        log
    }

    /// Takes the lead in a new term.
    pub fn lead(&mut self) {
        assert_eq!(self.role, Role::Follower);
        self.term += 1;
        self.role = Role::Leader { term: self.term, index_first: self.index_last + 1 };
        self.push(Body::TermBegins, true);
    }

    fn push(&mut self, body: Body, frees: bool) -> u64 {
        self.index_last += 1;
        let entry = Entry { index: self.index_last, term: self.term, body };
        let pending = Pending { entry, frees };
        self.pending_bytes += pending.bytes();
        self.pending.push_back(pending);
        self.index_last
    }

    /// The next write; `None` while nothing is to be written, or a write is under way. The shell answers with
    /// [`Alone::written`].
    pub fn plan_write(&mut self) -> Option<Write> {
        if self.writing.is_some() || self.pending.is_empty() {
            return None;
        }
        assert_ne!(self.role, Role::Failed);
        if self.begins {
            return Some(self.plan_begin());
        }
        let file = *self.files.back().expect("a log that begins no file has one");
        let (mut count, mut bytes) = (0, 0);
        while count < self.pending.len() && bytes < APPEND_BYTES_MAX {
            bytes += self.pending[count].bytes();
            count += 1;
        }
        let end = file.bytes + bytes as u64;
        if end + RESERVE_BYTES > file.room {
            let urgent = if self.full { self.urgent(file) } else { 0 };
            if urgent == 0 {
                let to = (end + RESERVE_BYTES + ROOM_STEP_BYTES).next_multiple_of(ROOM_STEP_BYTES);
                self.writing = Some(Writing::Grow { to });
                return Some(Write::Grow { file: file.index_before, from: file.room, to });
            }
            count = urgent;
        }
        Some(self.plan_append(file, count))
    }

    /// How many of the pending entries, from the first on, free space and fit into the room that there is.
    fn urgent(&self, file: LogFile) -> usize {
        let mut end = file.bytes;
        let fits = |pending: &&Pending| {
            end += pending.bytes() as u64;
            pending.frees && end <= file.room
        };
        self.pending.iter().take_while(fits).count()
    }

    fn plan_begin(&mut self) -> Write {
        let index_before = self.index_committed;
        let bytes = log::encode_log_header(index_before, self.term_committed).to_vec();
        let room = ROOM_STEP_BYTES;
        // A file is needed if an entry behind the former snapshot is in it, which the file behind it tells.
        let last_needed = self.files.iter().skip(1).filter(|next| next.index_before <= self.keep_from).count();
        let remove: Vec<u64> = self.files.iter().take(last_needed).map(|file| file.index_before).collect();
        let file = LogFile { index_before, bytes: bytes.len() as u64, room };
        self.writing = Some(Writing::Begin(file, remove.clone()));
        Write::Begin { file: index_before, bytes, room, remove }
    }

    fn plan_append(&mut self, file: LogFile, count: usize) -> Write {
        assert!(count > 0 && file.bytes >= HEADER_BYTES as u64);
        let mut bytes = Vec::new();
        let entries: Vec<Entry> = self.pending.drain(..count).map(|pending| pending.entry).collect();
        for entry in &entries {
            let kind = match entry.body {
                Body::TermBegins => Kind::TermBegins,
                Body::Records(_) => Kind::Records,
            };
            let index_synced = self.index_committed;
            Frame { index: entry.index, index_synced, term: entry.term, kind, payload: payload(entry) }
                .encode(&mut bytes);
        }
        self.pending_bytes -= bytes.len();
        assert!(file.bytes + bytes.len() as u64 <= file.room);
        self.writing = Some(Writing::Append { entries, bytes: bytes.len() as u64 });
        Write::Append { file: file.index_before, position: file.bytes, bytes }
    }

    /// Takes what came of the write that was under way. Returns whether proposed entries are lost.
    pub fn written(&mut self, written: Written) -> bool {
        let writing = self.writing.take().expect("a write is under way");
        match (writing, written) {
            (Writing::Begin(file, removed), Written::Synced) => {
                self.files.retain(|file| !removed.contains(&file.index_before));
                self.files.push_back(file);
                self.begins = false;
                false
            }
            // The file before goes on.
            (Writing::Begin(..), _) if !self.files.is_empty() => {
                self.begins = false;
                self.snapshot_failed();
                false
            }
            (Writing::Begin(..), Written::Full) => self.lose(),
            (Writing::Grow { to }, Written::Synced) => {
                self.files.back_mut().expect("it has grown").room = to;
                self.full = false;
                false
            }
            (Writing::Grow { .. }, Written::Full) => {
                self.full = true;
                self.lose()
            }
            (Writing::Append { entries, bytes }, Written::Synced) => {
                self.files.back_mut().expect("it was written").bytes += bytes;
                let last = entries.last().expect("an append holds entries");
                assert!(last.index > self.index_committed);
                (self.index_committed, self.term_committed) = (last.index, last.term);
                self.committed.extend(entries);
                false
            }
            (Writing::Append { .. }, Written::Full) => {
                let file = self.files.back_mut().expect("it was written");
                file.room = file.bytes;
                self.full = true;
                self.lose()
            }
            (_, Written::Failed) => {
                self.role = Role::Failed;
                self.lose()
            }
        }
    }

    /// Forgets the entries that are not committed. Nothing of them is in the file, so their indexes can be used again.
    fn lose(&mut self) -> bool {
        self.pending.clear();
        self.pending_bytes = 0;
        self.index_last = self.index_committed;
        if let Role::Leader { term, index_first } = &mut self.role
            && *index_first > self.index_committed
        {
            *index_first = self.index_last + 1;
            assert_eq!(*term, self.term);
            self.push(Body::TermBegins, true);
        }
        true
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        let writing = match &self.writing {
            Some(Writing::Append { entries, .. }) => entries.len() as u64,
            _ => 0,
        };
        assert_eq!(self.index_last, self.index_committed + writing + self.pending.len() as u64);
        assert_eq!(self.pending_bytes, self.pending.iter().map(Pending::bytes).sum::<usize>());
        assert!(self.files.iter().all(|file| file.bytes <= file.room && file.bytes >= HEADER_BYTES as u64));
        let starts: Vec<u64> = self.files.iter().map(|file| file.index_before).collect();
        assert!(starts.is_sorted_by(|a, b| a < b) && self.snapshot_index <= self.index_committed);
        assert!(starts.first().is_none_or(|first| *first <= self.keep_from), "entries behind the former snapshot stay");
    }
}

impl DecidedLog for Alone {
    fn role(&self) -> Role {
        self.role
    }

    fn index_last(&self) -> u64 {
        self.index_last
    }

    fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    fn reserve_bytes(&self) -> usize {
        let file = self.files.back().filter(|_| !self.begins);
        let room = file.map_or(0, |file| (file.room - file.bytes) as usize);
        let writing = match &self.writing {
            Some(Writing::Append { bytes, .. }) => *bytes as usize,
            _ => 0,
        };
        room.saturating_sub(self.pending_bytes + writing + FRAME_HEADER_BYTES)
    }

    fn propose(&mut self, records: Vec<u8>, frees: bool) -> Result<u64, NotLeader> {
        match self.role {
            Role::Leader { .. } => Ok(self.push(Body::Records(records), frees)),
            Role::Follower | Role::Failed => Err(NotLeader),
        }
    }

    fn take_committed(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.committed)
    }

    /// Gives up leadership. Entries of an append that is under way are still committed if it succeeds.
    fn resign(&mut self) {
        if let Role::Leader { .. } = self.role {
            self.index_last -= self.pending.len() as u64;
            self.pending.clear();
            self.pending_bytes = 0;
            self.role = Role::Follower;
        }
    }

    fn is_snapshot_due(&self) -> bool {
        let long = self.files.back().is_some_and(|file| file.bytes > self.snapshot_log_bytes);
        long && !self.begins && self.role != Role::Failed
    }

    fn snapshot_made(&mut self, index: u64, bytes: u64) {
        assert!(index >= self.snapshot_index && index <= self.index_committed);
        self.keep_from = self.snapshot_index;
        self.snapshot_index = index;
        self.begins = true;
        self.snapshot_log_bytes = SNAPSHOT_LOG_BYTES.max(bytes);
    }

    fn snapshot_failed(&mut self) {
        self.snapshot_log_bytes += self.files.back().map_or(0, |file| file.bytes);
    }
}
