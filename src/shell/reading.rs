//! Reads of segments for answers: a request's reads begin when there is memory for all that they bring, in the order in
//! which requests come. So each request that has begun to read gets its answer, whatever others do.

use super::core::Core;
use super::reader::block_bytes;
use crate::shard::memory::Purpose;
use crate::shard::port::Reader;
use crate::shard::{Input, ReadPlan};
use crate::types::RequestId;
use glommio::sync::Semaphore;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// Blocks under way may take so much at least.
const WINDOW_BYTES_MIN: usize = 8 << 20;
/// The window is counted in pieces of this size.
const WINDOW_UNIT: usize = 1 << 10;

/// A request that waits for memory to read so many bytes.
struct Waiting {
    ticket: u64,
    request: RequestId,
    bytes: usize,
}

/// Who waits for memory to read into.
pub struct Reads {
    /// In order of arrival.
    waiting: RefCell<VecDeque<Waiting>>,
    ticket_next: Cell<u64>,
    /// Requests that read, with the number of their reads under way.
    admitted: RefCell<HashMap<RequestId, usize>>,
    /// What requests that read are going to bring.
    reserved: Cell<usize>,
    /// Files that are read at the same time.
    files: Semaphore,
    /// Bytes of blocks that are read at the same time.
    window: Semaphore,
    window_units: u64,
}

/// Bytes that an answer has from a plan, unless its one batch is larger.
fn answer_bytes(plan: &ReadPlan) -> usize {
    let length = plan.read.position_end.saturating_sub(plan.read.position) as usize;
    plan.bytes_max.min(length).max(1)
}

impl Reads {
    pub fn new(files_max: usize, memory_bytes: usize) -> Reads {
        let window_units = (memory_bytes / 4).max(WINDOW_BYTES_MIN).div_ceil(WINDOW_UNIT) as u64;
        Reads {
            waiting: RefCell::default(),
            ticket_next: Cell::new(0),
            admitted: RefCell::default(),
            reserved: Cell::new(0),
            files: Semaphore::new(files_max as u64),
            window: Semaphore::new(window_units),
            window_units,
        }
    }

    fn reserve(&self, core: &Core, bytes: usize) {
        self.reserved.set(self.reserved.get() + bytes);
        core.memory.borrow_mut().charge(Purpose::Reads, bytes);
    }

    fn release(&self, core: &Core, bytes: usize) {
        self.reserved.set(self.reserved.get() - bytes);
        core.memory.borrow_mut().release(Purpose::Reads, bytes);
    }

    fn finished(&self, request: RequestId) {
        let mut admitted = self.admitted.borrow_mut();
        let reads = admitted.get_mut(&request).expect("it has been admitted");
        *reads -= 1;
        if *reads == 0 {
            admitted.remove(&request);
        }
    }

    /// Whether a request whose turn it is may read so much.
    fn has_room(&self, core: &Core, bytes: usize) -> bool {
        let memory = core.memory.borrow();
        // An answer that is large by itself waits only for the others, and for half of the memory.
        let alone = self.reserved.get() == 0 && memory.used(Purpose::Reads) <= memory.limit(Purpose::Reads) / 2;
        alone || memory.may_take(Purpose::Reads, bytes)
    }

    /// Requests that wait for memory, in order, and how much of it must become free before the first of them can go on: of
    /// what blocks take, and of what answers take.
    pub fn shortage(&self, core: &Core) -> (Vec<RequestId>, (usize, usize)) {
        let waiting = self.waiting.borrow();
        let Some(first) = waiting.front().filter(|first| !self.has_room(core, first.bytes)) else {
            return (Vec::new(), (0, 0));
        };
        let memory = core.memory.borrow();
        // An answer that is larger than all memory waits until half of it is free.
        let (used, limit) = (memory.used(Purpose::Reads), memory.limit(Purpose::Reads));
        let (own, common) = memory.lacking(Purpose::Reads, first.bytes);
        let alone = used.saturating_sub(limit / 2);
        (waiting.iter().map(|waiting| waiting.request).collect(), (own.min(alone), common.min(alone)))
    }

    /// Waits for memory; false if nobody waits for the answer any more.
    async fn admit(&self, core: &Core, request: RequestId, bytes: usize) -> bool {
        let ticket = self.ticket_next.get();
        self.ticket_next.set(ticket + 1);
        self.waiting.borrow_mut().push_back(Waiting { ticket, request, bytes });
        let gone = || core.look(|shard| shard.connection_of(request).is_none());
        let first = || self.waiting.borrow().front().is_some_and(|first| first.ticket == ticket);
        core.resumed.wait(|| (first() && self.has_room(core, bytes)) || gone()).await;
        self.waiting.borrow_mut().retain(|other| other.ticket != ticket);
        let wanted = !gone();
        if wanted {
            self.reserve(core, bytes);
        }
        if !self.waiting.borrow().is_empty() {
            // The next one's turn.
            core.resumed.raise();
        }
        wanted
    }
}

impl Core {
    /// Reads what requests and coordinators want of segments.
    pub fn read(self: &Rc<Self>, reads: Vec<(Reader, ReadPlan)>) {
        let mut begun: Vec<(RequestId, Vec<(Reader, ReadPlan)>)> = Vec::new();
        for (reader, plan) in reads {
            match reader {
                Reader::Request { request, .. } if !self.reads.admitted.borrow().contains_key(&request) => {
                    match begun.last_mut().filter(|(last, _)| *last == request) {
                        Some((_, plans)) => plans.push((reader, plan)),
                        None => begun.push((request, vec![(reader, plan)])),
                    }
                }
                // It has begun, and ends only with this.
                _ => {
                    self.reads.reserve(self, answer_bytes(&plan));
                    self.begin_read(reader, plan);
                }
            }
        }
        for (request, plans) in begun {
            let core = self.clone();
            glommio::spawn_local(async move {
                let bytes = plans.iter().map(|(_, plan)| answer_bytes(plan)).sum();
                if core.reads.admit(&core, request, bytes).await {
                    plans.into_iter().for_each(|(reader, plan)| core.begin_read(reader, plan));
                }
            })
            .detach();
        }
    }

    /// Reads a plan that memory is reserved for.
    fn begin_read(self: &Rc<Self>, reader: Reader, plan: ReadPlan) {
        if let Reader::Request { request, .. } = reader {
            *self.reads.admitted.borrow_mut().entry(request).or_default() += 1;
        }
        let core = self.clone();
        glommio::spawn_local(async move {
            let units = (block_bytes(&plan).div_ceil(WINDOW_UNIT) as u64).min(core.reads.window_units);
            let data = {
                let _file = core.reads.files.acquire_permit(1).await.expect("it is not closed");
                let _window = core.reads.window.acquire_permit(units).await.expect("it is not closed");
                core.reader.read(&plan).await
            };
            core.reads.release(&core, answer_bytes(&plan));
            core.turn(Input::ReadDone { reader, data }).await;
            // Behind the turn, in which the request may have gone on to read.
            if let Reader::Request { request, .. } = reader {
                core.reads.finished(request);
            }
        })
        .detach();
    }
}
