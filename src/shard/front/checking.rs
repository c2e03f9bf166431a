//! Work that takes longer than a turn, above all the check of batches that decompress to much.
//!
//! Most batches are checked when they come. A request that takes longer is gone on with in every turn, beside others, so that
//! a batch that decompresses to a gigabyte holds up nobody but its sender: what comes behind it on its connection waits, for
//! batches of a producer are appended in the order in which they were sent.

use crate::log::check::{Check, Checked, Refusal};
use crate::shard::port::ConnectionId;
use crate::shard::rules::TopicRules;
use crate::types::{PartitionId, RequestId, TimestampMs};
use crate::wire::compression::Workspace;
use bytes::BytesMut;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// What a turn spends on such work: nanoseconds, about. As much again goes to requests that arrive before the next
/// turn.
pub const TURN_BUDGET: usize = 1_000_000;
/// How many requests a turn works on. They keep what they have decompressed so far; those behind them begin anew.
pub const ACTIVE_MAX: usize = 4;

/// A batch that is to be checked.
pub struct Unchecked {
    /// Which part of the request it is.
    pub part: usize,
    pub partition: PartitionId,
    pub batch: BytesMut,
    pub rules: Arc<TopicRules>,
}

/// A batch that was checked.
pub struct Outcome {
    pub part: usize,
    pub partition: PartitionId,
    pub rules: Arc<TopicRules>,
    pub result: Result<Checked, Refusal>,
}

/// The batches of one request.
pub struct Batches {
    version: i16,
    wall_ms: TimestampMs,
    left: VecDeque<Unchecked>,
    current: Option<Current>,
    done: Vec<Outcome>,
}

/// A batch whose check is under way.
struct Current {
    part: usize,
    partition: PartitionId,
    rules: Arc<TopicRules>,
    check: Check,
}

impl Batches {
    /// A check of the batches of one request, which is of `version` and arrived at `wall_ms`.
    pub fn new(version: i16, wall_ms: TimestampMs, batches: VecDeque<Unchecked>) -> Batches {
        Batches { version, wall_ms, left: batches, current: None, done: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.left.is_empty() && self.current.is_none()
    }

    /// Takes the outcomes of the batches that were checked since the last call.
    pub fn take_done(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.done)
    }

    /// Continues the check until all batches are checked (`true`) or `budget` is spent.
    pub fn step(&mut self, workspace: &mut Workspace, budget: &mut usize) -> bool {
        loop {
            if let Some(Current { part, partition, rules, mut check }) = self.current.take() {
                let result = match check.step(&rules.check, workspace, budget) {
                    Ok(false) => {
                        self.current = Some(Current { part, partition, rules, check });
                        return false;
                    }
                    Ok(true) => check.finish(&rules.check, workspace),
                    Err(refusal) => Err(refusal),
                };
                self.done.push(Outcome { part, partition, rules, result });
            }
            if *budget == 0 && !self.left.is_empty() {
                return false;
            }
            let Some(Unchecked { part, partition, batch, rules }) = self.left.pop_front() else { return true };
            *budget = budget.saturating_sub(Check::cost(batch.len()));
            match Check::new(batch, self.version, &rules.check, self.wall_ms) {
                Ok(check) => self.current = Some(Current { part, partition, rules, check }),
                Err(refusal) => self.done.push(Outcome { part, partition, rules, result: Err(refusal) }),
            }
        }
    }

    /// Lets go of what the check under way holds in memory.
    pub fn rest(&mut self, workspace: &mut Workspace) {
        if let Some(current) = &mut self.current {
            current.check.restart(&current.rules.check, workspace);
        }
    }
}

/// A request that has work to do.
#[derive(Clone, Copy)]
struct Busy {
    request: RequestId,
    connection: ConnectionId,
    bytes: usize,
}

/// What comes next on a connection whose frames were held.
pub enum Release {
    /// The frame is to be dealt with, and the next one asked for.
    Frame(BytesMut),
    /// There are no more, and the peer had gone before.
    Left,
    /// A request waits, or nothing is held any more.
    Nothing,
}

/// A connection with a busy request, or with frames that arrived behind one.
#[derive(Default)]
struct Held {
    /// Its requests that are busy.
    busy: usize,
    /// What came behind them, in order.
    frames: VecDeque<BytesMut>,
    /// The peer has gone; what it sent before counts.
    left: bool,
}

/// The busy requests of a front, and the frames that wait behind them.
pub struct Queue {
    busy: VecDeque<Busy>,
    held: HashMap<ConnectionId, Held>,
    /// Held connections without a busy request.
    free: VecDeque<ConnectionId>,
    bytes: usize,
    bytes_max: usize,
    stopped: bool,
    /// What is left of the budget for requests that arrive before the next turn.
    pub budget: usize,
}

impl Queue {
    /// A queue in which requests and frames take up to about `bytes_max` of memory.
    pub fn new(bytes_max: usize) -> Queue {
        Queue {
            busy: VecDeque::new(),
            held: HashMap::new(),
            free: VecDeque::new(),
            bytes: 0,
            bytes_max,
            stopped: false,
            budget: TURN_BUDGET,
        }
    }

    /// Whether a turn has work to do.
    pub fn is_due(&self) -> bool {
        !self.stopped && (!self.busy.is_empty() || !self.free.is_empty())
    }

    /// Nothing is gone on with any more.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Whether no more is to be taken from any client.
    pub fn is_full(&self) -> bool {
        self.bytes > self.bytes_max
    }

    /// Whether the next frame of the connection must be held.
    pub fn holds(&self, connection: ConnectionId) -> bool {
        self.held.contains_key(&connection)
    }

    pub fn is_busy(&self, request: RequestId) -> bool {
        self.busy.iter().any(|busy| busy.request == request)
    }

    /// Holds a frame until the requests before it on its connection are done.
    pub fn hold(&mut self, connection: ConnectionId, frame: BytesMut) {
        self.bytes += frame.len();
        self.held.get_mut(&connection).expect("a request of the connection is busy").frames.push_back(frame);
    }

    /// Notes a request whose work is not done and holds `bytes`. Returns whether it must let go of what it has done so
    /// far.
    pub fn push(&mut self, request: RequestId, connection: ConnectionId, bytes: usize) -> bool {
        self.bytes += bytes;
        self.held.entry(connection).or_default().busy += 1;
        self.busy.push_back(Busy { request, connection, bytes });
        self.busy.len() > ACTIVE_MAX
    }

    /// The requests that a turn works on.
    pub fn active(&self) -> Vec<RequestId> {
        let active_max = if self.stopped { 0 } else { ACTIVE_MAX };
        self.busy.iter().take(active_max).map(|busy| busy.request).collect()
    }

    /// Notes that a request is not busy any more, or over.
    pub fn done(&mut self, request: RequestId) {
        let Some(at) = self.busy.iter().position(|busy| busy.request == request) else { return };
        let Busy { connection, bytes, .. } = self.busy.remove(at).expect("it is there");
        self.bytes -= bytes;
        let held = self.held.get_mut(&connection).expect("a busy request's connection is held");
        held.busy -= 1;
        if held.busy == 0 {
            self.free.push_back(connection);
        }
    }

    /// A connection whose frames are to be released.
    pub fn freed(&mut self) -> Option<ConnectionId> {
        if self.stopped { None } else { self.free.pop_front() }
    }

    /// The next frame that waited on the connection.
    pub fn release(&mut self, connection: ConnectionId) -> Release {
        let Some(held) = self.held.get_mut(&connection).filter(|held| held.busy == 0) else { return Release::Nothing };
        match held.frames.pop_front() {
            Some(frame) => {
                self.bytes -= frame.len();
                Release::Frame(frame)
            }
            None => match self.held.remove(&connection) {
                Some(Held { left: true, .. }) => Release::Left,
                _ => Release::Nothing,
            },
        }
    }

    /// Notes that the peer of a connection has gone. Returns whether frames that it sent before are still to be dealt
    /// with.
    pub fn leave(&mut self, connection: ConnectionId) -> bool {
        match self.held.get_mut(&connection) {
            Some(held) => {
                held.left = true;
                true
            }
            None => false,
        }
    }

    /// Forgets the held frames of a connection whose requests are over.
    pub fn forget(&mut self, connection: ConnectionId) {
        if let Some(held) = self.held.remove(&connection) {
            assert_eq!(held.busy, 0, "requests end before their connection");
            self.bytes -= held.frames.iter().map(BytesMut::len).sum::<usize>();
            self.free.retain(|free| *free != connection);
        }
    }

    /// What must hold between two turns.
    pub fn check(&self) {
        let frames = self.held.values().flat_map(|held| &held.frames).map(BytesMut::len).sum::<usize>();
        assert_eq!(self.bytes, frames + self.busy.iter().map(|busy| busy.bytes).sum::<usize>());
        assert_eq!(self.held.values().map(|held| held.busy).sum::<usize>(), self.busy.len());
        assert!(self.free.iter().all(|free| self.held.contains_key(free)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::query::fixture::World;
    use crate::types::Uuid;
    use crate::wire::batch::{self, BatchBuilder, Compression, HEADER_BYTES};
    use crate::wire::compression::{Codec, compress};

    const NOW_MS: TimestampMs = 1_700_000_000_000;
    const A: ConnectionId = ConnectionId(1);
    const B: ConnectionId = ConnectionId(2);

    fn rules() -> Arc<TopicRules> {
        let mut world = World::new(&[]);
        world.topic("t", 1, &[]);
        let topic = world.controller.image_decided().topic("t").expect("it was just made").clone();
        Arc::new(TopicRules::new(&topic, &world.node.config, 1 << 20))
    }

    /// A batch whose records are so many zeros.
    fn zeros(bytes: usize) -> BytesMut {
        let plain = BatchBuilder::new(0).record(NOW_MS, None, Some(&vec![0; bytes])).build();
        let payload = compress(Codec { compression: Compression::Zstd, level: None }, &plain[HEADER_BYTES..]);
        batch::replace_records(&plain, Compression::Zstd, &payload)
    }

    fn batches(batches: &[BytesMut]) -> Batches {
        let (rules, partition) = (rules(), PartitionId { topic: Uuid([1; 16]), index: 0 });
        let unchecked = |(part, batch): (usize, &BytesMut)| Unchecked {
            part,
            partition,
            batch: batch.clone(),
            rules: rules.clone(),
        };
        Batches::new(9, NOW_MS, batches.iter().enumerate().map(unchecked).collect())
    }

    #[test]
    fn batches_are_checked_in_order_a_piece_at_a_time() {
        let mut workspace = Workspace::default();
        let mut long = batches(&[zeros(100), BytesMut::from(&b"no batch"[..]), zeros(20_000_000), zeros(100)]);
        let (mut steps, mut done) = (0, Vec::new());
        while !long.step(&mut workspace, &mut { TURN_BUDGET }) {
            assert!(!long.is_empty());
            done.extend(long.take_done().iter().map(|outcome| (outcome.part, outcome.result.is_ok())));
            assert_eq!(done, [(0, true), (1, false)]);
            steps += 1;
            if steps == 5 {
                long.rest(&mut workspace);
            }
        }
        assert!(steps > 20 && long.is_empty(), "{steps}");
        done.extend(long.take_done().iter().map(|outcome| (outcome.part, outcome.result.is_ok())));
        assert_eq!(done, [(0, true), (1, false), (2, true), (3, true)]);
        // Nothing is begun without a budget.
        assert!(!batches(&[zeros(100)]).step(&mut workspace, &mut 0));
        assert!(batches(&[]).step(&mut workspace, &mut 0));
    }

    #[test]
    fn frames_wait_behind_a_busy_request_in_order() {
        let mut queue = Queue::new(100);
        assert!(!queue.push(RequestId(1), A, 50) && queue.holds(A) && !queue.holds(B) && queue.is_due());
        for frame in [&b"first"[..], b"second", b"third"] {
            queue.hold(A, frame.into());
        }
        assert!(matches!(queue.release(A), Release::Nothing) && queue.is_busy(RequestId(1)));
        queue.done(RequestId(1));
        assert_eq!(queue.freed(), Some(A));
        assert!(matches!(queue.release(A), Release::Frame(frame) if frame == b"first"[..]));
        // That one is busy, too: the others go on waiting.
        queue.push(RequestId(2), A, 50);
        assert!(matches!(queue.release(A), Release::Nothing) && queue.holds(A));
        // What a peer sent before it went counts.
        assert!(queue.leave(A) && !queue.leave(B));
        queue.done(RequestId(2));
        queue.done(RequestId(2));
        assert!(queue.freed() == Some(A) && queue.freed().is_none());
        assert!(matches!(queue.release(A), Release::Frame(frame) if frame == b"second"[..]));
        assert!(matches!(queue.release(A), Release::Frame(frame) if frame == b"third"[..]));
        assert!(matches!(queue.release(A), Release::Left) && !queue.holds(A) && !queue.is_due());
        queue.check();
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn what_waits_is_bounded_and_counted() {
        let mut queue = Queue::new(1000);
        for request in 0..10 {
            let rests = queue.push(RequestId(request), ConnectionId(request), 100);
            assert_eq!(rests, request >= ACTIVE_MAX as u64);
        }
        assert!(!queue.is_full());
        queue.hold(A, BytesMut::from(&b"frame"[..]));
        assert!(queue.is_full());
        assert_eq!(queue.active(), [0, 1, 2, 3].map(RequestId));
        queue.done(RequestId(1));
        queue.forget(A);
        queue.check();
        assert_eq!(
            (queue.active(), queue.bytes, queue.freed()),
            (vec![0, 2, 3, 4].into_iter().map(RequestId).collect(), 900, None)
        );
    }
}
