//! DescribeGroups, DeleteGroups.

use super::coordinator::Coordinator;
use super::decisions::Then;
use super::error::{append_error, owned};
use super::record::Record;
use super::state::{Group, Kind, STATE_DEAD};
use super::{Response, Ticket};
use crate::wire::error::ErrorCode;
use crate::wire::messages::delete_groups_response::DeletableGroupResult;
use crate::wire::messages::describe_groups_response::DescribedGroup;
use crate::wire::messages::{DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// DescribeGroups from here on has an error for a group that is not there (KIP-1043).
const DESCRIBE_VERSION_ERROR: i16 = 6;
/// What a described group takes beside its texts and its members.
const DESCRIBED_BYTES: usize = 256;
/// What everybody may do with a group as long as there are no rules of access: Kafka's bits of READ, DELETE, DESCRIBE,
/// DESCRIBE_CONFIGS and ALTER_CONFIGS.
const OPERATIONS_ALL: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

impl Group {
    fn describe(&self) -> DescribedGroup<'static> {
        let described = match self.kind() {
            Kind::Classic(classic) => classic.describe(),
        };
        DescribedGroup { group_id: owned(self.name()), group_state: self.state_name().into(), ..described }
    }
}

impl Coordinator {
    pub(super) fn describe(&self, request: &DescribeGroupsRequest<'_>, version: i16) -> Response {
        let bytes = |id: &Cow<'_, str>| {
            DESCRIBED_BYTES + 2 * id.len() + self.groups.get(&**id).map_or(0, |group| group.member_bytes())
        };
        if request.groups.iter().map(bytes).sum::<usize>() > self.step.settings.answer_bytes_max {
            return Response::TooLarge;
        }
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
        let mut seen = BTreeSet::new();
        let mut groups: Vec<DescribedGroup<'static>> =
            request.groups.iter().filter(|id| seen.insert(&***id)).map(describe).collect();
        let no_error = |group: &&mut DescribedGroup<'_>| group.error_code == ErrorCode::None.code();
        if request.include_authorized_operations {
            groups.iter_mut().filter(no_error).for_each(|group| group.authorized_operations = OPERATIONS_ALL);
        }
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
            return self.step.answer(ticket, response);
        }
        for (number, record) in (self.step.decisions.number_decided()..).zip(&records) {
            let group = self.groups.get_mut(&record.group).expect("it has tombstones");
            group.shared_mut().expect_records(number, 1);
        }
        self.step.decisions.decide(records, Then::Answer { ticket, response });
    }

    /// Tombstones for all that is durable of an empty group, or is going to be.
    fn tombstones(&mut self, id: &str) -> Result<Vec<Record>, ErrorCode> {
        let group = self.groups.get_mut(id).filter(|group| group.exists() || group.shared().has_undurable());
        let group = group.ok_or(ErrorCode::GroupIdNotFound)?;
        match group.kind() {
            Kind::Classic(classic) => classic.check_delete()?,
        }
        let mut records: Vec<Record> = group.ledger().tombstones(group.name()).collect();
        let known: BTreeSet<_> = records.iter().map(|record| record.key.clone()).collect();
        let ours = group.shared().undurable().map(|number| self.step.decisions.record(number));
        let ours = ours.filter(|record| record.value.is_some() && !known.contains(&record.key));
        let decided: BTreeSet<_> = ours.map(|record| record.key.clone()).collect();
        records.extend(decided.into_iter().map(|key| Record::tombstone(group.name(), key)));
        if records.iter().any(|record| record.bytes() > self.step.settings.append_bytes_max) {
            return Err(append_error(ErrorCode::MessageTooLarge));
        }
        group.deleted();
        if records.is_empty() {
            let name = group.name().clone();
            self.settle(&name);
        }
        Ok(records)
    }
}
