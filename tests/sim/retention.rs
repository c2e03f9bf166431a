//! Topics whose records go by themselves: at the end all goes that is due, and its files with it.

use crate::client::Clients;
use crate::model::{Part, TopicState};
use crate::node::{Crashed, Process, World};
use klamm::log::{Log, SegmentId};
use klamm::types::PartitionId;
use std::collections::HashSet;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// Longer than any topic of these keeps records, with what a clock may be wrong by and the delay of a file's removal.
const OUTLIVE_MS: u64 = 4000;

/// Offsets below the logs' starts at the ends of all seeds, of topics that let records go.
pub static EXPIRED: AtomicUsize = AtomicUsize::new(0);

fn log<'a>(process: &'a Process, topic: &str, part: Part) -> Option<&'a Log> {
    let topic = process.shards[0].image().topic(topic).expect("it is live").id;
    let id = PartitionId { topic, index: part.index };
    process.shards.iter().find_map(|shard| shard.store().log(shard.store().find(id)?))
}

impl Clients {
    /// Time passes in which nobody writes.
    pub fn outlive(&mut self, world: &mut World, process: &mut Process) -> Result<(), Crashed> {
        let until = world.now.mono.after_ms(OUTLIVE_MS);
        while world.now.mono < until {
            // Others wait for longer, and what they wait for is not to come meanwhile.
            world.wake = Some(world.now.mono.after_ms(1));
            self.step(world, process)?;
        }
        world.wake = None;
        for part in self.model.parts(TopicState::Live) {
            let (name, retention) = (self.model.name(part), self.model.retention(part));
            let Some(log) = log(process, &self.model.topics[part.topic].name, part) else { continue };
            log.check();
            if retention.ms.is_some() {
                assert_eq!((log.start(), log.bytes()), (log.end(), 0), "{name}: what is old is there");
            }
            if let Some(most) = retention.bytes {
                let first = log.segments().next().map_or(0, |segment| u64::from(segment.bytes));
                assert!(log.bytes() - first < most || first == 0, "{name}: {} bytes are there", log.bytes());
            }
            if retention.any() {
                EXPIRED.fetch_add(log.start() as usize, Relaxed);
            }
            let named: HashSet<SegmentId> = log.segments().map(|segment| segment.id()).collect();
            let files = world.disk.list(&name);
            let left = files.iter().find(|path| {
                SegmentId::of_file(&path[name.len() + 1..]).is_some_and(|segment| !named.contains(&segment))
            });
            // Where damage has cost the end of a log, the next start clears its files away.
            assert!(left.is_none() || log.lost_from().is_some(), "{name}: {left:?} is left");
            self.verify(world, process, part)?;
        }
        Ok(())
    }
}
