//! Records of one connection that are born on schedule, and wait for others to share a request with: until it is full, or its first
//! record has waited for as long as it may.

use crate::schedule::Schedule;

/// The requests of a connection as they come due. When requests have to wait for the broker, those that are due go together, as
/// far as one request has room.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Records of a request at most.
    full: usize,
    linger_ns: u64,
    /// The first record that is in no request yet.
    made: Schedule,
    /// Records from there on that are due to be sent.
    due: u64,
    next: Forming,
}

/// The request whose time comes next.
#[derive(Clone, Debug)]
struct Forming {
    /// From its first record on, and from the first one behind it.
    from: Schedule,
    behind: Schedule,
    records: u64,
    ready_ns: u64,
}

impl Forming {
    fn new(from: Schedule, full: usize, linger_ns: u64) -> Forming {
        let mut behind = from.clone();
        let until_ns = from.intended_ns().saturating_add(linger_ns);
        let (mut records, mut last_ns) = (0, 0);
        while records < full && (records == 0 || behind.intended_ns() <= until_ns) {
            last_ns = behind.intended_ns();
            behind.advance();
            records += 1;
        }
        let ready_ns = if records == full { last_ns } else { until_ns };
        Forming { from, behind, records: records as u64, ready_ns }
    }
}

impl Stream {
    pub fn new(schedule: Schedule, full: usize, linger_ns: u64) -> Stream {
        assert!(full > 0);
        let next = Forming::new(schedule.clone(), full, linger_ns);
        Stream { full, linger_ns, made: schedule, due: 0, next }
    }

    /// Records that are due and in no request yet.
    pub fn due(&self) -> u64 {
        self.due
    }

    /// When the next request is due that is not noticed to be.
    pub fn next_ns(&self) -> u64 {
        self.next.ready_ns
    }

    /// Takes notice of the next request; gives when it was due.
    pub fn notice(&mut self) -> u64 {
        let ready_ns = self.next.ready_ns;
        self.due += self.next.records;
        self.next = Forming::new(self.next.behind.clone(), self.full, self.linger_ns);
        ready_ns
    }

    /// All that is born before the end is due, and nothing else any more.
    pub fn close(&mut self, end_ns: u64) {
        let mut from = self.next.from.clone();
        while from.intended_ns() < end_ns {
            from.advance();
            self.due += 1;
        }
        self.next = Forming { ready_ns: u64::MAX, records: 0, behind: from.clone(), from };
    }

    /// When the records of a request that is made of what is due were born; none if nothing is.
    pub fn births(&self, births: &mut Vec<u64>) {
        let mut made = self.made.clone();
        for _ in 0..self.due.min(self.full as u64) {
            births.push(made.intended_ns());
            made.advance();
        }
    }

    /// That request is made.
    pub fn make(&mut self, records: usize) {
        assert!(records as u64 <= self.due);
        self.due -= records as u64;
        (0..records).for_each(|_| self.made.advance());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Arrival, Pace, Rate};

    const MS: u64 = 1_000_000;

    /// A record each millisecond.
    fn stream(full: usize, linger_ms: u64) -> Stream {
        let pace = Pace::new(Rate::constant(1000.0), Arrival::Even, 1, 0);
        Stream::new(pace.schedule(0, 1), full, linger_ms * MS)
    }

    fn births(stream: &mut Stream) -> Vec<u64> {
        let mut births = Vec::new();
        stream.births(&mut births);
        stream.make(births.len());
        births.iter().map(|ns| ns / MS).collect()
    }

    #[test]
    fn a_request_waits_until_it_is_full_or_its_first_record_has_lingered() {
        for (full, linger_ms, first, second) in [(4, 100, 3, 7), (100, 5, 5, 11), (100, 0, 0, 1), (1, 100, 0, 1)] {
            let mut stream = stream(full, linger_ms);
            assert_eq!((stream.next_ns(), stream.due), (first * MS, 0));
            assert_eq!((stream.notice(), stream.next_ns()), (first * MS, second * MS));
            assert_eq!(births(&mut stream), (0..=first).collect::<Vec<_>>(), "{full} {linger_ms}");
            stream.notice();
            assert_eq!(births(&mut stream), (first + 1..=second).collect::<Vec<_>>());
            assert_eq!(births(&mut stream), [0; 0]);
        }
    }

    #[test]
    fn what_waits_for_the_broker_goes_together() {
        let mut stream = stream(10, 2);
        (0..5).for_each(|n| assert_eq!(stream.notice(), (3 * n + 2) * MS));
        assert_eq!(stream.due, 15);
        assert_eq!(births(&mut stream), (0..10).collect::<Vec<_>>());
        assert_eq!(births(&mut stream), (10..15).collect::<Vec<_>>());
    }

    #[test]
    fn at_the_end_nothing_lingers() {
        let mut stream = stream(100, 50);
        stream.close(7 * MS);
        assert_eq!((stream.next_ns(), births(&mut stream)), (u64::MAX, (0..7).collect()));
        stream.close(7 * MS);
        assert_eq!(stream.due, 0, "once");
    }
}
