//! Requests for the controller: forwarded to the first shard, decided there, answered when every shard has the image.

use super::admin::{Decision, ProducerIds};
use super::api::{Route, api};
use super::connection::ConnectionId;
use super::message::{CommandRequest, Message, RequestId};
use super::node::Node;
use super::store::LogIndex;
use super::{Output, Pending, Shard, admin};
use crate::config::Config;
use crate::metadata::{Controller, Delta, Image, Topic};
use crate::types::{BrokerId, Now, PartitionId, ShardId, Uuid};
use crate::wire::frame::Head;
use crate::wire::messages::ApiKey;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// Stands for all brokers where dynamic settings are kept.
const ALL_BROKERS: BrokerId = -1;

/// The controller and what waits for it.
pub struct Commands {
    pub controller: Controller,
    producer_ids: ProducerIds,
    /// Random bits for topic ids, given by the shell.
    pub seed: u128,
    /// Decided, in order of the index that must be published first, each with its answer; `None` if it was no request.
    waiting: VecDeque<(u64, Command, Option<Vec<Bytes>>)>,
    /// Held back while directories of deleted topics are being taken out of the way.
    held: VecDeque<Command>,
    /// The index that each shard has taken over.
    applied: Vec<u64>,
    /// The index of the last decision that deleted topics or changed their settings.
    scan_index: u64,
}

/// A request for the controller, and the shard that it comes from.
struct Command {
    from: ShardId,
    request: CommandRequest,
}

impl Commands {
    pub fn new(controller: Controller, seed: u128, shards: u16) -> Commands {
        let index = controller.image_durable().index();
        Commands {
            controller,
            producer_ids: ProducerIds::default(),
            seed,
            waiting: VecDeque::new(),
            held: VecDeque::new(),
            applied: vec![index; usize::from(shards)],
            scan_index: 0,
        }
    }

    /// Decides a request; its answer, or `None` if its bytes are none. Also whether topics may be gone or have other
    /// settings from then on.
    fn decide(&mut self, now: Now, node: &Node, request: &CommandRequest) -> (bool, Option<Vec<Bytes>>) {
        let Commands { controller, producer_ids, seed, .. } = self;
        let ids = &mut || uuid_next(seed);
        let (frame, listener, caller) = match request {
            CommandRequest::Frame { frame, listener, caller, .. } => (frame, *listener, caller),
            CommandRequest::MakeOffsetsTopic => {
                let config = dynamic_config(&node.config, controller.image_decided(), node.id);
                admin::make_offsets_topic(&config, controller, ids);
                return (false, None);
            }
        };
        let head = Head::decode(frame).expect("the connection's shard has decoded it");
        let (Route::Controller(decide) | Route::Either { controller: decide, .. }) = api(head.api).route else {
            panic!("{} is not the controller's", head.api.name());
        };
        let client_id = head.client_id.as_deref().unwrap_or_default();
        let decision = Decision { now, node, listener, caller, client_id, controller, producer_ids, ids };
        let answer = decide(decision, &head, &frame[head.body_start..]);
        let scan = matches!(head.api, ApiKey::DeleteTopics | ApiKey::AlterConfigs | ApiKey::IncrementalAlterConfigs);
        (scan, answer.ok())
    }

    fn applied_everywhere(&self) -> u64 {
        *self.applied.iter().min().expect("there is a shard")
    }
}

/// The next id of a sequence that begins at random: version 4 of RFC 9562 in form, never zero.
pub(super) fn uuid_next(seed: &mut u128) -> Uuid {
    *seed = seed.wrapping_mul(0xda94_2042_e4dd_58b5_f39c_c060_5ced_c835).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bytes = (*seed ^ (*seed >> 67)).to_be_bytes();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Uuid(bytes)
}

impl Shard {
    pub(super) fn forward(&mut self, now: Now, connection: ConnectionId, listener: usize, frame: Bytes) {
        let slot = self.begin(connection);
        let request = self.start(Pending::Command { connection, slot });
        let caller = self.connections[&connection].caller.clone();
        self.ask_controller(now, CommandRequest::Frame { request, listener, caller, frame });
    }

    pub(super) fn ask_controller(&mut self, now: Now, request: CommandRequest) {
        if self.commands.is_some() {
            self.command(now, self.id, request);
        } else {
            self.send(ShardId(0), Message::Command(request));
        }
    }

    pub(super) fn command(&mut self, now: Now, from: ShardId, request: CommandRequest) {
        let commands = self.commands.as_mut().expect("commands go to the first shard");
        let command = Command { from, request };
        // A name must not be used again before each core has taken the old directories out of the way.
        if self.removing > 0 || commands.applied_everywhere() < commands.scan_index {
            commands.held.push_back(command);
            return;
        }
        let (scan, response) = commands.decide(now, &self.node, &command.request);
        let index = commands.controller.index();
        if scan {
            commands.scan_index = index;
        }
        commands.waiting.push_back((index, command, response));
        let index = commands.applied[usize::from(self.id.0)];
        self.applied(now, self.id, index);
    }

    pub(super) fn command_done(&mut self, request: RequestId, response: Option<Vec<Bytes>>) {
        let Some(Pending::Command { connection, slot }) = self.requests.remove(&request) else { return };
        match response {
            Some(response) => self.respond(connection, slot, response),
            None if self.connections.contains_key(&connection) => {
                self.close(connection, "malformed request".into());
            }
            None => {}
        }
    }

    /// Work on the metadata log that may start.
    pub(super) fn plan_commands(&mut self) {
        let Some(commands) = &mut self.commands else { return };
        if let Some(append) = commands.controller.plan_append() {
            self.out.push(Output::MetadataAppend(append));
        } else if let Some(snapshot) = commands.controller.plan_snapshot() {
            self.out.push(Output::MetadataSnapshot(snapshot));
        }
    }

    /// The append that was under way is durable, or failed.
    pub(super) fn metadata_appended(&mut self, now: Now, index_last: u64, ok: bool) {
        let commands = self.commands.as_mut().expect("the first shard appends");
        if !ok {
            return self.metadata_failed(now);
        }
        let (image, delta) = commands.controller.synced(index_last);
        let delta = Arc::new(delta);
        for shard in 0..self.node.shards {
            if ShardId(shard) != self.id {
                self.send(ShardId(shard), Message::Publish { image: image.clone(), delta: delta.clone() });
            }
        }
        self.publish(now, image, &delta);
    }

    /// What was decided is lost. Who waits for it is answered by a controller that knows: KAFKA_STORAGE_ERROR where
    /// something would have changed.
    fn metadata_failed(&mut self, now: Now) {
        let commands = self.commands.as_mut().expect("the first shard appends");
        commands.controller.failed();
        let index = commands.controller.index();
        commands.scan_index = commands.scan_index.min(index);
        let lost = commands.waiting.partition_point(|(waits_for, ..)| *waits_for <= index);
        let lost = commands.waiting.split_off(lost);
        tracing::error!(
            "{} requests that change metadata are refused, and all that follow until the next start",
            lost.len()
        );
        for (_, command, _) in lost {
            let (_, response) = commands.decide(now, &self.node, &command.request);
            assert_eq!(commands.controller.index(), index, "nothing is decided any more");
            commands.waiting.push_back((index, command, response));
        }
        let index = self.image.index();
        self.applied(now, self.id, index);
    }

    pub(super) fn metadata_snapshotted(&mut self, ok: bool) {
        let controller = &mut self.commands.as_mut().expect("the first shard writes snapshots").controller;
        if ok { controller.snapshot_synced() } else { controller.snapshot_failed() }
    }

    fn command_answer(&mut self, command: Command, response: Option<Vec<Bytes>>) {
        let Command { from, request } = command;
        let CommandRequest::Frame { request, .. } = request else { return };
        if from == self.id {
            self.command_done(request, response);
        } else {
            self.send(from, Message::CommandDone { request, response });
        }
    }

    /// A shard has taken over the image of this index: answers that waited for it leave.
    pub(super) fn applied(&mut self, now: Now, from: ShardId, index: u64) {
        let commands = self.commands.as_mut().expect("shards tell the first one");
        commands.applied[usize::from(from.0)] = index;
        let everywhere = commands.applied_everywhere();
        while let Some(commands) = &mut self.commands
            && commands.waiting.front().is_some_and(|(index, ..)| *index <= everywhere)
        {
            let (_, command, response) = commands.waiting.pop_front().expect("it is there");
            self.command_answer(command, response);
        }
        let commands = self.commands.as_mut().expect("it is there");
        if everywhere >= commands.controller.index() {
            for Command { from, request } in std::mem::take(&mut commands.held) {
                self.command(now, from, request);
            }
        }
    }

    pub(super) fn publish(&mut self, now: Now, image: Image, delta: &Delta) {
        assert!(image.index() >= self.image.index());
        self.image = image;
        self.settings_changed(delta);
        self.topics_deleted(now, delta);
        self.groups.topics_deleted(delta);
        self.applied_untold = true;
    }

    /// Says that this core has taken over the image, once nothing of deleted topics is left that could come back.
    pub(super) fn tell_applied(&mut self, now: Now) {
        if !self.applied_untold || self.removing > 0 || self.groups.is_forgetting() {
            return;
        }
        self.applied_untold = false;
        let index = self.image.index();
        if self.commands.is_some() {
            self.applied(now, self.id, index);
        } else {
            self.send(ShardId(0), Message::Applied { index });
        }
    }

    /// Takes over the settings of this core's partitions: of those whose topics' settings changed, or where the broker's
    /// did, of all.
    fn settings_changed(&mut self, delta: &Delta) {
        let brokers = &delta.broker_settings;
        if brokers.contains(&self.node.id) || brokers.contains(&ALL_BROKERS) {
            self.config = dynamic_config(&self.node.config, &self.image, self.node.id);
            self.rules.clear();
            let mut logs: Vec<_> = self.store.logs().map(|(index, log)| (index, log.id())).collect();
            // The same input has the same output, in the same order.
            logs.sort_unstable();
            logs.into_iter().for_each(|(index, id)| self.take_settings(index, id.topic));
        } else {
            for topic in &delta.topics_set {
                let topic = self.image.topic_by_id(*topic).expect("a topic whose settings changed is there").clone();
                self.logs_of(&topic).into_iter().for_each(|(index, id)| self.take_settings(index, id.topic));
            }
        }
    }

    fn take_settings(&mut self, index: LogIndex, topic: Uuid) {
        // A topic that is gone needs no settings.
        let Some(topic) = self.image.topic_by_id(topic).cloned() else { return };
        let settings = self.rules_of(&topic).log.clone();
        self.store.log_mut(index).expect("it was just listed").set_settings(settings);
        self.store.settings_changed(index);
    }

    fn topics_deleted(&mut self, now: Now, delta: &Delta) {
        for topic in delta.topics_deleted.values() {
            self.rules.remove(&topic.id);
            for (index, id) in self.logs_of(topic) {
                let name = self.store.remove(id).expect("it was just listed");
                self.forsake(now, index);
                self.removing += 1;
                self.out.push(Output::PartitionRemove { log: index, name, topic: id.topic });
            }
        }
    }

    /// The logs of a topic that this core has open, by partition.
    fn logs_of(&self, topic: &Topic) -> Vec<(LogIndex, PartitionId)> {
        let ids = (0..topic.partition_count()).map(|index| PartitionId { topic: topic.id, index });
        ids.filter_map(|id| Some((self.store.find(id)?, id))).collect()
    }

    /// The directory of a removed partition is out of the way.
    pub(super) fn partition_removed(&mut self, _log: LogIndex) {
        assert!(self.removing > 0);
        self.removing -= 1;
    }
}

/// The node's settings with the dynamic ones on top.
pub fn dynamic_config(config: &Arc<Config>, image: &Image, node: i32) -> Arc<Config> {
    let own = image.broker_settings(node);
    let all = image.broker_settings(ALL_BROKERS);
    if own.is_none() && all.is_none() {
        return config.clone();
    }
    let none = Default::default();
    let (config, left_out) = config.with_dynamic(own.unwrap_or(&none), all.unwrap_or(&none));
    for setting in left_out {
        tracing::warn!("dynamic setting {setting} is left out: its value is not valid with the others");
    }
    Arc::new(config)
}
