//! The coordinator of groups as the runtime of coordinators sees it.

use crate::group::{
    Answer, AppendId, Caller, Checkpoint, CheckpointError, Coordinator, Event, Request, Restoring, Settings, Topics,
};
use crate::shard::message;
use crate::shard::runtime::{self, Memory, Originated, ShowRecord};
use crate::types::{Now, Offset, Time};
use crate::wire::error::ErrorCode;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A request, or one group's share of it, and who makes it.
pub struct Call<'a> {
    pub caller: Caller<'a>,
    pub request: &'a Request<'a>,
    /// The partitions that there are.
    pub topics: Topics<'a>,
}

impl runtime::Coordinator for Coordinator {
    type Settings = Settings;
    type Request<'a> = Call<'a>;
    type Answer = Answer;
    type Event = Event;
    type AppendId = AppendId;
    type Checkpoint = Checkpoint;
    type Restoring = Restoring;
    type Error = CheckpointError;

    fn new(settings: &Settings) -> Self {
        Coordinator::new(settings.clone())
    }

    fn restore_begin(bytes: Vec<u8>) -> Result<(Restoring, Offset), CheckpointError> {
        let restoring = Restoring::new(bytes)?;
        let offset_end = restoring.offset_end();
        Ok((restoring, offset_end))
    }

    fn restore_some(&mut self, restoring: &mut Restoring, bytes: usize) -> Result<bool, CheckpointError> {
        Coordinator::restore_some(self, restoring, bytes)
    }

    fn replay(&mut self, offset: Offset, key: &[u8], value: Option<&[u8]>) {
        Coordinator::replay(self, offset, key, value);
    }

    fn offset_end(&self) -> Offset {
        Coordinator::offset_end(self)
    }

    fn loaded(&mut self, now: Now, exists: &dyn Fn(&str) -> bool) -> bool {
        self.open_some(now, exists)
    }

    fn handle(&mut self, now: Now, elsewhere: Memory, call: Call<'_>) {
        let caller = Caller {
            member_bytes_elsewhere: elsewhere.live_bytes,
            offset_bytes_elsewhere: elsewhere.durable_bytes,
            ..call.caller
        };
        Coordinator::handle(self, now, &caller, call.request, call.topics);
    }

    fn memory(&self) -> Memory {
        Memory { live_bytes: self.member_bytes(), durable_bytes: self.offset_bytes() }
    }

    fn deadline(&self) -> Option<Time> {
        Coordinator::deadline(self)
    }

    fn tick(&mut self, now: Now) {
        Coordinator::tick(self, now);
    }

    fn topics_deleted(&mut self, topics: &BTreeSet<Arc<str>>) {
        Coordinator::topics_deleted(self, topics);
    }

    fn is_forgetting(&self) -> bool {
        Coordinator::is_forgetting(self)
    }

    fn plan_append(&mut self, record: &mut ShowRecord<'_>) -> Option<AppendId> {
        let append = Coordinator::plan_append(self)?;
        append.records.iter().for_each(|of| record(&of.key, of.value.as_deref()));
        Some(append.id)
    }

    fn appended(&mut self, now: Now, id: AppendId, result: Result<Offset, ErrorCode>) {
        Coordinator::appended(self, now, id, result);
    }

    fn unload(&mut self) -> bool {
        Coordinator::unload(self)
    }

    fn take_answers(&mut self) -> Vec<Answer> {
        Coordinator::take_answers(self)
    }

    fn take_events(&mut self) -> Vec<Event> {
        Coordinator::take_events(self)
    }

    fn take_originated(&mut self) -> Vec<Originated> {
        // A group needs no other partition.
        Vec::new()
    }

    fn answered(&mut self, _: Now, number: u64, _: u32, _: message::Answer) {
        unreachable!("groups have asked for nothing, also not for {number}");
    }

    fn checkpoint(&self) -> Checkpoint {
        Coordinator::checkpoint(self)
    }

    fn checkpoint_part(&self, checkpoint: &mut Checkpoint, bytes: usize) -> bool {
        Coordinator::checkpoint_part(self, checkpoint, bytes)
    }

    fn checkpoint_finish(checkpoint: Checkpoint) -> Vec<u8> {
        checkpoint.finish()
    }
}
