//! Produce: batches are checked on the connection's core, appended by their owners, acknowledged when committed.

use super::connection::{ConnectionId, Slot};
use super::message::{Answer, Ask, Op, RequestId};
use super::rules::TopicRules;
use super::{Pending, Shard};
use crate::log::check::{self, Checked, Refusal};
use crate::metadata::is_internal;
use crate::types::{Now, PartitionId, PartitionIndex, Time, TimestampMs, Uuid};
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::{Head, response_frame};
use crate::wire::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use crate::wire::messages::{ApiKey, ProduceRequest, ProduceResponse};
use bytes::{Bytes, BytesMut};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// Produce requests name topics by id from this version on.
const VERSION_TOPIC_IDS: i16 = 13;

/// A Produce request in progress.
pub struct Produce {
    connection: ConnectionId,
    slot: Slot,
    version: i16,
    correlation_id: i32,
    acks: i16,
    deadline: Option<Time>,
    topics: Vec<TopicName>,
    parts: Vec<Part>,
    outstanding: usize,
}

struct TopicName {
    name: Arc<str>,
    id: Uuid,
}

struct Part {
    topic: usize,
    index: PartitionIndex,
    /// `None` while the owner has not answered.
    outcome: Option<Outcome>,
    log_append_time: TimestampMs,
}

enum Outcome {
    Written { offset: i64, log_start: i64 },
    Refused(Box<Refusal>),
}

/// A partition's records, still in the request's frame.
struct Pick {
    part: usize,
    range: Range<usize>,
    rules: Arc<TopicRules>,
}

fn refused(code: ErrorCode) -> Option<Outcome> {
    Some(Outcome::Refused(Box::new(Refusal::new(code, ""))))
}

impl Shard {
    pub(super) fn produce(
        &mut self,
        now: Now,
        connection: ConnectionId,
        head: &Head<'static>,
        mut frame: BytesMut,
    ) -> Result<(), DecodeError> {
        let (version, correlation_id, body_start) = (head.version, head.correlation_id, head.body_start);
        let request = ProduceRequest::decode(&mut Reader::new(&frame[body_start..]), version)?;
        let acks = request.acks;
        let deadline = now.mono.after_ms(request.timeout_ms.max(0) as u64);
        let (topics, mut parts, mut picks) = self.produce_picks(version, &request, &frame);
        drop(request);
        if !(-1..=1).contains(&acks) {
            picks.clear();
            parts.iter_mut().for_each(|part| part.outcome = refused(ErrorCode::InvalidRequiredAcks));
        }
        let mut asks = Vec::with_capacity(picks.len());
        // From the back, so that each batch can be split off the frame's end.
        picks.sort_unstable_by_key(|pick| pick.range.start);
        for pick in picks.into_iter().rev() {
            frame.truncate(pick.range.end);
            let batch = frame.split_off(pick.range.start);
            let part = &mut parts[pick.part];
            match self.produce_ask(now, version, part, pick.part as u32, batch, pick.rules) {
                Ok(ask) => asks.push(ask),
                Err(refusal) => part.outcome = Some(Outcome::Refused(Box::new(refusal))),
            }
        }
        asks.reverse();
        let outstanding = asks.len();
        let slot = self.begin(connection);
        let late = (outstanding > 0 && acks != 0).then_some(deadline);
        let produce =
            Produce { connection, slot, version, correlation_id, acks, deadline: late, topics, parts, outstanding };
        let id = self.start(Pending::Produce(Box::new(produce)));
        if let Some(late) = late {
            self.deadlines.insert((late, id));
        }
        if acks == 0 {
            // Nothing is answered, so the connection's order does not wait for the disk.
            self.respond(connection, slot, Vec::new());
        }
        self.ask_all(now, id, asks);
        if outstanding == 0 {
            self.produce_finish(id);
        }
        Ok(())
    }

    /// The request's topics and partitions, and where in the frame the records lie of those that may be written.
    fn produce_picks(
        &mut self,
        version: i16,
        request: &ProduceRequest<'_>,
        frame: &[u8],
    ) -> (Vec<TopicName>, Vec<Part>, Vec<Pick>) {
        let (mut topics, mut parts, mut picks) = (Vec::new(), Vec::new(), Vec::new());
        for data in &request.topic_data {
            let by_id = version >= VERSION_TOPIC_IDS;
            let topic =
                if by_id { self.image.topic_by_id(data.topic_id) } else { self.image.topic(&data.name) }.cloned();
            let name = topic.as_ref().map_or_else(|| Arc::from(&*data.name), |topic| topic.name.clone());
            let rules = topic.as_ref().map(|topic| self.rules_of(topic));
            for partition in &data.partition_data {
                let known = topic.as_ref().is_some_and(|topic| self.partition_topic(topic, partition.index));
                let range = partition.records.as_ref().and_then(|records| records.range_in(frame));
                let outcome = match (&rules, range) {
                    _ if topic.is_none() && by_id => refused(ErrorCode::UnknownTopicId),
                    _ if !known => refused(ErrorCode::UnknownTopicOrPartition),
                    _ if is_internal(&name) => refused(ErrorCode::InvalidTopicException),
                    (Some(rules), Some(range)) if !range.is_empty() => {
                        picks.push(Pick { part: parts.len(), range, rules: rules.clone() });
                        None
                    }
                    _ => refused(ErrorCode::InvalidRecord),
                };
                parts.push(Part { topic: topics.len(), index: partition.index, outcome, log_append_time: -1 });
            }
            topics.push(TopicName { name, id: data.topic_id });
        }
        (topics, parts, picks)
    }

    fn produce_ask(
        &mut self,
        now: Now,
        version: i16,
        part: &mut Part,
        number: u32,
        batch: BytesMut,
        rules: Arc<TopicRules>,
    ) -> Result<Ask, Refusal> {
        let Checked { batch, info } = check::check(batch, version, &rules.check, now.wall_ms, &mut self.workspace)?;
        if rules.check.log_append_time {
            part.log_append_time = now.wall_ms;
        }
        let partition = PartitionId { topic: rules.topic.id, index: part.index };
        Ok(Ask { part: number, partition, topic: rules, op: Op::Append { batch, info } })
    }

    pub(super) fn produce_answered(&mut self, request: RequestId, part: u32, answer: Answer) {
        let Some(Pending::Produce(produce)) = self.requests.get_mut(&request) else { return };
        let outcome = match answer {
            Answer::Appended { offset, log_start } => Some(Outcome::Written { offset, log_start }),
            Answer::AppendRefused(refusal) => Some(Outcome::Refused(refusal)),
            Answer::Failed(code) => refused(code),
            other => panic!("an append is not answered by {other:?}"),
        };
        let part = &mut produce.parts[part as usize];
        assert!(part.outcome.is_none(), "a part is answered once");
        part.outcome = outcome;
        produce.outstanding -= 1;
        if produce.outstanding == 0 {
            self.produce_finish(request);
        }
    }

    /// The time that the client gave is over.
    pub(super) fn produce_late(&mut self, request: RequestId) {
        let Some(Pending::Produce(produce)) = self.requests.get_mut(&request) else { return };
        for part in produce.parts.iter_mut().filter(|part| part.outcome.is_none()) {
            part.outcome = refused(ErrorCode::RequestTimedOut);
        }
        self.produce_finish(request);
    }

    fn produce_finish(&mut self, request: RequestId) {
        let Some(Pending::Produce(produce)) = self.requests.remove(&request) else { return };
        if let Some(deadline) = produce.deadline {
            self.deadlines.remove(&(deadline, request));
        }
        if produce.acks == 0 {
            // The only way to tell a client that does not listen.
            let refusal = produce.parts.iter().find_map(|part| match &part.outcome {
                Some(Outcome::Refused(refusal)) => Some(refusal),
                _ => None,
            });
            if let Some(refusal) = refusal
                && self.connections.contains_key(&produce.connection)
            {
                self.close(produce.connection, format!("acks=0 request refused: {}", refusal.code.name()));
            }
            return;
        }
        self.respond(produce.connection, produce.slot, encode(&produce));
    }
}

fn encode(produce: &Produce) -> Vec<Bytes> {
    let mut responses: Vec<TopicProduceResponse<'_>> = produce
        .topics
        .iter()
        .map(|topic| TopicProduceResponse {
            name: Cow::Borrowed(&topic.name),
            topic_id: topic.id,
            ..Default::default()
        })
        .collect();
    for part in &produce.parts {
        responses[part.topic].partition_responses.push(encode_part(part));
    }
    let response = ProduceResponse { responses, ..Default::default() };
    let (_, header_version) = ApiKey::Produce.header_versions(produce.version);
    response_frame(header_version, produce.correlation_id, |w| response.encode(w, produce.version))
}

fn encode_part(part: &Part) -> PartitionProduceResponse<'_> {
    let mut response = PartitionProduceResponse { index: part.index, base_offset: -1, ..Default::default() };
    match part.outcome.as_ref().expect("every part has been answered") {
        Outcome::Written { offset, log_start } => {
            response.base_offset = *offset;
            response.log_start_offset = *log_start;
            response.log_append_time_ms = part.log_append_time;
        }
        Outcome::Refused(refusal) => {
            response.error_code = refusal.code.code();
            response.error_message = (!refusal.message.is_empty()).then(|| Cow::Borrowed(&*refusal.message));
            let fault = |&(batch_index, message): &(i32, &'static str)| BatchIndexAndErrorMessage {
                batch_index,
                batch_index_error_message: Some(Cow::Borrowed(message)),
            };
            response.record_errors = refusal.faults.iter().map(fault).collect();
        }
    }
    response
}
