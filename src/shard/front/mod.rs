//! The clients' side of a shard: connections, their requests in progress, fetch sessions, deadlines.
//!
//! Knows the bytes of clients, and no partition: what a request needs from partitions, coordinators and the controller is
//! asked by messages, to this shard as to others.

pub mod begin;
mod checking;
mod command;
pub mod connection;
mod fetch;
pub mod gather;
pub mod groups;
mod partitions;
mod produce;
pub mod route;
mod session;

use self::checking::{Queue, Release, TURN_BUDGET};
use self::command::Command;
use self::connection::{Connection, Slot};
use self::gather::{Begin, Begun, Deadline, Incoming, Next, Plan, Reply, Request, Scatter, Tools, Work};
use self::route::{REQUEST_FIELD_BYTES_MAX, Route, Table};
use self::session::Sessions;
use super::context::{Caller, Context, Principal};
use super::message::{Answer, CommandRequest, Message, Origin};
use super::port::{ConnectionId, Output, Reader};
use super::query;
use super::view::View;
use crate::types::{Now, PartitionId, RequestId, ShardId, Time};
use crate::wire::codec::DecodeError;
use crate::wire::compression::Workspace;
use crate::wire::frame::{FrameError, Head, is_unsayable};
use crate::wire::messages::ApiKey;
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

pub struct Front {
    table: Table,
    connections: HashMap<ConnectionId, Connection>,
    requests: HashMap<RequestId, Request>,
    request_last: RequestId,
    deadlines: BTreeSet<Deadline>,
    tools: Tools,
    /// Bytes that the requests in progress take while they wait, and may take.
    kept_bytes: usize,
    kept_bytes_max: usize,
    /// Requests whose own work takes more than a turn.
    queue: Queue,
    /// The index of the last image without a topic for groups of which the controller was told.
    wish: Option<u64>,
    out: Vec<Output>,
    /// The connections that have answers in `out`, or had until it was last taken.
    leaving: Vec<ConnectionId>,
    mail: Vec<(ShardId, Message)>,
}

impl Front {
    /// Of a shard among `shards` that remembers up to `sessions_max` fetch sessions. Of as much memory as its records may take
    /// (`memory_bytes`), requests whose own work takes more than a turn may have about half, those that wait for news an
    /// eighth, sessions a sixteenth.
    pub fn new(table: Table, sessions_max: usize, memory_bytes: usize, shard: ShardId, shards: u16) -> Front {
        Front {
            table,
            connections: HashMap::new(),
            requests: HashMap::new(),
            request_last: RequestId::default(),
            deadlines: BTreeSet::new(),
            tools: Tools {
                sessions: Sessions::new(sessions_max, memory_bytes / 16, shard.0, shards),
                workspace: Workspace::default(),
            },
            kept_bytes: 0,
            kept_bytes_max: memory_bytes / 8,
            queue: Queue::new(memory_bytes / 2),
            wish: None,
            out: Vec::new(),
            leaving: Vec::new(),
            mail: Vec::new(),
        }
    }

    pub fn take_output(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    pub fn take_mail(&mut self) -> Vec<(ShardId, Message)> {
        std::mem::take(&mut self.mail)
    }

    /// When a turn is due although no input comes.
    pub fn deadline(&self) -> Option<Time> {
        if self.queue.is_due() {
            return Some(Time::default());
        }
        self.deadlines.first().map(|(time, _)| *time)
    }

    pub fn connected(&mut self, view: &View, connection: ConnectionId, listener: usize, address: IpAddr) {
        assert!(listener < view.node().advertised.len());
        let caller = Caller { address, principal: Principal::Anonymous };
        let older = self.connections.insert(connection, Connection::new(listener, caller));
        assert!(older.is_none(), "connection ids are not used again");
    }

    /// Notes that the peer of a connection has gone. What it sent before counts.
    pub fn left(&mut self, now: Now, view: &mut View, connection: ConnectionId) {
        if !self.queue.leave(connection) {
            self.disconnected(now, view, connection);
        }
    }

    /// Stops checking batches, because the broker ends: those that have not been checked by now were not acknowledged
    /// either.
    pub fn drain(&mut self) {
        self.queue.stop();
    }

    /// Ends the requests of a connection that is gone.
    fn disconnected(&mut self, now: Now, view: &mut View, connection: ConnectionId) {
        let Some(state) = self.connections.remove(&connection) else { return };
        for id in state.requests {
            let Some(mut request) = self.requests.remove(&id) else { continue };
            self.queue.done(id);
            self.kept_bytes -= request.kept_bytes;
            if let Some(deadline) = request.deadline {
                self.deadlines.remove(&(deadline, id));
            }
            let mut scatter = Scatter::new(now, view, &mut self.tools);
            request.work.abandoned(&mut scatter);
            let plan = scatter.into_plan();
            self.ask(view, id, plan);
        }
        self.queue.forget(connection);
    }

    /// Notes that all that was put out has left the shard.
    pub fn output_left(&mut self) {
        for connection in self.leaving.drain(..) {
            if let Some(state) = self.connections.get_mut(&connection) {
                state.left();
            }
        }
    }

    /// The connection that waits for the answer to a request, if one does.
    pub fn connection_of(&self, request: RequestId) -> Option<ConnectionId> {
        self.requests.get(&request).map(|request| request.connection)
    }

    /// Whether the connection's next request may be taken: otherwise the peer is to be slowed. Its answers may take so many
    /// bytes besides those that have left.
    pub fn may_read(&self, view: &View, connection: ConnectionId, answer_bytes_max: usize) -> bool {
        let requests_max = view.node().config.connection_requests_max as usize;
        let ready = |state: &Connection| {
            let answers = state.answer_bytes() < answer_bytes_max.max(1);
            state.unanswered() < requests_max && state.closing.is_none() && answers
        };
        let waits = self.queue.holds(connection) || self.queue.is_full();
        !waits && self.connections.get(&connection).is_some_and(ready)
    }

    pub fn requests_of(&self, connection: ConnectionId) -> usize {
        self.connections.get(&connection).map_or(0, Connection::unanswered)
    }

    /// Takes a request frame, without its length.
    pub fn frame(&mut self, now: Now, view: &mut View, connection: ConnectionId, frame: BytesMut) {
        match self.queue.holds(connection) {
            true => self.queue.hold(connection, frame),
            false => self.frame_next(now, view, connection, frame),
        }
    }

    /// Takes a frame when all frames before it on its connection have been dealt with.
    fn frame_next(&mut self, now: Now, view: &mut View, connection: ConnectionId, frame: BytesMut) {
        if self.connections.get(&connection).is_none_or(|state| state.closing.is_some()) {
            return;
        }
        let head = match Head::decode(&frame) {
            Ok(head) => head,
            Err(FrameError::UnsupportedVersion { api: ApiKey::ApiVersions, correlation_id, .. }) => {
                return self.answer(
                    now,
                    view,
                    connection,
                    query::api_versions_unsupported(view.apis(), correlation_id),
                );
            }
            Err(error) => return self.close_later(now, view, connection, error.to_string()),
        };
        let Head { api, version, correlation_id, .. } = head;
        if !(self.table)(api).is_served(version) {
            if api == ApiKey::ApiVersions {
                return self.answer(
                    now,
                    view,
                    connection,
                    query::api_versions_unsupported(view.apis(), correlation_id),
                );
            }
            let reason = format!("{} version {version} is not supported", api.name());
            return self.close_later(now, view, connection, reason);
        }
        if let Err(error) = self.route(now, view, connection, frame) {
            self.close_later(now, view, connection, format!("malformed {} request: {error}", api.name()));
        }
    }

    /// Hands a request to whom the table of APIs says.
    fn route(
        &mut self,
        now: Now,
        view: &mut View,
        connection: ConnectionId,
        frame: BytesMut,
    ) -> Result<(), DecodeError> {
        let Connection { caller, listener, .. } = &self.connections[&connection];
        let (caller, listener) = (caller.clone(), *listener);
        let head = Head::decode(&frame).expect("it was decoded before");
        let client_id = head.client_id.as_deref().unwrap_or_default();
        let (node, image, config) = (view.node(), view.image(), view.config());
        let apis = view.apis();
        let context = Context { now, node, image, config, apis, listener, caller: &caller, client_id };
        let body = &frame[head.body_start..];
        let route = (self.table)(head.api).route;
        // The fields of a produce are counted when it is decoded: it carries records.
        if body.len() > REQUEST_FIELD_BYTES_MAX && head.api != ApiKey::Produce {
            return Err(DecodeError::Length);
        }
        let response = match route {
            Route::Image(answer) => Some(answer(&context, &head, body)?),
            Route::Either { needed, image, .. } => match needed(&context, &head, body)? {
                true => None,
                false => Some(image(&context, &head, body)?),
            },
            Route::Controller(_) => None,
            Route::Owners(begin) => {
                let Head { api, version, correlation_id, body_start, .. } = head;
                let head = Head { api, version, correlation_id, client_id: None, body_start };
                let incoming = Incoming { head, listener, caller: &caller };
                return self.begin(now, view, connection, begin, &incoming, frame);
            }
        };
        match response {
            Some(response) => self.answer(now, view, connection, response),
            None => {
                let frame = frame.freeze();
                let request = self.next_request();
                let mut scatter = Scatter::new(now, view, &mut self.tools);
                scatter.expect(1);
                scatter.command(CommandRequest::Frame { request, listener, caller, frame });
                let plan = scatter.into_plan();
                let begun = Begun::Started { work: Box::new(Command::default()), deadline: None, silent: false };
                self.start(now, view, connection, request, begun, plan);
            }
        }
        Ok(())
    }

    /// A number that no other request has.
    fn next_request(&mut self) -> RequestId {
        self.request_last = self.request_last.next();
        self.request_last
    }

    /// Begins a request that others help to answer.
    fn begin(
        &mut self,
        now: Now,
        view: &mut View,
        connection: ConnectionId,
        begin: Begin,
        incoming: &Incoming<'_>,
        frame: BytesMut,
    ) -> Result<(), DecodeError> {
        let mut scatter = Scatter::new(now, view, &mut self.tools);
        let begun = begin(&mut scatter, incoming, frame)?;
        let plan = scatter.into_plan();
        let id = self.next_request();
        self.start(now, view, connection, id, begun, plan);
        Ok(())
    }

    fn start(
        &mut self,
        now: Now,
        view: &mut View,
        connection: ConnectionId,
        id: RequestId,
        begun: Begun,
        mut plan: Plan,
    ) {
        let Begun::Started { work, deadline, silent } = begun else {
            let Begun::Answered(response) = begun else { unreachable!("the other one") };
            assert_eq!(plan.take_outstanding(), 0, "what is answered asks for nothing");
            self.ask(view, id, plan);
            return self.answer(now, view, connection, response);
        };
        let state = self.connections.get_mut(&connection).expect("the request's connection is there");
        let slot = (!silent).then(|| state.begin());
        state.requests.insert(id);
        let outstanding = plan.take_outstanding();
        let kept_bytes = work.kept_bytes();
        let expected_bytes = kept_bytes + work.answer_bytes_max();
        state.expected_bytes += expected_bytes;
        self.kept_bytes += kept_bytes;
        // What there is no room for does not wait, but gets what there is.
        let may_wait = kept_bytes == 0 || self.kept_bytes <= self.kept_bytes_max;
        let deadline = deadline.map(|deadline| if may_wait { deadline } else { now.mono });
        let request = Request { connection, slot, deadline, outstanding, work, kept_bytes, expected_bytes };
        self.requests.insert(id, request);
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, id));
        }
        self.ask(view, id, plan);
        self.work_at_once(now, view, id);
        if self.requests.get(&id).is_some_and(|request| request.outstanding == 0 && request.work.own_bytes().is_none())
        {
            self.drive(now, view, id, |work, scatter| work.gathered(scatter));
        }
    }

    /// Does the own work of a request that has just come, as far as the turn allows.
    fn work_at_once(&mut self, now: Now, view: &mut View, id: RequestId) {
        let mut budget = std::mem::take(&mut self.queue.budget);
        self.work_on(now, view, id, &mut budget);
        self.queue.budget = budget;
    }

    /// Continues a request's own work, if it has any; what remains is queued.
    fn work_on(&mut self, now: Now, view: &mut View, id: RequestId, budget: &mut usize) {
        let Some(request) = self.requests.get(&id) else { return };
        let (connection, bytes) = (request.connection, request.work.own_bytes());
        if let Some(bytes) = bytes {
            let mut done = false;
            self.drive(now, view, id, |work, scatter| {
                done = work.work_on(scatter, budget);
                Next::Wait
            });
            if !done {
                if !self.queue.is_busy(id) && self.queue.push(id, connection, bytes) {
                    self.drive(now, view, id, |work, scatter| {
                        work.rest(scatter);
                        Next::Wait
                    });
                }
                return;
            }
        }
        self.queue.done(id);
    }

    /// Does a turn's share of the own work of requests, and takes the frames that waited behind those that are done.
    fn work_turn(&mut self, now: Now, view: &mut View) {
        let active = self.queue.active();
        for id in &active {
            self.work_on(now, view, *id, &mut (TURN_BUDGET / active.len()));
            self.counted_off(now, view, *id, 0);
        }
        self.queue.budget = TURN_BUDGET;
        while let Some(connection) = self.queue.freed() {
            loop {
                match self.queue.release(connection) {
                    Release::Frame(frame) => self.frame_next(now, view, connection, frame),
                    Release::Left => self.disconnected(now, view, connection),
                    Release::Nothing => break,
                }
            }
        }
    }

    /// Answers a request that needs nobody else.
    fn answer(&mut self, now: Now, view: &mut View, connection: ConnectionId, response: Vec<Bytes>) {
        let slot = self.connections.get_mut(&connection).expect("the request's connection is there").begin();
        self.respond(now, view, connection, slot, response);
    }

    /// Takes parts of the answer to a request, from one shard.
    pub fn answers(&mut self, now: Now, view: &mut View, id: RequestId, answers: Vec<(u32, Answer)>) {
        for (part, answer) in answers {
            // The end of a watch is not waited for.
            let counted = usize::from(!matches!(answer, Answer::Woken));
            self.drive(now, view, id, |work, scatter| {
                work.answered(scatter, part, answer);
                Next::Wait
            });
            self.counted_off(now, view, id, counted);
        }
    }

    /// Takes the batches that an [`Output::Read`] has brought.
    pub fn read_done(&mut self, now: Now, view: &mut View, id: RequestId, part: u32, data: Option<Vec<Bytes>>) {
        self.drive(now, view, id, |work, scatter| {
            work.read(scatter, part, data);
            Next::Wait
        });
        self.counted_off(now, view, id, 1);
    }

    /// Notes that so many of a request's answers have come.
    fn counted_off(&mut self, now: Now, view: &mut View, id: RequestId, answers: usize) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        assert!(request.outstanding >= answers, "an answer that nobody waits for");
        request.outstanding -= answers;
        if request.work.own_bytes().is_some() && !self.queue.is_busy(id) {
            self.work_at_once(now, view, id);
        }
        let Some(request) = self.requests.get_mut(&id) else { return };
        if request.outstanding == 0 && !request.work.is_parked() && request.work.own_bytes().is_none() {
            self.drive(now, view, id, |work, scatter| work.gathered(scatter));
        }
    }

    /// Answers requests whose time is over with what there is.
    pub fn tick(&mut self, now: Now, view: &mut View) {
        while let Some(&(time, id)) = self.deadlines.first()
            && time <= now.mono
        {
            self.deadlines.pop_first();
            self.requests.get_mut(&id).expect("deadlines are of requests that are there").deadline = None;
            self.drive(now, view, id, |work, scatter| work.late(scatter));
        }
        self.work_turn(now, view);
    }

    /// Takes one step of a request's work, and does what follows from it.
    fn drive(
        &mut self,
        now: Now,
        view: &mut View,
        id: RequestId,
        step: impl FnOnce(&mut dyn Work, &mut Scatter<'_>) -> Next,
    ) {
        // Ended without this answer.
        let Some(request) = self.requests.get_mut(&id) else { return };
        let mut scatter = Scatter::new(now, view, &mut self.tools);
        let next = step(&mut *request.work, &mut scatter);
        let mut plan = scatter.into_plan();
        request.outstanding += plan.take_outstanding();
        self.ask(view, id, plan);
        if next == Next::Reply {
            self.finish(now, view, id);
        }
    }

    fn finish(&mut self, now: Now, view: &mut View, id: RequestId) {
        let request = self.requests.remove(&id).expect("it is in progress");
        self.queue.done(id);
        if let Some(deadline) = request.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        let state = self.connections.get_mut(&request.connection).expect("requests end with their connection");
        state.requests.remove(&id);
        state.expected_bytes -= request.expected_bytes;
        self.kept_bytes -= request.kept_bytes;
        let mut scatter = Scatter::new(now, view, &mut self.tools);
        let reply = request.work.reply(&mut scatter);
        let plan = scatter.into_plan();
        self.ask(view, id, plan);
        match (reply, request.slot) {
            (Reply::Send(response), Some(slot)) => self.respond(now, view, request.connection, slot, response),
            (Reply::Close(reason), _) => self.close(now, view, request.connection, reason),
            (Reply::Nothing, None) => {}
            (Reply::Send(_), None) | (Reply::Nothing, Some(_)) => panic!("a request is answered if somebody waits"),
        }
    }

    /// Sends what a work has asked for to those who can answer it.
    fn ask(&mut self, view: &View, request: RequestId, plan: Plan) {
        let mut by_owner: BTreeMap<ShardId, Vec<_>> = BTreeMap::new();
        for ask in plan.asks {
            by_owner.entry(view.owner(ask.partition)).or_default().push(ask);
        }
        self.mail.extend(
            by_owner.into_iter().map(|(to, asks)| (to, Message::Asks { origin: Origin::Client(request), asks })),
        );
        let mut by_owner: BTreeMap<ShardId, Vec<PartitionId>> = BTreeMap::new();
        for partition in plan.unwatch {
            by_owner.entry(view.owner(partition)).or_default().push(partition);
        }
        let unwatch = |(to, partitions)| (to, Message::Unwatch { request, partitions });
        self.mail.extend(by_owner.into_iter().map(unwatch));
        for (part, plan) in plan.reads {
            self.out.push(Output::Read { reader: Reader::Request { request, part }, plan });
        }
        for (to, ask) in plan.groups {
            self.mail.push((to, Message::GroupAsk { request, ask: Box::new(ask) }));
        }
        match plan.command {
            // Many requests may want it, and once is enough for each image.
            Some(CommandRequest::MakeOffsetsTopic)
                if self.wish.replace(view.image().index()) == Some(view.image().index()) => {}
            Some(command) => self.mail.push((ShardId(0), Message::Command(command))),
            None => {}
        }
    }

    fn respond(&mut self, now: Now, view: &mut View, connection: ConnectionId, slot: Slot, response: Vec<Bytes>) {
        let state = self.connections.get_mut(&connection).expect("requests end with their connection");
        for parts in state.finish(slot, response) {
            if is_unsayable(&parts) {
                return self.close(now, view, connection, "an answer is longer than a message can say".into());
            }
            if state.put_out(parts.iter().map(Bytes::len).sum()) {
                self.leaving.push(connection);
            }
            self.out.push(Output::Send { connection, parts });
        }
        if state.unanswered() == 0
            && let Some(reason) = state.closing.take()
        {
            self.close(now, view, connection, reason);
        }
    }

    /// Closes the connection, which gets no more answers.
    fn close(&mut self, now: Now, view: &mut View, connection: ConnectionId, reason: String) {
        self.disconnected(now, view, connection);
        self.out.push(Output::Close { connection, reason });
    }

    /// Closes the connection when the requests that have come are answered; those that wait for news are answered at
    /// once.
    fn close_later(&mut self, now: Now, view: &mut View, connection: ConnectionId, reason: String) {
        let Some(state) = self.connections.get_mut(&connection).filter(|state| state.unanswered() > 0) else {
            return self.close(now, view, connection, reason);
        };
        state.closing = Some(reason);
        for id in &state.requests {
            let request = self.requests.get_mut(id).expect("a connection's requests are in progress");
            if request.work.is_parked()
                && let Some(deadline) = request.deadline.replace(now.mono)
            {
                self.deadlines.remove(&(deadline, *id));
                self.deadlines.insert((now.mono, *id));
            }
        }
    }

    /// What must hold between two turns.
    pub fn check(&self) {
        for (id, request) in &self.requests {
            let state = self.connections.get(&request.connection).expect("requests end with their connection");
            assert!(state.requests.contains(id), "a connection knows its requests");
            assert!(request.deadline.is_none_or(|deadline| self.deadlines.contains(&(deadline, *id))));
            let waits = request.outstanding > 0 || request.work.is_parked() || self.queue.is_busy(*id);
            assert!(waits, "a request waits for something");
        }
        assert_eq!(self.deadlines.len(), self.requests.values().filter(|request| request.deadline.is_some()).count());
        let known: usize = self.connections.values().map(|state| state.requests.len()).sum();
        assert_eq!(known, self.requests.len(), "a request has one connection");
        let kept: usize = self.requests.values().map(|request| request.kept_bytes).sum();
        assert_eq!(kept, self.kept_bytes, "what is kept is counted");
        self.queue.check();
        assert!(self.out.is_empty() && self.mail.is_empty(), "all that was said has been taken");
    }
}

#[cfg(test)]
mod tests;
