//! Values that say whose they are, when they ought to have been sent, and which they are; and the book of what became of each.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

/// Bytes of a mark, at the front of a value.
pub const MARK_BYTES: usize = 24;
/// Bits of a number that tell the records of one connection apart; those above tell the connection.
const NUMBER_BITS: u32 = 40;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    pub run_id: u64,
    pub intended_ns: u64,
    pub number: u64,
}

impl Mark {
    pub fn write(&self, value: &mut [u8]) {
        let fields = [self.run_id, self.intended_ns, self.number];
        for (place, field) in value[..MARK_BYTES].chunks_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_be_bytes());
        }
    }

    pub fn read(value: &[u8]) -> Option<Mark> {
        let field = |i: usize| Some(u64::from_be_bytes(value.get(8 * i..8 * i + 8)?.try_into().ok()?));
        Some(Mark { run_id: field(0)?, intended_ns: field(1)?, number: field(2)? })
    }
}

const ACKNOWLEDGED: u8 = 1;
const SEEN: u8 = 2;

/// The records of one connection, in the order in which they were sent.
#[derive(Default)]
struct Page {
    /// When each ought to have been sent.
    intended_ns: Vec<u64>,
    /// What became of each record.
    flags: Vec<u8>,
}

/// What became of the records of a run, shared by those who write and those who read.
pub struct Book {
    run_id: u64,
    pages: Vec<Mutex<Page>>,
    /// Records that are acknowledged and have not been read.
    awaited: AtomicI64,
    /// Records that were read, each counted once, and further copies of them.
    delivered: AtomicU64,
    duplicated: AtomicU64,
    /// Records that were read and bear a number that was never sent.
    unknown: AtomicU64,
}

impl Book {
    pub fn new(run_id: u64, connections: usize) -> Book {
        Book {
            run_id,
            pages: (0..connections).map(|_| Mutex::default()).collect(),
            awaited: AtomicI64::new(0),
            delivered: AtomicU64::new(0),
            duplicated: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
        }
    }

    pub fn run_id(&self) -> u64 {
        self.run_id
    }

    fn page(&self, connection: usize) -> MutexGuard<'_, Page> {
        self.pages[connection].lock().expect("no thread panics while it holds a page")
    }

    /// A connection sends a request, whose records ought to have been sent at these times: the number of the first one, behind
    /// which the others follow.
    pub fn send(&self, connection: usize, intended_ns: impl Iterator<Item = u64>) -> u64 {
        let mut page = self.page(connection);
        let first = page.flags.len();
        page.intended_ns.extend(intended_ns);
        let end = page.intended_ns.len();
        page.flags.resize(end, 0);
        (connection as u64) << NUMBER_BITS | first as u64
    }

    /// The request whose first record has this number was acknowledged.
    pub fn acknowledge(&self, first: u64, records: usize) {
        let mut page = self.page((first >> NUMBER_BITS) as usize);
        let start = (first & ((1 << NUMBER_BITS) - 1)) as usize;
        let mut unseen = 0;
        for flags in &mut page.flags[start..start + records] {
            unseen += i64::from(*flags & SEEN == 0);
            *flags |= ACKNOWLEDGED;
        }
        self.awaited.fetch_add(unseen, Ordering::SeqCst);
    }

    /// A record was read; gives whether for the first time.
    pub fn see(&self, number: u64) -> bool {
        let (connection, index) = ((number >> NUMBER_BITS) as usize, (number & ((1 << NUMBER_BITS) - 1)) as usize);
        let mut page = self.pages.get(connection).map(|_| self.page(connection));
        let Some(flags) = page.as_mut().and_then(|page| page.flags.get_mut(index)) else {
            self.unknown.fetch_add(1, Ordering::SeqCst);
            return false;
        };
        if *flags & SEEN != 0 {
            self.duplicated.fetch_add(1, Ordering::SeqCst);
            return false;
        }
        *flags |= SEEN;
        self.awaited.fetch_sub(i64::from(*flags & ACKNOWLEDGED), Ordering::SeqCst);
        self.delivered.fetch_add(1, Ordering::SeqCst);
        true
    }

    /// Records that are acknowledged and have not been read.
    pub fn awaited(&self) -> u64 {
        u64::try_from(self.awaited.load(Ordering::SeqCst)).unwrap_or(0)
    }

    /// Records that were read, further copies, and records that nobody sent.
    pub fn counts(&self) -> (u64, u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        (count(&self.delivered), count(&self.duplicated), count(&self.unknown))
    }

    /// Tells of each record that was sent and not read when it ought to have been sent.
    pub fn unseen(&self, mut tell: impl FnMut(u64)) {
        for connection in 0..self.pages.len() {
            let page = self.page(connection);
            let records = page.flags.iter().zip(&page.intended_ns);
            records.filter(|(flags, _)| **flags & SEEN == 0).for_each(|(_, intended_ns)| tell(*intended_ns));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_back() {
        let mark = Mark { run_id: 1, intended_ns: u64::MAX, number: 3 };
        let mut value = [0; MARK_BYTES + 5];
        mark.write(&mut value);
        assert_eq!(Mark::read(&value), Some(mark));
        assert_eq!(Mark::read(&value[..MARK_BYTES - 1]), None);
    }

    #[test]
    fn a_lost_and_a_doubled_record_do_not_cancel_out() {
        let book = Book::new(7, 2);
        let first = book.send(1, [500; 6].into_iter());
        assert_eq!(first, 1 << NUMBER_BITS);
        let second = book.send(1, [900; 3].into_iter());
        assert_eq!(second, first + 6);
        // An answer may come after the record.
        assert!(book.see(first) && book.see(first + 1));
        book.acknowledge(first, 6);
        assert_eq!(book.awaited(), 4);
        assert!(!book.see(first + 1) && book.see(first + 3) && book.see(first + 4));
        assert!(!book.see(second + 3) && !book.see(9 << NUMBER_BITS) && !book.see(0));
        assert_eq!((book.awaited(), book.counts()), (2, (4, 1, 3)));
        let mut unseen = Vec::new();
        book.unseen(|intended_ns| unseen.push(intended_ns));
        assert_eq!(unseen, [500, 500, 900, 900, 900]);
    }
}
