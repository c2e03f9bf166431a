//! The requests of one connection: their numbers, which of them are under way, and until when they may be answered.

use crate::types::Time;
use crate::wire::codec::{Reader, Writer};
use crate::wire::frame::request_frame;
use crate::wire::messages::{ApiKey, ResponseHeader};
use bytes::Bytes;
use std::collections::VecDeque;

/// Why a frame is not the answer that is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mismatch {
    /// The response header cannot be decoded.
    Unreadable,
    /// It carries the number of another request.
    AnotherRequest,
    /// No request waits for an answer.
    NoRequest,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Mismatch::Unreadable => "an answer that cannot be read",
            Mismatch::AnotherRequest => "the answer to another request",
            Mismatch::NoRequest => "an answer to no request",
        })
    }
}

impl std::error::Error for Mismatch {}

/// A request without its answer.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Waiting<T> {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    sent: Time,
    deadline: Time,
    what: T,
}

/// A request whose answer has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered<T> {
    /// The API of the request.
    pub api: ApiKey,
    /// The version of the request, in which the answer comes.
    pub version: i16,
    /// When the request was begun.
    pub sent: Time,
    /// What the request was begun with.
    pub what: T,
    /// Where the answer's body begins in its frame.
    pub body_start: usize,
}

/// The requests of one connection. Brokers answer in the order in which they were asked.
#[derive(Debug)]
pub struct Requests<T> {
    last_id: i32,
    waiting: VecDeque<Waiting<T>>,
}

impl<T> Default for Requests<T> {
    fn default() -> Self {
        Requests { last_id: 0, waiting: VecDeque::new() }
    }
}

impl<T> Requests<T> {
    /// Gives a request its number; `what` comes back with the answer, which may take until `deadline`.
    pub fn begin(&mut self, (api, version): (ApiKey, i16), (now, deadline): (Time, Time), what: T) -> i32 {
        self.last_id = self.last_id.wrapping_add(1);
        let correlation_id = self.last_id;
        self.waiting.push_back(Waiting { api, version, correlation_id, sent: now, deadline, what });
        correlation_id
    }

    /// Begins a request; gives its frame, whose body `encode` writes.
    pub fn frame(
        &mut self,
        of: (ApiKey, i16),
        times: (Time, Time),
        client_id: &str,
        what: T,
        encode: impl FnOnce(&mut Writer),
    ) -> Vec<Bytes> {
        let correlation_id = self.begin(of, times, what);
        request_frame(of.0, of.1, correlation_id, Some(client_id), encode)
    }

    /// Takes a frame, which has no length in front, for the answer to the oldest request. That stays under way if it is not.
    pub fn answered(&mut self, frame: &[u8]) -> Result<Answered<T>, Mismatch> {
        let Waiting { api, version, correlation_id, .. } = self.waiting.front().ok_or(Mismatch::NoRequest)?;
        let mut reader = Reader::new(frame);
        match ResponseHeader::decode(&mut reader, api.header_versions(*version).1) {
            Ok(header) if header.correlation_id == *correlation_id => {}
            Ok(_) => return Err(Mismatch::AnotherRequest),
            Err(_) => return Err(Mismatch::Unreadable),
        }
        let Waiting { api, version, sent, what, .. } = self.waiting.pop_front().expect("it is the front");
        Ok(Answered { api, version, sent, what, body_start: frame.len() - reader.remaining() })
    }

    /// Takes back the oldest request, which is not answered: Produce with acks 0.
    pub fn unanswered(&mut self) -> Option<T> {
        self.waiting.pop_front().map(|waiting| waiting.what)
    }

    /// Until when the oldest request may be answered; the end of time if there is none.
    pub fn deadline(&self) -> Time {
        self.waiting.front().map_or(Time(u64::MAX), |waiting| waiting.deadline)
    }

    /// The number of requests without an answer.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The connection is gone: what was under way, which may or may not have been done.
    pub fn give_up(&mut self) -> impl Iterator<Item = T> {
        self.waiting.drain(..).map(|waiting| waiting.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(id: i32, tags: &[u8]) -> Vec<u8> {
        [&id.to_be_bytes()[..], tags, b"body"].concat()
    }

    #[test]
    fn answers_belong_to_their_requests() {
        let mut requests = Requests { last_id: i32::MAX, ..Default::default() };
        // Heads of answers are flexible since a version of each API: Metadata's since 9.
        let mut ask = |version, what| {
            requests.frame((ApiKey::Metadata, version), (Time(5), Time(9)), "test", what, |_| {}).concat()
        };
        assert_eq!(ask(8, "old")[8..12], i32::MIN.to_be_bytes(), "numbers go round");
        ask(9, "new");
        let old = requests.answered(&head(i32::MIN, &[])).unwrap();
        assert_eq!((old.what, old.version, old.sent, old.body_start), ("old", 8, Time(5), 4));
        assert_eq!(requests.answered(&head(i32::MIN + 1, &[0])).unwrap().body_start, 5);
        assert_eq!(requests.answered(&head(i32::MIN + 2, &[0])), Err(Mismatch::NoRequest));
    }

    #[test]
    fn other_frames_are_no_answers() {
        let mut requests = Requests::default();
        requests.begin((ApiKey::Metadata, 9), (Time(0), Time(1)), ());
        requests.begin((ApiKey::Metadata, 9), (Time(0), Time(1)), ());
        assert_eq!(requests.answered(&head(2, &[0])), Err(Mismatch::AnotherRequest));
        assert_eq!(requests.answered(&[0, 0]), Err(Mismatch::Unreadable));
        assert_eq!(requests.len(), 2, "neither is answered");
    }

    #[test]
    fn the_oldest_request_has_the_deadline() {
        let mut requests = Requests::default();
        assert_eq!(requests.deadline(), Time(u64::MAX));
        for (what, deadline) in [(1, 10), (2, 20), (3, 30)] {
            requests.begin((ApiKey::Fetch, 12), (Time(0), Time(deadline)), what);
        }
        assert_eq!((requests.deadline(), requests.unanswered(), requests.deadline()), (Time(10), Some(1), Time(20)));
        assert_eq!((requests.len(), requests.give_up().collect::<Vec<_>>()), (2, vec![2, 3]));
        assert!(requests.is_empty() && requests.deadline() == Time(u64::MAX));
    }
}
