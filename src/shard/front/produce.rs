//! Produce: batches are checked on the connection's core, appended by their owners, acknowledged when committed.

use super::checking::{self, Batches, Unchecked};
use super::gather::{Begun, Incoming, Next, Reply, ReplyHead, Scatter, Work};
use super::route::REQUEST_FIELD_BYTES_MAX;
use crate::log::check::{Checked, Refusal};
use crate::metadata::is_internal;
use crate::shard::message::{Acks, Answer, Op};
use crate::shard::rules::TopicRules;
use crate::shard::view::View;
use crate::types::{PartitionId, PartitionIndex, ShardId, TimestampMs, Uuid};
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use crate::wire::messages::{ProduceRequest, ProduceResponse};
use bytes::{Bytes, BytesMut};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// Produce requests name topics by id from this version on.
const VERSION_TOPIC_IDS: i16 = 13;

/// A Produce request in progress.
struct Produce {
    head: ReplyHead,
    acks: Acks,
    topics: Vec<TopicName>,
    parts: Vec<Part>,
    /// What is not checked yet.
    batches: Batches,
    /// All batches together.
    bytes: usize,
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
    partition: PartitionId,
    range: Range<usize>,
    rules: Arc<TopicRules>,
}

fn refused(code: ErrorCode) -> Option<Outcome> {
    Some(Outcome::Refused(Box::new(Refusal::new(code, ""))))
}

/// How many bytes of batches go to each owner.
fn shares(view: &View, picks: &[Pick]) -> BTreeMap<ShardId, usize> {
    let mut shares = BTreeMap::new();
    for pick in picks {
        *shares.entry(view.owner(pick.partition)).or_default() += pick.range.len();
    }
    shares
}

pub fn begin(scatter: &mut Scatter<'_>, incoming: &Incoming<'_>, mut frame: BytesMut) -> Result<Begun, DecodeError> {
    let head = &incoming.head;
    let request =
        ProduceRequest::decode(&mut Reader::bounded(&frame[head.body_start..], REQUEST_FIELD_BYTES_MAX), head.version)?;
    let acks = match request.acks {
        0 => Some(Acks::None),
        1 => Some(Acks::Leader),
        -1 => Some(Acks::All),
        _ => None,
    };
    let deadline = scatter.now.mono.after_ms(request.timeout_ms.max(0) as u64);
    let (topics, mut parts, mut picks) = picks(scatter, head.version, &request, &frame);
    drop(request);
    if acks.is_none() {
        picks.clear();
        parts.iter_mut().for_each(|part| part.outcome = refused(ErrorCode::InvalidRequiredAcks));
    }
    // From the back, so that each batch can be split off the frame's end.
    picks.sort_unstable_by_key(|pick| pick.range.start);
    let (frame_bytes, shares) = (frame.len(), shares(scatter.view, &picks));
    let mut batches = VecDeque::with_capacity(picks.len());
    for Pick { part, partition, range, rules } in picks.into_iter().rev() {
        frame.truncate(range.end);
        let batch = frame.split_off(range.start);
        // An owner with a small share of the frame would keep all of it in memory.
        let share = shares[&scatter.view.owner(partition)];
        let batch = if 2 * share < frame_bytes { BytesMut::from(&batch[..]) } else { batch };
        batches.push_front(Unchecked { part, partition, batch, rules });
    }
    // Nothing is answered, so the connection's order does not wait for the disk.
    let acks = acks.unwrap_or(Acks::Leader);
    let silent = acks == Acks::None;
    let deadline = (!batches.is_empty() && !silent).then_some(deadline);
    let bytes = batches.iter().map(|unchecked| unchecked.batch.len()).sum();
    let batches = Batches::new(head.version, scatter.now.wall_ms, batches);
    let work = Box::new(Produce { head: ReplyHead::new(head), acks, topics, parts, batches, bytes });
    Ok(Begun::Started { work, deadline, silent })
}

/// The request's topics and partitions, and where in the frame the records lie of those that may be written. A partition
/// that occurs twice is refused: of its batches none can be told to be the one that is meant.
fn picks(
    scatter: &mut Scatter<'_>,
    version: i16,
    request: &ProduceRequest<'_>,
    frame: &[u8],
) -> (Vec<TopicName>, Vec<Part>, Vec<Pick>) {
    let (mut topics, mut parts, mut picks) = (Vec::new(), Vec::<Part>::new(), Vec::<Pick>::new());
    let mut seen: HashMap<PartitionId, usize> = HashMap::new();
    for data in &request.topic_data {
        let by_id = version >= VERSION_TOPIC_IDS;
        let image = scatter.view.image();
        let topic = if by_id { image.topic_by_id(data.topic_id) } else { image.topic(&data.name) }.cloned();
        let name = topic.as_ref().map_or_else(|| Arc::from(&*data.name), |topic| topic.name.clone());
        let rules = topic.as_ref().map(|topic| scatter.view.rules_of(topic));
        for partition in &data.partition_data {
            let led = topic.as_ref().and_then(|topic| scatter.view.led(topic, partition.index));
            if let Some(led) = led
                && let Some(first) = seen.insert(led, parts.len())
            {
                seen.insert(led, first);
                parts[first].outcome = refused(ErrorCode::InvalidRequest);
                continue;
            }
            let range = partition.records.as_ref().and_then(|records| records.range_in(frame));
            let outcome = match (&rules, led, range) {
                _ if topic.is_none() && by_id => refused(ErrorCode::UnknownTopicId),
                (_, None, _) => refused(ErrorCode::UnknownTopicOrPartition),
                _ if is_internal(&name) => refused(ErrorCode::InvalidTopicException),
                (Some(rules), Some(partition), Some(range)) if !range.is_empty() => {
                    picks.push(Pick { part: parts.len(), partition, range, rules: rules.clone() });
                    None
                }
                _ => refused(ErrorCode::InvalidRecord),
            };
            parts.push(Part { topic: topics.len(), index: partition.index, outcome, log_append_time: -1 });
        }
        topics.push(TopicName { name, id: data.topic_id });
    }
    picks.retain(|pick| parts[pick.part].outcome.is_none());
    (topics, parts, picks)
}

impl Work for Produce {
    fn own_bytes(&self) -> Option<usize> {
        (!self.batches.is_empty()).then_some(self.bytes)
    }

    /// Checks batches; when all are checked, those that are sound go to their owners.
    fn work_on(&mut self, scatter: &mut Scatter<'_>, budget: &mut usize) -> bool {
        if !self.batches.step(scatter.workspace, budget) {
            return false;
        }
        for checking::Outcome { part: number, partition, rules, result } in self.batches.take_done() {
            let part = &mut self.parts[number];
            match result {
                Ok(Checked { batch, info }) => {
                    if rules.check.log_append_time {
                        part.log_append_time = info.timestamp_max;
                    }
                    scatter.ask(number as u32, partition, &rules.topic, Op::Append { batch, info, acks: self.acks });
                }
                Err(refusal) => part.outcome = Some(Outcome::Refused(Box::new(refusal))),
            }
        }
        true
    }

    fn rest(&mut self, scatter: &mut Scatter<'_>) {
        self.batches.rest(scatter.workspace);
    }

    fn answered(&mut self, _: &mut Scatter<'_>, part: u32, answer: Answer) {
        let part = &mut self.parts[part as usize];
        assert!(part.outcome.is_none(), "a part is answered once");
        part.outcome = match answer {
            Answer::Appended { offset, log_start } => Some(Outcome::Written { offset, log_start }),
            Answer::AppendRefused(refusal) => Some(Outcome::Refused(refusal)),
            Answer::Failed(code) => refused(code),
            other => panic!("an append is not answered by {other:?}"),
        };
    }

    /// Answers when the time is over that the client gave.
    fn late(&mut self, _: &mut Scatter<'_>) -> Next {
        for part in self.parts.iter_mut().filter(|part| part.outcome.is_none()) {
            part.outcome = refused(ErrorCode::RequestTimedOut);
        }
        Next::Reply
    }

    fn reply(self: Box<Self>, _: &mut Scatter<'_>) -> Reply {
        if self.acks != Acks::None {
            return Reply::Send(encode(&self));
        }
        // The only way to tell a client that does not listen.
        let refusal = self.parts.iter().find_map(|part| match &part.outcome {
            Some(Outcome::Refused(refusal)) => Some(refusal),
            _ => None,
        });
        match refusal {
            Some(refusal) => Reply::Close(format!("acks=0 request refused: {}", refusal.code.name())),
            None => Reply::Nothing,
        }
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
    produce.head.frame(|w| response.encode(w, produce.head.version))
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
