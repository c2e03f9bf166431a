//! One core: its shard, and the tasks that feed it and carry out what it puts out.
//!
//! The shard is borrowed only inside functions that do not await, so tasks of the core never meet in it.

use super::charge::Memory;
use super::disk::Disk;
use super::host::Descriptors;
use super::load::{Cores, Loads, message_bytes};
use super::logging::{Limited, Untold};
use super::net::Link;
use super::reader::Reader;
use super::reading::Reads;
use super::report;
use super::turns::{Cause, Turns};
use crate::log::SegmentId;
use crate::shard::memory::{Account, Purpose};
use crate::shard::message::Message;
use crate::shard::port::{ConnectionId, Reader as ReadFor};
use crate::shard::store::{DiskOp, Done, LogIndex};
use crate::shard::{Input, Output, ReadPlan, Shard};
use crate::types::{Now, PartitionId, ShardId, Time};
use glommio::channels::shared_channel::ConnectedSender;
use glommio::{Latency, Shares, TaskQueueHandle};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

/// Disk completions interrupt the work of connections after this time at the latest.
const DISK_LATENCY: Duration = Duration::from_millis(1);
/// How often the executor is woken in any case: while something happens, and at rest.
const BEATS: [(Duration, Duration); 3] = [
    (Duration::from_millis(1), Duration::from_millis(64)),
    (Duration::from_millis(7), Duration::from_millis(171)),
    (Duration::from_millis(23), Duration::from_millis(709)),
];
/// Reasons for closing connections are logged so often in this time.
const CLOSE_LOG_BURST: u32 = 10;
const CLOSE_LOG_INTERVAL: Duration = Duration::from_secs(1);

/// How often the removal of a directory is tried again.
const REMOVE_STEP: Duration = Duration::from_secs(1);

/// What goes from core to core.
pub enum CoreMessage {
    Message(Message),
    /// Files that are removed are not to be held open.
    Forget {
        partition: PartitionId,
        segment: Option<SegmentId>,
    },
    Connection {
        socket: OwnedFd,
        listener: usize,
        guard: super::net::Guard,
    },
}

/// Tasks that wait for something to change on this core.
#[derive(Default)]
pub struct Signal(RefCell<Vec<Waker>>);

impl Signal {
    pub fn raise(&self) {
        self.0.borrow_mut().drain(..).for_each(Waker::wake);
    }

    /// Completes once `ready` says so; asked again at each [`Signal::raise`].
    pub async fn wait(&self, ready: impl Fn() -> bool) {
        std::future::poll_fn(|context| {
            if ready() {
                return Poll::Ready(());
            }
            self.0.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn is_idle(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

/// The way to another core: a queue, so that sending never waits, and a task that empties it.
struct Peer {
    queue: RefCell<VecDeque<CoreMessage>>,
    filled: Signal,
}

pub struct Core {
    pub id: ShardId,
    shard: RefCell<Shard>,
    pub links: RefCell<HashMap<ConnectionId, Rc<Link>>>,
    pub disk: Rc<Disk>,
    pub reader: Rc<Reader>,
    metadata: Option<super::metadata::Files>,
    peers: RefCell<Vec<Option<Rc<Peer>>>>,
    connection_next: Cell<u64>,
    inputs: Cell<u64>,
    start: Instant,
    disk_queue: TaskQueueHandle,
    background_queue: TaskQueueHandle,
    /// The turn that the shard's next deadline brings.
    timer: RefCell<Option<(Time, glommio::Task<()>)>>,
    turns: RefCell<Turns>,
    /// What a turn has put out is being carried out.
    in_turn: Cell<bool>,
    /// Raised when connections that were held back may read again, and when the core stops.
    pub resumed: Signal,
    pub stopping: Cell<bool>,
    closes: RefCell<Limited>,
    pub memory: Memory,
    pub reads: Reads,
    loads: Arc<Loads>,
    /// Bytes that the answers of one connection may take.
    answer_bytes_max: usize,
    /// The one connection that may receive a request beyond the limit of all, so that always one gets on.
    pub over_limit: Cell<Option<ConnectionId>>,
    /// Connections that want a buffer for a request of so many bytes.
    pub receive_waiting: RefCell<BTreeSet<(usize, ConnectionId)>>,
    /// The other cores that batches have been sent to since this was last reset.
    written_to: Cell<Cores>,
}

impl Core {
    pub fn new(
        shard: Shard,
        root: &Path,
        disk: Rc<Disk>,
        metadata: Option<super::metadata::Files>,
        descriptors: Descriptors,
        loads: Arc<Loads>,
        start: Instant,
    ) -> Rc<Core> {
        let config = shard.node().config.clone();
        let memory_bytes = config.core_memory_bytes_max as usize;
        let memory: Memory = Rc::new(RefCell::new(Account::new(memory_bytes)));
        let latency = Latency::Matters(DISK_LATENCY);
        Rc::new(Core {
            id: shard.id(),
            shard: RefCell::new(shard),
            links: RefCell::default(),
            disk,
            reader: Rc::new(Reader::new(root.to_path_buf(), descriptors.handles_read_max(), memory.clone())),
            metadata,
            peers: RefCell::default(),
            connection_next: Cell::new(0),
            inputs: Cell::new(0),
            start,
            disk_queue: glommio::executor().create_task_queue(Shares::default(), latency, "disk"),
            background_queue: glommio::executor().create_task_queue(
                Shares::default(),
                Latency::NotImportant,
                "background",
            ),
            timer: RefCell::default(),
            turns: RefCell::default(),
            in_turn: Cell::new(false),
            resumed: Signal::default(),
            stopping: Cell::new(false),
            closes: RefCell::new(Limited::new(CLOSE_LOG_BURST, CLOSE_LOG_INTERVAL)),
            memory,
            reads: Reads::new(descriptors.reads_max(), memory_bytes),
            loads,
            answer_bytes_max: (config.connection_outgoing_bytes_max as usize).min(memory_bytes / 4),
            over_limit: Cell::new(None),
            receive_waiting: RefCell::default(),
            written_to: Cell::default(),
        })
    }

    pub fn now(&self) -> Now {
        now(self.start, Instant::now())
    }

    pub fn connection_id(&self) -> ConnectionId {
        let id = self.connection_next.get();
        self.connection_next.set(id + 1);
        ConnectionId(id)
    }

    /// Shows the shard an input. The turn ends with [`Core::end_turn`], which may follow several inputs.
    pub fn input(&self, input: Input) {
        let (begun, cause) = (Instant::now(), Cause::of(&input));
        self.inputs.set(self.inputs.get() + 1);
        self.shard.borrow_mut().step(now(self.start, begun), input);
        self.turns.borrow_mut().spend(begun.elapsed(), cause);
    }

    /// Wakes the executor again and again. glommio goes to sleep although tasks are ready if its preempt timer fires, or
    /// another core knocks, between its look at the rings and the first task; a timer ends that sleep. A beat may be among the
    /// tasks slept on, so there are several, at different times.
    pub fn beat(self: &Rc<Self>) {
        for (min, max) in BEATS {
            let core = self.clone();
            let beat = async move {
                let (mut seen, mut interval) = (0, max);
                loop {
                    glommio::timer::sleep(interval).await;
                    let inputs = core.inputs.get();
                    interval = if inputs == seen { (2 * interval).min(max) } else { min };
                    seen = inputs;
                }
            };
            glommio::spawn_local(beat).detach();
        }
    }

    pub fn look<T>(&self, look: impl FnOnce(&Shard) -> T) -> T {
        look(&self.shard.borrow())
    }

    /// Carries out what the shard put out.
    pub fn end_turn(self: &Rc<Self>) {
        let begun = Instant::now();
        debug_assert!(!self.in_turn.get(), "what a turn puts out is carried out before the next turn");
        self.in_turn.set(true);
        self.carry_out_all(begun);
        self.in_turn.set(false);
        let end = Instant::now();
        let mut turns = self.turns.borrow_mut();
        turns.spend(end - begun, Cause::End);
        turns.end(end);
    }

    /// Waits until no turn is under way. A task that a turn spawns takes its first step at once, within the turn: so does all
    /// that it awaits, if nothing of that has to be waited for.
    async fn out_of_turn(&self) {
        while self.in_turn.get() {
            glommio::executor().yield_task_queue_now().await;
        }
    }

    /// Shows the shard an input that is a turn of its own.
    pub async fn turn(self: &Rc<Self>, input: Input) {
        self.out_of_turn().await;
        self.input(input);
        self.end_turn();
    }

    fn carry_out_all(self: &Rc<Self>, begun: Instant) {
        let mut dirty: Vec<Rc<Link>> = Vec::new();
        let outputs = {
            let mut shard = self.shard.borrow_mut();
            shard.end_turn(now(self.start, begun));
            shard.take_output()
        };
        let mut reads: Vec<(ReadFor, ReadPlan)> = Vec::new();
        for output in outputs {
            match output {
                Output::Read { reader, plan } => reads.push((reader, plan)),
                output => self.carry_out(output, &mut dirty),
            }
        }
        self.read(reads);
        for link in dirty {
            link.flush(self);
        }
        self.tell_load();
        if !self.resumed.is_idle() {
            self.resumed.raise();
        }
        self.set_timer();
    }

    fn carry_out(self: &Rc<Self>, output: Output, dirty: &mut Vec<Rc<Link>>) {
        match output {
            Output::Send { connection, parts } => {
                if let Some(link) = self.links.borrow().get(&connection)
                    && link.push(parts)
                {
                    dirty.push(link.clone());
                }
            }
            Output::Close { connection, reason } => {
                if let Some(link) = self.links.borrow().get(&connection) {
                    self.log_close(link, &reason);
                    // What was answered before goes out first, as far as the peer takes it.
                    link.flush(self);
                    link.close();
                }
            }
            Output::Disk(op) => self.carry_out_disk(op),
            Output::Mesh { to, message } => self.post(to, CoreMessage::Message(message)),
            Output::Read { reader, plan } => self.read(vec![(reader, plan)]),
            Output::MetadataWrite(write) => {
                let core = self.clone();
                let work = async move { core.metadata_files().carry_out(write).await };
                self.task(work, |written| Input::MetadataWritten { written });
            }
            Output::MetadataSnapshot(part) => {
                let core = self.clone();
                let work = async move { core.metadata_files().snapshot(part).await };
                self.task(work, |ok| Input::MetadataSnapshotted { ok });
            }
            Output::GroupCheckpointRead { log, name, topic } => {
                let core = self.clone();
                let work = async move { core.disk.group_checkpoint_read(&name, topic).await };
                self.task(work, move |bytes| Input::GroupCheckpointRead { log, bytes });
            }
            Output::GroupCheckpointWrite { log, name, topic, bytes } => {
                let core = self.clone();
                let work = async move { core.disk.group_checkpoint_write(&name, topic, bytes).await };
                self.task(work, move |()| Input::GroupCheckpointWritten { log });
            }
            Output::PartitionRemove { log, name, partition } => {
                self.disk.forsake(log);
                let core = self.clone();
                self.background(async move { core.remove_partition(log, &name, partition).await });
            }
        }
    }

    /// Ends a turn in which requests of this connection were taken.
    pub fn end_turn_of(self: &Rc<Self>, link: &Link) {
        self.written_to.take();
        self.end_turn();
        let owners = self.written_to.get();
        if !owners.is_empty() {
            link.owners.set(owners);
        }
    }

    /// Lets the other cores know whether this one keeps up.
    fn tell_load(&self) {
        let shard = self.shard.borrow();
        let store = shard.store();
        let memory_bytes = shard.node().config.core_memory_bytes_max as usize;
        self.loads.tell(self.id.0, store.is_congested(), store.held_bytes() > 2 * memory_bytes);
    }

    /// Whether the next request of a connection may be taken: there is room for its answer, and for what it writes.
    pub fn may_read(&self, link: &Link) -> bool {
        let outgoing = link.outgoing_bytes();
        // Beyond the limit those go on that have nothing waiting, and beyond half as much again nobody.
        let full = !self.memory.borrow().may_take(Purpose::Outgoing, 0);
        if full && (outgoing > 0 || self.outgoing_bytes_over() > 0) {
            return false;
        }
        outgoing < self.answer_bytes_max
            && self.loads.may_write(link.owners.get())
            && self.look(|shard| shard.may_read(link.id, self.answer_bytes_max - outgoing))
    }

    /// Whether the disk does not keep up, here or on the cores that the connection writes to. What the peer has sent is taken as
    /// soon as it does, whether the peer has left or not.
    pub fn waits_for_disk(&self, link: &Link) -> bool {
        !self.loads.may_write(link.owners.get()) || self.look(|shard| shard.store().is_congested())
    }

    /// Bytes by which answers that the sockets have not taken are above what makes everybody wait.
    pub fn outgoing_bytes_over(&self) -> usize {
        let memory = self.memory.borrow();
        let limit = memory.limit(Purpose::Outgoing);
        memory.used(Purpose::Outgoing).saturating_sub(limit + limit / 2)
    }

    /// Whether a connection that waits for it may have a buffer for a request, so many bytes more. One goes on beyond the
    /// limit, the one with the smallest request.
    pub fn may_receive(&self, waiter: (usize, ConnectionId), bytes: usize) -> bool {
        if self.memory.borrow().may_take(Purpose::Receiving, bytes) || self.over_limit.get() == Some(waiter.1) {
            return true;
        }
        if self.over_limit.get().is_none() && self.receive_waiting.borrow().first() == Some(&waiter) {
            self.over_limit.set(Some(waiter.1));
            return true;
        }
        false
    }

    fn metadata_files(&self) -> &super::metadata::Files {
        self.metadata.as_ref().expect("the first core has the metadata")
    }

    /// Work whose outcome is an input.
    pub fn task<T: 'static>(
        self: &Rc<Self>,
        work: impl Future<Output = T> + 'static,
        input: impl FnOnce(T) -> Input + 'static,
    ) {
        glommio::spawn_local(self.clone().turn_after(work, input)).detach();
    }

    async fn turn_after<T>(self: Rc<Self>, work: impl Future<Output = T>, input: impl FnOnce(T) -> Input) {
        let done = work.await;
        self.turn(input(done)).await;
    }

    fn carry_out_disk(self: &Rc<Self>, op: DiskOp) {
        let core = self.clone();
        match op {
            op @ (DiskOp::JournalWrite(_) | DiskOp::JournalPrepare { .. }) => {
                self.disk_task(self.disk.carry_out(op));
            }
            DiskOp::SegmentRemove { partition, segment, .. } => {
                let removed = self.disk.carry_out(op);
                let work = async move {
                    let done = removed.await;
                    core.forget_everywhere(partition, Some(segment));
                    done
                };
                self.background(self.clone().turn_after(work, Input::DiskDone));
            }
            op => self.background(self.clone().turn_after(self.disk.carry_out(op), Input::DiskDone)),
        }
    }

    /// Takes the directory of a deleted topic's partition out of the way, however often that fails, and then removes it.
    async fn remove_partition(self: Rc<Self>, log: LogIndex, name: &str, partition: PartitionId) {
        let aside = loop {
            let aside = self.disk.partition_aside(log, name, partition.topic).await;
            let failed = aside.as_ref().err().map(|error| report::failed(report::PARTITION_REMOVE, name, error));
            self.turn(Input::PartitionRemoved { log, ok: failed.is_none() }).await;
            match aside {
                Ok(aside) => break aside,
                Err(_) => glommio::timer::sleep(REMOVE_STEP).await,
            }
        };
        self.forget_everywhere(partition, None);
        if let Some(aside) = aside {
            self.disk.remove_dir(aside).await;
        }
    }

    /// No core holds files open that have been removed, which take up space as long as they are open: those of a segment of a
    /// partition, or of all. They have lost their names before, so that none is opened afterwards.
    fn forget_everywhere(&self, partition: PartitionId, segment: Option<SegmentId>) {
        self.reader.forget(partition, segment);
        for (to, _) in self.peers.borrow().iter().enumerate().filter(|(_, peer)| peer.is_some()) {
            self.post(ShardId(to as u16), CoreMessage::Forget { partition, segment });
        }
    }

    /// Work that clients do not wait for.
    fn background(&self, work: impl Future<Output = ()> + 'static) {
        glommio::spawn_local_into(work, self.background_queue).expect("the queue lives as long as the core").detach();
    }

    fn disk_task(self: &Rc<Self>, work: impl Future<Output = Done> + 'static) {
        let task = self.clone().turn_after(work, Input::DiskDone);
        glommio::spawn_local_into(task, self.disk_queue).expect("the queue lives as long as the core").detach();
    }

    /// Says why a connection is closed, unless too many were just then.
    pub fn log_close(&self, link: &Link, reason: &str) {
        if let Some(untold) = self.closes.borrow_mut().admit(Instant::now()) {
            tracing::info!("closed the connection from {}: {reason}{}", link.peer, Untold(untold));
        }
    }

    /// Says which turns were slow since the start.
    pub fn log_slow_turns(&self) {
        for (cause, slow) in self.turns.borrow().slow() {
            let (core, turns, longest) = (self.id.0, slow.turns, slow.longest.as_millis());
            tracing::info!("core {core}: {turns} turns with {cause} took more than 5 ms, the longest {longest} ms");
        }
    }

    /// Sets the clock to the shard's next deadline, if none is set for earlier.
    fn set_timer(self: &Rc<Self>) {
        let Some(deadline) = self.shard.borrow().deadline() else { return };
        let mut timer = self.timer.borrow_mut();
        if timer.as_ref().is_some_and(|(set, _)| *set <= deadline) {
            return;
        }
        let core = self.clone();
        let task = glommio::spawn_local(async move {
            let wait = Duration::from_nanos(deadline.0.saturating_sub(core.now().mono.0));
            if !wait.is_zero() {
                glommio::timer::sleep(wait).await;
            }
            core.out_of_turn().await;
            // No longer to be cancelled: this task ends the turn.
            if let Some((_, task)) = core.timer.take() {
                task.detach();
            }
            core.end_turn();
        });
        // A later deadline's task is cancelled with its timer.
        *timer = Some((deadline, task));
    }

    /// Sends to another core.
    pub fn post(&self, to: ShardId, message: CoreMessage) {
        if let CoreMessage::Message(message) = &message
            && let bytes @ 1.. = message_bytes(message)
        {
            self.loads.sent(to.0, bytes);
            let mut written_to = self.written_to.get();
            written_to.add(to.0);
            self.written_to.set(written_to);
        }
        let peers = self.peers.borrow();
        let peer = peers[usize::from(to.0)].as_ref().expect("a core does not send to itself");
        peer.queue.borrow_mut().push_back(message);
        peer.filled.raise();
    }

    /// The ways to the other cores, by shard.
    pub fn connect(self: &Rc<Self>, senders: Vec<Option<ConnectedSender<CoreMessage>>>) {
        let peers = senders.into_iter().map(|sender| {
            let sender = sender?;
            let peer = Rc::new(Peer { queue: RefCell::default(), filled: Signal::default() });
            let queue = peer.clone();
            glommio::spawn_local(async move {
                loop {
                    queue.filled.wait(|| !queue.queue.borrow().is_empty()).await;
                    while let Some(message) = { queue.queue.borrow_mut().pop_front() } {
                        if sender.send(message).await.is_err() {
                            return;
                        }
                    }
                }
            })
            .detach();
            Some(peer)
        });
        *self.peers.borrow_mut() = peers.collect();
    }

    pub fn received(self: &Rc<Self>, from: ShardId, message: CoreMessage) {
        match message {
            CoreMessage::Message(message) => {
                self.loads.received(self.id.0, message_bytes(&message));
                self.input(Input::Message { from, message });
                self.end_turn();
            }
            CoreMessage::Forget { partition, segment } => self.reader.forget(partition, segment),
            CoreMessage::Connection { socket, listener, guard } => super::net::serve(self, socket, listener, guard),
        }
    }
}

/// Both clocks at `mono`, which was read just now; the process began at `start`.
pub fn now(start: Instant, mono: Instant) -> Now {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now { mono: Time((mono - start).as_nanos() as u64), wall_ms: wall.as_millis() as i64 }
}
