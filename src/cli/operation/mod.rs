//! What can be asked of brokers, as functions from plain values to plain values. They print nothing and read no arguments,
//! so commands and Kafka's tools share them.

pub mod cluster;
pub mod configs;
pub mod groups;
pub mod lag;
pub mod offsets;
pub mod reset;
pub mod topics;

pub use crate::client::partition::{TopicPartition, by_topic};

use super::failure::{Failure, Result};

/// The answer to the only thing that was asked for; a broker that leaves it out is at fault.
pub fn only<T>(answers: impl IntoIterator<Item = T>, what: &str) -> Result<T> {
    answers.into_iter().next().ok_or_else(|| Failure::Other(format!("the answer says nothing of {what}")))
}
