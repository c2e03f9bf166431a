//! The machine: routes requests to groups, appends what they decide, keeps time.

use super::checkpoint::{self, Checkpoint, CheckpointError};
use super::decisions::{Append, AppendId, Decisions, Then};
use super::error::{append_error, heartbeat, leave_refusal, offset_delete_refusal, refusal, sync_refusal};
use super::forget::Sweep;
use super::join::check_join;
use super::list::{Listing, list_refusal};
use super::offsets::{absent_group, commit_refusal, commits_anything, fetched_nothing};
use super::record::{Key, Record};
use super::state::{Group, State, Step};
use super::sync::check_sync;
use super::{Answer, Caller, DECIDED_BYTES_MAX, Event, Request, Response, Settings, Topics};
use crate::types::{Now, Offset, Time};
use crate::wire::error::ErrorCode;
use crate::wire::messages::{JoinGroupRequest, OffsetCommitRequest};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// Groups looked at in one turn because of their timers.
const GROUPS_PER_TICK: usize = 256;
/// Groups that are opened in one turn when all is loaded.
const OPENED_PER_TURN: usize = 2048;

#[derive(Clone, PartialEq, Eq, Debug)]
enum Phase {
    Loading,
    /// All is read, and the groups are being opened: those up to this one are.
    Opening {
        after: Option<Arc<str>>,
    },
    Active,
    Unloaded,
}

/// The coordinator of the groups of one partition of `__consumer_offsets`.
#[derive(Debug)]
pub struct Coordinator {
    phase: Phase,
    pub(super) groups: BTreeMap<Arc<str>, Group>,
    pub(super) step: Step,
    /// Each group at most once, at a time when something may be due.
    timers: BTreeSet<(Time, Arc<str>)>,
    /// The partition's records before this offset are applied.
    offset_end: Offset,
    /// Lists and walks in search of positions that take more than one turn.
    pub(super) listings: VecDeque<Listing>,
    pub(super) sweeps: VecDeque<Sweep>,
    /// The deletion of positions in deleted topics is over when so many records are.
    pub(super) forgotten_end: u64,
    /// Records that were left out, for the events that tell of them when all are read.
    unknown_kinds: BTreeMap<i16, u64>,
    malformed_keys: Option<(u64, Vec<u8>)>,
}

impl Coordinator {
    /// Knows nothing yet: takes a checkpoint and records until [`Coordinator::loaded`].
    pub fn new(settings: Settings) -> Coordinator {
        assert!(settings.append_bytes_max > 0 && settings.members_max > 0);
        assert!(settings.gather_ms <= settings.gather_ms_max || settings.gather_ms_max == 0);
        let step = Step {
            settings,
            answers: Vec::new(),
            events: Vec::new(),
            decisions: Decisions::default(),
            member_bytes: 0,
            offset_bytes: 0,
        };
        Coordinator {
            phase: Phase::Loading,
            groups: BTreeMap::new(),
            step,
            timers: BTreeSet::new(),
            offset_end: 0,
            listings: VecDeque::new(),
            sweeps: VecDeque::new(),
            forgotten_end: 0,
            unknown_kinds: BTreeMap::new(),
            malformed_keys: None,
        }
    }

    /// Where replay goes on: the offset behind the last record that is applied.
    pub fn offset_end(&self) -> Offset {
        self.offset_end
    }

    /// Groups that are there, for a gauge.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Memory that all members and ids that were given out take.
    pub fn member_bytes(&self) -> usize {
        self.step.member_bytes
    }

    /// Memory that all that is durable takes.
    pub fn offset_bytes(&self) -> usize {
        self.step.offset_bytes
    }

    /// Takes what a checkpoint holds, before any record; returns the offset at which replay goes on.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<Offset, CheckpointError> {
        assert_eq!(self.phase, Phase::Loading);
        assert!(self.groups.is_empty() && self.offset_end == 0);
        // Checked whole before anything is taken.
        let offset_end = checkpoint::verify(bytes)?;
        checkpoint::walk(bytes, |key, value| self.apply(key, Some(value)));
        self.offset_end = offset_end;
        Ok(offset_end)
    }

    /// Takes one record of the partition, in their order.
    pub fn replay(&mut self, offset: Offset, key: &[u8], value: Option<&[u8]>) {
        assert_eq!(self.phase, Phase::Loading);
        assert!(offset >= self.offset_end, "records are replayed once");
        self.apply(key, value);
        self.offset_end = offset + 1;
    }

    /// The one way in which anything durable changes.
    fn apply(&mut self, key_bytes: &[u8], value: Option<&[u8]>) {
        let key = match Key::decode(key_bytes) {
            Ok(Key::Unknown { kind }) => {
                *self.unknown_kinds.entry(kind).or_insert(0) += 1;
                return;
            }
            Ok(key) => key,
            Err(_) => {
                let (records, _) = self.malformed_keys.get_or_insert_with(|| (0, key_bytes.to_vec()));
                *records += 1;
                return;
            }
        };
        let (Key::Offset { group: name, .. } | Key::Group { group: name }) = &key else { unreachable!() };
        let group = match self.groups.get_mut(&**name) {
            Some(group) => group,
            None if value.is_none() => return,
            None => {
                let name: Arc<str> = Arc::from(&**name);
                self.groups.entry(name.clone()).or_insert_with(|| Group::new(name))
            }
        };
        group.ledger.apply(&key, key_bytes, value);
        self.step.offset_bytes = self.step.offset_bytes + group.durable_bytes() - group.durable_counted;
        group.durable_counted = group.durable_bytes();
        if self.phase == Phase::Loading && group.ledger.is_empty() {
            self.groups.remove(&**name);
        }
    }

    /// All records are replayed, and all topics are there: members' sessions begin, requests are served.
    pub fn loaded(&mut self, now: Now) {
        while !self.open_some(now, &|_| true) {}
    }

    /// All records are replayed: members' sessions begin, and positions in topics that do not exist are forgotten, of some
    /// groups at a time. True when there are no more, and requests are served.
    pub fn open_some(&mut self, now: Now, exists: &dyn Fn(&str) -> bool) -> bool {
        let after = match &self.phase {
            Phase::Opening { after } => after.clone(),
            phase => {
                assert_eq!(*phase, Phase::Loading);
                self.report_left_out();
                None
            }
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let some = self.groups.range((from, Bound::Unbounded)).take(OPENED_PER_TURN);
        let names: Vec<Arc<str>> = some.map(|(name, _)| name.clone()).collect();
        for name in &names {
            let group = self.groups.get_mut(name).expect("it is a key");
            group.restore(now);
            group.schedule_retention(now, &self.step);
            if group.members.len() > self.step.settings.members_max {
                group.rebalance(now, "the loaded group is larger than group.max.size", &mut self.step);
            }
            group.report_malformed(&mut self.step);
            group.forget(&|topic| !exists(topic), &mut self.step);
            self.settle(name);
        }
        self.forgotten_end = self.step.decisions.number_decided();
        let is_active = names.len() < OPENED_PER_TURN;
        self.phase = if is_active { Phase::Active } else { Phase::Opening { after: names.last().cloned() } };
        is_active
    }

    fn report_left_out(&mut self) {
        let events = &mut self.step.events;
        for (kind, records) in std::mem::take(&mut self.unknown_kinds) {
            events.push(Event::UnknownKind { kind, records });
        }
        if let Some((records, first)) = self.malformed_keys.take() {
            events.push(Event::MalformedKeys { records, first });
        }
    }

    /// Serves one request. Its answer is among the next [`Coordinator::take_answers`], or among later ones.
    pub fn handle(&mut self, now: Now, caller: &Caller<'_>, request: &Request<'_>, topics: Topics<'_>) {
        let loading = match self.phase {
            Phase::Active => None,
            Phase::Loading | Phase::Opening { .. } => Some(ErrorCode::CoordinatorLoadInProgress),
            Phase::Unloaded => Some(ErrorCode::NotCoordinator),
        };
        if let Some(code) = loading {
            let response = match request {
                // The session is not in danger yet, so the member may go on.
                Request::Heartbeat(_) if self.phase != Phase::Unloaded => heartbeat(ErrorCode::None),
                request => refusal(request, caller.version, code),
            };
            return self.step.answer(caller.ticket, response);
        }
        if self.step.decisions.bytes() > DECIDED_BYTES_MAX && writes(request) {
            let response = refusal(request, caller.version, ErrorCode::CoordinatorNotAvailable);
            return self.step.answer(caller.ticket, response);
        }
        match request {
            Request::ListGroups(filter) => self.list(caller.ticket, filter),
            Request::DescribeGroups(request) => {
                let response = self.describe(request, caller.version);
                self.step.answer(caller.ticket, response);
            }
            Request::DeleteGroups(request) => self.delete_groups(caller.ticket, request),
            _ => self.handle_group(now, caller, request, topics),
        }
    }

    /// A request that concerns one group.
    fn handle_group(&mut self, now: Now, caller: &Caller<'_>, request: &Request<'_>, topics: Topics<'_>) {
        let (name, checked) = match request {
            Request::JoinGroup(request) => (&request.group_id, check_join(request, &self.step.settings)),
            Request::SyncGroup(request) => (&request.group_id, check_sync(request, caller.version)),
            Request::Heartbeat(request) => (&request.group_id, named(&request.group_id)),
            Request::LeaveGroup(request) => (&request.group_id, named(&request.group_id)),
            Request::OffsetDelete(request) => (&request.group_id, named(&request.group_id)),
            Request::OffsetCommit(request) => (&request.group_id, Ok(())),
            Request::OffsetFetch { group, .. } => (&group.group_id, Ok(())),
            Request::ListGroups(_) | Request::DescribeGroups(_) | Request::DeleteGroups(_) => unreachable!(),
        };
        if let Err(code) = checked {
            return self.step.answer(caller.ticket, refusal(request, caller.version, code));
        }
        if let Request::OffsetCommit(request) = request
            && !commits_anything(request, topics)
        {
            return self.step.answer(caller.ticket, commit_refusal(request, topics, ErrorCode::None));
        }
        if self.groups.get(&**name).is_some_and(Group::is_malformed) {
            let response = refusal(request, caller.version, ErrorCode::UnknownServerError);
            return self.step.answer(caller.ticket, response);
        }
        let is_new = !self.groups.contains_key(&**name);
        if is_new {
            if let Some(response) = absent(request, caller.version, topics, self.step.settings.answer_bytes_max) {
                return self.step.answer(caller.ticket, response);
            }
            let name: Arc<str> = Arc::from(&**name);
            self.groups.insert(name.clone(), Group::new(name));
        }
        let (group, step) = (self.groups.get_mut(&**name).expect("it is there"), &mut self.step);
        let ticket = caller.ticket;
        match request {
            Request::JoinGroup(request) => {
                group.join(now, caller, request, step);
                if is_new && group.exists() && group.undurable.is_empty() {
                    group.store_new(now, step);
                }
            }
            Request::SyncGroup(request) => group.sync(now, ticket, request, step),
            Request::Heartbeat(request) => {
                let response = group.heartbeat(now, request);
                step.answer(ticket, response);
            }
            Request::LeaveGroup(request) => group.leave(now, caller, request, step),
            Request::OffsetCommit(request) => group.commit(now, caller, request, topics, step),
            Request::OffsetFetch { group: request, .. } => {
                step.answer(ticket, group.fetch(request, step.settings.answer_bytes_max));
            }
            Request::OffsetDelete(request) => group.delete_offsets(ticket, request, topics, step),
            Request::ListGroups(_) | Request::DescribeGroups(_) | Request::DeleteGroups(_) => unreachable!(),
        }
        let name = group.name.clone();
        self.settle(&name);
    }

    /// After a step of a group: its timer, its share of the memory, its end.
    pub(super) fn settle(&mut self, name: &Arc<str>) {
        let Some(group) = self.groups.get_mut(name) else { return };
        group.check();
        self.step.member_bytes = self.step.member_bytes + group.held_bytes() - group.bytes_counted;
        group.bytes_counted = group.held_bytes();
        let gone = group.is_gone();
        let due = group.due.filter(|_| !gone);
        let later = |armed: Time| due.is_none_or(|due| due < armed);
        if let Some(armed) = group.armed.filter(|&armed| gone || later(armed)) {
            self.timers.remove(&(armed, name.clone()));
            group.armed = None;
        }
        if let (None, Some(due)) = (group.armed, due) {
            self.timers.insert((due, name.clone()));
            group.armed = Some(due);
        }
        if gone {
            assert_eq!((group.bytes, group.durable_counted), (0, 0), "{name}");
            self.groups.remove(name);
        }
    }

    /// When to call [`Coordinator::tick`] next.
    pub fn deadline(&self) -> Option<Time> {
        if !self.listings.is_empty() || !self.sweeps.is_empty() {
            return Some(Time(0));
        }
        self.timers.first().map(|(time, _)| *time)
    }

    /// Does what is due. If there is much, some of it is left: the deadline then is still in the past.
    pub fn tick(&mut self, now: Now) {
        self.list_some();
        self.sweep_some();
        for _ in 0..GROUPS_PER_TICK {
            if self.timers.first().is_none_or(|(time, _)| *time > now.mono) {
                break;
            }
            let (time, name) = self.timers.pop_first().expect("it is the first");
            let group = self.groups.get_mut(&name).expect("timers are of groups that are there");
            assert_eq!(group.armed.take(), Some(time));
            group.expire(now, &mut self.step);
            self.settle(&name);
        }
    }

    /// The next records to append, all that have gathered if they are not too many: ask at the end of each turn.
    pub fn plan_append(&mut self) -> Option<Append<'_>> {
        let bytes_max = self.step.settings.append_bytes_max;
        self.step.decisions.plan(bytes_max)
    }

    /// An append is over, in the order in which they were planned: durable up to before the offset, or failed.
    pub fn appended(&mut self, now: Now, id: AppendId, result: Result<Offset, ErrorCode>) {
        if self.phase == Phase::Unloaded {
            return;
        }
        let records = self.step.decisions.over(id, result.err());
        for record in &records {
            self.record_over(now, record, result.is_ok());
        }
        if let Ok(offset_end) = result {
            assert!(offset_end >= self.offset_end + records.len() as Offset, "offsets only grow");
            self.offset_end = offset_end;
        }
        while let Some((then, failure)) = self.step.decisions.next_over() {
            self.follow(now, then, failure);
        }
        for record in &records {
            self.settle(&record.group);
        }
    }

    fn record_over(&mut self, now: Now, record: &Record, durable: bool) {
        if durable {
            self.apply(&record.key, record.value.as_deref());
        }
        let group = self.groups.get_mut(&record.group).expect("a group stays while it has records to store");
        assert!(group.undurable.pop_front().is_some_and(|number| number < self.step.decisions.number_over()));
        if durable && record.value.is_some() {
            group.schedule_commit_retention(now, &self.step);
        }
        if durable && group.ledger.is_empty() && group.state() == State::Empty {
            // Deleted: nothing of what the group was is to be seen again.
            (group.protocol_type, group.generation, group.subscribed) = (None, 0, None);
        }
    }

    fn follow(&mut self, now: Now, then: Then, failure: Option<ErrorCode>) {
        let code = failure.map(append_error);
        match then {
            Then::Nothing { group } => {
                if let Some(failure) = failure {
                    self.step.events.push(Event::AppendFailed { group, reason: failure.to_string() });
                }
            }
            Then::Answer { ticket, response } => {
                let response = match code {
                    None => response,
                    Some(code) => failed(response, code),
                };
                self.step.answer(ticket, response);
            }
            Then::Assign { group, generation, assignments } => {
                let group = self.groups.get_mut(&group).expect("its record has just been stored");
                group.assigned(now, generation, assignments, code, &mut self.step);
            }
            Then::Replace { group, generation, replacement } => {
                let group = self.groups.get_mut(&group).expect("its record has just been stored");
                group.replaced(now, generation, replacement, code, &mut self.step);
            }
        }
    }

    /// Gives the partition up: everybody who waits is sent to look for its new coordinator.
    pub fn unload(&mut self) {
        self.phase = Phase::Unloaded;
        let code = ErrorCode::NotCoordinator;
        for then in self.step.decisions.abandon() {
            if let Then::Answer { ticket, response } = then {
                self.step.answer(ticket, failed(response, code));
            }
        }
        for mut group in std::mem::take(&mut self.groups).into_values() {
            let ids: Vec<Arc<str>> = group.members.keys().cloned().collect();
            ids.iter().for_each(|id| group.remove_member(id, code, &mut self.step));
        }
        for listing in std::mem::take(&mut self.listings) {
            self.step.answer(listing.ticket, list_refusal(code));
        }
        self.sweeps.clear();
        self.timers.clear();
        (self.step.member_bytes, self.step.offset_bytes) = (0, 0);
    }

    pub fn take_answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.step.answers)
    }

    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.step.events)
    }

    /// Begins a checkpoint of all that is durable. [`Coordinator::checkpoint_part`] goes on with it, between other steps.
    pub fn checkpoint(&self) -> Checkpoint {
        assert_eq!(self.phase, Phase::Active);
        Checkpoint::new(self.offset_end)
    }

    /// Adds groups until the checkpoint has grown by about `bytes`; false when it is complete. Steps in between do no harm:
    /// what they change is in the records after the checkpoint's offset, and is replayed.
    pub fn checkpoint_part(&self, checkpoint: &mut Checkpoint, bytes: usize) -> bool {
        let from = checkpoint.group_last.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let groups = self.groups.range((from, Bound::Unbounded));
        let end = checkpoint.bytes() + bytes;
        for (name, group) in groups {
            if checkpoint.bytes() >= end {
                return true;
            }
            group.ledger.records(name).for_each(|record| checkpoint.put(&record));
            checkpoint.group_last = Some(name.clone());
        }
        false
    }
}

fn named(group: &str) -> Result<(), ErrorCode> {
    if group.is_empty() { Err(ErrorCode::InvalidGroupId) } else { Ok(()) }
}

/// Whether a request may lead to records.
fn writes(request: &Request<'_>) -> bool {
    !matches!(
        request,
        Request::Heartbeat(_) | Request::OffsetFetch { .. } | Request::ListGroups(_) | Request::DescribeGroups(_)
    )
}

/// The answer that a group which is not there gives; `None` if the request makes it.
fn absent(request: &Request<'_>, version: i16, topics: Topics<'_>, bytes_max: usize) -> Option<Response> {
    let unknown = ErrorCode::UnknownMemberId;
    Some(match request {
        Request::JoinGroup(JoinGroupRequest { member_id, .. }) if member_id.is_empty() => return None,
        Request::OffsetCommit(OffsetCommitRequest { generation_id_or_member_epoch: ..0, .. }) => return None,
        Request::JoinGroup(_) => refusal(request, version, unknown),
        Request::SyncGroup(_) => sync_refusal(unknown),
        Request::Heartbeat(_) => heartbeat(unknown),
        Request::LeaveGroup(request) => leave_refusal(request, version, unknown),
        Request::OffsetCommit(request) => commit_refusal(request, topics, absent_group(version)),
        Request::OffsetFetch { group, .. } => fetched_nothing(group, bytes_max),
        Request::OffsetDelete(_) => offset_delete_refusal(ErrorCode::GroupIdNotFound),
        Request::ListGroups(_) | Request::DescribeGroups(_) | Request::DeleteGroups(_) => unreachable!(),
    })
}

/// The answer whose promise could not be kept: `code` where it had no error.
fn failed(response: Response, code: ErrorCode) -> Response {
    let fail = |error_code: &mut i16| {
        if *error_code == ErrorCode::None.code() {
            *error_code = code.code();
        }
    };
    match response {
        Response::OffsetCommit(mut response) => {
            response.topics.iter_mut().flat_map(|topic| &mut topic.partitions).for_each(|p| fail(&mut p.error_code));
            Response::OffsetCommit(response)
        }
        Response::DeleteGroups(mut response) => {
            response.results.iter_mut().for_each(|result| fail(&mut result.error_code));
            Response::DeleteGroups(response)
        }
        Response::OffsetDelete(_) => offset_delete_refusal(code),
        other => unreachable!("{other:?} promises nothing durable"),
    }
}
