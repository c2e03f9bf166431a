//! The coordinator routes requests to groups, appends what they decide, and keeps their timers.

use super::checkpoint::{Checkpoint, CheckpointError, Restoring};
use super::classic::{check_join, check_sync};
use super::decisions::{Append, AppendId, Decisions, Then};
use super::error::{
    absent_group, append_error, heartbeat, leave_refusal, list_refusal, offset_delete_refusal, refusal, sync_refusal,
};
use super::forget::{SWEPT_PER_TURN, Sweep, Walk};
use super::list::{LISTED_PER_TURN, Listing};
use super::offsets::{commit_refusal, commits_anything, fetched_nothing};
use super::record::{Key, Record};
use super::shared::Step;
use super::state::Group;
use super::{Answer, Caller, DECIDED_BYTES_MAX, Event, Request, Response, Settings, Topics};
use crate::types::{Now, Offset, Time};
use crate::wire::error::ErrorCode;
use crate::wire::messages::{JoinGroupRequest, OffsetCommitRequest};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Groups looked at in one turn because of their timers.
const GROUPS_PER_TICK: usize = 256;
/// In one turn no more groups are looked at once so many of their positions were.
const POSITIONS_PER_TICK: usize = 4096;
/// Groups that are given up in one turn.
const UNLOADED_PER_TURN: usize = 2048;

#[derive(Clone, PartialEq, Eq, Debug)]
enum Phase {
    Loading,
    /// All is read, and the groups are being opened.
    Opening {
        walk: Walk,
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
    /// Lists, and walks in search of positions in deleted topics, that take more than one turn.
    pub(super) listings: VecDeque<Listing>,
    pub(super) sweeps: VecDeque<Sweep>,
    /// Positions in deleted topics are gone from the log when so many records are over.
    pub(super) forgotten_end: u64,
    /// Records that were left out: events tell of them when all are read.
    unknown_kinds: BTreeMap<i16, u64>,
    malformed_keys: Option<(u64, Vec<u8>)>,
}

impl Coordinator {
    /// A coordinator that knows nothing yet: it takes a checkpoint and records until [`Coordinator::loaded`].
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

    /// Takes what a checkpoint holds, before any record: about `bytes` more of it. True when all is taken. After an error
    /// nothing is: the checkpoint is verified before the first of it is taken.
    pub fn restore_some(&mut self, restoring: &mut Restoring, bytes: usize) -> Result<bool, CheckpointError> {
        assert_eq!(self.phase, Phase::Loading);
        if !restoring.is_verified() {
            assert!(self.groups.is_empty() && self.offset_end == 0);
            restoring.verify(bytes)?;
            return Ok(false);
        }
        let is_over = restoring.take(bytes, |key, value| self.apply(key, Some(value)));
        if is_over {
            self.offset_end = restoring.offset_end();
        }
        Ok(is_over)
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
        group.apply(&key, key_bytes, value, &mut self.step);
        if self.phase == Phase::Loading && group.ledger().is_empty() {
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
        let mut walk = match &mut self.phase {
            Phase::Opening { walk } => std::mem::take(walk),
            phase => {
                assert_eq!(*phase, Phase::Loading);
                self.report_left_out();
                Walk::default()
            }
        };
        let mut budget = SWEPT_PER_TURN;
        let is_active = loop {
            if budget == 0 {
                break false;
            }
            let Some((name, topic)) = walk.next(&self.groups) else { break true };
            let group = self.groups.get_mut(&name).expect("it is a key");
            if topic.is_none() {
                group.open(now, &mut self.step);
            }
            walk.looked_at(group.forget(&|topic| !exists(topic), topic, &mut budget, &mut self.step));
            self.settle(&name);
        };
        self.forgotten_end = self.step.decisions.number_decided();
        self.phase = if is_active { Phase::Active } else { Phase::Opening { walk } };
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
        let group = self.groups.get_mut(&**name).expect("it is there");
        group.handle(now, caller, request, topics, &mut self.step, is_new);
        let name = group.name().clone();
        self.settle(&name);
    }

    /// After a step of a group: sets its timer, counts its memory, drops it if it is gone.
    pub(super) fn settle(&mut self, name: &Arc<str>) {
        let Some(group) = self.groups.get_mut(name) else { return };
        group.count(&mut self.step);
        if cfg!(debug_assertions) {
            group.check();
        }
        let gone = group.is_gone();
        let due = group.due().filter(|_| !gone);
        let later = |armed: Time| due.is_none_or(|due| due < armed);
        if let Some(armed) = group.armed().filter(|&armed| gone || later(armed)) {
            self.timers.remove(&(armed, name.clone()));
            group.set_armed(None);
        }
        if let (None, Some(due)) = (group.armed(), due) {
            self.timers.insert((due, name.clone()));
            group.set_armed(Some(due));
        }
        if gone {
            assert_eq!(group.member_bytes(), 0, "{name}");
            self.groups.remove(name);
        }
    }

    /// When to call [`Coordinator::tick`] next.
    pub fn deadline(&self) -> Option<Time> {
        if self.phase == Phase::Unloaded {
            return None;
        }
        if !self.listings.is_empty() || !self.sweeps.is_empty() {
            return Some(Time(0));
        }
        self.timers.first().map(|(time, _)| *time)
    }

    /// Does what is due. If there is much, some of it is left: the deadline then is still in the past.
    pub fn tick(&mut self, now: Now) {
        self.list_some(LISTED_PER_TURN);
        self.sweep_some(SWEPT_PER_TURN);
        let mut positions = 0;
        for _ in 0..GROUPS_PER_TICK {
            if positions > POSITIONS_PER_TICK {
                break;
            }
            if self.timers.first().is_none_or(|(time, _)| *time > now.mono) {
                break;
            }
            let (time, name) = self.timers.pop_first().expect("it is the first");
            let group = self.groups.get_mut(&name).expect("timers are of groups that are there");
            assert_eq!(group.armed(), Some(time));
            group.set_armed(None);
            positions += group.expire(now, &mut self.step);
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
        group.record_over(now, record, durable, &mut self.step);
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
            Then::Assign { ref group, .. } | Then::Replace { ref group, .. } => {
                let group = self.groups.get_mut(group).expect("its record has just been stored");
                group.follow(now, then, code, &mut self.step);
            }
        }
    }

    /// Gives the partition up: everybody who waits is sent to look for its new coordinator. Called again, once a turn,
    /// until it returns true.
    pub fn unload(&mut self) -> bool {
        let code = ErrorCode::NotCoordinator;
        if self.phase != Phase::Unloaded {
            self.phase = Phase::Unloaded;
            for then in self.step.decisions.abandon() {
                if let Then::Answer { ticket, response } = then {
                    self.step.answer(ticket, failed(response, code));
                }
            }
            for listing in std::mem::take(&mut self.listings) {
                self.step.answer(listing.ticket, list_refusal(code));
            }
            self.sweeps.clear();
            (self.step.member_bytes, self.step.offset_bytes) = (0, 0);
        }
        assert!(self.listings.is_empty() && self.sweeps.is_empty());
        for _ in 0..UNLOADED_PER_TURN {
            let Some((name, group)) = self.groups.pop_first() else { return true };
            group.armed().into_iter().for_each(|armed| assert!(self.timers.remove(&(armed, name.clone()))));
            group.unload(&mut self.step);
        }
        false
    }

    /// The answers that may leave.
    pub fn take_answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.step.answers)
    }

    /// What has happened that an operator wants to know.
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
        checkpoint.grow(&self.groups, bytes)
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
