//! The memory of one core by purpose: what each may use, what all together may, and what they use.
//!
//! A buffer is counted for what it pins, from when it is made until it is gone. Whoever would make one asks first
//! ([`Account::may_take`]); at a limit the peer that causes it waits, or is refused. What records take in a core's tail is
//! counted by [`super::store::Store`].

/// What memory is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Buffers of requests that have not arrived whole.
    Receiving,
    /// Blocks of segments, from when they are read until the last answer that holds a part of them is sent; and those that
    /// are going to be read.
    Reads,
    /// Answers that the sockets have not taken. Blocks of segments are counted here again, and so are records in the tail.
    Outgoing,
    /// Blocks of segments that nobody has asked for yet.
    ReadAhead,
}

const PURPOSES: usize = 4;

/// Counts the memory of a core.
#[derive(Debug)]
pub struct Account {
    limits: [usize; PURPOSES],
    /// Of all purposes together, but that of requests: they come to where there are none.
    common: usize,
    used: [usize; PURPOSES],
}

impl Account {
    /// The account of a core that may hold `memory_bytes` of records (`core.memory.bytes`).
    pub fn new(memory_bytes: usize) -> Account {
        let mut limits = [0; PURPOSES];
        limits[Purpose::Receiving as usize] = memory_bytes / 4;
        limits[Purpose::Reads as usize] = memory_bytes;
        limits[Purpose::Outgoing as usize] = memory_bytes;
        limits[Purpose::ReadAhead as usize] = memory_bytes / 8;
        let common = 2 * memory_bytes - limits[Purpose::Receiving as usize];
        Account { limits, common, used: [0; PURPOSES] }
    }

    /// How much a purpose may take.
    pub fn limit(&self, purpose: Purpose) -> usize {
        self.limits[purpose as usize]
    }

    /// How much a purpose takes.
    pub fn used(&self, purpose: Purpose) -> usize {
        self.used[purpose as usize]
    }

    /// Whether so many bytes more are within the purpose's limit and the common one.
    pub fn may_take(&self, purpose: Purpose, bytes: usize) -> bool {
        self.lacking(purpose, bytes) == (0, 0)
    }

    /// Bytes that must become free before so many more are within the purpose's limit, and within the common one.
    pub fn lacking(&self, purpose: Purpose, bytes: usize) -> (usize, usize) {
        let own = self.used(purpose).saturating_add(bytes).saturating_sub(self.limit(purpose));
        if purpose == Purpose::Receiving {
            return (own, 0);
        }
        let used = self.used.iter().sum::<usize>() - self.used(Purpose::Receiving);
        (own, used.saturating_add(bytes).saturating_sub(self.common))
    }

    /// Counts a buffer that was made.
    pub fn charge(&mut self, purpose: Purpose, bytes: usize) {
        self.used[purpose as usize] += bytes;
    }

    /// Counts a buffer off that is gone.
    pub fn release(&mut self, purpose: Purpose, bytes: usize) {
        let used = &mut self.used[purpose as usize];
        *used = used.checked_sub(bytes).expect("no more is released than was charged");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_has_a_limit() {
        let mut account = Account::new(64 << 20);
        assert!(account.may_take(Purpose::Receiving, 16 << 20));
        assert!(!account.may_take(Purpose::Receiving, (16 << 20) + 1));
        account.charge(Purpose::Receiving, 10 << 20);
        assert!(account.may_take(Purpose::Receiving, 6 << 20) && !account.may_take(Purpose::Receiving, 7 << 20));
        assert!(account.may_take(Purpose::Reads, 64 << 20), "one purpose leaves the others alone");
        account.release(Purpose::Receiving, 10 << 20);
        assert_eq!(account.used(Purpose::Receiving), 0);
    }

    #[test]
    fn all_purposes_have_a_limit_together() {
        let mut account = Account::new(64 << 20);
        account.charge(Purpose::Outgoing, 96 << 20);
        assert!(account.may_take(Purpose::Reads, 16 << 20));
        assert_eq!(account.lacking(Purpose::Reads, 17 << 20), (0, 1 << 20));
        assert_eq!(account.lacking(Purpose::Reads, 65 << 20), (1 << 20, 49 << 20));
        account.charge(Purpose::Reads, 16 << 20);
        assert!(!account.may_take(Purpose::ReadAhead, 1));
        assert!(account.may_take(Purpose::Receiving, 16 << 20), "who writes does not wait for who reads");
    }

    #[test]
    #[should_panic = "no more is released"]
    fn nothing_is_released_twice() {
        let mut account = Account::new(1 << 20);
        account.charge(Purpose::Reads, 5);
        account.release(Purpose::Reads, 6);
    }
}
