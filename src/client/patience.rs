//! When something that failed is tried again, and when no more.

use crate::types::Time;
use std::ops::RangeInclusive;

/// Pauses grow from failure to failure; after so long without a success it is over.
#[derive(Clone, Debug)]
pub struct Patience {
    timeout_ms: u64,
    pauses_ms: RangeInclusive<u64>,
    pause_ms: u64,
    /// When the first failure was, since something last worked.
    since: Option<Time>,
}

impl Patience {
    /// Pauses double from the first to the last of `pauses_ms`.
    pub fn new(timeout_ms: u64, pauses_ms: RangeInclusive<u64>) -> Patience {
        assert!(*pauses_ms.start() > 0, "without a pause a broker that refuses would be asked all the time");
        Patience { timeout_ms, pause_ms: *pauses_ms.start(), pauses_ms, since: None }
    }

    /// Something worked.
    pub fn renew(&mut self) {
        self.since = None;
        self.pause_ms = *self.pauses_ms.start();
    }

    /// Something failed: when to try again; `None` if the time is over.
    pub fn failed(&mut self, now: Time) -> Option<Time> {
        let end = self.since.get_or_insert(now).after_ms(self.timeout_ms);
        if now >= end {
            return None;
        }
        let at = now.after_ms(self.pause_ms).min(end);
        self.pause_ms = (2 * self.pause_ms).min(*self.pauses_ms.end());
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_the_time_is_over() {
        let at = |ms: u64| Time(0).after_ms(ms);
        let mut patience = Patience::new(100, 10..=40);
        let mut now = at(5);
        let mut tried = Vec::new();
        while let Some(next) = patience.failed(now) {
            tried.push(next);
            now = next;
        }
        assert_eq!(tried, [15, 35, 75, 105].map(at), "the last attempt is made at the end");
        patience.renew();
        assert_eq!(patience.failed(now), Some(at(115)));
    }
}
