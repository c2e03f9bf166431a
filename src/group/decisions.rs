//! Decisions of a coordinator whose records are not durable: the records in their order, and what follows when they are.

use super::Response;
use super::Ticket;
use super::record::Record;
use crate::wire::error::ErrorCode;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Appends of one coordinator, counted from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct AppendId(pub u64);

/// Records to append to the coordinator's partition as one batch. Answered by `Coordinator::appended`, in order.
#[derive(Debug)]
pub struct Append<'a> {
    /// Its number, which the answer repeats.
    pub id: AppendId,
    /// The records, one at least.
    pub records: &'a [Record],
}

/// What follows when all records of a decision are durable, or one of them could not be appended.
#[derive(Debug)]
pub(super) enum Then {
    Nothing {
        group: Arc<str>,
    },
    /// The response is sent. Its partitions, groups or topics without an error are what was decided.
    Answer {
        ticket: Ticket,
        response: Response,
    },
    /// The generation's shares, as its leader gave them, are handed out.
    Assign {
        group: Arc<str>,
        generation: i32,
        assignments: BTreeMap<Arc<str>, Bytes>,
    },
    /// A static member has a new id.
    Replace {
        group: Arc<str>,
        generation: i32,
        replacement: Replacement,
    },
}

#[derive(Debug)]
pub(super) struct Replacement {
    pub ticket: Ticket,
    pub member_new: Arc<str>,
    pub member_old: Arc<str>,
    pub leader_old: Option<Arc<str>>,
    pub protocols_old: Vec<(Arc<str>, Bytes)>,
    /// The answer can tell the leader that it need not assign anything (KIP-814).
    pub skips: bool,
}

#[derive(Debug)]
struct Waiting {
    /// Numbers of the decision's records.
    start: u64,
    end: u64,
    then: Then,
    failure: Option<ErrorCode>,
}

/// An append that is under way.
#[derive(Debug)]
struct Planned {
    id: AppendId,
    /// The number of its first record.
    start: u64,
    records: Vec<Record>,
}

#[derive(Debug, Default)]
pub(super) struct Decisions {
    gathered: VecDeque<Record>,
    appends: VecDeque<Planned>,
    waiting: VecDeque<Waiting>,
    /// Bytes of all records that are decided and not durable.
    bytes: usize,
    /// How many records were ever decided, and how many of those are over: durable or failed.
    number_decided: u64,
    number_over: u64,
    appends_planned: u64,
}

impl Decisions {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many records were ever decided: the next one has this number.
    pub fn number_decided(&self) -> u64 {
        self.number_decided
    }

    /// How many of them are over: durable or failed. They have the numbers below this one.
    pub fn number_over(&self) -> u64 {
        self.number_over
    }

    /// The record of this number, which waits for the disk.
    pub fn record(&self, number: u64) -> &Record {
        assert!((self.number_over..self.number_decided).contains(&number));
        let gathered_start = self.number_decided - self.gathered.len() as u64;
        if let Some(at) = number.checked_sub(gathered_start) {
            return &self.gathered[at as usize];
        }
        let after = self.appends.partition_point(|append| append.start <= number);
        let append = &self.appends[after - 1];
        &append.records[(number - append.start) as usize]
    }

    pub fn decide(&mut self, records: impl IntoIterator<Item = Record>, then: Then) {
        let start = self.number_decided;
        for record in records {
            self.bytes += record.bytes();
            self.number_decided += 1;
            self.gathered.push_back(record);
        }
        assert!(self.number_decided > start, "a decision has records");
        self.waiting.push_back(Waiting { start, end: self.number_decided, then, failure: None });
    }

    /// The next append: what has gathered, up to `bytes_max`.
    pub fn plan(&mut self, bytes_max: usize) -> Option<Append<'_>> {
        let mut bytes = 0;
        let fits = |record: &&Record| {
            bytes += record.bytes();
            bytes <= bytes_max
        };
        let count = self.gathered.iter().take_while(fits).count().max(1).min(self.gathered.len());
        if count == 0 {
            return None;
        }
        let id = AppendId(self.appends_planned);
        self.appends_planned += 1;
        let start = self.number_decided - self.gathered.len() as u64;
        self.appends.push_back(Planned { id, start, records: self.gathered.drain(..count).collect() });
        let planned = self.appends.back().expect("it was just pushed");
        Some(Append { id, records: &planned.records })
    }

    /// The records of the oldest append, which is over.
    pub fn over(&mut self, id: AppendId, failure: Option<ErrorCode>) -> Vec<Record> {
        let Planned { id: oldest, start, records } = self.appends.pop_front().expect("an append is under way");
        assert_eq!(start, self.number_over);
        assert_eq!(oldest, id, "appends end in their order");
        self.number_over += records.len() as u64;
        self.bytes -= records.iter().map(Record::bytes).sum::<usize>();
        if failure.is_some() {
            let number_over = self.number_over;
            let concerned = self.waiting.iter_mut().take_while(|waiting| waiting.start < number_over);
            concerned.for_each(|waiting| waiting.failure = failure);
        }
        records
    }

    /// The next decision whose records are all over, and why it failed, if it did.
    pub fn next_over(&mut self) -> Option<(Then, Option<ErrorCode>)> {
        let waiting = self.waiting.front()?;
        assert!(waiting.start < waiting.end);
        if waiting.end > self.number_over {
            return None;
        }
        let Waiting { then, failure, .. } = self.waiting.pop_front().expect("it is there");
        Some((then, failure))
    }

    /// Gives everything up: nobody will say what became of the records.
    pub fn abandon(&mut self) -> Vec<Then> {
        self.gathered.clear();
        self.appends.clear();
        self.bytes = 0;
        self.number_over = self.number_decided;
        self.waiting.drain(..).map(|waiting| waiting.then).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(bytes: usize) -> Record {
        Record { group: "g".into(), key: Bytes::from(vec![0; bytes]), value: None }
    }

    fn nothing() -> Then {
        Then::Nothing { group: "g".into() }
    }

    #[test]
    fn a_decision_is_over_with_its_last_record() {
        let mut decisions = Decisions::default();
        decisions.decide([record(6), record(6), record(6)], nothing());
        decisions.decide([record(20)], nothing());
        let plan = |decisions: &mut Decisions| decisions.plan(12).map(|append| append.records.len());
        let planned = [(); 4].map(|()| plan(&mut decisions));
        assert_eq!(planned, [Some(2), Some(1), Some(1), None]);
        let bytes: Vec<usize> = (0..4).map(|number| decisions.record(number).bytes()).collect();
        assert_eq!(bytes, [6, 6, 6, 20]);
        decisions.over(AppendId(0), Some(ErrorCode::KafkaStorageError));
        assert!(decisions.next_over().is_none());
        decisions.over(AppendId(1), None);
        assert!(matches!(decisions.next_over(), Some((_, Some(ErrorCode::KafkaStorageError)))));
        assert!(decisions.next_over().is_none());
        decisions.over(AppendId(2), None);
        assert!(matches!(decisions.next_over(), Some((_, None))));
        assert_eq!((decisions.bytes(), decisions.abandon().len()), (0, 0));
    }
}
