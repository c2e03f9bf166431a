//! OffsetCommit, OffsetFetch, OffsetDelete.

use super::decisions::Then;
use super::error::{commit_response, fetched_none, offset_delete_refusal, owned};
use super::ledger::Committed;
use super::record::{Key, Record};
use super::state::{Desk, Group, State};
use super::{Caller, Response, Ticket, Topics};
use crate::types::Now;
use crate::wire::error::ErrorCode;
use crate::wire::messages::offset_commit_request::OffsetCommitRequestPartition;
use crate::wire::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use crate::wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use crate::wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use crate::wire::messages::{OffsetCommitRequest, OffsetDeleteRequest, OffsetDeleteResponse};
use std::collections::BTreeSet;

/// From here on a group that is not there is called so; before, its generation is.
const COMMIT_VERSION_GROUP_ERROR: i16 = 9;

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
        desk: &mut Desk,
    ) {
        if let Err(code) = self.check_commit(request, caller.version) {
            return desk.answer(caller.ticket, commit_refusal(request, topics, code));
        }
        if matches!(self.state, State::Stable | State::Preparing) {
            self.keep_alive(now, &request.member_id);
        }
        let metadata_bytes_max = desk.settings.offset_metadata_bytes_max;
        let expire_ms = (request.retention_time_ms >= 0).then(|| now.wall_ms.saturating_add(request.retention_time_ms));
        let mut records = Vec::new();
        let mut too_large = BTreeSet::new();
        for topic in &request.topics {
            for partition in topic.partitions.iter().filter(|partition| topics(&topic.name, partition.partition_index))
            {
                let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
                if metadata.len() > metadata_bytes_max {
                    too_large.insert((&*topic.name, partition.partition_index));
                    continue;
                }
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
        let response = commit_response(request, |topic, partition| match topics(topic, partition) {
            false => UNKNOWN,
            true if too_large.contains(&(topic, partition)) => ErrorCode::OffsetMetadataTooLarge,
            true => ErrorCode::None,
        });
        let response = Response::OffsetCommit(response);
        if records.is_empty() {
            return desk.answer(caller.ticket, response);
        }
        let then = Then::Answer { ticket: caller.ticket, response };
        if expire_ms.is_some() {
            self.schedule_retention(now, desk);
        }
        if let Err(code) = self.decide(records, then, desk) {
            desk.answer(caller.ticket, commit_refusal(request, topics, code));
        }
    }

    fn check_commit(&self, request: &OffsetCommitRequest<'_>, version: i16) -> Result<(), ErrorCode> {
        let generation = request.generation_id_or_member_epoch;
        if generation < 0 && self.state == State::Empty {
            // An operator, or a consumer that assigns itself.
            return Ok(());
        }
        if !self.exists() && self.undurable == 0 {
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
        if self.state == State::Completing { Err(ErrorCode::RebalanceInProgress) } else { Ok(()) }
    }

    /// Positions that are asked for, or all. One that is not there is -1 without an error.
    pub fn fetch(&self, request: &OffsetFetchRequestGroup<'_>) -> OffsetFetchResponseGroup<'static> {
        let asked = request.topics.as_ref().map(|topics| {
            let topic = |topic: &crate::wire::messages::offset_fetch_request::OffsetFetchRequestTopics<'_>| {
                let partition = |&index: &i32| fetched(index, self.ledger.offset(&topic.name, index));
                OffsetFetchResponseTopics {
                    name: owned(&topic.name),
                    topic_id: topic.topic_id,
                    partitions: topic.partition_indexes.iter().map(partition).collect(),
                }
            };
            topics.iter().map(topic).collect()
        });
        let all = || {
            let topic = |(name, partitions): (&std::sync::Arc<str>, &std::collections::BTreeMap<i32, Committed>)| {
                let partition = |(&index, committed)| fetched(index, Some(committed));
                OffsetFetchResponseTopics {
                    name: owned(name),
                    partitions: partitions.iter().map(partition).collect(),
                    ..Default::default()
                }
            };
            self.ledger.offsets.iter().map(topic).collect()
        };
        let topics = asked.unwrap_or_else(all);
        OffsetFetchResponseGroup { group_id: owned(&request.group_id), topics, ..Default::default() }
    }

    pub fn delete_offsets(
        &mut self,
        ticket: Ticket,
        request: &OffsetDeleteRequest<'_>,
        topics: Topics<'_>,
        desk: &mut Desk,
    ) {
        if self.state != State::Empty && !self.uses_consumer_protocol() {
            return desk.answer(ticket, offset_delete_refusal(ErrorCode::NonEmptyGroup));
        }
        let undurable = self.undurable_offsets(desk);
        let mut response = OffsetDeleteResponse::default();
        let mut records = Vec::new();
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
                if code == ErrorCode::None && there() {
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
            return desk.answer(ticket, response);
        }
        if let Err(code) = self.decide(records, Then::Answer { ticket, response }, desk) {
            desk.answer(ticket, offset_delete_refusal(code));
        }
    }

    /// Positions of this group that are decided and not durable.
    pub fn undurable_offsets(&self, desk: &Desk) -> BTreeSet<(String, i32)> {
        if self.undurable == 0 {
            return BTreeSet::new();
        }
        let ours = desk.decisions.records().filter(|record| record.group == self.name && record.value.is_some());
        let position = |record: &Record| match Key::decode(&record.key) {
            Ok(Key::Offset { topic, partition, .. }) => Some((topic.into_owned(), partition)),
            _ => None,
        };
        ours.filter_map(position).collect()
    }
}

/// What a commit with a generation is told of a group that is not there.
pub(super) fn absent_group(version: i16) -> ErrorCode {
    if version >= COMMIT_VERSION_GROUP_ERROR { ErrorCode::GroupIdNotFound } else { ErrorCode::IllegalGeneration }
}

/// What OffsetFetch says of a group that is not there.
pub(super) fn fetched_nothing(request: &OffsetFetchRequestGroup<'_>) -> OffsetFetchResponseGroup<'static> {
    let topics = request.topics.iter().flatten().map(|topic| OffsetFetchResponseTopics {
        name: owned(&topic.name),
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.iter().map(|&index| fetched(index, None)).collect(),
    });
    OffsetFetchResponseGroup { group_id: owned(&request.group_id), topics: topics.collect(), ..Default::default() }
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
