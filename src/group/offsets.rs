//! OffsetCommit, OffsetFetch, OffsetDelete.

use super::decisions::Then;
use super::error::{commit_response, fetched_none, offset_delete_refusal, owned};
use super::ledger::Committed;
use super::record::{Key, Record};
use super::state::{Group, State, Step};
use super::{Caller, Response, Ticket, Topics};
use crate::types::Now;
use crate::wire::error::ErrorCode;
use crate::wire::messages::offset_commit_request::OffsetCommitRequestPartition;
use crate::wire::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use crate::wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use crate::wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use crate::wire::messages::{OffsetCommitRequest, OffsetDeleteRequest, OffsetDeleteResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// From here on a group that is not there is called so; before, its generation is.
const COMMIT_VERSION_GROUP_ERROR: i16 = 9;
/// What a position in an answer takes beside its metadata.
pub const FETCHED_BYTES: usize = 80;

/// Whether a commit has anything to say about partitions that exist; if not, it is answered without its group.
pub(super) fn commits_anything(request: &OffsetCommitRequest<'_>, topics: Topics<'_>) -> bool {
    let known = |topic: &str, partition: &OffsetCommitRequestPartition<'_>| topics(topic, partition.partition_index);
    request.topics.iter().any(|topic| topic.partitions.iter().any(|partition| known(&topic.name, partition)))
}

/// `code` for the partitions that exist.
pub(super) fn commit_refusal(request: &OffsetCommitRequest<'_>, topics: Topics<'_>, code: ErrorCode) -> Response {
    let each = |topic: &str, partition| if topics(topic, partition) { code } else { UNKNOWN };
    Response::OffsetCommit(commit_response(request, each))
}

const UNKNOWN: ErrorCode = ErrorCode::UnknownTopicOrPartition;

impl Group {
    pub fn commit(
        &mut self,
        now: Now,
        caller: &Caller<'_>,
        request: &OffsetCommitRequest<'_>,
        topics: Topics<'_>,
        step: &mut Step,
    ) {
        if let Err(code) = self.check_commit(request, caller.version) {
            return step.answer(caller.ticket, commit_refusal(request, topics, code));
        }
        if matches!(self.state(), State::Stable | State::Preparing) {
            self.keep_alive(now, &request.member_id);
        }
        let metadata_max = step.settings.offset_metadata_bytes_max;
        let mut growth = 0;
        let expire_ms = (request.retention_time_ms >= 0).then(|| now.wall_ms.saturating_add(request.retention_time_ms));
        let mut records = Vec::new();
        let mut too_large = BTreeSet::new();
        for topic in &request.topics {
            for partition in topic.partitions.iter().filter(|partition| topics(&topic.name, partition.partition_index))
            {
                let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
                // As Java counts, in units of UTF-16, which are no more than the bytes.
                if metadata.len() > metadata_max && metadata.encode_utf16().count() > metadata_max {
                    too_large.insert((&*topic.name, partition.partition_index));
                    continue;
                }
                growth += self.ledger.growth(&topic.name, partition.partition_index, metadata.len());
                let committed = Committed {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch.max(-1),
                    metadata: metadata.into(),
                    commit_ms: now.wall_ms,
                    expire_ms,
                };
                records.push(Record::offset(&self.name, &topic.name, partition.partition_index, Some(&committed)));
            }
        }
        if growth > 0 && !step.has_offset_memory(caller, growth) {
            let refused = commit_refusal(request, topics, ErrorCode::InvalidCommitOffsetSize);
            return step.answer(caller.ticket, refused);
        }
        let response = commit_response(request, |topic, partition| match topics(topic, partition) {
            false => UNKNOWN,
            true if too_large.contains(&(topic, partition)) => ErrorCode::OffsetMetadataTooLarge,
            true => ErrorCode::None,
        });
        let response = Response::OffsetCommit(response);
        if records.is_empty() {
            return step.answer(caller.ticket, response);
        }
        let then = Then::Answer { ticket: caller.ticket, response };
        if expire_ms.is_some() {
            self.schedule_retention(now, step);
        }
        if let Err(code) = self.decide(records, then, step) {
            step.answer(caller.ticket, commit_refusal(request, topics, code));
        }
    }

    fn check_commit(&self, request: &OffsetCommitRequest<'_>, version: i16) -> Result<(), ErrorCode> {
        let generation = request.generation_id_or_member_epoch;
        if generation < 0 && self.state() == State::Empty {
            // An operator, or a consumer that assigns itself.
            return Ok(());
        }
        if !self.exists() && self.undurable.is_empty() {
            return Err(absent_group(version));
        }
        let instance = request.group_instance_id.as_deref();
        if generation < 0 && request.member_id.is_empty() && instance.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_member(&request.member_id, instance)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        // Its assignment is not known yet, so what it commits may be another's.
        if self.state() == State::Completing { Err(ErrorCode::RebalanceInProgress) } else { Ok(()) }
    }

    /// Positions that are asked for, or all.
    pub fn fetch(&self, request: &OffsetFetchRequestGroup<'_>, bytes_max: usize) -> Response {
        match &request.topics {
            Some(topics) => fetched_asked(request, topics, bytes_max, |topic, index| self.ledger.offset(topic, index)),
            None => self.fetch_all(request, bytes_max),
        }
    }

    fn fetch_all(&self, request: &OffsetFetchRequestGroup<'_>, bytes_max: usize) -> Response {
        if self.ledger.bytes() > bytes_max {
            return Response::TooLarge;
        }
        let topic = |(name, partitions): (&Arc<str>, &BTreeMap<i32, Committed>)| {
            let partition = |(&index, committed)| fetched(index, Some(committed));
            OffsetFetchResponseTopics {
                name: owned(name),
                partitions: partitions.iter().map(partition).collect(),
                ..Default::default()
            }
        };
        let topics = self.ledger.offsets.iter().map(topic).collect();
        let group_id = owned(&request.group_id);
        Response::OffsetFetch(OffsetFetchResponseGroup { group_id, topics, ..Default::default() })
    }

    pub fn delete_offsets(
        &mut self,
        ticket: Ticket,
        request: &OffsetDeleteRequest<'_>,
        topics: Topics<'_>,
        step: &mut Step,
    ) {
        if self.state() != State::Empty && !self.uses_consumer_protocol() {
            return step.answer(ticket, offset_delete_refusal(ErrorCode::NonEmptyGroup));
        }
        let undurable = self.undurable_offsets(step);
        let mut response = OffsetDeleteResponse::default();
        let mut records = Vec::new();
        let mut deleted = BTreeSet::new();
        for topic in &request.topics {
            let mut answered = OffsetDeleteResponseTopic {
                name: owned(&topic.name),
                partitions: Vec::with_capacity(topic.partitions.len()),
            };
            for index in topic.partitions.iter().map(|partition| partition.partition_index) {
                let there = || {
                    let decided = || undurable.contains(&(topic.name.to_string(), index));
                    self.ledger.offset(&topic.name, index).is_some() || decided()
                };
                let code = match topics(&topic.name, index) {
                    false => UNKNOWN,
                    true if self.is_subscribed(&topic.name) => ErrorCode::GroupSubscribedToTopic,
                    true => ErrorCode::None,
                };
                if code == ErrorCode::None && there() && deleted.insert((&*topic.name, index)) {
                    records.push(Record::offset(&self.name, &topic.name, index, None));
                }
                answered
                    .partitions
                    .push(OffsetDeleteResponsePartition { partition_index: index, error_code: code.code() });
            }
            response.topics.push(answered);
        }
        let response = Response::OffsetDelete(response);
        if records.is_empty() {
            return step.answer(ticket, response);
        }
        if let Err(code) = self.decide(records, Then::Answer { ticket, response }, step) {
            step.answer(ticket, offset_delete_refusal(code));
        }
    }

    /// Positions of this group that are decided and not durable.
    fn undurable_offsets(&self, step: &Step) -> BTreeSet<(String, i32)> {
        let ours = self.undurable.iter().map(|&number| step.decisions.record(number));
        let position = |record: &Record| match Key::decode(&record.key) {
            Ok(Key::Offset { topic, partition, .. }) => Some((topic.into_owned(), partition)),
            _ => None,
        };
        ours.filter(|record| record.value.is_some()).filter_map(position).collect()
    }
}

/// What a commit with a generation is told of a group that is not there.
pub(super) fn absent_group(version: i16) -> ErrorCode {
    if version >= COMMIT_VERSION_GROUP_ERROR { ErrorCode::GroupIdNotFound } else { ErrorCode::IllegalGeneration }
}

/// What OffsetFetch says of a group that is not there.
pub(super) fn fetched_nothing(request: &OffsetFetchRequestGroup<'_>, bytes_max: usize) -> Response {
    fetched_asked(request, request.topics.as_deref().unwrap_or_default(), bytes_max, |_, _| None)
}

/// The positions that are asked for, each once. One that is not there is -1 without an error.
fn fetched_asked<'a>(
    request: &OffsetFetchRequestGroup<'_>,
    asked: &[OffsetFetchRequestTopics<'_>],
    bytes_max: usize,
    position: impl Fn(&str, i32) -> Option<&'a Committed>,
) -> Response {
    let (mut names, mut positions, mut bytes) = (BTreeSet::new(), BTreeSet::new(), 0);
    let mut topics = Vec::new();
    for topic in asked {
        let again = !names.insert(&*topic.name);
        let mut partitions = Vec::new();
        for &index in topic.partition_indexes.iter().filter(|&&index| positions.insert((&*topic.name, index))) {
            let committed = position(&topic.name, index);
            bytes += FETCHED_BYTES + committed.map_or(0, |committed| committed.metadata.len());
            if bytes > bytes_max {
                return Response::TooLarge;
            }
            partitions.push(fetched(index, committed));
        }
        if !again || !partitions.is_empty() {
            topics.push(OffsetFetchResponseTopics { name: owned(&topic.name), topic_id: topic.topic_id, partitions });
        }
    }
    Response::OffsetFetch(OffsetFetchResponseGroup { group_id: owned(&request.group_id), topics, ..Default::default() })
}

fn fetched(partition_index: i32, committed: Option<&Committed>) -> OffsetFetchResponsePartitions<'static> {
    let Some(committed) = committed else { return fetched_none(partition_index, ErrorCode::None) };
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: committed.offset,
        committed_leader_epoch: committed.leader_epoch,
        metadata: Some(owned(&committed.metadata)),
        error_code: ErrorCode::None.code(),
    }
}
