//! Where members find the cluster: its brokers may go and come back, and its partitions may move, while members go on.

use crate::cluster::{Broker, Fault, Layout, topic_layout};
use crate::live::say;
use crate::options::Target;
use klamm::client::patience::Patience;
use klamm::client::version::Versions;
use klamm::types::Time;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

/// Pauses between two looks.
const PAUSES_MS: RangeInclusive<u64> = 20..=500;

/// What one look at the cluster tells.
pub struct Cluster {
    /// A broker that is there.
    pub bootstrap: SocketAddr,
    pub versions: Versions,
    pub leaders: BTreeMap<i32, SocketAddr>,
}

impl Cluster {
    pub fn of(broker: &Broker, layout: &Layout) -> Cluster {
        let leaders = layout.leaders.iter();
        let leaders = leaders.flat_map(|(&leader, partitions)| partitions.iter().map(move |&index| (index, leader)));
        Cluster { bootstrap: broker.address, versions: broker.versions.clone(), leaders: leaders.collect() }
    }
}

/// The cluster as it was when it was last looked at; a thread of its own looks again when something has gone wrong.
pub struct Places {
    target: Target,
    pub cluster: Cluster,
    is_troubled: bool,
    retry_ns: u64,
    patience: Patience,
    found: Option<Receiver<Result<Cluster, Fault>>>,
}

impl Places {
    pub fn new(target: Target, cluster: Cluster) -> Places {
        let patience = Patience::new(u64::MAX, PAUSES_MS);
        Places { target, cluster, is_troubled: false, retry_ns: 0, patience, found: None }
    }

    /// A broker has gone, or partitions have moved.
    pub fn trouble(&mut self) {
        self.is_troubled = true;
    }

    /// Whether the cluster has not been found since the last trouble.
    pub fn is_troubled(&self) -> bool {
        self.is_troubled || self.found.is_some()
    }

    /// Looks again if that is due; gives whether something new is known.
    pub fn look(&mut self, now_ns: u64) -> bool {
        match self.found.as_ref().map(Receiver::try_recv) {
            Some(Err(TryRecvError::Empty)) => return false,
            Some(Ok(found)) => {
                self.found = None;
                // What goes wrong from here on is looked for after a pause, which grows until nothing does for a while.
                self.retry_ns = self.patience.failed(Time(now_ns)).map_or(u64::MAX, |at| at.0);
                match found {
                    Ok(cluster) => {
                        self.cluster = cluster;
                        return true;
                    }
                    Err(fault) => {
                        say(format!("no cluster yet: {fault}"));
                        self.is_troubled = true;
                    }
                }
            }
            Some(Err(TryRecvError::Disconnected)) => self.found = None,
            None => {}
        }
        if self.is_troubled && self.retry_ns <= now_ns {
            self.is_troubled = false;
            let (target, (sender, receiver)) = (self.target.clone(), channel());
            self.found = Some(receiver);
            // The load may have ended when the answer comes, and wants none.
            std::thread::spawn(move || sender.send(find(&target)));
        }
        false
    }

    /// Something was read.
    pub fn renew(&mut self) {
        self.patience.renew();
    }
}

fn find(target: &Target) -> Result<Cluster, Fault> {
    let mut broker = Broker::bootstrap_beside(target)?;
    let layout = topic_layout(&mut broker, &target.topic, target.partitions)?;
    Ok(Cluster::of(&broker, &layout))
}
