//! DescribeLogDirs (API 35, KIP-113, KIP-827): how large partitions are, and how much room there is.

use super::super::gather::{Begun, Incoming, Scatter};
use super::{Each, Part, Parts, Question, begin_each};
use crate::shard::message::{Answer, Op};
use crate::shard::view::View;
use crate::wire::codec::{DecodeError, Reader, Writer};
use crate::wire::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use crate::wire::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use bytes::BytesMut;
use std::borrow::Cow;
use std::sync::Arc;

struct LogDirs;

pub fn begin(scatter: &mut Scatter<'_>, incoming: &Incoming<'_>, frame: BytesMut) -> Result<Begun, DecodeError> {
    begin_each::<LogDirs>(scatter, incoming, &frame)
}

impl Each for LogDirs {
    /// Bytes.
    type Answer = u64;

    /// All partitions, or those that the request names and that exist.
    fn questions(view: &View, body: &[u8], version: i16) -> Result<Vec<Question>, DecodeError> {
        let request = DescribeLogDirsRequest::decode(&mut Reader::new(body), version)?;
        let mut questions = Vec::new();
        let mut ask = |topic: Arc<str>, index| questions.push(Question { topic, index, op: Op::Size });
        match &request.topics {
            None => {
                for topic in view.image().topics() {
                    (0..topic.partition_count()).for_each(|index| ask(topic.name.clone(), index));
                }
            }
            Some(topics) => {
                for wanted in topics {
                    let Some(topic) = view.image().topic(&wanted.topic) else { continue };
                    let there = |index: &&i32| view.led(topic, **index).is_some();
                    wanted.partitions.iter().filter(there).for_each(|index| ask(topic.name.clone(), *index));
                }
            }
        }
        Ok(questions)
    }

    fn keep(answer: Answer) -> u64 {
        let Answer::Size { bytes } = answer else { panic!("a size is not answered by {answer:?}") };
        bytes
    }

    fn encode(parts: &Parts<u64>, view: &View, w: &mut Writer, version: i16) {
        let partition = |part: &Part<u64>| DescribeLogDirsPartition {
            partition_index: part.index,
            partition_size: i64::try_from(part.answer).unwrap_or(i64::MAX),
            ..Default::default()
        };
        let topics = parts.by_topic(|name, parts| DescribeLogDirsTopic {
            name: Cow::Borrowed(name),
            partitions: parts.iter().map(partition).collect(),
        });
        let (total, usable) = view.disk_bytes();
        let result = DescribeLogDirsResult {
            log_dir: view.node().config.data_dir.to_string_lossy(),
            topics,
            total_bytes: i64::try_from(total).unwrap_or(i64::MAX),
            usable_bytes: i64::try_from(usable).unwrap_or(i64::MAX),
            ..Default::default()
        };
        DescribeLogDirsResponse { results: vec![result], ..Default::default() }.encode(w, version);
    }
}
