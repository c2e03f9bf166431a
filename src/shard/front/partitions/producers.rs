//! DescribeProducers (API 61, KIP-664): the idempotent producers of partitions.

use super::super::gather::{Begun, Incoming, Scatter};
use super::{Each, Part, Parts, Question, begin_each, if_there};
use crate::metadata::check_name;
use crate::shard::message::{ActiveProducer, Answer, Op};
use crate::shard::rules::TopicRules;
use crate::shard::view::View;
use crate::wire::codec::{DecodeError, Reader, Writer};
use crate::wire::error::ErrorCode;
use crate::wire::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use crate::wire::messages::{DescribeProducersRequest, DescribeProducersResponse};
use bytes::BytesMut;
use std::borrow::Cow;
use std::sync::Arc;

struct Producers;

pub fn begin(scatter: &mut Scatter<'_>, incoming: &Incoming<'_>, frame: BytesMut) -> Result<Begun, DecodeError> {
    begin_each::<Producers>(scatter, incoming, &frame)
}

impl Each for Producers {
    type Answer = Vec<ActiveProducer>;

    fn questions(_: &View, body: &[u8], version: i16) -> Result<Vec<Question>, DecodeError> {
        let request = DescribeProducersRequest::decode(&mut Reader::new(body), version)?;
        let mut questions = Vec::new();
        for topic in &request.topics {
            let name: Arc<str> = (*topic.name).into();
            let question = |&index: &i32| Question { topic: name.clone(), index, op: Op::Producers };
            questions.extend(topic.partition_indexes.iter().map(question));
        }
        Ok(questions)
    }

    fn admit(topic: &str, rules: Option<&TopicRules>) -> ErrorCode {
        match check_name(topic) {
            Ok(()) => if_there(rules),
            Err(_) => ErrorCode::InvalidTopicException,
        }
    }

    fn keep(answer: Answer) -> Vec<ActiveProducer> {
        let Answer::Producers(producers) = answer else { panic!("producers are not answered by {answer:?}") };
        producers
    }

    fn encode(parts: &Parts<Vec<ActiveProducer>>, _: &View, w: &mut Writer, version: i16) {
        let producer = |producer: &ActiveProducer| ProducerState {
            producer_id: producer.id.0,
            producer_epoch: i32::from(producer.epoch.0),
            last_sequence: producer.sequence_last.0,
            last_timestamp: producer.timestamp,
            // No producer has transactions.
            coordinator_epoch: -1,
            current_txn_start_offset: -1,
        };
        let partition = |part: &Part<Vec<ActiveProducer>>| PartitionResponse {
            partition_index: part.index,
            error_code: part.code.code(),
            active_producers: part.answer.iter().map(producer).collect(),
            ..Default::default()
        };
        let topics = parts.by_topic(|name, parts| TopicResponse {
            name: Cow::Borrowed(name),
            partitions: parts.iter().map(partition).collect(),
        });
        DescribeProducersResponse { topics, ..Default::default() }.encode(w, version);
    }
}
