//! Decides what should change (`requests.rs`), and says what to write.
//!
//! A request changes the controller's own image at once, so that the next request sees it, and its records gather. The
//! shell writes what has gathered with one append and one sync ([`Controller::plan_append`]), and then publishes the
//! image that [`Controller::synced`] returns. An answer, a refusal too, waits until a published image has reached
//! [`Controller::index`], so nobody learns what a crash could undo.

use std::collections::VecDeque;
use std::fmt;

use super::delta::Delta;
use super::image::Image;
use super::log::{self, LogError};
use super::record::{Record, RecordError};
use super::rejection::Rejection;

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
    /// The records that are in `decided` and not in `durable`, with their indexes.
    proposed: VecDeque<(u64, Record)>,
    /// Index of the last record of the append that is under way.
    appending: Option<u64>,
    snapshotting: bool,
    /// Length of the log with the append that is under way.
    log_bytes: u64,
    /// Length of the log at which a snapshot is due.
    snapshot_log_bytes: u64,
    failed: bool,
}

/// The decisions of one request: adopted as a whole, or dropped if they were only to be validated.
pub(super) struct Draft {
    pub image: Image,
    entries: Vec<(u64, Vec<u8>)>,
    records: Vec<(u64, Record)>,
}

impl Draft {
    pub(super) fn decide(&mut self, record: Record) -> Result<(), Rejection> {
        let entry = record.encode();
        if entry.len() > log::ENTRY_BYTES_MAX {
            let (bytes, bytes_max) = (entry.len(), log::ENTRY_BYTES_MAX);
            return Err(Rejection::PolicyViolation(format!("A record of {bytes} bytes is larger than {bytes_max}.")));
        }
        let index = self.image.index() + 1;
        let applied = self.image.apply(index, &record, &mut Delta::default());
        applied.expect("a record is decided on the image that it is applied to");
        self.entries.push((index, entry));
        self.records.push((index, record));
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
                    .and_then(|record| image.apply(index, &record, &mut Delta::default()))
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
        Ok(Recovered { controller, log_bytes_valid: decoded.bytes_valid })
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

    pub(super) fn draft(&self) -> Result<Draft, Rejection> {
        if self.failed {
            return Err(Rejection::StorageFailed);
        }
        if self.pending_bytes > PENDING_BYTES_MAX {
            return Err(Rejection::Overloaded);
        }
        Ok(Draft { image: self.decided.clone(), entries: Vec::new(), records: Vec::new() })
    }

    pub(super) fn adopt(&mut self, draft: Draft) {
        assert!(!self.failed);
        assert_eq!(draft.image.index(), self.decided.index() + draft.entries.len() as u64);
        self.decided = draft.image;
        self.pending_bytes += draft.entries.iter().map(|(_, entry)| entry.len()).sum::<usize>();
        self.pending.extend(draft.entries);
        self.proposed.extend(draft.records);
    }

    /// Decides one record unless it is only to be validated.
    pub(super) fn decide(&mut self, record: Record, validate_only: bool) -> Result<(), Rejection> {
        let mut draft = self.draft()?;
        draft.decide(record)?;
        if !validate_only {
            self.adopt(draft);
        }
        Ok(())
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
        self.appending = Some(self.decided.index());
        Some(Append { position, bytes, index_last: self.decided.index() })
    }

    /// The append up to this record is synced. Returns the image to publish to all cores, and what changed in it.
    pub fn synced(&mut self, index_last: u64) -> (Image, Delta) {
        assert_eq!(self.appending.take(), Some(index_last), "an append up to there is under way");
        let mut delta = Delta::default();
        while let Some((index, record)) = self.proposed.pop_front_if(|(index, _)| *index <= index_last) {
            let applied = self.durable.apply(index, &record, &mut delta);
            applied.expect("it was applied to the decided image in the same order");
        }
        assert_eq!(self.durable.index(), index_last);
        (self.durable.clone(), delta)
    }

    /// The device failed an append or its sync, so nobody knows what the log holds. Nothing more is decided until the
    /// next start; the durable image stands.
    pub fn failed(&mut self) {
        self.failed = true;
        self.decided = self.durable.clone();
        self.pending.clear();
        self.proposed.clear();
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use crate::metadata::record::{Broker, Listener};
    use crate::metadata::rules::{Created, Defaults, PartitionsSpec, Terms, TopicKey, TopicSpec};
    use crate::types::Uuid;

    const DEFAULTS: Defaults = Defaults { partitions: 3, replication_factor: 1 };

    pub fn accept(_: &str, _: Option<&str>) -> Result<(), String> {
        Ok(())
    }

    pub fn allow(_: &str, _: i32, _: i16) -> Result<(), String> {
        Ok(())
    }

    pub const TERMS: Terms<'_> = Terms { defaults: DEFAULTS, setting: &accept, policy: &allow };

    pub fn spec(name: &str, partitions: i32, replication_factor: i16) -> TopicSpec {
        TopicSpec { name: name.into(), partitions, replication_factor, assignments: vec![], settings: vec![] }
    }

    pub fn broker(port: u16) -> Broker {
        let listener = Listener { name: "PLAINTEXT".into(), host: "127.0.0.1".into(), port };
        Broker { listeners: vec![listener], rack: None }
    }

    /// A controller of brokers 1 to `brokers`, what its shell has written, and a source of ids.
    pub struct Bench {
        pub controller: Controller,
        log: Vec<u8>,
        snapshot: Option<Vec<u8>>,
        ids: u128,
    }

    impl Bench {
        pub fn new(brokers: i32) -> Bench {
            let recovered = Controller::recover(None, b"").unwrap();
            assert_eq!(recovered.log_bytes_valid, 0);
            let mut bench = Bench { controller: recovered.controller, log: vec![], snapshot: None, ids: 0 };
            (1..=brokers).for_each(|id| bench.controller.register_broker(id, broker(9092)).unwrap());
            bench
        }

        pub fn create(&mut self, specs: &[TopicSpec]) -> Vec<Result<Created, Rejection>> {
            let ids = &mut self.ids;
            let mut ids = || {
                *ids += 1;
                Uuid(ids.to_be_bytes())
            };
            self.controller.create_topics(specs, false, TERMS, &mut ids)
        }

        /// The message that refuses this topic.
        pub fn refusal(&mut self, spec: TopicSpec) -> String {
            self.create(&[spec]).remove(0).unwrap_err().to_string()
        }

        /// Writes and syncs what has gathered.
        pub fn flush(&mut self) {
            let Some(append) = self.controller.plan_append() else {
                return;
            };
            assert_eq!(append.position, self.log.len() as u64);
            self.log.extend_from_slice(&append.bytes);
            let (image, _) = self.controller.synced(append.index_last);
            assert_eq!(image, *self.controller.image_durable());
        }

        pub fn recovered(&self) -> Controller {
            let recovered = Controller::recover(self.snapshot.as_deref(), &self.log).unwrap();
            assert_eq!(recovered.log_bytes_valid, self.log.len());
            recovered.controller
        }
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
        let (image, delta) = bench.controller.synced(append.index_last);
        assert_eq!(delta.topics_created.len(), 1);
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
        let large = TopicSpec { settings: vec![("k".into(), Some("v".repeat(15 << 20)))], ..spec("t", 1, 1) };
        for i in 0..5 {
            bench.create(&[TopicSpec { name: format!("t{i}"), ..large.clone() }]).remove(0).unwrap();
        }
        assert_eq!(bench.create(&[spec("u", 1, 1)]), [Err(Rejection::Overloaded)]);
        bench.flush();
        bench.create(&[spec("u", 1, 1)]).remove(0).unwrap();
        let too_large = TopicSpec { settings: vec![("k".into(), Some("v".repeat(17 << 20)))], ..spec("v", 1, 1) };
        assert!(matches!(bench.create(&[too_large])[0], Err(Rejection::PolicyViolation(_))));
    }

    #[test]
    fn snapshots_replace_the_log_and_survive_a_crash_at_each_step() {
        let mut bench = Bench::new(1);
        let large = TopicSpec { settings: vec![("k".into(), Some("v".repeat(9 << 20)))], ..spec("t", 1, 1) };
        bench.create(std::slice::from_ref(&large)).remove(0).unwrap();
        bench.flush();
        assert_eq!(bench.controller.plan_snapshot(), None);
        bench.create(&[TopicSpec { name: "u".into(), ..large }]).remove(0).unwrap();
        bench.flush();
        bench.controller.delete_topics(&[TopicKey::Name("t".into())], true).remove(0).unwrap();
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
        assert_eq!(bench.controller.index(), snapshot.index_last, "snapshot and old log together");
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
        let id = bench.controller.image_decided().topic(&name).map_or(Uuid([9; 16]), |topic| topic.id);
        let map = BTreeMap::from([("k".to_string(), random.random_range(0..3).to_string())]);
        match random.random_range(0..8) {
            0 | 1 => drop(bench.create(&[spec(&name, random.random_range(0..20), 2)])),
            2 => drop(bench.controller.delete_topics(&[TopicKey::Name(name)], true)),
            3 => {
                let specs = [PartitionsSpec { name, count: random.random_range(0..40), assignments: None }];
                drop(bench.controller.create_partitions(&specs, false, &allow));
            }
            4 => drop(bench.controller.set_topic_settings(id, map, false, &accept)),
            5 => drop(bench.controller.set_broker_settings(random.random_range(-1..4), map, false, &accept)),
            6 => drop(bench.controller.set_group_settings(&name, map, false, &accept)),
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
                    assert_eq!(bench.recovered().image_durable(), bench.controller.image_durable(), "seed {seed}");
                }
            }
        }
    }
}
