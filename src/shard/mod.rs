//! One core's whole state: its connections, its partitions, its view of the cluster; on the first core the controller.
//!
//! A pure machine, and the only room that knows the others. The shell feeds it ([`Shard::step`]), ends each turn with
//! [`Shard::end_turn`], takes what is to be done from [`Shard::take_output`] and comes back at [`Shard::deadline`].
//!
//! A request is split into parts, one a partition. Each part is an [`Ask`](message::Ask) to the partition's owner, this
//! shard or another one; the answers meet in the request's entry of [`Shard::requests`].

pub mod admin;
pub mod api;
pub mod checkpoint;
mod command;
pub mod connection;
pub mod context;
mod fetch;
mod groups;
mod list;
pub mod message;
pub mod node;
mod owner;
pub mod port;
mod produce;
pub mod query;
pub mod recovery;
pub mod rules;
pub mod runtime;
mod session;
pub mod store;

use self::api::Route;
use self::command::Commands;
use self::connection::{Connection, ConnectionId, Slot};
use self::context::{Caller, Context, Principal};
use self::groups::Groups;
use self::message::{Answer, Data, Message, RequestId};
use self::node::Node;
pub use self::port::{Input, Output, ReadPlan};
use self::rules::TopicRules;
use self::session::Sessions;
use self::store::{LogIndex, Store};
use crate::config::Config;
use crate::metadata::{Image, Topic};
use crate::types::{Now, Offset, PartitionIndex, ShardId, Time, Uuid};
use crate::wire::codec::DecodeError;
use crate::wire::compression::Workspace;
use crate::wire::frame::{FrameError, Head, is_unsayable};
use crate::wire::messages::ApiKey;
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

/// Producer states are looked through for expired ones this often.
const EXPIRE_INTERVAL_MS: u64 = 60_000;

/// A request in progress.
enum Pending {
    Produce(Box<produce::Produce>),
    Fetch(Box<fetch::Fetch>),
    List(Box<list::List>),
    /// With the controller.
    Command {
        connection: ConnectionId,
        slot: Slot,
    },
    /// With coordinators of groups.
    Group(Box<groups::GroupRequest>),
    /// A coordinator reads its log.
    GroupLoad {
        log: LogIndex,
    },
}

pub struct Shard {
    id: ShardId,
    node: Arc<Node>,
    image: Image,
    /// The node's settings with the dynamic ones of the image.
    config: Arc<Config>,
    store: Store,
    connections: HashMap<ConnectionId, Connection>,
    requests: HashMap<RequestId, Pending>,
    request_next: RequestId,
    deadlines: BTreeSet<(Time, RequestId)>,
    waiting: HashMap<LogIndex, owner::Waiting>,
    group_waits: VecDeque<owner::GroupWait>,
    replies: BTreeMap<(ShardId, RequestId), Vec<(u32, Answer)>>,
    rules: HashMap<Uuid, Arc<TopicRules>>,
    sessions: Sessions,
    groups: Groups,
    topic_wish: groups::TopicWish,
    /// On the first shard only.
    commands: Option<Commands>,
    /// Partitions of deleted topics whose directories are not yet out of the way.
    removing: usize,
    /// The first shard is to be told that this one has taken over the image.
    applied_untold: bool,
    /// Of the data directory: all, and free, as the shell last saw it.
    disk_bytes: (u64, u64),
    expire_at: Time,
    workspace: Workspace,
    out: Vec<Output>,
}

impl Shard {
    pub fn id(&self) -> ShardId {
        self.id
    }

    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Connections that there may be: all, and those of one address.
    pub fn connections_max(&self, address: IpAddr) -> (u32, u32) {
        (self.config.connections_max, self.config.connections_max_of(address))
    }

    pub fn image(&self) -> &Image {
        &self.image
    }

    pub fn take_output(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// Takes an input. A turn is some inputs and [`Shard::end_turn`].
    pub fn step(&mut self, now: Now, input: Input) {
        match input {
            Input::Connected { connection, listener, peer } => self.connected(connection, listener, peer),
            Input::Disconnected { connection } => self.disconnected(connection),
            Input::Frame { connection, frame } => self.frame(now, connection, frame),
            Input::Message { from, message } => self.message(now, from, message),
            Input::DiskDone(done) => self.store.done(now, done),
            Input::ReadDone { request, part, data } => self.read_done(now, request, part, data),
            Input::MetadataAppended { index_last, ok } => self.metadata_appended(now, index_last, ok),
            Input::MetadataSnapshotted { ok } => self.metadata_snapshotted(ok),
            Input::PartitionRemoved { log } => self.partition_removed(log),
            Input::GroupCheckpointRead { log, bytes } => self.groups.checkpoint_read(now, &self.store, log, bytes),
            Input::GroupCheckpointWritten { log } => self.groups.checkpoint_written(log),
            Input::DiskBytes { total, free } => self.disk_bytes = (total, free),
            Input::Drain => self.store.drain_all(),
        }
    }

    fn send(&mut self, to: ShardId, message: Message) {
        assert!(to != self.id && to.0 < self.node.shards);
        self.out.push(Output::Mesh { to, message });
    }

    fn connected(&mut self, connection: ConnectionId, listener: usize, peer: IpAddr) {
        assert!(listener < self.node.advertised.len());
        let older = self
            .connections
            .insert(connection, Connection::new(listener, Caller { address: peer, principal: Principal::Anonymous }));
        assert!(older.is_none(), "connection ids are not used again");
    }

    fn disconnected(&mut self, connection: ConnectionId) {
        if let Some(state) = self.connections.remove(&connection) {
            // Fetches may be parked for weeks; all other requests end soon.
            self.fetch_forget(&state.fetches);
        }
    }

    /// Whether the connection's next request may be read: otherwise the peer is to be slowed.
    pub fn may_read(&self, connection: ConnectionId) -> bool {
        let requests_max = self.node.config.connection_requests_max as usize;
        let ready = |c: &Connection| c.requests() < requests_max && c.closing.is_none();
        self.connections.get(&connection).is_some_and(ready) && !self.store.is_congested()
    }

    pub fn requests_of(&self, connection: ConnectionId) -> usize {
        self.connections.get(&connection).map_or(0, Connection::requests)
    }

    /// A request frame, without its length.
    fn frame(&mut self, now: Now, connection: ConnectionId, frame: BytesMut) {
        let open = self.connections.get(&connection).filter(|c| c.closing.is_none());
        let Some(listener) = open.map(|c| c.listener) else { return };
        let head = match Head::decode(&frame) {
            Ok(head) => head,
            Err(FrameError::UnsupportedVersion { api: ApiKey::ApiVersions, correlation_id, .. }) => {
                let slot = self.begin(connection);
                return self.respond(connection, slot, query::api_versions_unsupported(correlation_id));
            }
            Err(error) => return self.close_later(now, connection, error.to_string()),
        };
        let Head { api, version, correlation_id, .. } = head;
        if !api::is_served(api, version) {
            if api == ApiKey::ApiVersions {
                let slot = self.begin(connection);
                return self.respond(connection, slot, query::api_versions_unsupported(correlation_id));
            }
            let reason = format!("{} version {version} is not supported", api.name());
            return self.close_later(now, connection, reason);
        }
        if let Err(error) = self.route(now, connection, listener, frame) {
            self.close_later(now, connection, format!("malformed {} request: {error}", api.name()));
        }
    }

    /// Hands a request to whom the table of APIs says.
    fn route(
        &mut self,
        now: Now,
        connection: ConnectionId,
        listener: usize,
        frame: BytesMut,
    ) -> Result<(), DecodeError> {
        let head = Head::decode(&frame).expect("it was decoded before");
        let caller = &self.connections[&connection].caller;
        let client_id = head.client_id.as_deref().unwrap_or_default();
        let (node, image, config) = (&*self.node, &self.image, &*self.config);
        let context = Context { now, node, image, config, listener, caller, client_id };
        let body = &frame[head.body_start..];
        let response = match api::api(head.api).route {
            Route::Image(answer) => Some(answer(&context, &head, body)?),
            // What is malformed is not the controller's to find out.
            Route::Either { needed, image, .. } => match needed(&context, &head, body)? {
                true => None,
                false => Some(image(&context, &head, body)?),
            },
            Route::Controller(_) => None,
            Route::Owners(begin) => {
                // Without the client's name the head does not borrow the frame, which may then be taken apart.
                let Head { api, version, correlation_id, body_start, .. } = head;
                let head: Head<'static> = Head { api, version, correlation_id, client_id: None, body_start };
                return begin(self, now, connection, &head, frame);
            }
        };
        match response {
            Some(response) => {
                let slot = self.begin(connection);
                self.respond(connection, slot, response);
            }
            None => self.forward(now, connection, listener, frame.freeze()),
        }
        Ok(())
    }

    fn begin(&mut self, connection: ConnectionId) -> Slot {
        self.connections.get_mut(&connection).expect("the request's connection is there").begin()
    }

    fn respond(&mut self, connection: ConnectionId, slot: Slot, response: Vec<Bytes>) {
        // A connection that is gone needs no answer.
        let Some(state) = self.connections.get_mut(&connection) else { return };
        for parts in state.finish(slot, response) {
            if is_unsayable(&parts) {
                return self.close(connection, "an answer is longer than a message can say".into());
            }
            // An answer without bytes stands for a request that has none.
            if !parts.is_empty() {
                self.out.push(Output::Send { connection, parts });
            }
        }
        if state.requests() == 0
            && let Some(reason) = state.closing.take()
        {
            self.close(connection, reason);
        }
    }

    /// Closes the connection, which gets no more answers.
    fn close(&mut self, connection: ConnectionId, reason: String) {
        self.disconnected(connection);
        self.out.push(Output::Close { connection, reason });
    }

    /// Closes the connection after the answers to the requests that have come.
    fn close_later(&mut self, now: Now, connection: ConnectionId, reason: String) {
        match self.connections.get_mut(&connection) {
            Some(state) if state.requests() > 0 => {
                state.closing = Some(reason);
                let fetches = state.fetches.clone();
                self.fetch_hurry(now, &fetches);
            }
            _ => self.close(connection, reason),
        }
    }

    fn start(&mut self, pending: Pending) -> RequestId {
        self.request_next += 1;
        self.requests.insert(self.request_next, pending);
        self.request_next
    }

    fn rules_of(&mut self, topic: &Arc<Topic>) -> Arc<TopicRules> {
        match self.rules.get(&topic.id) {
            Some(rules) if Arc::ptr_eq(&rules.topic, topic) => rules.clone(),
            _ => {
                let rules = Arc::new(TopicRules::new(topic, &self.config, self.store.batch_bytes_max()));
                self.rules.insert(topic.id, rules.clone());
                rules
            }
        }
    }

    /// One answer of an owner, this shard or another.
    fn answered(&mut self, now: Now, request: RequestId, part: u32, answer: Answer) {
        match self.requests.get(&request) {
            Some(Pending::Produce(_)) => self.produce_answered(request, part, answer),
            Some(Pending::Fetch(_)) => self.fetch_answered(now, request, part, answer),
            Some(Pending::List(_)) => self.list_answered(now, request, part, answer),
            // Timed out, or complete without this answer.
            Some(Pending::Command { .. } | Pending::Group(_) | Pending::GroupLoad { .. }) | None => {}
        }
    }

    fn message(&mut self, now: Now, from: ShardId, message: Message) {
        assert!(from != self.id);
        match message {
            Message::Asks { request, asks } => {
                for ask in asks {
                    self.asked(now, from, request, ask);
                }
            }
            Message::Answers { request, answers } => {
                for (part, answer) in answers {
                    self.answered(now, request, part, answer);
                }
            }
            Message::Unwatch { request, partitions } => self.unwatch(from, request, &partitions),
            Message::Command(request) => self.command(now, from, request),
            Message::CommandDone { request, response } => self.command_done(request, response),
            Message::GroupAsk(ask) => self.groups.asked(now, &self.image, from, &ask),
            Message::GroupAnswers { answers } => {
                for (request, part, answer) in answers {
                    self.group_answered(request, part, answer);
                }
            }
            Message::Publish { image, delta } => self.publish(now, image, &delta),
            Message::Applied { index } => self.applied(now, from, index),
        }
    }

    /// The bytes of a [`Output::Read`]: whole batches, the first of which holds the plan's offset; `None` if the read failed.
    fn read_done(&mut self, now: Now, request: RequestId, part: u32, data: Option<Vec<Bytes>>) {
        match self.requests.get(&request) {
            Some(Pending::Fetch(_)) => self.fetch_read(now, request, part, data),
            Some(Pending::List(_)) => self.list_read(now, request, part, data),
            Some(&Pending::GroupLoad { log }) => self.groups_read(now, request, log, data),
            _ => {}
        }
    }

    /// After all inputs of a turn: answers go out, work for the disk starts.
    pub fn end_turn(&mut self, now: Now) {
        while let Some(&(time, request)) = self.deadlines.first()
            && time <= now.mono
        {
            self.deadlines.pop_first();
            match self.requests.get(&request) {
                Some(Pending::Produce(_)) => self.produce_late(request),
                Some(Pending::Fetch(_)) => self.fetch_late(now, request),
                _ => {}
            }
        }
        self.expire_producers(now);
        self.groups_turn(now);
        self.tell_applied(now);
        self.send_replies();
        self.plan_commands();
        let mut ops = Vec::new();
        self.store.plan(now, &mut ops);
        self.out.extend(ops.into_iter().map(Output::Disk));
    }

    fn expire_producers(&mut self, now: Now) {
        if now.mono < self.expire_at {
            return;
        }
        self.expire_at = now.mono.after_ms(EXPIRE_INTERVAL_MS);
        let before = now.wall_ms - i64::from(self.config.producer_id_expiration_ms);
        self.store.expire_producers(before);
    }

    /// When a turn is due although nothing happens.
    pub fn deadline(&self) -> Option<Time> {
        let request = self.deadlines.first().map(|(time, _)| *time);
        [request, self.store.deadline(), self.groups.deadline()].into_iter().flatten().min()
    }

    /// The partition's topic, if the image has both.
    fn partition_topic(&self, topic: &Topic, index: PartitionIndex) -> bool {
        (0..topic.partition_count()).contains(&index)
    }

    pub fn store(&self) -> &Store {
        &self.store
    }
}

/// Reads the data of a part's answer from the disk, or has it.
fn plan_of(data: &Data, offset: Offset, bytes_max: usize) -> Option<ReadPlan> {
    match data {
        Data::Disk { name, read } => Some(ReadPlan { name: name.clone(), read: read.clone(), offset, bytes_max }),
        Data::None | Data::Memory { .. } => None,
    }
}
