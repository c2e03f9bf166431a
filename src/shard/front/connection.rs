//! One client connection: its requests in progress, answered in the order in which they came.

use crate::shard::context::Caller;
use crate::types::RequestId;
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};

/// A request's place in its connection's order.
pub type Slot = u64;

#[derive(Debug)]
pub struct Connection {
    /// Which of the node's listeners it came through.
    pub listener: usize,
    pub caller: Caller,
    slots: VecDeque<Option<Vec<Bytes>>>,
    slot_first: Slot,
    /// Of answers that wait for an older one.
    waiting_bytes: usize,
    /// Bytes of answers that have been put out and not yet taken.
    leaving_bytes: usize,
    /// Bytes that answers under way may take, as far as that is known.
    pub expected_bytes: usize,
    /// Why the connection is closed once all its requests are answered; no more are taken.
    pub closing: Option<String>,
    /// Its requests that others help to answer. They end with it.
    pub requests: BTreeSet<RequestId>,
}

impl Connection {
    pub fn new(listener: usize, caller: Caller) -> Connection {
        Connection {
            listener,
            caller,
            slots: VecDeque::new(),
            slot_first: 0,
            waiting_bytes: 0,
            leaving_bytes: 0,
            expected_bytes: 0,
            closing: None,
            requests: BTreeSet::new(),
        }
    }

    /// Requests that are not answered, or whose answer waits for an older one.
    pub fn unanswered(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of answers that are being made, wait for an older one, or have not left the shard.
    pub fn answer_bytes(&self) -> usize {
        self.waiting_bytes + self.leaving_bytes + self.expected_bytes
    }

    /// Notes an answer that has been put out. Returns whether it is the first one since [`Connection::left`].
    pub fn put_out(&mut self, bytes: usize) -> bool {
        let first = self.leaving_bytes == 0;
        self.leaving_bytes += bytes;
        first
    }

    /// Notes that all answers that were put out have left the shard.
    pub fn left(&mut self) {
        self.leaving_bytes = 0;
    }

    pub fn begin(&mut self) -> Slot {
        self.slots.push_back(None);
        self.slot_first + self.slots.len() as u64 - 1
    }

    /// The answer of a request; returns the answers that may leave, in order.
    pub fn finish(&mut self, slot: Slot, response: Vec<Bytes>) -> Vec<Vec<Bytes>> {
        assert!(slot >= self.slot_first, "a request is answered once");
        let at = (slot - self.slot_first) as usize;
        assert!(self.slots[at].is_none(), "a request is answered once");
        let bytes = |response: &[Bytes]| response.iter().map(Bytes::len).sum::<usize>();
        self.waiting_bytes += bytes(&response);
        self.slots[at] = Some(response);
        let mut ready = Vec::new();
        while let Some(Some(_)) = self.slots.front() {
            ready.extend(self.slots.pop_front().flatten());
            self.slot_first += 1;
        }
        self.waiting_bytes -= ready.iter().map(|response| bytes(response)).sum::<usize>();
        if self.slots.is_empty() && self.slots.capacity() > 16 {
            self.slots = VecDeque::new();
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::context::Principal;
    use std::net::Ipv4Addr;

    #[test]
    fn answers_leave_in_the_order_of_requests() {
        let mut connection =
            Connection::new(0, Caller { address: Ipv4Addr::LOCALHOST.into(), principal: Principal::Anonymous });
        let slots: Vec<Slot> = (0..3).map(|_| connection.begin()).collect();
        let answer = |text: &'static str| vec![Bytes::from_static(text.as_bytes())];
        assert!(connection.finish(slots[2], answer("c")).is_empty());
        assert_eq!(connection.finish(slots[0], answer("a")), [answer("a")]);
        assert_eq!(connection.finish(slots[1], answer("b")), [answer("b"), answer("c")]);
        assert_eq!(connection.unanswered(), 0);
        let slot = connection.begin();
        assert_eq!(connection.finish(slot, answer("d")), [answer("d")]);
    }

    #[test]
    fn an_answer_counts_until_it_has_left() {
        let mut connection =
            Connection::new(0, Caller { address: Ipv4Addr::LOCALHOST.into(), principal: Principal::Anonymous });
        assert!(connection.put_out(10) && !connection.put_out(20));
        assert_eq!(connection.answer_bytes(), 30);
        connection.left();
        assert_eq!(connection.answer_bytes(), 0);
        assert!(connection.put_out(1));
    }
}
