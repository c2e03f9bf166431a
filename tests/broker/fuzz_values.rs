//! What the fields of composed requests hold: mostly what gets far with the broker, here and there a value at a limit, and
//! now and then an entry of an array again and again.

use crate::batches::{COMPRESSIONS, batch, compressed, keyed, now_ms, sequenced};
use crate::compose::{Times, Values};
use crate::sample::{Message, Random};
use bytes::Bytes;

/// Names that topics and groups mostly have.
pub const TOPICS: [&str; 6] = ["a", "b", "c-compacted", "d.x", "d_x", "__consumer_offsets"];
pub const GROUPS: [&str; 4] = ["g", "h", "i", "j"];
/// Settings of topics that witnesses do not notice, each with values, the last of which is a list that can grow.
const SETTINGS: [(&str, &[&str]); 9] = [
    ("cleanup.policy", &["compact", "delete", "delete,compact"]),
    ("compression.type", &["zstd", "gzip", "lz4", "producer"]),
    ("segment.bytes", &["1048576", "14", "2147483647"]),
    ("max.message.bytes", &["0", "1000", "2147483647"]),
    ("message.timestamp.type", &["LogAppendTime", "CreateTime"]),
    ("min.insync.replicas", &["1", "2"]),
    ("retention.ms", &["1", "-1", "9223372036854775807"]),
    ("follower.replication.throttled.replicas", &["0:1", "*", "1:1,2:1"]),
    ("leader.replication.throttled.replicas", &["0:1", "*", "1:1,2:1"]),
];
/// Settings of brokers, groups and client metrics.
const SETTINGS_ELSEWHERE: [(&str, &[&str]); 6] = [
    ("metric.reporters", &["a", "a,b", ""]),
    ("consumer.session.timeout.ms", &["50000", "1", "-1"]),
    ("share.auto.offset.reset", &["earliest", "by_duration:PT1H"]),
    ("log.message.timestamp.before.max.ms", &["9223372036854775807"]),
    ("sasl.enabled.mechanisms", &["PLAIN", "PLAIN,GSSAPI"]),
    ("interval.ms", &["1000"]),
];
/// Lengths at which something may change: the longest name of a topic, of a string, and one more.
const LENGTHS: [usize; 8] = [0, 1, 249, 250, 1000, 32_766, 32_767, 32_768];
const NUMBERS: [i64; 16] = [
    0,
    1,
    -1,
    -2,
    127,
    128,
    i16::MAX as i64,
    i16::MAX as i64 + 1,
    i16::MIN as i64,
    i32::MAX as i64,
    i32::MAX as i64 - 1,
    i32::MIN as i64,
    i64::MAX,
    i64::MAX - 1,
    i64::MIN,
    1 << 53,
];
/// One array of a request may be so large: one that is larger than what the broker takes is there in some.
const ARRAY_BYTES_MAX: usize = 5 << 19;
/// What is remembered of each kind.
const KNOWN_MAX: usize = 16;

/// What the broker has given out.
#[derive(Default)]
pub struct Known {
    /// Group, member and generation.
    pub members: Vec<(String, String, i32)>,
    pub producers: Vec<(i64, i16)>,
    pub sessions: Vec<i32>,
    pub topic_ids: Vec<[u8; 16]>,
}

pub fn remember<T>(known: &mut Vec<T>, value: T) {
    if known.len() == KNOWN_MAX {
        known.remove(0);
    }
    known.push(value);
}

/// Chooses the values of the requests of one case, which are about the same topic, group and resource.
pub struct Chooser<'a> {
    pub random: &'a mut Random,
    known: &'a Known,
    topic: &'static str,
    group: &'static str,
    resource: i64,
    setting: (&'static str, &'static [&'static str]),
    /// Fields that may still be at a limit, and arrays that may still be long.
    wild: usize,
    long: usize,
    /// Counts what is named, where each entry of a long array is to have a name of its own.
    named: Option<usize>,
}

impl<'a> Chooser<'a> {
    pub fn new(random: &'a mut Random, known: &'a Known) -> Chooser<'a> {
        let resource = [2, 2, 2, 4, 32, 16, 8][random.below(7)];
        let setting = match resource {
            2 => SETTINGS[random.below(SETTINGS.len())],
            _ => SETTINGS_ELSEWHERE[random.below(SETTINGS_ELSEWHERE.len())],
        };
        let topic = TOPICS[random.below(TOPICS.len())];
        let group = GROUPS[random.below(GROUPS.len())];
        Chooser { random, known, topic, group, resource, setting, wild: 0, long: 0, named: None }
    }

    /// Before each request of the case.
    pub fn begin(&mut self) {
        self.wild = [0, 0, 1, 1, 2, 5][self.random.below(6)];
        self.long = [0, 0, 1, 2][self.random.below(4)];
        self.named = None;
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.random.below(of.len())]
    }

    fn chance(&mut self, out_of: usize) -> bool {
        self.random.below(out_of) == 0
    }

    fn is_wild(&mut self) -> bool {
        let wild = self.wild > 0 && self.chance(6);
        self.wild -= usize::from(wild);
        wild
    }

    /// One of several things known; which, is chosen whether there are any or not.
    fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        let number = self.random.next() as usize;
        (!of.is_empty()).then(|| of[number % of.len()].clone())
    }

    fn member(&mut self) -> Option<(String, String, i32)> {
        let of: Vec<_> = self.known.members.iter().filter(|(group, ..)| *group == self.group).cloned().collect();
        self.pick(&of)
    }

    fn likely(&mut self, message: &Message, field: &str) -> String {
        let configs = message.name.ends_with("ConfigsRequest");
        let text = match (&*message.name, field) {
            (_, "GroupId" | "Groups" | "GroupsNames" | "Key" | "CoordinatorKeys") => self.group,
            (_, "ResourceName") => match self.resource {
                2 => self.topic,
                4 | 8 => "1",
                _ => self.group,
            },
            ("CreateTopicsRequest", "Name") if self.chance(3) => self.setting.0,
            (_, "Name") if configs => self.setting.0,
            (_, "ConfigurationKeys") => self.setting.0,
            (_, "Value") => self.one(self.setting.1),
            (_, "Feature") => "metadata.version",
            (_, "ProtocolType") => "consumer",
            (_, "ProtocolName") | ("JoinGroupRequest", "Name") => self.one(&["range", "range", "sticky"]),
            (_, "StatesFilter") => self.one(&["Stable", "Empty", "PreparingRebalance"]),
            (_, "TypesFilter") => "classic",
            (_, "MemberId") if self.chance(4) => "",
            (_, "MemberId") => return self.member().map(|(_, member, _)| member).unwrap_or_default(),
            (_, "GroupInstanceId") => self.one(&["one", "two"]),
            (_, "TransactionalId" | "ClusterId" | "Reason" | "RackId" | "ClientSoftwareName") => "fuzz",
            _ => self.topic,
        };
        text.to_string()
    }

    fn likely_number(&mut self, field: &str) -> i64 {
        match field {
            "ResourceType" | "ResourceTypes" => self.resource,
            "ConfigOperation" => self.one(&[2, 2, 0, 1, 3]),
            "ElectionType" | "KeyType" | "IsolationLevel" | "EndpointType" => self.one(&[0, 0, 1]),
            "NumPartitions" | "Count" => self.one(&[1, 2, 3, 5, -1]),
            "ReplicationFactor" => self.one(&[1, -1]),
            "BrokerIds" | "Replicas" => 1,
            "Acks" => self.one(&[-1, 1, 0]),
            "MaxWaitMs" => self.one(&[0, 1, 5]),
            "MinBytes" => self.one(&[0, 1, 1]),
            "MaxBytes" | "PartitionMaxBytes" => self.one(&[1, 10_000, 1 << 20, i32::MAX.into()]),
            "SessionId" => self.pick(&self.known.sessions).map_or(0, i64::from),
            "SessionEpoch" => self.one(&[-1, 0, 1, 2]),
            "SessionTimeoutMs" => self.one(&[20, 1000, 30_000]),
            "RebalanceTimeoutMs" => self.one(&[0, 20, 100]),
            "TimeoutMs" | "timeoutMs" | "TransactionTimeoutMs" => 1000,
            "GenerationId" | "GenerationIdOrMemberEpoch" => {
                self.member().map_or(-1, |(.., generation)| generation.into())
            }
            "ProducerId" => self.pick(&self.known.producers).map_or(-1, |(id, _)| id),
            "ProducerEpoch" => self.pick(&self.known.producers).map_or(-1, |(_, epoch)| epoch.into()),
            "ValidateOnly" | "validateOnly" => self.random.below(8) as i64 / 7,
            "RetentionTimeMs" => -1,
            "ReplicaId" | "CurrentLeaderEpoch" | "LastFetchedEpoch" | "MemberEpoch" => -1,
            "Timestamp" => self.one(&[-1, -2, -3, -4, -5, 0, now_ms()]),
            "MaxVersionLevel" => self.one(&[20, 25, 0]),
            "ResponsePartitionLimit" => self.one(&[2000, 1]),
            "UpgradeType" => self.one(&[1, 2, 3]),
            "CommittedOffset" | "FetchOffset" | "Offset" => self.random.below(40) as i64,
            _ => self.random.below(3) as i64,
        }
    }

    /// Batches as producers send them, and now and then two, none, or one of a great record.
    fn records(&mut self) -> Vec<u8> {
        let count = 1 + self.random.below(20);
        let (id, epoch) = self.pick(&self.known.producers).unwrap_or((self.random.below(5) as i64, 0));
        let sequence = self.random.below(30) as i32;
        let plain: Bytes = match self.random.below(8) {
            0..4 => batch(count),
            4 | 5 => sequenced(id, epoch, sequence, count),
            6 => keyed(count, |_| false, self.one(&[0, now_ms(), i64::MAX, -1])),
            _ => {
                let value = vec![7; self.one(&[1, 1 << 10, 100 << 10, 900 << 10])];
                klamm::wire::batch::BatchBuilder::new(0).record(now_ms(), None, Some(&value)).build()
            }
        };
        let bytes = match self.random.below(3) {
            0 => compressed(&plain, self.one(&COMPRESSIONS)),
            _ => plain,
        };
        match self.is_wild() {
            true => bytes.repeat(self.one(&[0, 2, 3])),
            false => bytes.to_vec(),
        }
    }
}

impl Values for Chooser<'_> {
    fn string(&mut self, message: &Message, field: &str) -> String {
        if self.is_wild() {
            let length = self.one(&LENGTHS);
            let letter = self.one(&["x", "é", "\n", "\0", "*", ","]);
            return letter.repeat(length / letter.len()) + &"x"[..length % letter.len()];
        }
        let text = self.likely(message, field);
        match &mut self.named {
            Some(number) => {
                *number += 1;
                format!("{text}-{number}")
            }
            None => text,
        }
    }

    fn number(&mut self, _: &Message, field: &str) -> i64 {
        // What is committed for a while is not what is stored.
        if field != "RetentionTimeMs" && self.is_wild() {
            return self.one(&NUMBERS);
        }
        match (field, self.named) {
            ("PartitionIndex" | "Partition" | "Partitions" | "PartitionIndexes" | "Index", Some(number)) => {
                self.named = Some(number + 1);
                number as i64
            }
            _ => self.likely_number(field),
        }
    }

    fn bytes(&mut self, field: &str) -> Vec<u8> {
        if field == "Records" {
            return self.records();
        }
        let length = match self.is_wild() {
            true => self.one(&[0, 1, 32_767, 32_768, 1 << 20]),
            false => self.random.below(100),
        };
        vec![0; length]
    }

    fn uuid(&mut self) -> [u8; 16] {
        match self.is_wild() {
            true => self.one(&[[0; 16], [0xff; 16], [7; 16]]),
            false => self.pick(&self.known.topic_ids).unwrap_or_default(),
        }
    }

    fn times(&mut self, field: &str) -> Times {
        // Partitions are mostly not placed by hand.
        if field == "Assignments" && !self.chance(4) {
            return Times::Each(0);
        }
        if self.long == 0 || !self.chance(3) {
            return Times::Each([1, 1, 1, 2, 0][self.random.below(5)]);
        }
        self.long -= 1;
        let times = match self.random.below(1000) {
            0..600 => 2 + self.random.below(3),
            600..900 => 5 + self.random.below(96),
            900..995 => 100 + self.random.below(3000),
            995..999 => 3000 + self.random.below(100_000),
            _ => 1_000_000,
        };
        match self.random.below(3) {
            0 => Times::Same(times),
            1 => Times::Each(times),
            _ => {
                self.named = Some(self.random.below(4));
                Times::Each(times)
            }
        }
    }

    fn is_null(&mut self, field: &str) -> bool {
        let out_of = match field {
            "GroupInstanceId" | "TransactionalId" | "Cursor" | "ClusterId" => 2,
            "Records" => 50,
            _ => 8,
        };
        // Mostly there, or mostly not.
        self.chance(out_of) != (out_of == 2 && self.chance(2))
    }

    fn array_bytes_max(&self) -> usize {
        ARRAY_BYTES_MAX
    }
}
