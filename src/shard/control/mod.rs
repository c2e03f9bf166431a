//! Requests for the controller: decided on the first shard, answered when every shard has the image. The other shards say
//! here which image they have taken over.
//!
//! Knows the controller and the images' indexes, and neither connections nor partitions.

use super::admin;
use super::admin::{Decision, ProducerIds};
use super::context::Apis;
use super::front::route::{Route, Table};
use super::message::{Answer, CommandRequest, Message, Origin};
use super::node::Node;
use super::port::Output;
use super::seed::Seed;
use super::view::{View, dynamic_config};
use crate::metadata::{Controller, Outcome, Topic, Written};
use crate::types::{Now, ShardId, Time};
use crate::wire::frame::Head;
use crate::wire::messages::ApiKey;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// How often it is logged, at the most, that decisions were lost.
const LOST_LOG_MS: u64 = 60_000;

/// The controller and what waits for it.
pub struct Commands {
    table: Table,
    apis: Apis,
    controller: Controller,
    producer_ids: ProducerIds,
    /// For topic ids.
    seed: Seed,
    /// Requests that are decided, each with the index that must be published before it is answered, and with its
    /// answer; `None` if its bytes were no request.
    waiting: VecDeque<(u64, Command, Option<Vec<Bytes>>)>,
    /// Requests that are decided later, because directories of deleted topics are being taken out of the way.
    held: VecDeque<Command>,
    /// The index that each shard has taken over.
    applied: Vec<u64>,
    /// The index of the last decision that deleted topics or changed their settings.
    scan_index: u64,
    /// Deleted topics, whose names are free again when this index is applied everywhere.
    deleted: VecDeque<(u64, Vec<Arc<Topic>>)>,
    /// When it was last logged that decisions were lost.
    lost_logged: Option<Time>,
}

/// A request for the controller, and the shard that it comes from.
struct Command {
    from: ShardId,
    request: CommandRequest,
}

impl Commands {
    pub fn new(table: Table, apis: Apis, controller: Controller, seed: u128, shards: u16) -> Commands {
        let index = controller.image_durable().index();
        Commands {
            table,
            apis,
            controller,
            producer_ids: ProducerIds::default(),
            seed: Seed::new(seed),
            waiting: VecDeque::new(),
            held: VecDeque::new(),
            applied: vec![index; usize::from(shards)],
            scan_index: 0,
            deleted: VecDeque::new(),
            lost_logged: None,
        }
    }

    /// Decides a request. Returns its answer, `None` if its bytes are no request, and whether topics may be gone or
    /// have other settings from then on.
    fn decide(&mut self, now: Now, node: &Node, request: &CommandRequest) -> (bool, Option<Vec<Bytes>>) {
        let Commands { table, apis, controller, producer_ids, seed, .. } = self;
        let ids = &mut || seed.next_id();
        let (frame, listener, caller) = match request {
            CommandRequest::Frame { frame, listener, caller, .. } => (frame, *listener, caller),
            CommandRequest::MakeOffsetsTopic => {
                let config = dynamic_config(node, controller.image_decided());
                admin::make_offsets_topic(&config, controller, ids);
                return (false, None);
            }
        };
        let head = Head::decode(frame).expect("the connection's shard has decoded it");
        let (Route::Controller(decide) | Route::Either { controller: decide, .. }) = table(head.api).route else {
            panic!("{} is not the controller's", head.api.name());
        };
        let client_id = head.client_id.as_deref().unwrap_or_default();
        let decision = Decision { now, node, apis: *apis, listener, caller, client_id, controller, producer_ids, ids };
        let answer = decide(decision, &head, &frame[head.body_start..]);
        let scan = matches!(head.api, ApiKey::DeleteTopics | ApiKey::AlterConfigs | ApiKey::IncrementalAlterConfigs);
        (scan, answer.ok())
    }

    fn applied_everywhere(&self) -> u64 {
        *self.applied.iter().min().expect("there is a shard")
    }
}

/// A shard's part in control: the first shard has the controller.
pub struct Control {
    shard: ShardId,
    commands: Option<Commands>,
    /// Whether the first shard is still to be told that this one has taken over the image.
    applied_untold: bool,
    out: Vec<Output>,
    mail: Vec<(ShardId, Message)>,
}

impl Control {
    pub fn new(shard: ShardId, commands: Option<Commands>) -> Control {
        assert_eq!(commands.is_some(), shard == ShardId(0));
        Control { shard, commands, applied_untold: false, out: Vec::new(), mail: Vec::new() }
    }

    pub fn take_output(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    pub fn take_mail(&mut self) -> Vec<(ShardId, Message)> {
        std::mem::take(&mut self.mail)
    }

    fn commands(&mut self) -> &mut Commands {
        self.commands.as_mut().expect("commands go to the first shard")
    }

    /// A request from a shard.
    pub fn command(&mut self, now: Now, view: &View, from: ShardId, request: CommandRequest) {
        let (shard, commands) = (self.shard, self.commands());
        let command = Command { from, request };
        // A name must not be used again before each core has taken the old directories out of the way.
        if commands.applied_everywhere() < commands.scan_index {
            commands.held.push_back(command);
            return;
        }
        let (scan, response) = commands.decide(now, view.node(), &command.request);
        let index = commands.controller.index();
        if scan {
            commands.scan_index = index;
        }
        commands.waiting.push_back((index, command, response));
        let index = commands.applied[usize::from(shard.0)];
        self.applied(now, view, shard, index);
    }

    /// The write to the metadata log that was under way has ended.
    pub fn metadata_written(&mut self, now: Now, view: &View, written: Written) {
        let Outcome { published, lost } = self.commands().controller.written(written);
        if let Some((image, delta)) = published {
            if !delta.topics_deleted.is_empty() {
                let topics = delta.topics_deleted.values().cloned().collect();
                self.commands().deleted.push_back((image.index(), topics));
            }
            let delta = Arc::new(delta);
            for shard in 0..view.node().shards {
                let message = Message::Publish { image: image.clone(), delta: delta.clone() };
                self.mail.push((ShardId(shard), message));
            }
        }
        if lost {
            self.decisions_lost(now, view);
        }
    }

    /// Decisions are lost. The requests that wait for them are decided about again, by a controller that refuses what
    /// would need space: with KAFKA_STORAGE_ERROR where something would have changed.
    fn decisions_lost(&mut self, now: Now, view: &View) {
        let (shard, commands) = (self.shard, self.commands());
        let index = commands.controller.index();
        commands.scan_index = commands.scan_index.min(index);
        let lost = commands.waiting.partition_point(|(waits_for, ..)| *waits_for <= index);
        let lost = commands.waiting.split_off(lost);
        if commands.lost_logged.is_none_or(|at| at.after_ms(LOST_LOG_MS) <= now.mono) {
            commands.lost_logged = Some(now.mono);
            tracing::error!("metadata cannot be written: {} requests that would change it are refused", lost.len());
        }
        commands.controller.refuse(true);
        for (_, command, _) in lost {
            let (scan, response) = commands.decide(now, view.node(), &command.request);
            let index = commands.controller.index();
            if scan {
                commands.scan_index = index;
            }
            commands.waiting.push_back((index, command, response));
        }
        commands.controller.refuse(false);
        let index = commands.applied[usize::from(shard.0)];
        self.applied(now, view, shard, index);
    }

    /// The part of a snapshot that was under way is written, or failed.
    pub fn metadata_snapshotted(&mut self, ok: bool) {
        self.commands().controller.snapshot_written(ok);
    }

    /// A shard has taken over the image of this index: answers that waited for it leave.
    pub fn applied(&mut self, now: Now, view: &View, from: ShardId, index: u64) {
        let commands = self.commands.as_mut().expect("shards tell the first one");
        commands.applied[usize::from(from.0)] = index;
        let everywhere = commands.applied_everywhere();
        while commands.waiting.front().is_some_and(|(index, ..)| *index <= everywhere) {
            let (_, Command { from, request }, response) = commands.waiting.pop_front().expect("it is there");
            if let CommandRequest::Frame { request, .. } = request {
                let answers = vec![(0, Answer::Decided(response))];
                self.mail.push((from, Message::Answers { origin: Origin::Client(request), answers }));
            }
        }
        while let Some((_, topics)) = commands.deleted.pop_front_if(|(index, _)| *index <= everywhere) {
            topics.iter().for_each(|topic| commands.controller.topic_removed(&topic.name, topic.id));
        }
        if everywhere >= commands.controller.index() {
            for Command { from, request } in std::mem::take(&mut commands.held) {
                self.command(now, view, from, request);
            }
        }
    }

    /// Notes whether directories of a deleted topic are in the way on some shard, so that its name stays taken.
    pub fn name_held(&mut self, topic: &Arc<str>, held: bool) {
        let controller = &mut self.commands().controller;
        if held { controller.hold_name(topic.clone()) } else { controller.free_name(topic) }
    }

    /// This shard has another image.
    pub fn published(&mut self) {
        self.applied_untold = true;
    }

    /// Ends a turn. Tells the first shard that this one has taken over the image, once nothing of deleted topics is
    /// left that could come back (`clear`).
    pub fn tell_applied(&mut self, view: &View, clear: bool) {
        if clear && std::mem::take(&mut self.applied_untold) {
            self.mail.push((ShardId(0), Message::Applied { index: view.image().index() }));
        }
    }

    /// Puts out the work on the metadata log that may start.
    pub fn plan(&mut self) {
        let Some(commands) = &mut self.commands else { return };
        self.out.extend(commands.controller.plan_write().map(Output::MetadataWrite));
        self.out.extend(commands.controller.plan_snapshot().map(Output::MetadataSnapshot));
    }

    /// What must hold between two turns.
    pub fn check(&self) {
        assert!(self.out.is_empty() && self.mail.is_empty(), "all that was said is taken");
        let Some(commands) = &self.commands else { return };
        assert!(commands.waiting.iter().is_sorted_by_key(|(index, ..)| *index));
        let everywhere = commands.applied_everywhere();
        assert!(commands.waiting.front().is_none_or(|(index, ..)| *index > everywhere), "who can be answered is");
        assert!(everywhere <= commands.controller.index());
    }
}
