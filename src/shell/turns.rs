//! How long a core's turns take, and what those were about that took too long: nobody else on the core is served meanwhile.

use super::logging::{Limited, Untold};
use crate::shard::Input;
use crate::shard::store::Done;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A turn that takes longer is counted.
const SLOW: Duration = Duration::from_millis(5);
/// A turn that takes longer is logged.
const STALL: Duration = Duration::from_millis(100);
/// Stalls are logged once in this time.
const STALL_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// APIs that are told apart: a peer may name any number.
const APIS_MAX: i16 = 128;

/// What a turn spends its time on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cause {
    /// A request of this API.
    Request(i16),
    /// Any other input.
    Input(&'static str),
    /// What all inputs together led to: answers, deadlines, work for the disk.
    End,
}

impl Cause {
    pub fn of(input: &Input) -> Cause {
        Cause::Input(match input {
            Input::Frame { frame, .. } => {
                let api = frame.first_chunk().map_or(-1, |api| i16::from_be_bytes(*api));
                return Cause::Request(if api < APIS_MAX { api.max(-1) } else { -1 });
            }
            Input::Connected { .. } => "a connection",
            Input::Disconnected { .. } => "the end of a connection",
            Input::Message { .. } => "another core's message",
            Input::DiskDone(Done::JournalWrite { .. }) => "a written journal block",
            Input::DiskDone(_) => "other work of the disk",
            Input::ReadDone { .. } => "a read of a segment",
            Input::GroupCheckpointRead { .. } | Input::GroupCheckpointWritten { .. } => "a checkpoint of groups",
            Input::MetadataWritten { .. } | Input::MetadataSnapshotted { .. } => "the metadata log",
            Input::PartitionRemoved { .. } => "a deleted partition",
            Input::DiskBytes { .. } => "the drive's space",
            Input::Drain => "the end of the broker",
        })
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cause::Request(api) => match crate::wire::frame::api_name(*api) {
                Some(name) => write!(f, "a {name} request"),
                None => f.write_str("a request"),
            },
            Cause::Input(name) => f.write_str(name),
            Cause::End => f.write_str("the end of a turn"),
        }
    }
}

/// Slow turns of one cause.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Slow {
    pub turns: u64,
    pub longest: Duration,
}

/// Times the turns of a core.
pub struct Turns {
    /// Of the turn under way: all its time, and its longest piece with the cause.
    spent: Duration,
    piece: Option<(Duration, Cause)>,
    slow: BTreeMap<Cause, Slow>,
    stalls: Limited,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns { spent: Duration::ZERO, piece: None, slow: BTreeMap::new(), stalls: Limited::new(1, STALL_LOG_INTERVAL) }
    }
}

impl Turns {
    /// A part of a turn.
    pub fn spend(&mut self, took: Duration, cause: Cause) {
        self.spent += took;
        if self.piece.is_none_or(|(longest, _)| longest < took) {
            self.piece = Some((took, cause));
        }
    }

    /// The turn is over.
    pub fn end(&mut self, now: Instant) {
        let (spent, piece) = (std::mem::take(&mut self.spent), self.piece.take());
        let Some((_, cause)) = piece.filter(|_| spent > SLOW) else { return };
        let slow = self.slow.entry(cause).or_default();
        slow.turns += 1;
        slow.longest = slow.longest.max(spent);
        if spent > STALL
            && let Some(untold) = self.stalls.admit(now)
        {
            let (ms, turns) = (spent.as_millis(), self.slow.values().map(|slow| slow.turns).sum::<u64>());
            tracing::warn!(
                "nobody was served on this core for {ms} ms, mostly because of {cause}{}; {turns} turns so far took more \
                 than {} ms",
                Untold(untold),
                SLOW.as_millis()
            );
        }
    }

    /// Turns since the start that took longer than 5 ms, by cause.
    pub fn slow(&self) -> impl Iterator<Item = (Cause, Slow)> {
        self.slow.iter().map(|(cause, slow)| (*cause, *slow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::port::ConnectionId;
    use bytes::BytesMut;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn slow_turns_are_counted_by_their_longest_piece() {
        let mut turns = Turns::default();
        let now = Instant::now();
        for (pieces, _) in [
            (vec![(ms(2), Cause::Request(1)), (ms(2), Cause::End)], "fast"),
            (vec![(ms(2), Cause::Request(1)), (ms(4), Cause::End)], "slow"),
            (vec![(ms(3), Cause::Request(1)), (ms(3), Cause::Request(3)), (ms(1), Cause::End)], "slow"),
            (vec![(ms(1), Cause::Request(3)), (ms(200), Cause::Request(1))], "a stall"),
        ] {
            pieces.into_iter().for_each(|(took, cause)| turns.spend(took, cause));
            turns.end(now);
        }
        let slow: Vec<_> = turns.slow().collect();
        let of = |turns, longest| Slow { turns, longest: ms(longest) };
        assert_eq!(slow, [(Cause::Request(1), of(2, 201)), (Cause::End, of(1, 6))]);
    }

    #[test]
    fn causes_are_few_and_have_names() {
        let frame = |bytes: &[u8]| Input::Frame { connection: ConnectionId(0), frame: BytesMut::from(bytes) };
        let names = [&[0, 1, 0, 0][..], &[0], &[], &[0x7f, 0xff], &[0x80, 0]].map(|bytes| Cause::of(&frame(bytes)));
        assert_eq!(
            names.map(|cause| cause.to_string()),
            ["a Fetch request", "a request", "a request", "a request", "a request"]
        );
    }
}
