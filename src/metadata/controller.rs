//! Decides what should change, and says what to write.
//!
//! A request changes the controller's own image at once, so that the next request sees it, and its records gather. The
//! shell writes what has gathered with one append and one sync ([`Controller::plan_append`]), and then publishes the
//! image that [`Controller::synced`] returns. An answer, a refusal too, waits until a published image has reached
//! [`Controller::index`], so nobody learns what a crash could undo.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::image::Image;
use super::log::{self, LogError};
use super::record::{Broker, Record, RecordError};
use super::rejection::Rejection;
use super::rules::{self, Created, Defaults, Deleted, PartitionsSpec, SettingCheck, TopicKey, TopicSpec};
use crate::types::{BrokerId, Uuid};

/// Producer ids that a core gets at a time.
pub const PRODUCER_IDS_BLOCK: i64 = 1_000;
/// Requests are refused while more bytes than this wait to be written.
pub const PENDING_BYTES_MAX: usize = 64 << 20;
/// A snapshot is due when the log is longer than this and than the last snapshot, so recovery reads at most about
/// twice what the image needs.
pub const SNAPSHOT_LOG_BYTES: u64 = 16 << 20;

/// Bytes to write to the log at `position`, and to sync.
#[derive(Debug, PartialEq, Eq)]
pub struct Append {
    pub position: u64,
    pub bytes: Vec<u8>,
    pub index_last: u64,
}

/// A snapshot to write beside the older one, to sync and to rename into its place; then the log is cut to 0 bytes and
/// synced. A crash anywhere in between loses nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub bytes: Vec<u8>,
    pub index_last: u64,
}

/// What recovery found. The shell cuts the log to `log_bytes_valid` and syncs it before it publishes the image.
#[derive(Debug)]
pub struct Recovered {
    pub controller: Controller,
    pub log_bytes_valid: usize,
}

/// Why the metadata of a data directory cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecoverError {
    Snapshot(LogError),
    Log(LogError),
    SnapshotRecord(RecordError),
    Record { index: u64, error: RecordError },
}

impl fmt::Display for RecoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(error) => write!(f, "the metadata snapshot cannot be read: {error}"),
            Self::Log(error) => write!(f, "the metadata log cannot be read: {error}"),
            Self::SnapshotRecord(error) => write!(f, "the metadata snapshot holds a wrong record: {error}"),
            Self::Record { index, error } => write!(f, "record {index} of the metadata log is wrong: {error}"),
        }
    }
}

impl std::error::Error for RecoverError {}

/// The machine. One append or one snapshot is under way at a time; decisions gather meanwhile.
#[derive(Debug, Default)]
pub struct Controller {
    decided: Image,
    durable: Image,
    /// Entries of the records that are in `decided` and in no append, with their indexes.
    pending: Vec<(u64, Vec<u8>)>,
    pending_bytes: usize,
    /// What `durable` becomes when the append that is under way is synced.
    appending: Option<Image>,
    snapshotting: bool,
    /// Length of the log with the append that is under way.
    log_bytes: u64,
    /// Length of the log at which a snapshot is due.
    snapshot_log_bytes: u64,
    failed: bool,
}

/// The decisions of one request: adopted as a whole, or dropped if they were only to be validated.
struct Draft {
    image: Image,
    entries: Vec<(u64, Vec<u8>)>,
}

impl Draft {
    fn decide(&mut self, record: &Record) -> Result<(), Rejection> {
        let entry = record.encode();
        if entry.len() > log::ENTRY_BYTES_MAX {
            let (bytes, bytes_max) = (entry.len(), log::ENTRY_BYTES_MAX);
            return Err(Rejection::PolicyViolation(format!(
                "A record of {bytes} bytes is larger than {bytes_max}."
            )));
        }
        let index = self.image.index() + 1;
        self.image
            .apply(index, record)
            .expect("a record is decided on the image that it is applied to");
        self.entries.push((index, entry));
        Ok(())
    }
}

impl Controller {
    /// The controller of a data directory that holds this snapshot and this log; of a new one without bytes.
    pub fn recover(snapshot: Option<&[u8]>, log: &[u8]) -> Result<Recovered, RecoverError> {
        let mut image = Image::default();
        if let Some(bytes) = snapshot {
            let (index_last, entries) = log::decode_snapshot(bytes).map_err(RecoverError::Snapshot)?;
            let records = entries.into_iter().map(Record::decode);
            image = Image::from_records(index_last, records).map_err(RecoverError::SnapshotRecord)?;
        }
        let decoded = log::decode_log(log, image.index()).map_err(RecoverError::Log)?;
        for (index, entry) in decoded.entries {
            if index > image.index() {
                Record::decode(entry)
                    .and_then(|record| image.apply(index, &record))
                    .map_err(|error| RecoverError::Record { index, error })?;
            }
        }
        let snapshot_bytes = snapshot.map_or(0, |bytes| bytes.len() as u64);
        let controller = Controller {
            decided: image.clone(),
            durable: image,
            log_bytes: decoded.bytes_valid as u64,
            snapshot_log_bytes: SNAPSHOT_LOG_BYTES.max(snapshot_bytes),
            ..Controller::default()
        };
        Ok(Recovered {
            controller,
            log_bytes_valid: decoded.bytes_valid,
        })
    }

    /// What every core may see.
    pub fn image_durable(&self) -> &Image {
        &self.durable
    }

    /// What has been decided, durable or not: the base of read-modify-write requests such as incremental alterations.
    pub fn image_decided(&self) -> &Image {
        &self.decided
    }

    /// Index of the last decision: an answer waits until an image with it is published.
    pub fn index(&self) -> u64 {
        self.decided.index()
    }

    fn draft(&self) -> Result<Draft, Rejection> {
        if self.failed {
            return Err(Rejection::StorageFailed);
        }
        if self.pending_bytes > PENDING_BYTES_MAX {
            return Err(Rejection::Overloaded);
        }
        Ok(Draft {
            image: self.decided.clone(),
            entries: Vec::new(),
        })
    }

    fn adopt(&mut self, draft: Draft) {
        assert!(!self.failed);
        assert_eq!(draft.image.index(), self.decided.index() + draft.entries.len() as u64);
        self.decided = draft.image;
        self.pending_bytes += draft.entries.iter().map(|(_, entry)| entry.len()).sum::<usize>();
        self.pending.extend(draft.entries);
    }

    /// Decides one record unless it is only to be validated.
    fn decide(&mut self, record: &Record, validate_only: bool) -> Result<(), Rejection> {
        let mut draft = self.draft()?;
        draft.decide(record)?;
        if !validate_only {
            self.adopt(draft);
        }
        Ok(())
    }

    /// Creates topics, each with the next of `ids`. One answer for each of `specs`, in their order; a name that
    /// occurs twice is refused both times.
    pub fn create_topics(
        &mut self,
        specs: &[TopicSpec],
        validate_only: bool,
        defaults: Defaults,
        check: SettingCheck<'_>,
        ids: &mut dyn FnMut() -> Uuid,
    ) -> Vec<Result<Created, Rejection>> {
        let partitions = specs.iter().map(|spec| spec.partitions_added(defaults)).sum();
        let (mut draft, ()) = match self
            .draft()
            .and_then(|d| Ok((d, rules::check_request_partitions(partitions)?)))
        {
            Ok(draft) => draft,
            Err(rejection) => return vec![Err(rejection); specs.len()],
        };
        let twice = occurring_twice(specs.iter().map(|spec| &spec.name));
        let answers = specs
            .iter()
            .map(|spec| {
                if twice.contains(&spec.name) {
                    return Err(Rejection::InvalidRequest("Duplicate topic name.".into()));
                }
                draft.create_topic(spec, defaults, check, ids)
            })
            .collect();
        if !validate_only {
            self.adopt(draft);
        }
        answers
    }

    /// Deletes topics; their data goes when the cores see the image. One answer for each of `keys`, in their order; a
    /// topic that is named twice, by name or by id, is refused each time.
    pub fn delete_topics(&mut self, keys: &[TopicKey], deletion_enabled: bool) -> Vec<Result<Deleted, Rejection>> {
        if !deletion_enabled {
            return vec![Err(Rejection::TopicDeletionDisabled); keys.len()];
        }
        let mut draft = match self.draft() {
            Ok(draft) => draft,
            Err(rejection) => return vec![Err(rejection); keys.len()],
        };
        let find = |key: &TopicKey| match key {
            TopicKey::Name(name) => self.decided.topic(name).ok_or(Rejection::UnknownTopic),
            TopicKey::Id(id) => self.decided.topic_by_id(*id).ok_or(Rejection::UnknownTopicId),
        };
        let twice = occurring_twice(keys.iter());
        let topics_twice = occurring_twice(keys.iter().filter_map(|key| find(key).ok()).map(|topic| &topic.id));
        let answers = keys
            .iter()
            .map(|key| {
                let reason = match key {
                    TopicKey::Name(_) if twice.contains(key) => Some("Duplicate topic name."),
                    TopicKey::Id(_) if twice.contains(key) => Some("Duplicate topic id."),
                    _ => None,
                };
                if let Some(reason) = reason {
                    return Err(Rejection::InvalidRequest(reason.into()));
                }
                let topic = find(key)?;
                if topics_twice.contains(&topic.id) {
                    let reason = "The provided topic name maps to an ID that was already supplied.";
                    return Err(Rejection::InvalidRequest(reason.into()));
                }
                draft.decide(&Record::TopicDeleted { id: topic.id })?;
                Ok(Deleted {
                    id: topic.id,
                    name: topic.name.clone(),
                    partitions: topic.partition_count(),
                })
            })
            .collect();
        self.adopt(draft);
        answers
    }

    /// Gives topics more partitions. One answer for each of `specs`, in their order: the number of partitions that
    /// the topic then has. A name that occurs twice is refused both times.
    pub fn create_partitions(&mut self, specs: &[PartitionsSpec], validate_only: bool) -> Vec<Result<i32, Rejection>> {
        let count = |spec: &PartitionsSpec| {
            self.decided
                .topic(&spec.name)
                .map_or(0, |topic| topic.partition_count())
        };
        let added = specs
            .iter()
            .map(|spec| i64::from(spec.count) - i64::from(count(spec)))
            .map(|n| n.max(0) as usize);
        let (mut draft, ()) = match self
            .draft()
            .and_then(|d| Ok((d, rules::check_request_partitions(added.sum())?)))
        {
            Ok(draft) => draft,
            Err(rejection) => return vec![Err(rejection); specs.len()],
        };
        let twice = occurring_twice(specs.iter().map(|spec| &spec.name));
        let answers = specs
            .iter()
            .map(|spec| {
                if twice.contains(&spec.name) {
                    return Err(Rejection::InvalidRequest("Duplicate topic name.".into()));
                }
                draft.create_partitions(spec)
            })
            .collect();
        if !validate_only {
            self.adopt(draft);
        }
        answers
    }

    /// Replaces all settings of a topic.
    pub fn set_topic_settings(
        &mut self,
        id: Uuid,
        settings: BTreeMap<String, String>,
        validate_only: bool,
        check: SettingCheck<'_>,
    ) -> Result<(), Rejection> {
        let topic = self.decided.topic_by_id(id).ok_or(Rejection::UnknownTopicId)?;
        check_settings(&settings, check)?;
        match *topic.settings == settings {
            true => Ok(()),
            false => self.decide(
                &Record::TopicSettingsSet {
                    id,
                    settings: Arc::new(settings),
                },
                validate_only,
            ),
        }
    }

    /// Replaces all dynamic settings of one broker, or with -1 the default of all brokers.
    pub fn set_broker_settings(
        &mut self,
        broker: BrokerId,
        settings: BTreeMap<String, String>,
        validate_only: bool,
        check: SettingCheck<'_>,
    ) -> Result<(), Rejection> {
        if broker != -1 && self.decided.broker(broker).is_none() {
            return Err(Rejection::InvalidRequest(format!(
                "No broker with id {broker} is registered."
            )));
        }
        check_settings(&settings, check)?;
        let unchanged = match self.decided.broker_settings(broker) {
            Some(older) => **older == settings,
            None => settings.is_empty(),
        };
        match unchanged {
            true => Ok(()),
            false => self.decide(
                &Record::BrokerSettingsSet {
                    broker,
                    settings: Arc::new(settings),
                },
                validate_only,
            ),
        }
    }

    /// Tells the cluster where a broker is reached; at each start, before topics can be created. Nothing is written if
    /// it is known.
    pub fn register_broker(&mut self, id: BrokerId, broker: Broker) -> Result<(), Rejection> {
        assert!(id >= 0, "the configuration checks node.id");
        match self.decided.broker(id) {
            Some(known) if **known == broker => Ok(()),
            _ => self.decide(&Record::BrokerRegistered { id, broker }, false),
        }
    }

    /// Producer ids that nobody else ever gets, to be used once the decision is durable.
    pub fn allocate_producer_ids(&mut self) -> Result<Range<i64>, Rejection> {
        let start = self.decided.producer_id_next();
        let next = start
            .checked_add(PRODUCER_IDS_BLOCK)
            .ok_or(Rejection::ProducerIdsExhausted)?;
        self.decide(&Record::ProducerIdsAllocated { next }, false)?;
        Ok(start..next)
    }

    /// All that has gathered, as one append, unless nothing has or something is being written. The shell answers with
    /// [`Controller::synced`] or [`Controller::failed`].
    pub fn plan_append(&mut self) -> Option<Append> {
        if self.pending.is_empty() || self.appending.is_some() || self.snapshotting {
            return None;
        }
        assert!(!self.failed);
        let position = self.log_bytes;
        let mut bytes =
            Vec::with_capacity(log::HEADER_BYTES + self.pending_bytes + self.pending.len() * log::FRAME_HEADER_BYTES);
        if position == 0 {
            bytes.extend_from_slice(&log::encode_log_header());
        }
        for (index, entry) in self.pending.drain(..) {
            log::encode_frame(&mut bytes, index, self.durable.index(), &entry);
        }
        self.pending_bytes = 0;
        self.log_bytes += bytes.len() as u64;
        self.appending = Some(self.decided.clone());
        Some(Append {
            position,
            bytes,
            index_last: self.decided.index(),
        })
    }

    /// The append up to this record is synced. Returns the image to publish to all cores.
    pub fn synced(&mut self, index_last: u64) -> Image {
        self.durable = self.appending.take().expect("an append is under way");
        assert_eq!(self.durable.index(), index_last);
        self.durable.clone()
    }

    /// The device failed an append or its sync, so nobody knows what the log holds. Nothing more is decided until the
    /// next start; the durable image stands.
    pub fn failed(&mut self) {
        self.failed = true;
        self.decided = self.durable.clone();
        self.pending.clear();
        self.pending_bytes = 0;
        self.appending = None;
    }

    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// A snapshot when one is due and nothing is being written. Appends wait until the shell answers with
    /// [`Controller::snapshot_synced`] or [`Controller::snapshot_failed`].
    pub fn plan_snapshot(&mut self) -> Option<Snapshot> {
        let due = self.log_bytes > self.snapshot_log_bytes;
        if !due || self.appending.is_some() || self.snapshotting || self.failed {
            return None;
        }
        self.snapshotting = true;
        let index_last = self.durable.index();
        let bytes = log::encode_snapshot(index_last, self.durable.records().map(|record| record.encode()));
        self.snapshot_log_bytes = SNAPSHOT_LOG_BYTES.max(bytes.len() as u64);
        Some(Snapshot { bytes, index_last })
    }

    /// The snapshot is in its place, and the log is empty.
    pub fn snapshot_synced(&mut self) {
        assert!(self.snapshotting);
        self.snapshotting = false;
        self.log_bytes = 0;
    }

    /// The snapshot could not be put into its place. The log is as before; another attempt follows when it has grown.
    pub fn snapshot_failed(&mut self) {
        assert!(self.snapshotting);
        self.snapshotting = false;
        self.snapshot_log_bytes += self.log_bytes;
    }
}

impl Draft {
    fn create_topic(
        &mut self,
        spec: &TopicSpec,
        defaults: Defaults,
        check: SettingCheck<'_>,
        ids: &mut dyn FnMut() -> Uuid,
    ) -> Result<Created, Rejection> {
        rules::check_name_free(&self.image, &spec.name)?;
        for (key, value) in &spec.settings {
            check(key, value.as_deref()).map_err(Rejection::InvalidConfig)?;
        }
        rules::check_room(&self.image, spec.partitions_added(defaults))?;
        let id = ids();
        let partitions = rules::place_topic(&self.image, spec, id, defaults)?;
        let settings = spec
            .settings
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), value.clone()?)))
            .collect();
        let settings = Arc::new(settings);
        let name = spec.name.as_str().into();
        self.decide(&Record::TopicCreated {
            id,
            name,
            partitions,
            settings,
        })?;
        let topic = self.image.topic_by_id(id).expect("it was made above");
        Ok(Created {
            id,
            partitions: topic.partition_count(),
            replication_factor: topic.replication_factor(),
            settings: topic.settings.clone(),
        })
    }

    fn create_partitions(&mut self, spec: &PartitionsSpec) -> Result<i32, Rejection> {
        let topic = self.image.topic(&spec.name).ok_or(Rejection::UnknownTopic)?.clone();
        rules::check_room(
            &self.image,
            (i64::from(spec.count) - i64::from(topic.partition_count())).max(0) as usize,
        )?;
        let partitions = rules::place_added(&self.image, &topic, spec)?;
        self.decide(&Record::PartitionsAdded {
            id: topic.id,
            partitions,
        })?;
        Ok(spec.count)
    }
}

fn check_settings(settings: &BTreeMap<String, String>, check: SettingCheck<'_>) -> Result<(), Rejection> {
    settings
        .iter()
        .try_for_each(|(key, value)| check(key, Some(value)))
        .map_err(Rejection::InvalidConfig)
}

fn occurring_twice<'a, T: Ord>(items: impl Iterator<Item = &'a T>) -> BTreeSet<&'a T> {
    let mut seen = BTreeSet::new();
    items.filter(|&item| !seen.insert(item)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::record::Listener;
    use crate::metadata::rules::Assignment;

    const DEFAULTS: Defaults = Defaults {
        partitions: 3,
        replication_factor: 1,
    };

    fn accept(_: &str, _: Option<&str>) -> Result<(), String> {
        Ok(())
    }

    fn spec(name: &str, partitions: i32, replication_factor: i16) -> TopicSpec {
        TopicSpec {
            name: name.into(),
            partitions,
            replication_factor,
            assignments: vec![],
            settings: vec![],
        }
    }

    fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> TopicSpec {
        let assignments = assignments
            .iter()
            .map(|&(index, brokers)| Assignment {
                index,
                brokers: brokers.to_vec(),
            })
            .collect();
        TopicSpec {
            assignments,
            ..spec(name, -1, -1)
        }
    }

    fn broker(port: u16) -> Broker {
        let listener = Listener {
            name: "PLAINTEXT".into(),
            host: "127.0.0.1".into(),
            port,
        };
        Broker {
            listeners: vec![listener],
            rack: None,
        }
    }

    /// A controller of brokers 1 to `brokers`, what its shell has written, and a source of ids.
    struct Bench {
        controller: Controller,
        log: Vec<u8>,
        snapshot: Option<Vec<u8>>,
        ids: u128,
    }

    impl Bench {
        fn new(brokers: i32) -> Bench {
            let recovered = Controller::recover(None, b"").unwrap();
            assert_eq!(recovered.log_bytes_valid, 0);
            let mut bench = Bench {
                controller: recovered.controller,
                log: vec![],
                snapshot: None,
                ids: 0,
            };
            (1..=brokers).for_each(|id| bench.controller.register_broker(id, broker(9092)).unwrap());
            bench
        }

        fn create(&mut self, specs: &[TopicSpec]) -> Vec<Result<Created, Rejection>> {
            let ids = &mut self.ids;
            let mut ids = || {
                *ids += 1;
                Uuid(ids.to_be_bytes())
            };
            self.controller.create_topics(specs, false, DEFAULTS, &accept, &mut ids)
        }

        /// The message that refuses this topic.
        fn refusal(&mut self, spec: TopicSpec) -> String {
            self.create(&[spec]).remove(0).unwrap_err().to_string()
        }

        /// Writes and syncs what has gathered.
        fn flush(&mut self) {
            let Some(append) = self.controller.plan_append() else {
                return;
            };
            assert_eq!(append.position, self.log.len() as u64);
            self.log.extend_from_slice(&append.bytes);
            let image = self.controller.synced(append.index_last);
            assert_eq!(image, *self.controller.image_durable());
        }

        fn recovered(&self) -> Controller {
            let recovered = Controller::recover(self.snapshot.as_deref(), &self.log).unwrap();
            assert_eq!(recovered.log_bytes_valid, self.log.len());
            recovered.controller
        }
    }

    #[test]
    fn topics_are_created_with_defaults_and_settings() {
        let mut bench = Bench::new(1);
        let mut with_settings = spec("b.c", 2, 1);
        with_settings.settings = vec![("retention.ms".into(), Some("5".into())), ("segment.ms".into(), None)];
        let answers = bench.create(&[spec("a", -1, -1), with_settings, assigned("d", &[(1, &[1]), (0, &[1])])]);
        let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
        let counts: Vec<_> = answers.iter().map(|a| (a.partitions, a.replication_factor)).collect();
        assert_eq!(counts, [(3, 1), (2, 1), (2, 1)]);
        assert_eq!(
            *answers[1].settings,
            BTreeMap::from([("retention.ms".into(), "5".into())])
        );
        let image = bench.controller.image_decided();
        assert_eq!(image.topic_by_id(answers[0].id), image.topic("a"));
        assert_eq!(image.topic("d").unwrap().partition(1).unwrap().leader, 1);
        assert_eq!(image.partition_total(), 7);
    }

    #[test]
    fn refused_topics_get_kafkas_words() {
        let mut bench = Bench::new(1);
        bench.create(&[spec("a_b", 1, 1)]).remove(0).unwrap();
        let index = bench.controller.index();
        let long = "x".repeat(250);
        for (spec, words) in [
            (spec("a_b", 1, 1), "Topic 'a_b' already exists."),
            (spec("a.b", 1, 1), "Topic 'a.b' collides with existing topic: a_b"),
            (spec("", 1, 1), "Topic name is invalid: the empty string is not allowed"),
            (spec("..", 1, 1), "Topic name is invalid: '..' is not allowed"),
            (
                spec("é", 1, 1),
                "one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
            ),
            (spec(&long, 1, 1), "is longer than the max allowed length 249"),
            (
                spec("t", 0, 1),
                "Number of partitions was set to an invalid non-positive value.",
            ),
            (
                spec("t", -2, 1),
                "Number of partitions was set to an invalid non-positive value.",
            ),
            (
                spec("t", 1, 0),
                "Replication factor must be larger than 0, or -1 to use the default value.",
            ),
            (
                spec("t", 1, 3),
                "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached \
                 because only 1 broker(s) are registered.",
            ),
            (
                spec("t", 10_001, 1),
                "Excessively large number of partitions per request.",
            ),
            (
                assigned("t", &[(0, &[1]), (2, &[1])]),
                "partitions should be a consecutive 0-based integer sequence",
            ),
            (
                assigned("t", &[(0, &[1]), (0, &[1])]),
                "Found multiple manual partition assignments for partition 0",
            ),
            (
                assigned("t", &[(0, &[])]),
                "The manual partition assignment includes an empty replica list.",
            ),
            (
                assigned("t", &[(0, &[2])]),
                "includes broker 2, but no such broker is registered.",
            ),
            (assigned("t", &[(0, &[1, 1])]), "includes the broker 1 more than once."),
            (
                TopicSpec {
                    partitions: 1,
                    ..assigned("t", &[(0, &[1])])
                },
                "A manual partition assignment was specified, but numPartitions was not set to -1.",
            ),
            (
                TopicSpec {
                    replication_factor: 1,
                    ..assigned("t", &[(0, &[1])])
                },
                "A manual partition assignment was specified, but replication factor was not set to -1.",
            ),
        ] {
            let got = bench.refusal(spec);
            assert!(got.ends_with(words), "{got}");
        }
        assert_eq!(bench.controller.index(), index);
    }

    #[test]
    fn topics_of_one_request_are_checked_against_each_other() {
        let mut bench = Bench::new(1);
        let answers = bench.create(&[spec("a", 1, 1), spec("x.y", 1, 1), spec("a", 2, 1), spec("x_y", 1, 1)]);
        let duplicate = Err(Rejection::InvalidRequest("Duplicate topic name.".into()));
        assert_eq!([&answers[0], &answers[2]], [&duplicate; 2]);
        assert!(answers[1].is_ok() && matches!(answers[3], Err(Rejection::InvalidTopicName(_))));
        let excessive = bench.create(&[spec("c", 9_999, 1), spec("d", 2, 1)]);
        assert!(
            excessive
                .iter()
                .all(|answer| matches!(answer, Err(Rejection::PolicyViolation(_))))
        );
        assert_eq!(bench.controller.image_decided().topic_count(), 1);
    }

    #[test]
    fn the_cluster_has_a_largest_number_of_partitions() {
        let mut bench = Bench::new(1);
        for i in 0..20 {
            bench.create(&[spec(&format!("t{i}"), 10_000, 1)]).remove(0).unwrap();
        }
        assert!(matches!(
            bench.create(&[spec("u", 1, 1)])[0],
            Err(Rejection::PolicyViolation(_))
        ));
        let more = [PartitionsSpec {
            name: "t0".into(),
            count: 10_001,
            assignments: None,
        }];
        assert!(matches!(
            bench.controller.create_partitions(&more, false)[0],
            Err(Rejection::PolicyViolation(_))
        ));
    }

    #[test]
    fn validation_alone_decides_nothing() {
        let mut bench = Bench::new(1);
        let (index, mut ids) = (bench.controller.index(), || Uuid([9; 16]));
        let specs = [spec("a", 2, 1)];
        let answers = bench
            .controller
            .create_topics(&specs, true, DEFAULTS, &accept, &mut ids);
        assert_eq!(answers[0].as_ref().unwrap().partitions, 2);
        assert_eq!(
            (bench.controller.index(), bench.controller.image_decided().topic_count()),
            (index, 0)
        );
        let refuse = |key: &str, _: Option<&str>| Err(format!("Unknown topic config name: {key}"));
        let specs = [TopicSpec {
            settings: vec![("x".into(), None)],
            ..spec("a", 2, 1)
        }];
        let answers = bench
            .controller
            .create_topics(&specs, false, DEFAULTS, &refuse, &mut ids);
        assert_eq!(
            answers,
            [Err(Rejection::InvalidConfig("Unknown topic config name: x".into()))]
        );
    }

    #[test]
    fn topics_are_deleted_by_name_or_id() {
        let mut bench = Bench::new(1);
        let ids: Vec<_> = bench
            .create(&["a", "b", "c", "d"].map(|n| spec(n, 1, 1)))
            .into_iter()
            .map(|a| a.unwrap().id)
            .collect();
        let name = |name: &str| TopicKey::Name(name.into());
        let keys = [
            name("a"),
            TopicKey::Id(ids[1]),
            name("c"),
            TopicKey::Id(ids[2]),
            name("d"),
            name("d"),
            name("e"),
            TopicKey::Id(Uuid([9; 16])),
        ];
        assert_eq!(
            bench.controller.delete_topics(&keys, false),
            vec![Err(Rejection::TopicDeletionDisabled); 8]
        );
        let answers = bench.controller.delete_topics(&keys, true);
        assert_eq!(
            answers[0],
            Ok(Deleted {
                id: ids[0],
                name: "a".into(),
                partitions: 1
            })
        );
        assert_eq!(answers[1].as_ref().map(|deleted| &*deleted.name), Ok("b"));
        let refused = |text: &str| Err(Rejection::InvalidRequest(text.into()));
        let supplied = refused("The provided topic name maps to an ID that was already supplied.");
        assert_eq!(answers[2..4], [supplied.clone(), supplied]);
        assert_eq!(
            answers[4..6],
            [refused("Duplicate topic name."), refused("Duplicate topic name.")]
        );
        assert_eq!(
            answers[6..],
            [Err(Rejection::UnknownTopic), Err(Rejection::UnknownTopicId)]
        );
        assert!(
            bench
                .controller
                .image_decided()
                .topics()
                .map(|t| &*t.name)
                .eq(["c", "d"])
        );
        bench.create(&[spec("a", 1, 1)]).remove(0).unwrap();
    }

    #[test]
    fn partitions_are_added_and_never_taken() {
        let mut bench = Bench::new(1);
        bench.create(&[spec("t", 3, 1)]).remove(0).unwrap();
        let mut ask = |name: &str, count, assignments: Option<Vec<Vec<i32>>>| {
            let specs = [PartitionsSpec {
                name: name.into(),
                count,
                assignments,
            }];
            bench
                .controller
                .create_partitions(&specs, false)
                .remove(0)
                .map_err(|rejection| rejection.to_string())
        };
        let words = "The topic t currently has 3 partition(s); 2 would not be an increase.";
        assert_eq!(ask("t", 2, None), Err(words.into()));
        assert_eq!(ask("t", 3, None), Err("Topic already has 3 partition(s).".into()));
        assert_eq!(ask("u", 3, None), Err(Rejection::UnknownTopic.to_string()));
        let words = "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.";
        assert_eq!(ask("t", 5, Some(vec![vec![1]])), Err(words.into()));
        assert_eq!(ask("t", 5, Some(vec![vec![1], vec![1]])), Ok(5));
        assert_eq!(ask("t", 9, None), Ok(9));
        assert_eq!(
            ask("t", i32::MAX, None),
            Err("Excessively large number of partitions per request.".into())
        );
        assert_eq!(
            bench
                .controller
                .image_decided()
                .topic("t")
                .unwrap()
                .partition_ranges()
                .len(),
            1
        );
    }

    #[test]
    fn several_brokers_share_the_partitions() {
        let mut bench = Bench::new(3);
        bench.create(&[spec("t", 30, 2), assigned("u", &[(0, &[3, 1]), (1, &[3, 1])])]);
        let image = bench.controller.image_decided();
        let topic = image.topic("t").unwrap();
        for broker in 1..=3 {
            let placements = || (0..30).map(|index| topic.partition(index).unwrap());
            assert_eq!(placements().filter(|p| p.leader == broker).count(), 10);
            assert_eq!(placements().filter(|p| p.replicas.contains(&broker)).count(), 20);
        }
        let uneven = assigned("v", &[(0, &[3, 1]), (1, &[3])]);
        let words = "includes a partition with 1 replica(s), but this is not consistent with previous partitions, \
                     which have 2 replica(s).";
        assert!(bench.refusal(uneven).ends_with(words));
    }

    #[test]
    fn settings_and_producer_ids() {
        let mut bench = Bench::new(1);
        let id = bench.create(&[spec("t", 1, 1)]).remove(0).unwrap().id;
        let map = BTreeMap::from([("k".to_string(), "v".to_string())]);
        let controller = &mut bench.controller;
        controller.set_topic_settings(id, map.clone(), false, &accept).unwrap();
        controller.set_broker_settings(-1, map.clone(), false, &accept).unwrap();
        controller.set_broker_settings(1, map.clone(), true, &accept).unwrap();
        let index = controller.index();
        controller.set_topic_settings(id, map.clone(), false, &accept).unwrap();
        controller
            .set_broker_settings(1, BTreeMap::new(), false, &accept)
            .unwrap();
        controller.register_broker(1, broker(9092)).unwrap();
        assert_eq!(controller.index(), index, "nothing changed");
        assert_eq!(*controller.image_decided().topic("t").unwrap().settings, map);
        assert_eq!(controller.image_decided().broker_settings(-1).map(|s| &**s), Some(&map));
        let refuse = |_: &str, _: Option<&str>| Err("no".to_string());
        let no = Err(Rejection::InvalidConfig("no".into()));
        assert_eq!(controller.set_topic_settings(id, map.clone(), false, &refuse), no);
        assert_eq!(
            controller.set_topic_settings(Uuid([9; 16]), map.clone(), false, &accept),
            Err(Rejection::UnknownTopicId)
        );
        assert!(controller.set_broker_settings(2, map, false, &accept).is_err());
        assert_eq!(controller.allocate_producer_ids(), Ok(0..1_000));
        assert_eq!(controller.allocate_producer_ids(), Ok(1_000..2_000));
        bench.flush();
        assert_eq!(bench.recovered().allocate_producer_ids(), Ok(2_000..3_000));
    }

    #[test]
    fn nothing_is_published_before_it_is_durable() {
        let mut bench = Bench::new(1);
        bench.flush();
        bench.create(&[spec("a", 1, 1)]).remove(0).unwrap();
        let append = bench.controller.plan_append().unwrap();
        bench.create(&[spec("b", 1, 1)]).remove(0).unwrap();
        assert_eq!(bench.controller.plan_append(), None);
        assert_eq!(bench.controller.image_durable().topic_count(), 0);
        assert_eq!(bench.refusal(spec("b", 1, 1)), "Topic 'b' already exists.");
        let image = bench.controller.synced(append.index_last);
        assert!(image.topic("a").is_some() && image.topic("b").is_none());
        let append = bench.controller.plan_append().unwrap();
        bench.controller.failed();
        assert!(bench.controller.has_failed() && append.index_last > bench.controller.index());
        assert_eq!(bench.controller.image_decided(), &image);
        assert_eq!(bench.create(&[spec("c", 1, 1)]), [Err(Rejection::StorageFailed)]);
        assert_eq!(bench.controller.allocate_producer_ids(), Err(Rejection::StorageFailed));
        assert_eq!(bench.controller.plan_append(), None);
    }

    #[test]
    fn requests_are_refused_while_too_much_waits() {
        let mut bench = Bench::new(1);
        let large = TopicSpec {
            settings: vec![("k".into(), Some("v".repeat(15 << 20)))],
            ..spec("t", 1, 1)
        };
        for i in 0..5 {
            bench
                .create(&[TopicSpec {
                    name: format!("t{i}"),
                    ..large.clone()
                }])
                .remove(0)
                .unwrap();
        }
        assert_eq!(bench.create(&[spec("u", 1, 1)]), [Err(Rejection::Overloaded)]);
        bench.flush();
        bench.create(&[spec("u", 1, 1)]).remove(0).unwrap();
        let too_large = TopicSpec {
            settings: vec![("k".into(), Some("v".repeat(17 << 20)))],
            ..spec("v", 1, 1)
        };
        assert!(matches!(
            bench.create(&[too_large])[0],
            Err(Rejection::PolicyViolation(_))
        ));
    }

    #[test]
    fn snapshots_replace_the_log_and_survive_a_crash_at_each_step() {
        let mut bench = Bench::new(1);
        let large = TopicSpec {
            settings: vec![("k".into(), Some("v".repeat(9 << 20)))],
            ..spec("t", 1, 1)
        };
        bench.create(&[large.clone()]).remove(0).unwrap();
        bench.flush();
        assert_eq!(bench.controller.plan_snapshot(), None);
        bench
            .create(&[TopicSpec {
                name: "u".into(),
                ..large
            }])
            .remove(0)
            .unwrap();
        bench.flush();
        bench
            .controller
            .delete_topics(&[TopicKey::Name("t".into())], true)
            .remove(0)
            .unwrap();
        let append = bench.controller.plan_append().unwrap();
        assert_eq!(bench.controller.plan_snapshot(), None, "an append is under way");
        bench.log.extend_from_slice(&append.bytes);
        bench.controller.synced(append.index_last);

        let snapshot = bench.controller.plan_snapshot().unwrap();
        bench.create(&[spec("w", 1, 1)]).remove(0).unwrap();
        assert_eq!(bench.controller.plan_append(), None, "a snapshot is under way");
        bench.controller.snapshot_failed();
        assert_eq!(bench.controller.plan_snapshot(), None, "the next attempt is later");
        assert_eq!(bench.recovered().image_durable(), bench.controller.image_durable());

        bench.snapshot = Some(snapshot.bytes);
        bench.controller = bench.recovered();
        assert_eq!(
            bench.controller.index(),
            snapshot.index_last,
            "snapshot and old log together"
        );
        let snapshot = bench.controller.plan_snapshot().unwrap();
        bench.snapshot = Some(snapshot.bytes);
        bench.log.clear();
        bench.controller.snapshot_synced();
        assert_eq!(bench.recovered().image_durable(), bench.controller.image_durable());
        bench.create(&[spec("x", 1, 1)]).remove(0).unwrap();
        bench.flush();
        assert_eq!(bench.recovered().image_durable(), bench.controller.image_durable());
        let missing = Controller::recover(None, &bench.log).unwrap_err();
        assert!(matches!(missing, RecoverError::Log(LogError::Gap { .. })), "{missing}");
    }

    /// One request from a seeded stream that makes, changes and deletes a few topics over and over.
    fn request(bench: &mut Bench, random: &mut impl rand::Rng) {
        let name = format!("t{}", random.random_range(0..12));
        let id = bench
            .controller
            .image_decided()
            .topic(&name)
            .map_or(Uuid([9; 16]), |topic| topic.id);
        let map = BTreeMap::from([("k".to_string(), random.random_range(0..3).to_string())]);
        match random.random_range(0..7) {
            0 | 1 => drop(bench.create(&[spec(&name, random.random_range(0..20), 2)])),
            2 => drop(bench.controller.delete_topics(&[TopicKey::Name(name)], true)),
            3 => {
                let specs = [PartitionsSpec {
                    name,
                    count: random.random_range(0..40),
                    assignments: None,
                }];
                drop(bench.controller.create_partitions(&specs, false));
            }
            4 => drop(bench.controller.set_topic_settings(id, map, false, &accept)),
            5 => drop(
                bench
                    .controller
                    .set_broker_settings(random.random_range(-1..4), map, false, &accept),
            ),
            _ => drop(bench.controller.allocate_producer_ids()),
        }
    }

    #[test]
    fn a_crash_at_any_byte_recovers_what_was_durable() {
        use rand::{Rng, SeedableRng};
        for seed in 0..20 {
            let mut random = rand::rngs::StdRng::seed_from_u64(seed);
            let mut bench = Bench::new(3);
            // The image after each record, by its index.
            let mut images = vec![Image::default()];
            for _ in 0..60 {
                let before = bench.controller.index();
                request(&mut bench, &mut random);
                if bench.controller.index() > before || images.len() == 1 {
                    images.resize(bench.controller.index() as usize, Image::default());
                    images.push(bench.controller.image_decided().clone());
                }
                if random.random_range(0..3) == 0 {
                    let Some(append) = bench.controller.plan_append() else {
                        continue;
                    };
                    let durable = bench.log.len();
                    bench.log.extend_from_slice(&append.bytes);
                    // The crash keeps any part of the append, in which any byte may be missing.
                    let mut torn = bench.log[..random.random_range(durable..=bench.log.len())].to_vec();
                    if torn.len() > durable && durable > 0 {
                        let lost = random.random_range(durable..torn.len());
                        torn[lost..].iter_mut().take(512).for_each(|byte| *byte = 0);
                    }
                    let recovered = Controller::recover(None, &torn).unwrap();
                    let image = recovered.controller.image_durable();
                    assert!(recovered.log_bytes_valid >= durable && image.index() <= append.index_last);
                    assert!(image.index() >= bench.controller.image_durable().index());
                    if image.index() > 3 {
                        assert_eq!(image, &images[image.index() as usize], "seed {seed}");
                    }
                    bench.controller.synced(append.index_last);
                    assert_eq!(
                        bench.recovered().image_durable(),
                        bench.controller.image_durable(),
                        "seed {seed}"
                    );
                }
            }
        }
    }

    /// Figures of CPU time, printed by `cargo test --release metadata -- --ignored --nocapture`.
    #[test]
    #[ignore = "a measurement"]
    fn ten_thousand() {
        let mut bench = Bench::new(1);
        let start = std::time::Instant::now();
        bench.create(&[spec("large", 10_000, 1)]).remove(0).unwrap();
        bench.flush();
        println!("one topic with 10,000 partitions: {:?}", start.elapsed());
        let start = std::time::Instant::now();
        for i in 0..10_000 {
            bench.create(&[spec(&format!("topic-{i}"), 1, 1)]).remove(0).unwrap();
            bench.flush();
        }
        println!(
            "10,000 topics one by one: {:?}, {} bytes of log",
            start.elapsed(),
            bench.log.len()
        );
        let start = std::time::Instant::now();
        assert_eq!(bench.recovered().image_durable().topic_count(), 10_001);
        println!("recovery of these: {:?}", start.elapsed());
        let start = std::time::Instant::now();
        let records = bench.controller.image_durable().records().map(|record| record.encode());
        let bytes = log::encode_snapshot(bench.controller.index(), records);
        println!("snapshot of these: {:?}, {} bytes", start.elapsed(), bytes.len());
        assert_eq!(bench.controller.image_durable().partition_total(), 20_000);
    }
}
