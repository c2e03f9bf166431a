//! The cluster as a whole: brokers' data directories.

use super::TopicPartition;
use crate::cli::client::Client;
use crate::cli::failure::{Failure, Result};
use crate::types::BrokerId;
use crate::wire::messages::DescribeLogDirsRequest;
use crate::wire::messages::describe_log_dirs_response::DescribeLogDirsResult;

/// One partition's files in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replica {
    pub place: TopicPartition,
    pub bytes: i64,
    /// Records that it is behind.
    pub offset_lag: i64,
    /// Whether it is being moved here.
    pub is_future: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogDir {
    pub path: String,
    /// 0 where it works.
    pub error_code: i16,
    /// Of the file system; absent where the broker is older than Kafka 3.3.
    pub bytes_total: Option<i64>,
    pub bytes_usable: Option<i64>,
    /// In the order of topics and partitions.
    pub replicas: Vec<Replica>,
}

/// A broker's data directories, with the partitions of `topics`, or all of them.
pub fn log_dirs(client: &mut Client, broker: BrokerId, topics: &[String]) -> Result<Vec<LogDir>> {
    let answer = client.broker(broker)?.ask(&DescribeLogDirsRequest { topics: None })?;
    Failure::check(format_args!("data directories of broker {broker}"), answer.error_code, None)?;
    let is_wanted = |name: &str| topics.is_empty() || topics.iter().any(|topic| topic == name);
    let log_dir = |result: &DescribeLogDirsResult<'_>| {
        let wanted = result.topics.iter().filter(|topic| is_wanted(&topic.name));
        let replicas = wanted.flat_map(|topic| {
            topic.partitions.iter().map(|partition| Replica {
                place: TopicPartition::new(&topic.name, partition.partition_index),
                bytes: partition.partition_size,
                offset_lag: partition.offset_lag,
                is_future: partition.is_future_key,
            })
        });
        let mut replicas: Vec<Replica> = replicas.collect();
        replicas.sort_by(|a, b| a.place.cmp(&b.place));
        LogDir {
            path: result.log_dir.to_string(),
            error_code: result.error_code,
            bytes_total: Some(result.total_bytes).filter(|&bytes| bytes >= 0),
            bytes_usable: Some(result.usable_bytes).filter(|&bytes| bytes >= 0),
            replicas,
        }
    };
    Ok(answer.results.iter().map(log_dir).collect())
}
