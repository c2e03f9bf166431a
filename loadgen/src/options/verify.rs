//! `verify`.

use super::{Target, Writing, positive};
use clap::Args;
use std::path::PathBuf;

pub const ABOUT: &str = "Write numbered records through the broker's deaths and restarts, then read all back.\n\n\
    Each record says which one it is, and is held against what was acknowledged: partition, offset, time, key, headers, value, \
    order. The topic must be the run's own from its start to its end: what others write is a fault (foreign, or stale if another \
    run of verify sealed it), and so are offsets that are not contiguous and ones below a partition's end that never come \
    (unread). Requests without an answer are unknown: they may be there or not. Their doubles are counted (unknown_duplicated) \
    and are faults (duplicated) only of an --idempotent producer; doubles of acknowledged records always are.\n\n\
    With --readers all is read while it is written too: what was read once must be there at the end (else vanished), and the ends \
    of partitions must not go back (went_back).\n\n\
    With --ledger what is acknowledged is written to a file, which is of use when this program dies or the broker's machine does: \
    verify --check FILE reads all back later, from the topic that the file names.\n\n\
    Exit status 0 if there is no fault, 3 if there is or if not all could be seen, 1 if the run could not begin.";

#[derive(Args, Clone, Debug)]
pub struct Verify {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub writing: Writing,
    /// Seconds that the broker may be gone
    #[arg(long, value_name = "S", default_value_t = 60.0, value_parser = positive)]
    pub timeout_seconds: f64,
    /// Write what is acknowledged to a new file too
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// Readers of all partitions during the writing
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub readers: u32,
    /// Write nothing, and read back what a --ledger says that an earlier run wrote
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ledger", "readers", "records", "seconds", "rate", "idempotent"])]
    pub check: Option<PathBuf>,
}
