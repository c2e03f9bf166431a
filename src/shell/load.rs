//! What cores tell each other of their load, so that batches for a core that cannot take them are not read from clients.

use crate::shard::message::{Message, Op};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// One core, as the others see it.
#[derive(Default)]
struct Load {
    /// Bytes of batches that are on their way to it.
    queued: AtomicUsize,
    /// Its disk does not keep up: who writes to it waits.
    congested: AtomicBool,
    /// It holds so much that nobody may write at all.
    overloaded: AtomicBool,
}

/// The cores of the node.
pub struct Loads {
    cores: Vec<Load>,
    overloaded: AtomicUsize,
    queued_max: usize,
}

/// A set of cores. Two cores whose numbers differ by a multiple of 128 are not told apart.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Cores(u128);

impl Cores {
    pub fn add(&mut self, core: u16) {
        self.0 |= 1 << (core % 128);
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Loads {
    /// `queued_max`: bytes that may be on their way to a core before who writes to it waits.
    pub fn new(cores: u16, queued_max: usize) -> Loads {
        Loads { cores: (0..cores).map(|_| Load::default()).collect(), overloaded: AtomicUsize::new(0), queued_max }
    }

    pub fn sent(&self, to: u16, bytes: usize) {
        self.cores[usize::from(to)].queued.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn received(&self, core: u16, bytes: usize) {
        self.cores[usize::from(core)].queued.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// A core tells how it is.
    pub fn tell(&self, core: u16, congested: bool, overloaded: bool) {
        let load = &self.cores[usize::from(core)];
        // Not written to where nothing has changed: others read it all the time.
        if load.congested.load(Ordering::Relaxed) != congested {
            load.congested.store(congested, Ordering::Relaxed);
        }
        if load.overloaded.load(Ordering::Relaxed) != overloaded {
            load.overloaded.store(overloaded, Ordering::Relaxed);
            match overloaded {
                true => self.overloaded.fetch_add(1, Ordering::Relaxed),
                false => self.overloaded.fetch_sub(1, Ordering::Relaxed),
            };
        }
    }

    /// Whether a connection whose last batches went to these cores may send more.
    pub fn may_write(&self, to: Cores) -> bool {
        if self.overloaded.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let busy = |load: &Load| {
            load.congested.load(Ordering::Relaxed) || load.queued.load(Ordering::Relaxed) > self.queued_max
        };
        let among = |core: usize| to.0 >> (core % 128) & 1 == 1;
        to.is_empty() || !self.cores.iter().enumerate().any(|(core, load)| among(core) && busy(load))
    }
}

/// Bytes that a message from core to core brings to the core that gets it.
pub fn message_bytes(message: &Message) -> usize {
    let Message::Asks { asks, .. } = message else { return 0 };
    let batch_bytes = asks.iter().map(|ask| match &ask.op {
        Op::Append { batch, .. } => batch.len(),
        _ => 0,
    });
    batch_bytes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(core: u16) -> Cores {
        let mut cores = Cores::default();
        cores.add(core);
        cores
    }

    #[test]
    fn who_writes_to_a_busy_core_waits_alone() {
        let loads = Loads::new(3, 100);
        loads.sent(1, 101);
        assert!(!loads.may_write(only(1)) && loads.may_write(only(2)) && loads.may_write(Cores::default()));
        loads.received(1, 1);
        assert!(loads.may_write(only(1)));
        loads.tell(2, true, false);
        assert!(!loads.may_write(only(2)) && loads.may_write(only(0)));
        loads.tell(2, true, true);
        assert!(!loads.may_write(only(0)) && !loads.may_write(Cores::default()));
        loads.tell(2, false, false);
        assert!(loads.may_write(only(2)));
    }
}
