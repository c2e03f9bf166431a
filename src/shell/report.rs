//! Failures of the disk, told to who runs the broker: at most one line a minute of each kind, with the number of those left
//! out.

use super::logging::{Limited, Untold};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(60);

/// What has failed, in the words of who runs the broker, and what follows from it. One kind is one of these texts.
pub type Kind = &'static str;

pub const JOURNAL: Kind = "the journal cannot be written: nothing more is taken from producers until the next start";
pub const JOURNAL_FILE: Kind = "a new journal file cannot be made: tried again, the broker goes on with those it has";
pub const SEGMENT: Kind = "a segment cannot be written: its partition takes nothing from producers until that succeeds";
pub const SEGMENT_READ: Kind = "a segment cannot be read: its consumers are refused";
pub const SEGMENT_REMOVE: Kind =
    "segments that were deleted cannot be removed: they take up space until the next start";
pub const SYNC: Kind = "the data directory cannot be synced: nothing more is taken from producers until the next start";
pub const CHECKPOINT: Kind = "a checkpoint cannot be written";
pub const GROUP_CHECKPOINT: Kind = "a checkpoint of groups cannot be read or written: the next start takes longer";
pub const PARTITION_REMOVE: Kind =
    "the directory of a deleted topic's partition cannot be removed: tried again, the topic's name stays taken";
pub const SPACE: Kind =
    "what is left of a deleted topic's partition cannot be removed: it takes up space until the next start";
pub const DESCRIPTORS: Kind = "too many files are open, waiting until some are closed (`ulimit -n`)";

static KINDS: Mutex<BTreeMap<Kind, Limited>> = Mutex::new(BTreeMap::new());

/// Whether a line of this kind is due; then how many were left out since the last.
fn admit(kind: Kind, now: Instant) -> Option<u64> {
    let mut kinds = KINDS.lock().unwrap_or_else(PoisonError::into_inner);
    kinds.entry(kind).or_insert(Limited::new(1, INTERVAL)).admit(now)
}

/// Tells a failure, unless one of its kind was told in this minute.
pub fn failed(kind: Kind, place: impl Display, error: &io::Error) {
    if let Some(untold) = admit(kind, Instant::now()) {
        tracing::error!("{kind}: {place}: {error}{}", Untold(untold));
    }
}

/// Tells a failure if it is one; whether it is none.
pub fn succeeded(kind: Kind, place: impl Display, result: io::Result<()>) -> bool {
    if let Err(error) = &result {
        failed(kind, place, error);
    }
    result.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_told_once_a_minute_with_the_number_left_out() {
        let start = Instant::now();
        assert_eq!([0, 1, 59].map(|s| admit("a", start + Duration::from_secs(s))), [Some(0), None, None]);
        assert_eq!(admit("b", start + Duration::from_secs(59)), Some(0), "another kind");
        assert_eq!(admit("a", start + Duration::from_secs(60)), Some(2));
    }
}
