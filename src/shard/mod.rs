//! One core's whole state, and the only room that knows the others.
//!
//! Three machines with private fields: [`front`] has the clients' connections, [`owner`] this core's partitions, [`control`]
//! on the first core the controller. They talk by [`message::Message`]s: what a machine tells this shard goes through the
//! same kind of message as what it tells another one, and is taken in the same turn. [`Shard`] only carries messages.
//!
//! The shell feeds a shard ([`Shard::step`]), ends each turn with [`Shard::end_turn`], takes what is to be done from
//! [`Shard::take_output`] and comes back at [`Shard::deadline`].

#![warn(missing_docs)]

pub mod admin;
pub mod api;
pub mod checkpoint;
pub mod context;
mod control;
mod front;
mod groups;
pub mod memory;
pub mod message;
pub mod node;
mod owner;
pub mod port;
pub mod query;
pub mod recovery;
pub mod rules;
pub mod runtime;
mod seed;
pub mod store;
mod view;

pub use self::port::{Input, Output, ReadPlan};

use self::control::{Commands, Control};
use self::front::Front;
use self::groups::Groups;
use self::message::{Message, Origin};
use self::node::Node;
use self::owner::Owner;
use self::port::{ConnectionId, Reader};
use self::store::Store;
use self::view::View;
use crate::config::Config;
use crate::metadata::{Controller, Image};
use crate::types::{Now, RequestId, ShardId, Time};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

/// One core's state, and the way of messages between its machines.
pub struct Shard {
    id: ShardId,
    view: View,
    front: Front,
    owner: Owner,
    control: Control,
    /// What the machines have told this shard.
    own: VecDeque<Message>,
    out: Vec<Output>,
}

impl Shard {
    /// A shard; `seed` are random bits for the ids of groups' members. The first shard gets the controller, with random
    /// bits for topic ids.
    fn new(
        id: ShardId,
        node: Arc<Node>,
        image: Image,
        config: Arc<Config>,
        store: Store,
        seed: u128,
        controller: Option<(Controller, u128)>,
    ) -> Shard {
        let shards = node.shards;
        let sessions_max = (node.config.fetch_session_slots as usize).div_ceil(usize::from(shards));
        let memory_bytes = node.config.core_memory_bytes_max as usize;
        let groups = Groups::new(&node.config, seed, id, &node);
        let commands =
            controller.map(|(controller, seed)| Commands::new(api::api, api::versions, controller, seed, shards));
        Shard {
            id,
            view: View::new(id, node, image, config, store.batch_bytes_max(), api::versions),
            front: Front::new(api::api, sessions_max, memory_bytes, id, shards),
            owner: Owner::new(id, store, groups),
            control: Control::new(id, commands),
            own: VecDeque::new(),
            out: Vec::new(),
        }
    }

    /// This shard among those of the node.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// What is fixed about the node.
    pub fn node(&self) -> &Node {
        self.view.node()
    }

    /// The cluster as this shard sees it.
    pub fn image(&self) -> &Image {
        self.view.image()
    }

    /// For who follows a leader: nobody asks for that by messages.
    pub fn store_mut(&mut self) -> &mut Store {
        self.owner.store_mut()
    }

    /// What the core keeps.
    pub fn store(&self) -> &Store {
        self.owner.store()
    }

    /// How many connections there may be: in all, and from one address.
    pub fn connections_max(&self, address: IpAddr) -> (u32, u32) {
        let config = self.view.config();
        (config.connections_max, config.connections_max_of(address))
    }

    /// Whether the connection's next request may be read: if not, the peer is to be slowed. `answer_bytes_max` is what
    /// its answers may take besides those that have left the shard.
    pub fn may_read(&self, connection: ConnectionId, answer_bytes_max: usize) -> bool {
        self.front.may_read(&self.view, connection, answer_bytes_max) && !self.owner.store().is_congested()
    }

    /// The connection that waits for the answer to a request, if one does.
    pub fn connection_of(&self, request: RequestId) -> Option<ConnectionId> {
        self.front.connection_of(request)
    }

    /// How many requests of the connection are not answered.
    pub fn requests_of(&self, connection: ConnectionId) -> usize {
        self.front.requests_of(connection)
    }

    /// Whether what [`Input::Drain`] asked for is done, or cannot be done because the disk fails.
    pub fn is_drained(&self) -> bool {
        self.owner.is_drained()
    }

    /// What the shell is to do, in this order.
    pub fn take_output(&mut self) -> Vec<Output> {
        self.front.output_left();
        std::mem::take(&mut self.out)
    }

    /// When a turn is due although no input comes.
    pub fn deadline(&self) -> Option<Time> {
        [self.front.deadline(), self.owner.deadline()].into_iter().flatten().min()
    }

    /// Takes an input. A turn is some inputs and [`Shard::end_turn`].
    pub fn step(&mut self, now: Now, input: Input) {
        let Shard { view, front, owner, control, .. } = self;
        match input {
            Input::Connected { connection, listener, peer } => front.connected(view, connection, listener, peer),
            Input::Disconnected { connection } => front.left(now, view, connection),
            Input::Frame { connection, frame } => front.frame(now, view, connection, frame),
            Input::Message { from, message } => {
                assert!(from != self.id);
                self.message(now, from, message);
            }
            Input::DiskDone(done) => owner.disk_done(now, done),
            Input::ReadDone { reader: Reader::Request { request, part }, data } => {
                front.read_done(now, view, request, part, data);
            }
            Input::ReadDone { reader: Reader::Coordinator { log }, data } => owner.read_done(now, log, data),
            Input::MetadataWritten { written } => control.metadata_written(now, view, written),
            Input::MetadataSnapshotted { ok } => control.metadata_snapshotted(ok),
            Input::PartitionRemoved { log, ok } => owner.partition_removed(log, ok),
            Input::GroupCheckpointRead { log, bytes } => owner.checkpoint_read(log, bytes),
            Input::GroupCheckpointWritten { log } => owner.checkpoint_written(log),
            Input::DiskBytes { total, free } => view.set_disk_bytes(total, free),
            Input::Drain => {
                front.drain();
                owner.drain();
            }
        }
        self.deliver(now);
    }

    /// Ends a turn, after all its inputs: answers go out, and work for the disk starts.
    pub fn end_turn(&mut self, now: Now) {
        self.front.tick(now, &mut self.view);
        self.deliver(now);
        self.owner.begin_turn(now, &mut self.view);
        loop {
            self.owner.advance(now);
            self.owner.speak(now, &mut self.view);
            if !self.deliver(now) && !self.owner.has_advanced() {
                break;
            }
        }
        self.control.tell_applied(&self.view, !self.owner.is_applying());
        self.deliver(now);
        self.control.plan();
        self.owner.plan(now);
        for (to, message) in self.owner.take_mail() {
            self.out.push(Output::Mesh { to, message });
        }
        self.take_outputs();
        if cfg!(debug_assertions) {
            self.check();
        }
    }

    /// Carries messages from machine to machine, and puts out those for other shards. Returns whether there was any for
    /// this one.
    fn deliver(&mut self, now: Now) -> bool {
        let mut any = false;
        loop {
            let said = self.front.take_mail().into_iter().chain(self.control.take_mail());
            let said = said.chain(self.owner.take_told_at_once());
            for (to, message) in said {
                if to == self.id {
                    self.own.push_back(message);
                } else {
                    self.out.push(Output::Mesh { to, message });
                }
            }
            if self.own.is_empty() {
                self.own.extend(self.owner.take_own());
            }
            let Some(message) = self.own.pop_front() else { break };
            any = true;
            self.message(now, self.id, message);
        }
        self.take_outputs();
        any
    }

    fn take_outputs(&mut self) {
        self.out.append(&mut self.front.take_output());
        self.out.append(&mut self.owner.take_output());
        self.out.append(&mut self.control.take_output());
    }

    fn message(&mut self, now: Now, from: ShardId, message: Message) {
        let Shard { view, front, owner, control, .. } = self;
        match message {
            Message::Asks { origin, asks } => owner.asked(now, view, from, origin, asks),
            Message::GroupAsk { request, ask } => owner.groups_asked(now, view, from, request, &ask),
            Message::Unwatch { request, partitions } => owner.unwatch(from, request, &partitions),
            Message::Answers { origin: Origin::Client(request), answers } => front.answers(now, view, request, answers),
            Message::Answers { origin: Origin::Coordinator(request), answers } => owner.answers(now, request, answers),
            Message::Command(request) => control.command(now, view, from, request),
            Message::NameHeld { topic, held } => control.name_held(&topic, held),
            Message::Applied { index } => control.applied(now, view, from, index),
            Message::Publish { image, delta } => {
                let all = view.publish(image, &delta);
                owner.published(view, &delta, all);
                control.published();
            }
        }
    }

    /// What must hold between two turns.
    pub fn check(&self) {
        assert!(self.own.is_empty(), "all messages are carried");
        self.front.check();
        self.owner.check();
        self.control.check();
    }
}
