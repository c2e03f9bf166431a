//! `produce`, and what every load that writes can be asked for.

use super::{Shape, Target, not_negative};
use crate::schedule::{Arrival, Rate};
use crate::shape::Size;
use clap::{Args, ValueEnum};
use klamm::wire::batch::Compression;

const BATCH_BYTES_DEFAULT: u32 = 65536;

/// What is written, and how.
#[derive(Args, Clone, Debug)]
pub struct Writing {
    /// Bytes of a record's value: N; MIN..MAX, each as often; lognormal:MEDIAN:SIGMA; @FILE, of lines BYTES [WEIGHT] (verify: N)
    #[arg(long, value_name = "SIZE", default_value = "1024")]
    pub record_bytes: Size,
    /// Bytes of values in a batch, on average; one record a batch if it has no room for two [default: 65536, for end-to-end 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1 << 27))]
    pub batch_bytes: Option<u32>,
    /// Requests that a connection has unanswered at a time
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub in_flight: u32,
    /// Who must have a record before it is acknowledged; nothing is answered with 0
    #[arg(long, value_enum, default_value_t = Acks::All)]
    pub acks: Acks,
    /// How batches are compressed
    #[arg(long, value_enum, default_value_t = Codec::None)]
    pub compression: Codec,
    /// Number the batches so that the broker can tell repeated ones (at most 5 requests in flight)
    #[arg(long)]
    pub idempotent: bool,
    /// Records a second, sent on schedule whatever the broker does; latency counts from the scheduled time. 5000, 5k, or a ramp
    /// such as 1k..50k/60s: after the warm-up evenly from one rate to the other in that time, then at the latter
    #[arg(long, value_name = "R", group = "paced")]
    pub rate: Option<Rate>,
    /// How requests of a --rate lie in time: even; poisson: independent of each other; burst:TIME: what is due in each TIME (such
    /// as 100ms) comes at its start, at once [default: even]
    #[arg(long, value_name = "ARRIVAL", requires = "paced")]
    pub arrival: Option<Arrival>,
    /// Milliseconds that a record of a --rate waits at most for others that its batches have room for, as producers do (verify:
    /// batches are full, and their records due together)
    #[arg(long, value_name = "MS", default_value_t = 5.0, value_parser = not_negative)]
    pub linger_ms: f64,
    /// Partitions that one request writes to, at most those of a connection (verify: always 1)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub partitions_per_request: u32,
}

impl Writing {
    /// Records of one batch.
    pub fn batch_records(&self) -> usize {
        let batch_bytes = self.batch_bytes.unwrap_or(BATCH_BYTES_DEFAULT);
        ((f64::from(batch_bytes) / self.record_bytes.mean().max(1.0)) as usize).max(1)
    }
}

#[derive(Args, Clone, Debug)]
pub struct Produce {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub writing: Writing,
    #[command(flatten)]
    pub shape: Shape,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acks {
    /// No one; requests are not answered
    #[value(name = "0")]
    None,
    /// The partition's leader
    #[value(name = "1")]
    Leader,
    /// All replicas in sync
    #[value(name = "all", alias = "-1")]
    All,
}

impl Acks {
    /// The number on the wire.
    pub fn number(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl std::convert::From<Codec> for Compression {
    fn from(codec: Codec) -> Compression {
        match codec {
            Codec::None => Compression::None,
            Codec::Gzip => Compression::Gzip,
            Codec::Snappy => Compression::Snappy,
            Codec::Lz4 => Compression::Lz4,
            Codec::Zstd => Compression::Zstd,
        }
    }
}
