//! What records are like, besides the size of their values.

use super::not_negative;
use crate::shape::Keys;
use clap::{Args, ValueEnum};

/// What records are like, besides the size of their values.
#[derive(Args, Clone, Debug)]
pub struct Shape {
    /// How many times smaller compression makes the values, about (snappy: less than that above 4): that part of them is random, the rest
    /// zeros
    #[arg(long, value_name = "RATIO", default_value_t = 1.0, value_parser = ratio)]
    pub compressibility: f64,
    /// Keys: uniform:N; zipf:N:EXPONENT, where the n-th key comes as often as 1/n^EXPONENT;
    /// hot:N:HOT:PERCENT, where HOT of N keys have PERCENT of the records [default: no keys]
    #[arg(long, value_name = "KEYS")]
    pub keys: Option<Keys>,
    /// Which partition a record with a key is for
    #[arg(long, value_enum, default_value_t = Partitioner::Murmur2, requires = "keys")]
    pub partitioner: Partitioner,
    /// Bytes of a key, which is its number in decimal digits
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    pub key_bytes: u32,
    /// Percent of the records that are tombstones: a key without a value
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent, requires = "keys")]
    pub tombstones: f64,
    /// Headers of a record
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub headers: u32,
    /// Bytes of a header's value
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(0..=1 << 20))]
    pub header_bytes: u32,
    /// Number from which all that is random follows: the same one, with the same connections and batches, makes the same records
    /// [default: a random one]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Batches that are made and compressed before the run begins and sent again and again, which is the least work for the load;
    /// 0: each batch is made when it is sent. Batches that have not all records that they could have are made all the same
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "keys", value_parser = clap::value_parser!(u32).range(0..=1 << 16))]
    pub prepared: u32,
}

impl Shape {
    /// Keys decide on partitions.
    pub fn is_partitioned_by_key(&self) -> bool {
        self.keys.is_some() && self.partitioner == Partitioner::Murmur2
    }
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Partitioner {
    /// The one that Kafka's default partitioner gives its key, so that a hot key makes a hot partition. Each connection writes to all
    /// partitions (and so is one to each leader), a batch to the first that has keys enough for it
    Murmur2,
    /// All in turn, each with keys of its own, whose frequencies are as asked for within each partition
    Even,
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = not_negative(text)?;
    if ratio >= 1.0 { Ok(ratio) } else { Err("must be 1 at least".to_string()) }
}

fn percent(text: &str) -> Result<f64, String> {
    let percent = not_negative(text)?;
    if percent <= 100.0 { Ok(percent) } else { Err("must be 100 at most".to_string()) }
}
