//! Scatter and gather: a request that others help to answer is a [`Work`]. It asks through a [`Scatter`]; the answers come
//! back to it part by part; when the last one is there it asks for more, waits for something to happen, or replies.

use super::connection::Slot;
use super::session::Sessions;
use crate::metadata::Topic;
use crate::shard::context::Caller;
use crate::shard::message::{Answer, Ask, CommandRequest, GroupAsk, Op};
use crate::shard::port::{ConnectionId, ReadPlan};
use crate::shard::view::View;
use crate::types::{Now, PartitionId, RequestId, ShardId, Time};
use crate::wire::codec::{DecodeError, Writer};
use crate::wire::compression::Workspace;
use crate::wire::frame::{Head, response_frame};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;

/// Begins a request that others help to answer, from its whole frame.
pub type Begin = fn(&mut Scatter<'_>, &Incoming<'_>, BytesMut) -> Result<Begun, DecodeError>;

/// A request that has come in.
pub struct Incoming<'a> {
    /// The head of the request, without the client's name: so it does not borrow the frame, which may be taken apart.
    pub head: Head<'static>,
    pub listener: usize,
    pub caller: &'a Caller,
}

/// What became of a request at once.
pub enum Begun {
    /// The whole answer.
    Answered(Vec<Bytes>),
    /// The answer comes when the work is done, or late. A request that is `silent` has none, and those behind it do not
    /// wait for it.
    Started { work: Box<dyn Work>, deadline: Option<Time>, silent: bool },
}

/// What is to be done next for a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    Wait,
    Reply,
}

/// How a request ends.
pub enum Reply {
    Send(Vec<Bytes>),
    /// The connection is closed for this reason.
    Close(String),
    Nothing,
}

/// A request in progress that others help to answer. Every call may ask for more through its [`Scatter`].
pub trait Work {
    /// Takes the answer of one part.
    fn answered(&mut self, scatter: &mut Scatter<'_>, part: u32, answer: Answer);

    /// Takes the batches of a read that the work has asked for; `None` if it failed.
    fn read(&mut self, _: &mut Scatter<'_>, part: u32, _: Option<Vec<Bytes>>) {
        panic!("part {part} has asked for nothing to be read");
    }

    /// Bytes that the work keeps in memory while it waits for news.
    fn kept_bytes(&self) -> usize {
        0
    }

    /// Bytes of batches that the answer may hold.
    fn answer_bytes_max(&self) -> usize {
        0
    }

    /// Bytes that the work holds for what it has left to do itself; `None` if it has nothing to do itself.
    fn own_bytes(&self) -> Option<usize> {
        None
    }

    /// Does its own work until that is done (`true`) or `budget` is spent: nanoseconds, about.
    fn work_on(&mut self, _: &mut Scatter<'_>, _budget: &mut usize) -> bool {
        true
    }

    /// Lets go of what its own work holds besides; that begins anew.
    fn rest(&mut self, _: &mut Scatter<'_>) {}

    /// Goes on when everything that was asked has been answered, and its own work is done.
    fn gathered(&mut self, _: &mut Scatter<'_>) -> Next {
        Next::Reply
    }

    /// Goes on when the request's time is over.
    fn late(&mut self, _: &mut Scatter<'_>) -> Next {
        Next::Reply
    }

    /// Whether the work waits for nothing but time or news, so that it can be ended early.
    fn is_parked(&self) -> bool {
        false
    }

    /// Ends when the connection is gone: nothing may wait for this request any more.
    fn abandoned(&mut self, _: &mut Scatter<'_>) {}

    fn reply(self: Box<Self>, scatter: &mut Scatter<'_>) -> Reply;
}

/// Whom a response is for.
#[derive(Clone, Copy, Debug)]
pub struct ReplyHead {
    header_version: i16,
    pub version: i16,
    correlation_id: i32,
}

impl ReplyHead {
    pub fn new(head: &Head<'_>) -> ReplyHead {
        let (_, header_version) = head.api.header_versions(head.version);
        ReplyHead { header_version, version: head.version, correlation_id: head.correlation_id }
    }

    /// The whole response frame.
    pub fn frame(&self, body: impl FnOnce(&mut Writer)) -> Vec<Bytes> {
        response_frame(self.header_version, self.correlation_id, body)
    }
}

/// What a work asks for in one step.
#[derive(Default)]
pub struct Plan {
    pub asks: Vec<Ask>,
    pub unwatch: Vec<PartitionId>,
    pub reads: Vec<(u32, ReadPlan)>,
    pub groups: Vec<(ShardId, GroupAsk)>,
    pub command: Option<CommandRequest>,
    outstanding: usize,
}

impl Plan {
    /// How many answers will come for what was asked since the last call.
    pub fn take_outstanding(&mut self) -> usize {
        std::mem::take(&mut self.outstanding)
    }
}

/// What the works of a front share.
pub struct Tools {
    pub sessions: Sessions,
    pub workspace: Workspace,
}

/// What a work sees, and how it asks.
pub struct Scatter<'a> {
    pub now: Now,
    pub view: &'a mut View,
    pub sessions: &'a mut Sessions,
    /// Buffers of the checks of compressed records.
    pub workspace: &'a mut Workspace,
    plan: Plan,
}

impl<'a> Scatter<'a> {
    pub fn new(now: Now, view: &'a mut View, tools: &'a mut Tools) -> Scatter<'a> {
        let Tools { sessions, workspace } = tools;
        Scatter { now, view, sessions, workspace, plan: Plan::default() }
    }

    /// Asks a partition's owner; one answer comes for this part.
    pub fn ask(&mut self, part: u32, partition: PartitionId, topic: &Arc<Topic>, op: Op) {
        assert_eq!(partition.topic, topic.id);
        self.plan.outstanding += usize::from(!matches!(op, Op::Watch { .. }));
        let topic = self.view.rules_of(topic);
        self.plan.asks.push(Ask { part, partition, topic, op });
    }

    /// Says that the partitions need not be watched any more.
    pub fn unwatch(&mut self, partitions: Vec<PartitionId>) {
        self.plan.unwatch = partitions;
    }

    /// Reads older batches.
    pub fn read(&mut self, part: u32, plan: ReadPlan) {
        self.plan.outstanding += 1;
        self.plan.reads.push((part, plan));
    }

    /// Asks the coordinators of groups on one core; `parts` answers come.
    pub fn ask_groups(&mut self, shard: ShardId, ask: GroupAsk) {
        self.plan.groups.push((shard, ask));
    }

    /// Expects so many answers more, which were not counted by asking.
    pub fn expect(&mut self, parts: usize) {
        self.plan.outstanding += parts;
    }

    /// Asks the controller.
    pub fn command(&mut self, request: CommandRequest) {
        self.plan.command = Some(request);
    }

    pub fn into_plan(self) -> Plan {
        self.plan
    }
}

/// A request in progress, and whose it is.
pub struct Request {
    pub connection: ConnectionId,
    /// `None` if nobody waits for an answer.
    pub slot: Option<Slot>,
    pub deadline: Option<Time>,
    /// Answers that are still to come.
    pub outstanding: usize,
    pub work: Box<dyn Work>,
    /// [`Work::kept_bytes`], and [`Work::answer_bytes_max`] at its begin.
    pub kept_bytes: usize,
    pub expected_bytes: usize,
}

/// When a request in progress is late, and which one it is.
pub type Deadline = (Time, RequestId);
