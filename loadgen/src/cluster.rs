//! The cluster before and after the load: versions, the topic and its leaders, producer ids, offsets. One request at a time.

use crate::options::Target;
use crate::request::{CLIENT_ID, Topic};
use klamm::client::address::{BOOTSTRAP_VARIABLE, bootstrap, with_port};
use klamm::client::coordinator::{self, Kind};
use klamm::client::meaning::Meaning;
use klamm::client::metadata::{self, Cluster};
use klamm::client::offsets as positions;
use klamm::client::partition::TopicPartition;
use klamm::client::patience::Patience;
use klamm::client::request::Requests;
use klamm::client::version::{Negotiation, NegotiationError, NoCommonVersion, Versions};
use klamm::types::Time;
use klamm::wire::codec::{DecodeError, Reader, Writer};
use klamm::wire::error::ErrorCode;
use klamm::wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use klamm::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use klamm::wire::messages::*;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::sync::LazyLock;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Partitions of a topic that is made here and for which no number was asked.
const PARTITIONS_DEFAULT: i32 = 16;
/// How long an answer may take, and how long a topic may take to have leaders.
const PATIENCE_MS: u64 = 120_000;
const PATIENCE: Duration = Duration::from_millis(PATIENCE_MS);
/// The same while a load goes on, in whose place the thread that waits can do nothing else.
const PATIENCE_BESIDE: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the brokers before it in a list may be silent before one is asked as well (as RFC 8305 has it of addresses).
const HEAD_START: Duration = Duration::from_millis(250);
/// Pauses between attempts while a cluster is not ready, and while a broker is gone.
const PAUSES_MS: RangeInclusive<u64> = 20..=200;
const PAUSES_GONE_MS: RangeInclusive<u64> = 50..=1000;
/// Longest answer that is believed.
const RESPONSE_BYTES_MAX: usize = 256 << 20;

/// The clock for deadlines, from its first use on.
fn mono() -> Time {
    static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    Time(BEGIN.elapsed().as_nanos() as u64)
}

/// Attempts, with pauses between them that grow, until nothing has worked for too long.
#[derive(Clone, Debug)]
pub struct Attempts(Patience);

impl Attempts {
    /// Until a broker has been gone for so many seconds.
    pub fn new(timeout_seconds: f64) -> Self {
        Attempts(Patience::new((timeout_seconds * 1e3) as u64, PAUSES_GONE_MS))
    }

    /// While a cluster that is there gets ready.
    fn until_ready() -> Self {
        Attempts(Patience::new(PATIENCE_MS, PAUSES_MS))
    }

    /// Something worked.
    pub fn renew(&mut self) {
        self.0.renew();
    }

    /// Something did not: pauses, or gives the fault back if the time is over.
    pub fn failed(&mut self, fault: Fault) -> Result<(), Fault> {
        let now = mono();
        match self.0.failed(now) {
            Some(at) => {
                std::thread::sleep(Duration::from_nanos(at.0 - now.0));
                Ok(())
            }
            None => Err(Fault::Other(format!("nothing has worked for too long, last: {fault}"))),
        }
    }
}

/// What keeps a load from running.
#[derive(Debug)]
pub enum Fault {
    /// The address and what the connection came to.
    Io(String, io::Error),
    /// What was asked and Kafka's answer.
    Kafka(String, i16),
    Other(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Io(what, error) => write!(f, "{what}: {error}"),
            Fault::Kafka(what, code) => write!(f, "{what}: {}", error_name(*code)),
            Fault::Other(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Fault {}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Fault::Other(format!("an answer that cannot be read: {error}"))
    }
}

impl From<NoCommonVersion> for Fault {
    fn from(why: NoCommonVersion) -> Self {
        Fault::Other(format!("the broker {why}"))
    }
}

/// Kafka's name of a code, or its number.
pub fn error_name(code: i16) -> String {
    ErrorCode::from_code(code).map_or_else(|| format!("ERROR_{code}"), |code| code.name().to_string())
}

/// `what` was asked, and the answer has this code.
pub fn check(what: impl Fn() -> String, code: i16) -> Result<(), Fault> {
    if code == 0 { Ok(()) } else { Err(Fault::Kafka(what(), code)) }
}

/// A connection to one broker that waits for each answer.
pub struct Broker {
    pub address: SocketAddr,
    stream: TcpStream,
    pub versions: Versions,
    requests: Requests<()>,
    /// How long an answer may take.
    patience: Duration,
}

impl Broker {
    /// A connection to a broker of the list that is there and says what the cluster is. They are asked in the list's order, the
    /// next one as soon as those before it have failed or have been silent for a while.
    pub fn bootstrap(target: &Target) -> Result<Self, Fault> {
        Broker::bootstrap_within(target, PATIENCE)
    }

    /// The same for a load that goes on meanwhile, and asks again: nothing waits for long.
    pub fn bootstrap_beside(target: &Target) -> Result<Self, Fault> {
        let mut broker = Broker::bootstrap_within(target, PATIENCE_BESIDE)?;
        broker.wait_for(PATIENCE_BESIDE);
        Ok(broker)
    }

    /// The same in so much time.
    pub fn bootstrap_within(target: &Target, patience: Duration) -> Result<Self, Fault> {
        let end = Instant::now() + patience;
        let variable = std::env::var(BOOTSTRAP_VARIABLE).ok();
        let (sender, answers) = channel();
        let (mut faults, mut waiting) = (Vec::new(), 0);
        let mut rest = bootstrap(&target.bootstrap_server, variable.as_deref()).into_iter();
        loop {
            if let Some(address) = rest.next() {
                let sender = sender.clone();
                waiting += 1;
                // Whoever asked may have an answer by then, and wants no other.
                std::thread::spawn(move || sender.send(Broker::named(&address, patience)));
            }
            let left = end.saturating_duration_since(Instant::now());
            match answers.recv_timeout(if rest.len() > 0 { left.min(HEAD_START) } else { left }) {
                Ok(Ok(broker)) => return Ok(broker),
                Ok(Err(fault)) => {
                    faults.push(fault.to_string());
                    waiting -= 1;
                }
                Err(_) if left.is_zero() => {
                    faults.push(format!("{waiting} brokers are silent"));
                    return Err(Fault::Other(faults.join("; ")));
                }
                Err(_) => {}
            }
            if waiting == 0 && rest.len() == 0 {
                return Err(Fault::Other(faults.join("; ")));
            }
        }
    }

    /// A connection to the broker at an address as people type it, which may be that of several hosts.
    fn named(address: &str, patience: Duration) -> Result<Self, Fault> {
        let whole = with_port(address).map_err(Fault::Other)?;
        let mut first = None;
        for socket in resolve_all(&whole)? {
            match Broker::connect_within(socket, patience).and_then(Broker::introduced) {
                Ok(mut broker) => {
                    broker.wait_for(PATIENCE);
                    return Ok(broker);
                }
                Err(fault) => first = first.or(Some(fault)),
            }
        }
        let fault = first.expect("a name that is resolved has an address");
        Err(Fault::Other(if fault.to_string().contains(&whole) {
            fault.to_string()
        } else {
            format!("{whole}: {fault}")
        }))
    }

    /// The broker itself, if it knows of a cluster: not all that speak the protocol do.
    fn introduced(mut self) -> Result<Self, Fault> {
        let request = metadata::request(Some(&[]), false);
        let (version, answer) = self.call(ApiKey::Metadata, |w, version| request.encode(w, version))?;
        let answer = MetadataResponse::decode(&mut Reader::new(&answer), version)?;
        match answer.brokers.is_empty() {
            true => Err(Fault::Other(format!("{} knows of no broker", self.address))),
            false => Ok(self),
        }
    }

    pub fn connect(address: SocketAddr) -> Result<Self, Fault> {
        Broker::connect_within(address, PATIENCE)
    }

    /// The same with other patience, with the connection and with each answer.
    pub fn connect_within(address: SocketAddr, patience: Duration) -> Result<Self, Fault> {
        let fault = |error| Fault::Io(address.to_string(), error);
        // No time at all would be an error of the caller's.
        let timeout = CONNECT_TIMEOUT.min(patience).max(Duration::from_millis(1));
        let stream = TcpStream::connect_timeout(&address, timeout).map_err(fault)?;
        stream.set_nodelay(true).map_err(fault)?;
        let (versions, requests) = (Versions::default(), Requests::default());
        let mut broker = Broker { address, stream, versions, requests, patience };
        broker.negotiate()?;
        Ok(broker)
    }

    /// Answers may take so long from here on.
    pub fn wait_for(&mut self, patience: Duration) {
        self.patience = patience;
    }

    fn negotiate(&mut self) -> Result<(), Fault> {
        let mut negotiation = Negotiation::new(CLIENT_ID, env!("CARGO_PKG_VERSION"));
        loop {
            let (request, version) = negotiation.request();
            let answer = self.call_in(ApiKey::ApiVersions, version, |w| request.encode(w, version))?;
            match negotiation.answered(&answer) {
                Ok(None) => {}
                Ok(Some(versions)) => {
                    self.versions = versions;
                    return Ok(());
                }
                Err(NegotiationError::Refused(code)) => return Err(Fault::Kafka("ApiVersions".to_string(), code)),
                Err(NegotiationError::Unreadable(error)) => return Err(error.into()),
            }
        }
    }

    /// Sends a request in the best common version and gives that version and the body of its answer.
    pub fn call(&mut self, api: ApiKey, body: impl FnOnce(&mut Writer, i16)) -> Result<(i16, Vec<u8>), Fault> {
        let version = self.versions.common(api)?;
        Ok((version, self.call_in(api, version, |w| body(w, version))?))
    }

    /// The same in a version of the caller's choice.
    pub fn call_in(&mut self, api: ApiKey, version: i16, body: impl FnOnce(&mut Writer)) -> Result<Vec<u8>, Fault> {
        let (now, address) = (mono(), self.address);
        let end = now.after_ms(self.patience.as_millis() as u64);
        let frame = self.requests.frame((api, version), (now, end), CLIENT_ID, (), body);
        let answer = self.exchange(&frame.concat());
        let mut answer = answer.map_err(|error| Fault::Io(format!("{} to {address}", api.name()), error))?;
        let answered = self.requests.answered(&answer);
        let answered = answered.map_err(|why| Fault::Other(format!("{address} gave {why}")))?;
        answer.drain(..answered.body_start);
        Ok(answer)
    }

    fn exchange(&mut self, frame: &[u8]) -> io::Result<Vec<u8>> {
        self.stream.write_all(frame)?;
        let mut length = [0; 4];
        self.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > RESPONSE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("an answer of {length} bytes")));
        }
        let mut answer = Vec::new();
        self.by_ref().take(length as u64).read_to_end(&mut answer)?;
        if answer.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(answer)
    }

    /// Puts the offsets of `wanted` into `found`; gives the partitions that are to be asked again, and why.
    fn offsets(
        &mut self,
        topic: &Topic,
        wanted: Vec<i32>,
        timestamp: i64,
        found: &mut BTreeMap<i32, i64>,
    ) -> Result<Vec<(i32, i16)>, Fault> {
        let partition = |partition_index| ListOffsetsPartition { partition_index, timestamp, ..Default::default() };
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: topic.name.as_str().into(),
                partitions: wanted.into_iter().map(partition).collect(),
            }],
            timeout_ms: PATIENCE_MS as i32,
            ..Default::default()
        };
        let (version, answer) = self.call(ApiKey::ListOffsets, |w, version| request.encode(w, version))?;
        let answer = ListOffsetsResponse::decode(&mut Reader::new(&answer), version)?;
        let mut again = Vec::new();
        for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            let index = partition.partition_index;
            if Meaning::of(partition.error_code).is_passing() {
                again.push((index, partition.error_code));
                continue;
            }
            check(|| format!("offsets of {}-{index}", topic.name), partition.error_code)?;
            found.insert(index, partition.offset);
        }
        Ok(again)
    }

    /// The id and epoch of a new idempotent producer.
    pub fn producer_id(&mut self) -> Result<(i64, i16), Fault> {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        self.again(|broker| {
            let (version, answer) = broker.call(ApiKey::InitProducerId, |w, version| request.encode(w, version))?;
            let answer = InitProducerIdResponse::decode(&mut Reader::new(&answer), version)?;
            check(|| "InitProducerId".to_string(), answer.error_code)?;
            Ok((answer.producer_id, answer.producer_epoch))
        })
    }

    /// The address of a group's coordinator, once there is one.
    pub fn coordinator(&mut self, group: &str) -> Result<SocketAddr, Fault> {
        self.again(|broker| broker.coordinator_at_once(group))
    }

    /// The same if there is one.
    pub fn coordinator_at_once(&mut self, group: &str) -> Result<SocketAddr, Fault> {
        let request = coordinator::request(Kind::Group, group);
        let (version, answer) = self.call(ApiKey::FindCoordinator, |w, version| request.encode(w, version))?;
        let answer = FindCoordinatorResponse::decode(&mut Reader::new(&answer), version)?;
        let refused = |(code, _)| Fault::Kafka(format!("coordinator of {group}"), code);
        resolve(&coordinator::found(&answer).map_err(refused)?.address())
    }

    /// The positions that a group has committed, asked of its coordinator; below 0 where there is none.
    pub fn committed(
        &mut self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, i64)>, Fault> {
        let request = positions::fetch(group, partitions);
        let version = self.versions.common(ApiKey::OffsetFetch)?.min(positions::FETCH_VERSION_MAX);
        let answer = self.call_in(ApiKey::OffsetFetch, version, |w| request.encode(w, version))?;
        let (code, answered) = positions::fetched(&mut Reader::new(&answer), version)?;
        check(|| format!("positions of {group}"), code)?;
        Ok(answered)
    }

    /// Does `attempt` until it succeeds, is refused for good, or the time is over.
    fn again<T>(&mut self, mut attempt: impl FnMut(&mut Broker) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut attempts = Attempts::until_ready();
        loop {
            match attempt(self) {
                Err(Fault::Kafka(what, code)) if Meaning::of(code).is_passing() => {
                    attempts.failed(Fault::Kafka(what, code))?;
                }
                result => return result,
            }
        }
    }
}

/// What leaders speak of one API. Each is asked once: one that is silent costs its patience once, and holds up nobody else.
pub struct Leaders {
    api: ApiKey,
    patience: Duration,
    versions: BTreeMap<SocketAddr, Result<i16, String>>,
}

impl Leaders {
    pub fn new(api: ApiKey) -> Leaders {
        Leaders { api, patience: PATIENCE, versions: BTreeMap::new() }
    }

    /// The same for a load that goes on meanwhile, and asks again.
    pub fn while_others_go_on(api: ApiKey) -> Leaders {
        Leaders { patience: PATIENCE_BESIDE, ..Leaders::new(api) }
    }

    /// The best version that both speak.
    pub fn version(&mut self, address: SocketAddr) -> Result<i16, Fault> {
        let (api, patience) = (self.api, self.patience);
        let ask = || Ok(Broker::connect_within(address, patience)?.versions.common(api)?);
        let version = self.versions.entry(address).or_insert_with(|| ask().map_err(|fault: Fault| fault.to_string()));
        version.clone().map_err(Fault::Other)
    }
}

/// Reads until the deadline of the request that is under way.
impl Read for Broker {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.requests.deadline().0.saturating_sub(mono().0) {
            0 => return Err(io::ErrorKind::TimedOut.into()),
            // Less than a microsecond would be no timeout at all.
            left => self.stream.set_read_timeout(Some(Duration::from_nanos(left.max(1000))))?,
        }
        self.stream.read(buffer)
    }
}

/// Timestamps that ask for a partition's first offset and for the one behind its last.
pub const EARLIEST: i64 = -2;
pub const LATEST: i64 = -1;

/// The offset of each partition at a timestamp, asked of its leader. Waits for leaders that do not know yet that they are.
pub fn offsets(layout: &Layout, timestamp: i64) -> Result<BTreeMap<i32, i64>, Fault> {
    let mut offsets = BTreeMap::new();
    for (&address, partitions) in &layout.leaders {
        let mut broker = Broker::connect(address)?;
        let mut attempts = Attempts::until_ready();
        let mut wanted = broker.offsets(&layout.topic, partitions.clone(), timestamp, &mut offsets)?;
        while let Some(&(index, code)) = wanted.first() {
            attempts.failed(Fault::Kafka(format!("offsets of {}-{index}", layout.topic.name), code))?;
            let partitions = wanted.into_iter().map(|(index, _)| index).collect();
            wanted = broker.offsets(&layout.topic, partitions, timestamp, &mut offsets)?;
        }
    }
    let missing = layout.leaders.values().flatten().find(|index| !offsets.contains_key(index));
    match missing {
        Some(index) => Err(Fault::Other(format!("no offset of {}-{index} in an answer", layout.topic.name))),
        None => Ok(offsets),
    }
}

/// Connections: whom each goes to, and its partitions, of which it has one at least.
pub type Shares = Vec<(SocketAddr, Vec<i32>)>;

/// A topic and who leads its partitions.
#[derive(Clone, Debug)]
pub struct Layout {
    pub topic: Topic,
    /// The partitions of each leader, in order.
    pub leaders: BTreeMap<SocketAddr, Vec<i32>>,
}

impl Layout {
    pub fn partitions(&self) -> usize {
        self.leaders.values().map(Vec::len).sum()
    }

    /// Gives each of so many connections all partitions, and some leader to begin with.
    pub fn share_all(&self, connections: usize) -> Shares {
        let mut all: Vec<i32> = self.leaders.values().flatten().copied().collect();
        all.sort_unstable();
        let leaders = self.leaders.keys().cycle();
        leaders.take(connections).map(|leader| (*leader, all.clone())).collect()
    }

    /// Shares the partitions out over `connections`, or one a leader if those are more: each connection with the leader that it
    /// goes to and its partitions. A partition is on several connections only where a leader has fewer partitions than connections.
    pub fn share(&self, connections: usize) -> Shares {
        let leaders = self.leaders.len();
        let connections = connections.max(leaders);
        let mut shares = Vec::with_capacity(connections);
        for (i, (&address, partitions)) in self.leaders.iter().enumerate() {
            let mine = connections / leaders + usize::from(i < connections % leaders);
            for n in 0..mine {
                let partitions = if partitions.len() >= mine {
                    partitions.iter().copied().skip(n).step_by(mine).collect()
                } else {
                    vec![partitions[n % partitions.len()]]
                };
                shares.push((address, partitions));
            }
        }
        assert_eq!(shares.len(), connections);
        shares
    }
}

pub fn resolve(host_port: &str) -> Result<SocketAddr, Fault> {
    Ok(resolve_all(host_port)?[0])
}

/// All addresses of a name, of which there is one at least.
fn resolve_all(host_port: &str) -> Result<Vec<SocketAddr>, Fault> {
    let fault = |error| Fault::Io(host_port.to_string(), error);
    let addresses: Vec<SocketAddr> = host_port.to_socket_addrs().map_err(fault)?.collect();
    if addresses.is_empty() { Err(fault(io::ErrorKind::NotFound.into())) } else { Ok(addresses) }
}

/// Finds the topic, makes it if it is missing and `create` is set, and waits until each partition that is asked for has a leader.
pub fn open_topic(broker: &mut Broker, target: &Target, create: bool) -> Result<Layout, Fault> {
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    let mut attempts = Attempts::until_ready();
    let mut created = false;
    loop {
        match topic_layout(broker, &target.topic, target.partitions) {
            Ok(layout) => {
                if created {
                    // Leaders learn of their partitions after those who ask for metadata.
                    offsets(&layout, LATEST)?;
                }
                return Ok(layout);
            }
            Err(Fault::Kafka(_, code)) if create && !created && code == unknown => {
                create_topic(broker, target)?;
                created = true;
            }
            Err(Fault::Kafka(what, code)) if Meaning::of(code).is_passing() && (create || code != unknown) => {
                attempts.failed(Fault::Kafka(what, code))?;
            }
            Err(fault) => return Err(fault),
        }
    }
}

/// The topic's first `wanted` partitions, or all.
pub fn topic_layout(broker: &mut Broker, name: &str, wanted: Option<u32>) -> Result<Layout, Fault> {
    let refused = |code| Fault::Kafka(format!("topic {name}"), code);
    let request = metadata::request(Some(&[name]), false);
    let (version, answer) = broker.call(ApiKey::Metadata, |w, version| request.encode(w, version))?;
    let answer = MetadataResponse::decode(&mut Reader::new(&answer), version)?;
    let cluster = Cluster::of(&answer).map_err(refused)?;
    let topic = cluster.topic(name).map_err(refused)?;
    let (there, wanted) = (topic.partitions.len(), wanted.map(|wanted| wanted as usize));
    if let Some(wanted) = wanted.filter(|wanted| *wanted > there) {
        return Err(Fault::Other(format!("topic {name} has {there} partitions, not {wanted}")));
    }
    let mut leaders: BTreeMap<SocketAddr, Vec<i32>> = BTreeMap::new();
    for (leader, partitions) in topic.layout(wanted).map_err(refused)? {
        let node = cluster.node(leader).ok_or_else(|| refused(ErrorCode::LeaderNotAvailable.code()))?;
        leaders.entry(resolve(&node.address())?).or_default().extend(partitions);
    }
    leaders.values_mut().for_each(|partitions| partitions.sort_unstable());
    Ok(Layout { topic: Topic { name: name.to_string(), id: topic.id }, leaders })
}

fn create_topic(broker: &mut Broker, target: &Target) -> Result<(), Fault> {
    let version = broker.versions.common(ApiKey::CreateTopics)?;
    let configs = target
        .topic_configs
        .iter()
        .map(|(name, value)| CreatableTopicConfig { name: name.as_str().into(), value: Some(value.as_str().into()) });
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: target.topic.as_str().into(),
            num_partitions: target.partitions.map_or(PARTITIONS_DEFAULT, |partitions| partitions as i32),
            // Before version 4 the broker's default cannot be asked for (KIP-464).
            replication_factor: if version >= 4 { -1 } else { 1 },
            configs: configs.collect(),
            ..Default::default()
        }],
        timeout_ms: PATIENCE_MS as i32,
        ..Default::default()
    };
    let (version, answer) = broker.call(ApiKey::CreateTopics, |w, version| request.encode(w, version))?;
    let answer = CreateTopicsResponse::decode(&mut Reader::new(&answer), version)?;
    for topic in &answer.topics {
        if topic.error_code != ErrorCode::TopicAlreadyExists.code() {
            let why = topic.error_message.as_deref().unwrap_or_default();
            check(|| format!("topic {} cannot be made ({why})", target.topic), topic.error_code)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm::types::Uuid;

    fn layout(partitions: &[(u16, i32)]) -> Layout {
        let mut leaders: BTreeMap<SocketAddr, Vec<i32>> = BTreeMap::new();
        for &(port, partition) in partitions {
            leaders.entry(([127, 0, 0, 1], port).into()).or_default().push(partition);
        }
        let topic = Topic { name: "t".to_string(), id: Uuid::ZERO };
        Layout { topic, leaders }
    }

    fn shares(layout: &Layout, connections: usize) -> Vec<(u16, Vec<i32>)> {
        let shares = layout.share(connections).into_iter();
        shares.map(|(address, partitions)| (address.port(), partitions)).collect()
    }

    #[test]
    fn connections_own_disjoint_partitions_of_their_leader() {
        let one = layout(&[(1, 0), (1, 1), (1, 2), (1, 3), (1, 4)]);
        assert_eq!(shares(&one, 2), [(1, vec![0, 2, 4]), (1, vec![1, 3])]);
        let two = layout(&[(1, 0), (2, 1), (1, 2), (2, 3)]);
        assert_eq!(shares(&two, 3), [(1, vec![0]), (1, vec![2]), (2, vec![1, 3])]);
        assert_eq!(shares(&two, 1), [(1, vec![0, 2]), (2, vec![1, 3])]);
        assert_eq!(two.partitions(), 4);
    }

    #[test]
    fn more_connections_than_partitions_share_them() {
        let one = layout(&[(1, 0), (1, 1)]);
        assert_eq!(shares(&one, 3), [(1, vec![0]), (1, vec![1]), (1, vec![0])]);
    }
}
