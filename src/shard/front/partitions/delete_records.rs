//! DeleteRecords (API 21, KIP-107): moves the starts of logs up.

use super::super::gather::{Begun, Incoming, Scatter};
use super::{Each, Part, Parts, Question, begin_each, if_there};
use crate::shard::message::{Answer, Op};
use crate::shard::rules::TopicRules;
use crate::shard::view::View;
use crate::types::Offset;
use crate::wire::codec::{DecodeError, Reader, Writer};
use crate::wire::error::ErrorCode;
use crate::wire::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use crate::wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use bytes::BytesMut;
use std::borrow::Cow;
use std::sync::Arc;

struct DeleteRecords;

pub fn begin(scatter: &mut Scatter<'_>, incoming: &Incoming<'_>, frame: BytesMut) -> Result<Begun, DecodeError> {
    begin_each::<DeleteRecords>(scatter, incoming, &frame)
}

impl Each for DeleteRecords {
    /// The low watermark.
    type Answer = Option<Offset>;

    fn questions(_: &View, body: &[u8], version: i16) -> Result<Vec<Question>, DecodeError> {
        let request = DeleteRecordsRequest::decode(&mut Reader::new(body), version)?;
        let mut questions = Vec::new();
        for topic in &request.topics {
            let name: Arc<str> = (*topic.name).into();
            questions.extend(topic.partitions.iter().map(|partition| Question {
                topic: name.clone(),
                index: partition.partition_index,
                op: Op::DeleteRecords { offset: partition.offset },
            }));
        }
        Ok(questions)
    }

    /// Compacted topics keep the last record of each key, and nothing is deleted from the brokers' own.
    fn admit(_: &str, rules: Option<&TopicRules>) -> ErrorCode {
        match rules {
            Some(rules) if rules.topic.is_internal() => ErrorCode::InvalidTopicException,
            Some(rules) if rules.only_compacted => ErrorCode::PolicyViolation,
            rules => if_there(rules),
        }
    }

    fn keep(answer: Answer) -> Option<Offset> {
        let Answer::RecordsDeleted { low_watermark } = answer else {
            panic!("a deletion is not answered by {answer:?}")
        };
        Some(low_watermark)
    }

    fn encode(parts: &Parts<Option<Offset>>, _: &View, w: &mut Writer, version: i16) {
        let partition = |part: &Part<Option<Offset>>| DeleteRecordsPartitionResult {
            partition_index: part.index,
            low_watermark: part.answer.unwrap_or(-1),
            error_code: part.code.code(),
        };
        let topics = parts.by_topic(|name, parts| DeleteRecordsTopicResult {
            name: Cow::Borrowed(name),
            partitions: parts.iter().map(partition).collect(),
        });
        DeleteRecordsResponse { topics, ..Default::default() }.encode(w, version);
    }
}
