//! Positions of groups of every kind: OffsetCommit, OffsetFetch, OffsetDelete.

use super::decisions::Then;
use super::error::{append_error, commit_response, fetched_none, offset_delete_refusal, owned};
use super::ledger::Committed;
use super::record::{Key, Record};
use super::shared::{Context, Step};
use super::state::{Group, Kind};
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

/// What a position in an answer takes beside its metadata.
pub(super) const FETCHED_BYTES: usize = 80;

/// Whether a commit has anything to say about partitions that exist; if not, it is answered without its group.
pub(super) fn commits_anything(request: &OffsetCommitRequest<'_>, topics: Topics<'_>) -> bool {
    let known = |topic: &str, partition: &OffsetCommitRequestPartition<'_>| topics(topic, partition.partition_index);
    request.topics.iter().any(|topic| topic.partitions.iter().any(|partition| known(&topic.name, partition)))
}

/// The answer to a commit that is refused: `code` for the partitions that exist.
pub(super) fn commit_refusal(request: &OffsetCommitRequest<'_>, topics: Topics<'_>, code: ErrorCode) -> Response {
    let each = |topic: &str, partition| if topics(topic, partition) { code } else { UNKNOWN };
    Response::OffsetCommit(commit_response(request, each))
}

const UNKNOWN: ErrorCode = ErrorCode::UnknownTopicOrPartition;
/// What is stored of a position takes this much at least, beside the names of its group and topic.
const POSITION_RECORD_BYTES: usize = 34;

/// What a commit comes to.
struct Positions<'a> {
    records: Vec<Record>,
    /// By how much the ledger grows, at most.
    growth: usize,
    /// Positions with more metadata than there may be.
    too_large: BTreeSet<(&'a str, i32)>,
}

/// The records of a commit's positions. As in Kafka they are stored in one batch or not at all.
fn positions<'a>(
    cx: &Context<'_>,
    request: &'a OffsetCommitRequest<'_>,
    topics: Topics<'_>,
) -> Result<Positions<'a>, ErrorCode> {
    let too_large = append_error(ErrorCode::RecordListTooLarge);
    let bytes_max = cx.step.settings.append_bytes_max;
    if is_too_large(request, bytes_max) {
        return Err(too_large);
    }
    let metadata_max = cx.step.settings.offset_metadata_bytes_max;
    let wall_ms = cx.now.wall_ms;
    let expire_ms = (request.retention_time_ms >= 0).then(|| wall_ms.saturating_add(request.retention_time_ms));
    let mut positions = Positions { records: Vec::new(), growth: 0, too_large: BTreeSet::new() };
    let mut bytes = 0;
    for topic in &request.topics {
        let there = |partition: &&OffsetCommitRequestPartition<'_>| topics(&topic.name, partition.partition_index);
        for partition in topic.partitions.iter().filter(there) {
            let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
            // As Java counts, in units of UTF-16, which are no more than the bytes.
            if metadata.len() > metadata_max && metadata.encode_utf16().count() > metadata_max {
                positions.too_large.insert((&*topic.name, partition.partition_index));
                continue;
            }
            positions.growth += cx.shared.ledger().growth(&topic.name, partition.partition_index, metadata.len());
            let committed = Committed {
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch.max(-1),
                metadata: metadata.into(),
                commit_ms: wall_ms,
                expire_ms,
            };
            let record = Record::offset(cx.name(), &topic.name, partition.partition_index, Some(&committed));
            bytes += record.bytes();
            if bytes > bytes_max {
                return Err(too_large);
            }
            positions.records.push(record);
        }
    }
    Ok(positions)
}

/// Whether the positions take more than `bytes_max` whatever they say: told by their number, without looking at each.
fn is_too_large(request: &OffsetCommitRequest<'_>, bytes_max: usize) -> bool {
    let mut bytes = 0;
    for topic in &request.topics {
        let each = POSITION_RECORD_BYTES + request.group_id.len() + topic.name.len();
        bytes += topic.partitions.len() * each;
        if bytes > bytes_max {
            return true;
        }
    }
    false
}

impl Group {
    pub(super) fn commit(
        &mut self,
        now: Now,
        caller: &Caller<'_>,
        request: &OffsetCommitRequest<'_>,
        topics: Topics<'_>,
        step: &mut Step,
    ) {
        let ticket = caller.ticket;
        let is_known = self.exists() || self.shared().has_undurable();
        let (kind, mut cx) = self.parts(now, step);
        let checked = match kind {
            Kind::Classic(classic) => classic.check_commit(request, caller.version, is_known),
        };
        if let Err(code) = checked {
            return cx.answer(ticket, commit_refusal(request, topics, code));
        }
        match kind {
            Kind::Classic(classic) => classic.commits(&mut cx, &request.member_id),
        }
        let positions = match positions(&cx, request, topics) {
            Ok(positions) => positions,
            Err(code) => return cx.answer(ticket, commit_refusal(request, topics, code)),
        };
        if positions.growth > 0 && !cx.step.has_offset_memory(caller, positions.growth) {
            return cx.answer(ticket, commit_refusal(request, topics, ErrorCode::InvalidCommitOffsetSize));
        }
        let response = commit_response(request, |topic, partition| match topics(topic, partition) {
            false => UNKNOWN,
            true if positions.too_large.contains(&(topic, partition)) => ErrorCode::OffsetMetadataTooLarge,
            true => ErrorCode::None,
        });
        let response = Response::OffsetCommit(response);
        if positions.records.is_empty() {
            return cx.answer(ticket, response);
        }
        if request.retention_time_ms >= 0 {
            cx.schedule_retention();
        }
        if let Err(code) = cx.decide(positions.records, Then::Answer { ticket, response }) {
            cx.answer(ticket, commit_refusal(request, topics, code));
        }
    }

    /// Positions that are asked for, or all.
    pub(super) fn fetch(&self, request: &OffsetFetchRequestGroup<'_>, bytes_max: usize) -> Response {
        match &request.topics {
            Some(topics) => {
                fetched_asked(request, topics, bytes_max, |topic, index| self.ledger().offset(topic, index))
            }
            None => self.fetch_all(request, bytes_max),
        }
    }

    fn fetch_all(&self, request: &OffsetFetchRequestGroup<'_>, bytes_max: usize) -> Response {
        if self.ledger().bytes() > bytes_max {
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
        let topics = self.ledger().topics_after(None).map(topic).collect();
        let group_id = owned(&request.group_id);
        Response::OffsetFetch(OffsetFetchResponseGroup { group_id, topics, ..Default::default() })
    }

    pub(super) fn delete_offsets(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: &OffsetDeleteRequest<'_>,
        topics: Topics<'_>,
        step: &mut Step,
    ) {
        let undurable = self.undurable_offsets(step);
        let (kind, mut cx) = self.parts(now, step);
        let Kind::Classic(classic) = kind;
        if !classic.may_delete_offsets() {
            return cx.answer(ticket, offset_delete_refusal(ErrorCode::NonEmptyGroup));
        }
        let mut response = OffsetDeleteResponse::default();
        let mut records = Vec::new();
        let mut deleted = BTreeSet::new();
        for topic in &request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            let stored = cx.shared.ledger().topic(&topic.name);
            let decided = undurable.get(&*topic.name);
            let subscribed = classic.is_subscribed(&topic.name);
            for partition_index in topic.partitions.iter().map(|partition| partition.partition_index) {
                let there = stored.is_some_and(|positions| positions.contains_key(&partition_index))
                    || decided.is_some_and(|positions| positions.contains(&partition_index));
                let code = match topics(&topic.name, partition_index) {
                    false => UNKNOWN,
                    true if subscribed => ErrorCode::GroupSubscribedToTopic,
                    true => ErrorCode::None,
                };
                if there && code == ErrorCode::None && deleted.insert((&*topic.name, partition_index)) {
                    records.push(Record::offset(cx.name(), &topic.name, partition_index, None));
                }
                partitions.push(OffsetDeleteResponsePartition { partition_index, error_code: code.code() });
            }
            response.topics.push(OffsetDeleteResponseTopic { name: owned(&topic.name), partitions });
        }
        let response = Response::OffsetDelete(response);
        if records.is_empty() {
            return cx.answer(ticket, response);
        }
        if let Err(code) = cx.decide(records, Then::Answer { ticket, response }) {
            cx.answer(ticket, offset_delete_refusal(code));
        }
    }

    /// Positions of this group that are decided and not durable, by topic.
    fn undurable_offsets(&self, step: &Step) -> BTreeMap<String, BTreeSet<i32>> {
        let mut offsets: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
        for record in self.shared().undurable().map(|number| step.decisions.record(number)) {
            if let (Some(_), Ok(Key::Offset { topic, partition, .. })) = (&record.value, Key::decode(&record.key)) {
                offsets.entry(topic.into_owned()).or_default().insert(partition);
            }
        }
        offsets
    }
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
