//! ListGroups, DescribeGroups, DeleteGroups.

use super::coordinator::Coordinator;
use super::decisions::Then;
use super::error::{append_error, owned};
use super::record::{Key, Record};
use super::state::{Group, State};
use super::{Response, Ticket};
use crate::wire::error::ErrorCode;
use crate::wire::messages::delete_groups_response::DeletableGroupResult;
use crate::wire::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use crate::wire::messages::list_groups_response::ListedGroup;
use crate::wire::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, ListGroupsRequest,
    ListGroupsResponse,
};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What DescribeGroups calls the state of a group that is not there, or that cannot be read.
const STATE_DEAD: &str = "Dead";
const GROUP_TYPE: &str = "classic";
/// DescribeGroups from here on has an error for a group that is not there (KIP-1043).
const DESCRIBE_VERSION_ERROR: i16 = 6;

impl Group {
    fn state_name(&self) -> &'static str {
        if self.is_malformed() { STATE_DEAD } else { self.state.name() }
    }

    fn describe(&self) -> DescribedGroup<'static> {
        let protocol = self.protocol.as_deref().filter(|_| self.state == State::Stable);
        let member = |(id, member): (&Arc<str>, &super::member::Member)| DescribedGroupMember {
            member_id: owned(id),
            group_instance_id: member.instance.as_deref().map(owned),
            client_id: owned(&member.client_id),
            client_host: owned(&member.client_host),
            member_metadata: Cow::Owned(protocol.map_or_else(Vec::new, |protocol| member.metadata(protocol).to_vec())),
            member_assignment: Cow::Owned(member.assignment.to_vec()),
        };
        DescribedGroup {
            group_id: owned(&self.name),
            group_state: self.state_name().into(),
            protocol_type: owned(self.protocol_type.as_deref().unwrap_or_default()),
            protocol_data: owned(protocol.unwrap_or_default()),
            members: self.members.iter().map(member).collect(),
            ..Default::default()
        }
    }
}

impl Coordinator {
    pub(super) fn list(&self, request: &ListGroupsRequest<'_>) -> Response {
        let asked = |filter: &[Cow<'_, str>], value: &str| {
            filter.is_empty() || filter.iter().any(|text| text.trim().eq_ignore_ascii_case(value))
        };
        let listed = self.groups.values().filter(|group| {
            group.exists()
                && asked(&request.states_filter, group.state_name())
                && asked(&request.types_filter, GROUP_TYPE)
        });
        let row = |group: &Group| ListedGroup {
            group_id: owned(&group.name),
            protocol_type: owned(group.protocol_type.as_deref().unwrap_or_default()),
            group_state: group.state_name().into(),
            group_type: GROUP_TYPE.into(),
        };
        Response::ListGroups(ListGroupsResponse { groups: listed.map(row).collect(), ..Default::default() })
    }

    pub(super) fn describe(&self, request: &DescribeGroupsRequest<'_>, version: i16) -> Response {
        let describe = |id: &Cow<'_, str>| match self.groups.get(&**id).filter(|group| group.exists()) {
            Some(group) if group.is_malformed() => {
                DescribedGroup { error_code: ErrorCode::UnknownServerError.code(), ..group.describe() }
            }
            Some(group) => group.describe(),
            None => {
                let dead = DescribedGroup { group_id: owned(id), group_state: STATE_DEAD.into(), ..Default::default() };
                if version < DESCRIBE_VERSION_ERROR {
                    return dead;
                }
                let message = format!("Group {id} not found.");
                let error_code = ErrorCode::GroupIdNotFound.code();
                DescribedGroup { error_code, error_message: Some(message.into()), ..dead }
            }
        };
        let groups = request.groups.iter().map(describe).collect();
        Response::DescribeGroups(DescribeGroupsResponse { groups, ..Default::default() })
    }

    /// Also the way to be rid of a group whose records cannot be read.
    pub(super) fn delete_groups(&mut self, ticket: Ticket, request: &DeleteGroupsRequest<'_>) {
        let (mut results, mut records) = (Vec::new(), Vec::new());
        let ids: BTreeSet<&str> = request.groups_names.iter().map(|id| &**id).collect();
        for id in ids {
            let code = match self.tombstones(id) {
                Ok(tombstones) => {
                    records.extend(tombstones);
                    ErrorCode::None
                }
                Err(code) => code,
            };
            results.push(DeletableGroupResult {
                group_id: owned(id),
                error_code: code.code(),
                error_message: (code == ErrorCode::GroupIdNotFound).then(|| format!("Group {id} not found.").into()),
            });
        }
        let response = Response::DeleteGroups(DeleteGroupsResponse { results, ..Default::default() });
        if records.is_empty() {
            return self.desk.answer(ticket, response);
        }
        for record in &records {
            let group = self.groups.get_mut(&record.group).expect("it has tombstones");
            group.undurable += 1;
        }
        self.desk.decisions.decide(records, Then::Answer { ticket, response });
    }

    /// Tombstones for all that is durable of an empty group, or is going to be.
    fn tombstones(&mut self, id: &str) -> Result<Vec<Record>, ErrorCode> {
        let group = self.groups.get_mut(id).filter(|group| group.exists() || group.undurable > 0);
        let group = group.ok_or(ErrorCode::GroupIdNotFound)?;
        if group.state != State::Empty {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let mut records: Vec<Record> = group.ledger.tombstones(&group.name).collect();
        let known: BTreeSet<_> = records.iter().map(|record| record.key.clone()).collect();
        let ours = self.desk.decisions.records().filter(|record| record.group == group.name && record.value.is_some());
        let decided: BTreeSet<_> = ours.map(|record| record.key.clone()).filter(|key| !known.contains(key)).collect();
        records.extend(decided.into_iter().map(|key| Record::tombstone(&group.name, key)));
        if records.iter().any(|record| record.bytes() > self.desk.settings.append_bytes_max) {
            return Err(append_error(ErrorCode::MessageTooLarge));
        }
        // What is left of the group is ids that were given out: they are unknown from here on.
        group.pending.clear();
        if records.is_empty() {
            let name = group.name.clone();
            self.settle(&name);
        }
        Ok(records)
    }

    /// Topics in which there are positions although there is no such topic.
    pub fn topics_missing(&self, exists: impl Fn(&str) -> bool) -> BTreeSet<Arc<str>> {
        let topics = self.groups.values().flat_map(|group| group.ledger.offsets.keys());
        topics.filter(|topic| !exists(topic)).cloned().collect()
    }

    /// Forgets the positions in a topic that is no more.
    pub fn topic_deleted(&mut self, topic: &str) {
        let mut gone: BTreeMap<Arc<str>, BTreeSet<i32>> = BTreeMap::new();
        for group in self.groups.values() {
            if let Some(partitions) = group.ledger.offsets.get(topic) {
                gone.entry(group.name.clone()).or_default().extend(partitions.keys());
            }
        }
        // What is decided is on its way into the log.
        for record in self.desk.decisions.records().filter(|record| record.value.is_some()) {
            if let Ok(Key::Offset { topic: of, partition, .. }) = Key::decode(&record.key)
                && of == topic
            {
                gone.entry(record.group.clone()).or_default().insert(partition);
            }
        }
        for (name, partitions) in gone {
            let group = self.groups.get_mut(&name).expect("a group stays while it has records to store");
            let tombstones = partitions.into_iter().map(|partition| Record::offset(&name, topic, partition, None));
            // A tombstone is smaller than the record that it deletes, which was not too large.
            let decided = group.decide(tombstones.collect(), Then::Nothing { group: name.clone() }, &mut self.desk);
            assert!(decided.is_ok(), "{name}: the positions in {topic} cannot be deleted");
            self.forgotten_end = self.desk.decisions.number_decided();
        }
    }

    /// Whether positions in deleted topics are still in the log.
    pub fn is_forgetting(&self) -> bool {
        self.desk.decisions.number_over() < self.forgotten_end
    }
}
