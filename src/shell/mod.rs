//! The shell: everything that touches the kernel. One glommio executor a core, pinned; each runs a
//! [`Shard`](crate::shard::Shard) and knows no rule of Kafka's.

#![allow(unsafe_code)]

mod blocking;
mod charge;
mod core;
pub mod data_dir;
mod disk;
mod host;
mod leftovers;
mod load;
mod logging;
mod metadata;
mod net;
mod reader;
mod reading;
mod receive;
mod recovery;
mod report;
mod shortage;
mod turns;

use self::core::{Core, CoreMessage};
use self::data_dir::DataDir;
use self::disk::Disk;
pub use self::host::{block_signals, wait_for_signal};
use self::load::Loads;
pub use self::logging::start as log_to_standard_error;
use crate::config::{Config, Listener};
use crate::metadata::{Broker, Controller, Image, Listener as Advertised, Written};
use crate::shard::Input;
use crate::shard::node::Node;
use crate::shard::recovery::{Found, Replayed};
use crate::types::ShardId;
use futures_lite::io::AsyncReadExt;
use glommio::channels::shared_channel::{self, SharedReceiver, SharedSender};
use glommio::{LocalExecutorBuilder, Placement};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Messages that one core may have on their way to another.
const CORE_MESSAGES_MAX: usize = 1024;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// Memory for direct writes on each core, registered with io_uring where memlock allows. Enough for the journal's blocks and
/// the segment writes beside them: the same few pages serve again and again, and are not given back to the kernel between.
const IO_MEMORY_BYTES: usize = 8 << 20;
/// How long a port may stay taken at start, and how often it is tried.
const PORT_WAIT_MAX: Duration = Duration::from_secs(1);
const PORT_WAIT_STEP: Duration = Duration::from_millis(2);
/// The data directory's free space is looked at this often.
const SPACE_INTERVAL: Duration = Duration::from_secs(10);

/// What a core's thread starts with.
struct CoreSetup {
    id: ShardId,
    node: Arc<Node>,
    image: Image,
    controller: Option<(Controller, u128, metadata::Files)>,
    found: Arc<Found>,
    root: PathBuf,
    start: Instant,
    descriptors: host::Descriptors,
    loads: Arc<Loads>,
    /// By shard; none to itself.
    senders: Vec<Option<SharedSender<CoreMessage>>>,
    receivers: Vec<Option<SharedReceiver<CoreMessage>>>,
    listeners: Vec<TcpListener>,
    rendezvous: Arc<Rendezvous>,
}

/// Where the cores wait for each other, and how they learn that the broker is to stop.
struct Rendezvous {
    barrier: Barrier,
    failed: AtomicBool,
    /// One end of a pair for each core; a byte says that it is to stop.
    stop_signals: Mutex<Vec<UnixStream>>,
}

/// Runs the broker until a signal stops it. The error says what, where and what to do.
pub fn run(mut config: Config) -> Result<(), String> {
    let start = Instant::now();
    let cores = host::cores(&config.cores)?;
    host::check_io_uring()?;
    host::check_memlock(cores.len(), IO_MEMORY_BYTES)?;
    let descriptors =
        host::Descriptors::divide(cores.len(), config.journal_files_max as usize, config.connections_max)?;
    let data = DataDir::open(&config.data_dir, config.node_id)?;
    host::check_file_system(&data.root)?;
    // Clients are told the whole path.
    config.data_dir = data.root.clone();
    let (files, mut controller) = metadata::Files::open(&data.root).map_err(|error| {
        let place = data.root.join("metadata");
        match error {
            metadata::OpenError::Io(error) => format!("{}: {error}", place.display()),
            metadata::OpenError::Content(error) => format!("{}: {error}", place.display()),
        }
    })?;
    let listeners = config.listeners.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
    let advertised = advertised(&config, &listeners)?;
    let shards = u16::try_from(cores.len()).map_err(|_| "too many cores")?;
    let node = Arc::new(Node {
        id: config.node_id,
        cluster_id: data.cluster_id.as_str().into(),
        advertised,
        shards,
        config: Arc::new(config),
    });
    register(&mut controller, &files, &node)?;
    let found = recovery::look(&data.root).map_err(|error| format!("{}: {error}", data.root.display()))?;
    let stop = host::block_signals()?;
    blocking::start(cores.len())?;
    let seed = data_dir::random().map_err(|error| format!("/dev/urandom: {error}"))?;
    let setups = setups(&node, controller, seed, files, found, &data, listeners, descriptors, start);
    let rendezvous = setups[0].rendezvous.clone();
    let (ready, readiness) = mpsc::channel();
    let (begun, mut replayed) = (Instant::now(), Replayed::default());
    let mut threads = Vec::new();
    for (setup, cpu) in setups.into_iter().zip(&cores) {
        let ready = ready.clone();
        let builder = LocalExecutorBuilder::new(Placement::Fixed(*cpu))
            .name(&format!("core-{cpu}"))
            .io_memory(IO_MEMORY_BYTES)
            .spawn(move || async move { serve(setup, ready).await });
        threads.push(builder.map_err(|error| host::explain_executor(&error.to_string()))?);
    }
    drop(ready);
    for _ in 0..threads.len() {
        match readiness.recv() {
            Ok(ready) => replayed += ready?,
            // Every core has ended, one of them with the reason.
            Err(_) => return Err(reason(threads)),
        }
    }
    print_replayed(replayed, begun);
    print_ready(&node, &cores, &data, start);
    if let Some(drive) = data_dir::drive(&data.root) {
        tracing::info!("the drive, as measured: {drive}");
    }
    host::wait_for_signal(&stop);
    rendezvous.stop();
    for thread in threads {
        thread.join().map_err(|error| error.to_string())??;
    }
    Ok(())
}

impl Rendezvous {
    /// Wakes all cores and has them end.
    fn stop(&self) {
        for stop_signal in self.stop_signals.lock().expect("no holder panics").iter_mut() {
            // A core that is gone needs no stop_signal.
            let _ = stop_signal.write_all(&[1]);
        }
    }
}

/// Why the cores have ended that did not start.
fn reason(threads: Vec<glommio::ExecutorJoinHandle<Result<(), String>>>) -> String {
    let mut reasons = threads.into_iter().filter_map(|thread| thread.join().err());
    reasons.next().map_or("a core ended at start".into(), |error| host::explain_executor(&error.to_string()))
}

/// Says what was replayed, if anything was: nothing after a clean end.
fn print_replayed(replayed: Replayed, begun: Instant) {
    let Replayed { blocks, batches, bytes } = replayed;
    if batches > 0 {
        tracing::info!(
            "the broker was not stopped cleanly: replayed {blocks} blocks of the journal with {batches} batches, {bytes} \
             bytes, in {} ms",
            begun.elapsed().as_millis()
        );
    }
}

fn print_ready(node: &Node, cores: &[usize], data: &DataDir, start: Instant) {
    let listeners: Vec<String> = node
        .config
        .listeners
        .iter()
        .zip(&node.advertised)
        .map(|(listener, (_, port))| {
            let host = if listener.host.is_empty() { "0.0.0.0" } else { &listener.host };
            let port = if listener.port == 0 { *port } else { listener.port };
            format!("{}://{host}:{port}", listener.name)
        })
        .collect();
    let cores: Vec<String> = cores.iter().map(usize::to_string).collect();
    // Nobody need be listening.
    let _ = writeln!(
        io::stdout(),
        "klamm is ready: listeners {}, cores {}, data {}, {} ms since start",
        listeners.join(","),
        cores.join(","),
        data.root.display(),
        start.elapsed().as_millis()
    );
}

fn bind(listener: &Listener) -> Result<TcpListener, String> {
    let host = if listener.host.is_empty() { "0.0.0.0" } else { &listener.host };
    let place = format!("{}://{}:{}", listener.name, listener.host, listener.port);
    let address = (host, listener.port)
        .to_socket_addrs()
        .map_err(|error| format!("listeners: {place}: {error}"))?
        .next()
        .ok_or_else(|| format!("listeners: {place}: the host has no address"))?;
    let socket = bind_patiently(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "listeners: {place}: the port is taken; stop who uses it (ss -ltnp) or set listeners to another port"
            )
        }
        _ => format!("listeners: {place}: {error}"),
    })?;
    // SAFETY: a system call on a descriptor that is open; no memory is passed.
    if unsafe { libc::listen(socket.as_raw_fd(), BACKLOG) } != 0 {
        return Err(format!("listeners: {place}: {}", io::Error::last_os_error()));
    }
    Ok(socket)
}

/// Waits a little for a port that is taken: the kernel ends a killed process's io_uring, and what it holds, only after the
/// process.
fn bind_patiently(address: SocketAddr) -> io::Result<TcpListener> {
    let start = Instant::now();
    loop {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && start.elapsed() < PORT_WAIT_MAX => {
                std::thread::sleep(PORT_WAIT_STEP);
            }
            result => return result,
        }
    }
}

/// Host and port of each listener as clients are told, with what the configuration leaves open filled in.
fn advertised(config: &Config, sockets: &[TcpListener]) -> Result<Vec<(Arc<str>, u16)>, String> {
    let mut advertised = Vec::new();
    for (listener, socket) in config.listeners.iter().zip(sockets) {
        let bound = socket.local_addr().map_err(|error| format!("listeners: {error}"))?.port();
        let told = config.advertised_listeners.iter().find(|told| told.name == listener.name).unwrap_or(listener);
        let host = match told.host.as_str() {
            "" | "0.0.0.0" | "::" => host::name(),
            host => host.to_string(),
        };
        advertised.push((host.into(), if told.port == 0 { bound } else { told.port }));
    }
    Ok(advertised)
}

/// Tells the metadata log where this node is reached. A full disk does not keep a node from starting that is known.
fn register(controller: &mut Controller, files: &metadata::Files, node: &Node) -> Result<(), String> {
    let listener = |(listener, (host, port)): (&Listener, &(Arc<str>, u16))| Advertised {
        name: listener.name.clone(),
        host: host.to_string(),
        port: *port,
    };
    let listeners = node.config.listeners.iter().zip(&node.advertised).map(listener).collect();
    let broker = Broker { listeners, rack: node.config.rack.clone() };
    controller.register_broker(node.id, broker).map_err(|rejection| rejection.to_string())?;
    while let Some(write) = controller.plan_write() {
        let written = files.write_now(&write);
        let lost = controller.written(written).lost;
        if written == Written::Failed {
            return Err("the metadata log cannot be written".into());
        }
        if lost && controller.image_durable().broker(node.id).is_none() {
            return Err("the metadata log cannot be written: there is no space for it".into());
        }
        if lost {
            tracing::warn!("the disk is full: metadata stays as it is, but topics can be deleted");
            break;
        }
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "what a broker starts with, handed on once")]
fn setups(
    node: &Arc<Node>,
    controller: Controller,
    seed: u128,
    files: metadata::Files,
    found: Found,
    data: &DataDir,
    listeners: Vec<TcpListener>,
    descriptors: host::Descriptors,
    start: Instant,
) -> Vec<CoreSetup> {
    let shards = usize::from(node.shards);
    let image = controller.image_durable().clone();
    let found = Arc::new(found);
    let loads = Arc::new(Loads::new(node.shards, node.config.core_memory_bytes_max as usize / 4));
    let rendezvous = Arc::new(Rendezvous {
        barrier: Barrier::new(shards),
        failed: AtomicBool::new(false),
        stop_signals: Mutex::default(),
    });
    let mut setups: Vec<CoreSetup> = (0..node.shards)
        .map(|id| CoreSetup {
            id: ShardId(id),
            node: node.clone(),
            image: image.clone(),
            controller: None,
            found: found.clone(),
            root: data.root.clone(),
            start,
            descriptors,
            loads: loads.clone(),
            senders: (0..shards).map(|_| None).collect(),
            receivers: (0..shards).map(|_| None).collect(),
            listeners: Vec::new(),
            rendezvous: rendezvous.clone(),
        })
        .collect();
    for from in 0..shards {
        for to in (0..shards).filter(|to| *to != from) {
            let (sender, receiver) = shared_channel::new_bounded(CORE_MESSAGES_MAX);
            setups[from].senders[to] = Some(sender);
            setups[to].receivers[from] = Some(receiver);
        }
    }
    setups[0].controller = Some((controller, seed, files));
    setups[0].listeners = listeners;
    setups
}

async fn open_disk(setup: &CoreSetup) -> Result<Rc<Disk>, String> {
    let wrong = |error: io::Error| format!("{}: {error}", setup.root.display());
    let handles_max = setup.descriptors.handles_write_max();
    let disk = Disk::open(setup.root.clone(), setup.id.0, setup.node.shards, handles_max).map_err(wrong)?;
    disk.probe().await.map_err(wrong)?;
    Ok(Rc::new(disk))
}

/// One core from recovery to the end.
async fn serve(mut setup: CoreSetup, ready: mpsc::Sender<Result<Replayed, String>>) -> Result<(), String> {
    let rendezvous = setup.rendezvous.clone();
    let disk = open_disk(&setup).await;
    let (node, image) = (setup.node.clone(), setup.image.clone());
    let recovery = match &disk {
        Ok(disk) => recovery::recover(setup.id, node, image, &setup.found, &setup.root, disk, setup.start).await,
        Err(error) => Err(error.clone()),
    };
    let (controller, files) = match setup.controller.take() {
        Some((controller, seed, files)) => (Some((controller, seed)), Some(files)),
        None => (None, None),
    };
    let seed = data_dir::random().map_err(|error| format!("/dev/urandom: {error}"));
    let replayed = recovery.as_ref().map_or(Replayed::default(), |recovery| recovery.replayed());
    let damaged = recovery.as_ref().map(crate::shard::recovery::Recovery::damaged_files).unwrap_or_default();
    let shard = recovery.and_then(|recovery| recovery.finish(seed?, controller));
    rendezvous.failed.fetch_or(shard.is_err(), Ordering::AcqRel);
    // No core may write its journal while another one still reads it.
    rendezvous.barrier.wait();
    let shard = match shard {
        Ok(shard) if !rendezvous.failed.load(Ordering::Acquire) => shard,
        Ok(_) => return Ok(()),
        Err(error) => {
            let _ = ready.send(Err(error));
            return Ok(());
        }
    };
    let disk = disk.expect("nothing is recovered without it");
    let core = Core::new(shard, &setup.root, disk, files, setup.descriptors, setup.loads.clone(), setup.start);
    clear(&core, &setup, &damaged);
    connect(&core, &mut setup).await;
    look_at_space(&core, setup.root.clone());
    core.end_turn();
    core.beat();
    glommio::spawn_local(net::watch_held(core.clone())).detach();
    let counts = Arc::new(net::ConnectionCounts::new(setup.descriptors.connections_max));
    for (number, listener) in setup.listeners.drain(..).enumerate() {
        // SAFETY: the descriptor is handed over and has no other owner.
        let listener = unsafe { glommio::net::TcpListener::from_raw_fd(listener.into_raw_fd()) };
        let (core, shards, counts) = (core.clone(), setup.node.shards, counts.clone());
        glommio::spawn_local(net::accept(core, listener, number, shards, counts)).detach();
    }
    let (stop_signal, ours) = UnixStream::pair().map_err(|error| format!("a socket pair: {error}"))?;
    rendezvous.stop_signals.lock().expect("no holder panics").push(stop_signal);
    // SAFETY: the descriptor is handed over and has no other owner.
    let mut ours = unsafe { glommio::net::UnixStream::from_raw_fd(ours.into_raw_fd()) };
    let _ = ready.send(Ok(replayed));
    drop(ready);
    let _ = ours.read(&mut [0]).await;
    stop(&core, &rendezvous).await
}

/// Removes what an earlier process has left.
fn clear(core: &Rc<Core>, setup: &CoreSetup, damaged: &[(u16, crate::journal::FileIndex)]) {
    let bytes = u64::from(setup.node.config.journal_file_bytes);
    let aside = recovery::put_aside(&setup.root, damaged, core.now().wall_ms);
    if let Err(error) = aside.and_then(|()| recovery::remove_odd_files(&setup.root, setup.id.0, bytes)) {
        tracing::error!("{}: {error}", disk::journal_dir(&setup.root, setup.id.0).display());
    }
    for (name, topic, named) in core.look(|shard| shard.store().leftovers()) {
        leftovers::remove_unnamed_segments(&setup.root, &name, topic, &named);
    }
    if setup.id != ShardId(0) {
        return;
    }
    leftovers::remove_orphans(&setup.root, &setup.found, setup.node.shards);
    match leftovers::deleted(&setup.root, &setup.image, core.now().wall_ms) {
        Ok(dirs) => dirs.into_iter().for_each(|dir| {
            let disk = core.disk.clone();
            glommio::spawn_local(async move { disk.remove_dir(dir).await }).detach();
        }),
        Err(error) => tracing::warn!("{}: {error}", setup.root.display()),
    }
}

/// Joins the core with the others.
async fn connect(core: &Rc<Core>, setup: &mut CoreSetup) {
    // Both ends of a channel wait for each other.
    let receivers: Vec<_> =
        setup.receivers.drain(..).map(|receiver| Some(glommio::spawn_local(receiver?.connect()))).collect();
    let mut senders = Vec::new();
    for sender in setup.senders.drain(..) {
        senders.push(match sender {
            Some(sender) => Some(sender.connect().await),
            None => None,
        });
    }
    core.connect(senders);
    // Not before: what another core sends may need an answer.
    for (from, receiver) in receivers.into_iter().enumerate() {
        let Some(receiver) = receiver else { continue };
        let core = core.clone();
        glommio::spawn_local(async move {
            let receiver = receiver.await;
            while let Some(message) = receiver.recv().await {
                core.received(ShardId(from as u16), message);
            }
        })
        .detach();
    }
}

fn look_at_space(core: &Rc<Core>, root: PathBuf) {
    let core = core.clone();
    glommio::spawn_local(async move {
        loop {
            let root = root.clone();
            // What cannot be asked (the directory was deleted) stays as it was.
            if let Ok((total, free)) = blocking::run(blocking::Kind::Files, move || host::space(&root)).await {
                core.input(Input::DiskBytes { total, free });
                core.end_turn();
            }
            glommio::timer::sleep(SPACE_INTERVAL).await;
        }
    })
    .detach();
}

/// Ends the connections, writes everything to segments, and a checkpoint that says so.
async fn stop(core: &Rc<Core>, rendezvous: &Rendezvous) -> Result<(), String> {
    core.stopping.set(true);
    core.resumed.raise();
    let links: Vec<_> = core.links.borrow().values().cloned().collect();
    links.iter().for_each(|link| link.close());
    while !core.links.borrow().is_empty() {
        glommio::timer::sleep(Duration::from_millis(1)).await;
    }
    // From here on no client writes; what other cores still ask is refused.
    rendezvous.barrier.wait();
    core.input(Input::Drain);
    core.end_turn();
    while !core.look(crate::shard::Shard::is_drained) {
        glommio::timer::sleep(Duration::from_millis(1)).await;
        core.end_turn();
    }
    core.log_slow_turns();
    core.disk.cut_all().await.map_err(|error| format!("closing the segments: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(port: u16) -> Listener {
        Listener { name: "PLAINTEXT".into(), host: "127.0.0.1".into(), port }
    }

    #[test]
    fn a_port_that_becomes_free_is_waited_for() {
        let before = bind(&listener(0)).unwrap();
        let port = before.local_addr().unwrap().port();
        let other = std::thread::spawn(move || {
            std::thread::sleep(PORT_WAIT_STEP * 10);
            drop(before);
        });
        assert_eq!(bind(&listener(port)).unwrap().local_addr().unwrap().port(), port);
        other.join().unwrap();
    }

    #[test]
    fn a_taken_port_is_said_to_be() {
        let other = bind(&listener(0)).unwrap();
        let error = bind(&listener(other.local_addr().unwrap().port())).unwrap_err();
        assert!(error.contains("the port is taken"), "{error}");
    }
}
