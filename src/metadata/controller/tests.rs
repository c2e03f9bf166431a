use super::*;
use crate::metadata::log::LogError;
use crate::metadata::record::{Broker, Listener};
use crate::metadata::recover::{RecoverError, Recovered};
use crate::metadata::rules::{Created, Defaults, Deleted, PartitionsSpec, Terms, TopicKey, TopicSpec};
use crate::types::{BrokerId, Uuid};
use std::collections::BTreeMap;

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
    pub files: Files,
    ids: u128,
}

/// The files of a node, and the disk below them.
#[derive(Clone, Default)]
pub struct Files {
    pub logs: BTreeMap<u64, Vec<u8>>,
    pub snapshot: Option<Vec<u8>>,
    pub temporary: Vec<u8>,
    /// There is no space for anything more.
    pub full: bool,
    /// Even room that was written has none: the file system copies on write.
    pub full_for_appends: bool,
}

impl Files {
    pub fn carry_out(&mut self, write: &Write) -> Written {
        match write {
            Write::Begin { .. } | Write::Grow { .. } if self.full => return Written::Full,
            Write::Begin { file, bytes, room, remove } => {
                let mut content = bytes.clone();
                content.resize(*room as usize, 0);
                assert_eq!(self.logs.insert(*file, content), None);
                remove.iter().for_each(|file| assert!(self.logs.remove(file).is_some()));
            }
            Write::Grow { file, from, to } => {
                let log = self.logs.get_mut(file).expect("it was begun");
                assert_eq!(log.len() as u64, *from);
                log.resize(*to as usize, 0);
            }
            Write::Append { file, position, .. } if self.full_for_appends => {
                self.logs.get_mut(file).expect("it was begun").truncate(*position as usize);
                return Written::Full;
            }
            Write::Append { file, position, bytes } => {
                let log = self.logs.get_mut(file).expect("it was begun");
                let room = &mut log[*position as usize..][..bytes.len()];
                assert!(room.iter().all(|byte| *byte == 0), "an append goes to room that is there");
                room.copy_from_slice(bytes);
            }
        }
        Written::Synced
    }

    pub fn snapshot_part(&mut self, part: &Part) {
        if part.position == 0 {
            self.temporary.clear();
        }
        assert_eq!(self.temporary.len() as u64, part.position);
        self.temporary.extend_from_slice(&part.bytes);
        if part.last {
            self.snapshot = Some(std::mem::take(&mut self.temporary));
        }
    }

    pub fn recover(&self) -> Result<Recovered, RecoverError> {
        let logs: Vec<(u64, &[u8])> = self.logs.iter().map(|(file, bytes)| (*file, &bytes[..])).collect();
        Controller::recover(self.snapshot.as_deref(), &logs)
    }

    /// As a shell does before the controller writes.
    pub fn clean(&mut self, recovered: &Recovered) {
        recovered.remove.iter().for_each(|file| drop(self.logs.remove(file)));
        if let Some((file, end)) = recovered.last {
            self.logs.get_mut(&file).expect("it was read")[end..].fill(0);
        }
    }
}

impl Bench {
    pub fn new(brokers: i32) -> Bench {
        let files = Files::default();
        let recovered = files.recover().unwrap();
        assert_eq!(recovered.last, None);
        let mut bench = Bench { controller: recovered.controller, files, ids: 0 };
        (1..=brokers).for_each(|id| bench.controller.register_broker(BrokerId(id), broker(9092)).unwrap());
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

    pub fn delete(&mut self, name: &str) -> Result<Deleted, Rejection> {
        self.controller.delete_topics(&[TopicKey::Name(name.into())], true).remove(0)
    }

    /// The message that refuses this topic.
    pub fn refusal(&mut self, spec: TopicSpec) -> String {
        self.create(&[spec]).remove(0).unwrap_err().to_string()
    }

    /// The directories of all deleted topics are gone.
    pub fn free_names(&mut self) {
        self.controller.removing = Names::new_sync();
    }

    /// Does one write. Whether there was one, and whether decisions were lost.
    pub fn write(&mut self) -> Option<Outcome> {
        let write = self.controller.plan_write()?;
        assert_eq!(self.controller.plan_write(), None, "one write at a time");
        let written = self.files.carry_out(&write);
        let outcome = self.controller.written(written);
        self.controller.log.check();
        if let Some((image, delta)) = &outcome.published {
            assert_eq!(image, self.controller.image_durable());
            delta.topics_deleted.values().for_each(|topic| self.controller.topic_removed(&topic.name, topic.id));
        }
        Some(outcome)
    }

    /// Writes and syncs what has gathered. Says whether any of it is lost.
    pub fn flush(&mut self) -> bool {
        let mut lost = false;
        while !lost && let Some(outcome) = self.write() {
            lost = outcome.lost;
        }
        lost
    }

    /// All parts of a snapshot. Whether one was due.
    pub fn snapshot(&mut self) -> bool {
        let mut due = false;
        while let Some(part) = self.controller.plan_snapshot() {
            due = true;
            self.files.snapshot_part(&part);
            self.controller.snapshot_written(true);
            self.controller.log.check();
        }
        due
    }

    pub fn recovered(&self) -> Controller {
        let recovered = self.files.recover().unwrap();
        assert!(recovered.remove.is_empty());
        recovered.controller.log.check();
        recovered.controller
    }
}

fn large(name: &str, bytes: usize) -> TopicSpec {
    TopicSpec { settings: vec![("k".into(), Some("v".repeat(bytes)))], ..spec(name, 1, 1) }
}

#[test]
fn nothing_is_published_before_it_is_durable() {
    let mut bench = Bench::new(1);
    bench.flush();
    bench.create(&[spec("a", 1, 1)]).remove(0).unwrap();
    let write = bench.controller.plan_write().unwrap();
    bench.create(&[spec("b", 1, 1)]).remove(0).unwrap();
    assert_eq!(bench.controller.plan_write(), None);
    assert_eq!(bench.controller.image_durable().topic_count(), 0);
    assert_eq!(bench.refusal(spec("b", 1, 1)), "Topic 'b' already exists.");
    bench.files.carry_out(&write);
    let (image, delta) = bench.controller.written(Written::Synced).published.unwrap();
    assert_eq!(delta.topics_created.len(), 1);
    assert!(image.topic("a").is_some() && image.topic("b").is_none());
    bench.controller.plan_write().unwrap();
    let lost = bench.controller.index();
    assert!(bench.controller.written(Written::Failed).lost && lost > bench.controller.index());
    assert_eq!(bench.controller.image_decided(), &image);
    assert_eq!(bench.create(&[spec("c", 1, 1)]), [Err(Rejection::StorageFailed)]);
    assert_eq!(bench.delete("a"), Err(Rejection::StorageFailed));
    assert_eq!(bench.controller.allocate_producer_ids(), Err(Rejection::StorageFailed));
    assert_eq!(bench.controller.plan_write(), None);
}

#[test]
fn requests_are_refused_while_too_much_waits() {
    let mut bench = Bench::new(1);
    for i in 0..5 {
        bench.create(&[large(&format!("t{i}"), 15 << 20)]).remove(0).unwrap();
    }
    assert_eq!(bench.create(&[spec("u", 1, 1)]), [Err(Rejection::Overloaded)]);
    bench.flush();
    bench.create(&[spec("u", 1, 1)]).remove(0).unwrap();
}

#[test]
fn what_one_request_changes_is_bounded() {
    let mut bench = Bench::new(1);
    let answers = bench.create(&[large("a", 9 << 20), large("b", 9 << 20), large("c", 17 << 20), spec("d", 1, 1)]);
    assert!(matches!(answers[..], [Ok(_), Err(Rejection::PolicyViolation(_)), Err(_), Ok(_)]), "{answers:?}");
    bench.flush();
    for block in 0..3 {
        let specs: Vec<_> = (0..9_000).map(|i| spec(&format!("t{block}-{i}"), 1, 1)).collect();
        assert!(bench.create(&specs).iter().all(Result::is_ok));
        bench.flush();
    }
    let topics: Vec<_> = bench.controller.image_decided().topics().map(|topic| topic.id).collect();
    let keys: Vec<_> = topics.into_iter().map(TopicKey::Id).collect();
    let index = bench.controller.index();
    let answers = bench.controller.delete_topics(&keys, true);
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), DECISION_RECORDS_MAX);
    let words = answers.last().unwrap().as_ref().unwrap_err().to_string();
    assert_eq!(words, "Unable to perform excessively large batch operation.");
    assert_eq!(bench.controller.index(), index + 1, "a request is one entry");
    bench.flush();
    assert_eq!(bench.recovered().image_durable(), bench.controller.image_durable());
}

#[test]
fn snapshots_bound_the_log_and_its_tail_stays_readable() {
    let mut bench = Bench::new(1);
    let first = |bench: &Bench| *bench.files.logs.first_key_value().unwrap().0;
    let mut indexes = vec![0];
    for i in 0..8 {
        bench.create(&[large(&format!("t{i}"), 9 << 20)]).remove(0).unwrap();
        bench.flush();
        bench.delete(&format!("t{i}")).unwrap();
        bench.flush();
        if bench.snapshot() {
            indexes.push(bench.controller.index());
        }
        bench.controller.allocate_producer_ids().unwrap();
        bench.flush();
        assert_eq!(bench.recovered().image_durable(), bench.controller.image_durable());
        assert!(bench.files.logs.len() <= 3);
        // Whoever has the snapshot before the last one goes on with the log.
        if let [.., before, _] = indexes[..] {
            assert!(first(&bench) <= before, "entries behind {before} are there");
        }
    }
    assert!(indexes.len() >= 4 && first(&bench) > 0, "{indexes:?}: files that nobody needs are gone");
    assert!(bench.files.snapshot.as_ref().unwrap().len() < 1_000, "what is deleted leaves with a snapshot");
    let mut without = bench.files.clone();
    without.snapshot = None;
    let error = without.recover().unwrap_err();
    assert!(matches!(error.error, LogError::Gap { .. }) && error.file.starts_with("log-"), "{error}");
    let mut without = bench.files.clone();
    without.logs.clear();
    assert_eq!(without.recover().unwrap_err().error, LogError::Missing);
    let mut without = bench.files.clone();
    without.logs.pop_last();
    assert!(without.recover().is_ok_and(|r| r.controller.image_durable() != bench.controller.image_durable()));
}

#[test]
fn a_snapshot_is_made_in_parts_while_the_log_goes_on() {
    let mut bench = Bench::new(1);
    for block in 0..2 {
        let specs: Vec<_> = (0..2_000).map(|i| spec(&format!("t{block}-{i}"), 1, 1)).collect();
        bench.create(&specs);
    }
    bench.create(&[large("l", 15 << 20)]).remove(0).unwrap();
    bench.create(&[large("m", 3 << 20)]).remove(0).unwrap();
    bench.flush();
    let (mut parts, image) = (0, bench.controller.image_durable().clone());
    while let Some(part) = bench.controller.plan_snapshot() {
        assert_eq!(bench.controller.plan_snapshot(), None, "one part at a time");
        bench.create(&[spec(&format!("u{parts}"), 1, 1)]).remove(0).unwrap();
        bench.flush();
        assert_eq!(bench.recovered().image_durable(), bench.controller.image_durable());
        parts += 1;
        bench.files.snapshot_part(&part);
        assert_eq!(bench.recovered().image_durable(), bench.controller.image_durable());
        bench.controller.snapshot_written(true);
    }
    assert!(parts > 4, "{parts}");
    let snapshot = crate::metadata::snapshot::decode(bench.files.snapshot.as_ref().unwrap()).unwrap();
    assert_eq!(snapshot, image);
    bench.create(&[spec("v", 1, 1)]).remove(0).unwrap();
    bench.flush();
    assert_eq!(bench.files.logs.len(), 2);
    assert_eq!(bench.recovered().image_durable(), bench.controller.image_durable());
}

#[test]
fn a_snapshot_that_fails_is_tried_again_later() {
    let mut bench = Bench::new(1);
    bench.create(&[large("t", 15 << 20)]).remove(0).unwrap();
    bench.create(&[large("u", 3 << 20)]).remove(0).unwrap();
    bench.flush();
    bench.controller.plan_snapshot().unwrap();
    bench.controller.snapshot_written(false);
    assert_eq!(bench.controller.plan_snapshot(), None);
    bench.delete("t").unwrap();
    bench.create(&[large("v", 15 << 20)]).remove(0).unwrap();
    bench.create(&[large("w", 5 << 20)]).remove(0).unwrap();
    bench.flush();
    assert!(bench.snapshot());
    // The new file cannot be made: the one before goes on.
    bench.files.full = true;
    bench.delete("u").unwrap();
    assert!(!bench.flush() && bench.files.logs.len() == 1);
    assert_eq!(bench.recovered().image_durable(), bench.controller.image_durable());
}

#[test]
fn on_a_full_disk_topics_can_be_deleted_and_later_all_is_well() {
    let mut bench = Bench::new(1);
    let names: Vec<String> = (0..50).map(|i| format!("t{i}")).collect();
    names.iter().for_each(|name| drop(bench.create(&[spec(name, 1, 1)])));
    bench.flush();
    bench.files.full = true;
    let before = bench.controller.image_durable().clone();
    bench.create(&[large("big", 2 << 20)]).remove(0).unwrap();
    bench.delete("t0").unwrap();
    assert!(bench.flush(), "decisions are lost");
    assert_eq!(bench.controller.image_decided(), &before);

    // Who waits for them is decided about again.
    bench.controller.refuse(true);
    assert_eq!(bench.create(&[spec("small", 1, 1)]), [Err(Rejection::StorageFull)]);
    bench.delete("t0").unwrap();
    bench.controller.refuse(false);
    bench.create(&[large("big", 2 << 20)]).remove(0).unwrap();
    assert!(bench.write().is_some_and(|outcome| !outcome.lost && outcome.published.is_some()));
    assert!(bench.controller.image_durable().topic("t0").is_none());
    assert!(bench.flush(), "the large one is lost, and nothing else");
    assert_eq!(bench.recovered().image_durable(), bench.controller.image_durable());

    bench.files.full = false;
    bench.create(&[large("big", 2 << 20)]).remove(0).unwrap();
    assert!(!bench.flush());
    assert_eq!(bench.recovered().image_durable(), bench.controller.image_durable());
}

#[test]
fn a_reserve_that_is_used_up_ends_in_refusals() {
    let mut bench = Bench::new(1);
    let specs: Vec<_> = (0..5_000).map(|i| spec(&format!("t{i}"), 1, 1)).collect();
    bench.create(&specs);
    bench.flush();
    bench.files.full = true;
    let mut filled = 0;
    while !bench.flush() {
        filled += 1;
        bench.create(&[large(&format!("f{filled}"), 50 << 10)]).remove(0).unwrap();
    }
    let mut deleted = 0;
    loop {
        bench.controller.refuse(true);
        let answer = bench.delete(&format!("t{deleted}"));
        bench.controller.refuse(false);
        if answer == Err(Rejection::StorageFull) {
            break;
        }
        answer.unwrap();
        assert!(!bench.flush());
        deleted += 1;
    }
    assert!(filled > 2 && deleted > 1_000 && deleted < 4_000, "{filled} {deleted}");
    bench.delete("t4999").unwrap();
    assert!(bench.flush(), "without a reserve a deletion is lost as well");
    assert_eq!(bench.recovered().image_durable(), bench.controller.image_durable());
}

#[test]
fn an_append_that_finds_no_space_leaves_no_trace() {
    let mut bench = Bench::new(1);
    bench.create(&[spec("a", 1, 1)]).remove(0).unwrap();
    bench.flush();
    bench.files.full_for_appends = true;
    bench.create(&[spec("b", 1, 1)]).remove(0).unwrap();
    assert!(bench.flush());
    bench.controller.refuse(true);
    assert_eq!(bench.delete("a"), Err(Rejection::StorageFull), "no reserve is left");
    bench.controller.refuse(false);
    bench.files.full_for_appends = false;
    bench.create(&[spec("c", 1, 1)]).remove(0).unwrap();
    assert!(!bench.flush());
    let recovered = bench.recovered();
    assert_eq!(recovered.image_durable(), bench.controller.image_durable());
    assert!(recovered.image_durable().topic("b").is_none() && recovered.image_durable().topic("c").is_some());
}

#[test]
fn who_gives_up_decides_no_more_and_what_is_not_committed_is_lost() {
    let mut bench = Bench::new(1);
    bench.flush();
    bench.create(&[spec("a", 1, 1)]).remove(0).unwrap();
    let write = bench.controller.plan_write().unwrap();
    bench.create(&[spec("b", 1, 1)]).remove(0).unwrap();
    bench.controller.resign();
    assert_eq!(bench.controller.image_decided(), bench.controller.image_durable());
    assert_eq!(bench.create(&[spec("c", 1, 1)]), [Err(Rejection::NotController)]);
    assert_eq!(bench.delete("a"), Err(Rejection::NotController));
    // What is being written may still be committed.
    bench.files.carry_out(&write);
    assert!(bench.controller.written(Written::Synced).published.is_some());
    assert_eq!(bench.controller.plan_write(), None);
    let names = |image: &Image| image.topics().map(|topic| topic.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(bench.controller.image_decided()), ["a"]);

    let term = bench.controller.image_durable().term();
    bench.controller.lead();
    bench.create(&[spec("d", 1, 1)]).remove(0).unwrap();
    assert!(!bench.flush());
    assert_eq!(bench.controller.image_durable().term(), term + 1);
    let recovered = bench.recovered();
    assert_eq!((names(recovered.image_durable()), names(recovered.image_decided())).0, ["a", "d"]);
    assert_eq!(recovered.image_decided().term(), term + 2, "each start begins a term");
}

#[test]
fn the_name_of_a_deleted_topic_is_taken_until_its_directories_are_gone() {
    let mut bench = Bench::new(1);
    let id = bench.create(&[spec("a", 1, 1)]).remove(0).unwrap().id;
    bench.flush();
    bench.delete("a").unwrap();
    assert_eq!(bench.refusal(spec("a", 1, 1)), "Topic 'a' already exists.");
    let write = bench.controller.plan_write().unwrap();
    bench.files.carry_out(&write);
    bench.controller.written(Written::Synced);
    assert_eq!(bench.refusal(spec("a", 1, 1)), "Topic 'a' already exists.");
    bench.controller.topic_removed("a", Uuid([7; 16]));
    assert_eq!(bench.refusal(spec("a", 1, 1)), "Topic 'a' already exists.");
    bench.controller.topic_removed("a", id);
    bench.create(&[spec("a", 1, 1)]).remove(0).unwrap();
    // A deletion that is lost takes no name.
    bench.flush();
    bench.delete("a").unwrap();
    bench.controller.plan_write().unwrap();
    bench.controller.written(Written::Failed);
    assert!(bench.controller.removing.is_empty());
}

#[test]
fn damage_names_the_file_and_the_position() {
    let mut bench = Bench::new(1);
    for i in 0..20 {
        bench.create(&[spec(&format!("t{i}"), 1, 1)]).remove(0).unwrap();
        bench.flush();
    }
    let whole = bench.files.clone();
    let end = whole.recover().unwrap().last.unwrap().1;
    let mut named = 0;
    for position in (0..end).step_by(7) {
        let mut files = whole.clone();
        files.logs.get_mut(&0).unwrap()[position] ^= 0x55;
        match files.recover() {
            Ok(recovered) => {
                let (_, valid) = recovered.last.unwrap();
                assert!(valid <= position && recovered.controller.applied.index() >= bench.controller.index() - 2);
            }
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("log-00000000000000000000"), "{text}");
                assert!(text.contains("at byte") || position < log::HEADER_BYTES, "{position}: {text}");
                named += 1;
            }
        }
    }
    assert!(named > end / 7 / 2);
}

/// One request from a seeded stream that makes, changes and deletes a few topics over and over.
fn request(bench: &mut Bench, random: &mut impl rand::Rng) {
    let name = format!("t{}", random.random_range(0..12));
    let id = bench.controller.image_decided().topic(&name).map_or(Uuid([9; 16]), |topic| topic.id);
    let map = BTreeMap::from([("k".to_string(), random.random_range(0..3).to_string())]);
    match random.random_range(0..8) {
        0 | 1 => drop(bench.create(&[spec(&name, random.random_range(0..20), 2)])),
        2 => drop(bench.delete(&name)),
        3 => {
            let specs = [PartitionsSpec { name, count: random.random_range(0..40), assignments: None }];
            drop(bench.controller.create_partitions(&specs, false, &allow));
        }
        4 => drop(bench.controller.set_topic_settings(id, map, false, &accept)),
        5 => drop(bench.controller.set_broker_settings(BrokerId(random.random_range(-1..4)), map, false, &accept)),
        6 => drop(bench.controller.set_group_settings(&name, map, false, &accept)),
        _ => drop(bench.controller.allocate_producer_ids()),
    }
}

/// The write with any part of it missing: a crash kept what it kept.
fn torn(files: &Files, write: &Write, random: &mut impl rand::Rng) -> Files {
    let mut torn = files.clone();
    match write {
        Write::Append { file, position, bytes } => {
            let (start, end) = (*position as usize, *position as usize + bytes.len());
            let log = torn.logs.get_mut(file).unwrap();
            log[random.random_range(start..=end)..].fill(0);
            let lost = random.random_range(start..end);
            log[lost..].iter_mut().take(512).for_each(|byte| *byte = 0);
        }
        Write::Begin { file, bytes, .. } => {
            let log = torn.logs.get_mut(file).unwrap();
            let kept = random.random_range(0..log.len());
            log.truncate(kept);
            log.truncate(if random.random() { kept } else { bytes.len() });
        }
        Write::Grow { file, from, to } => {
            torn.logs.get_mut(file).unwrap().truncate(random.random_range(*from..=*to) as usize);
        }
    }
    torn
}

#[test]
fn a_crash_at_any_byte_recovers_what_was_durable() {
    use rand::{Rng, SeedableRng};
    for seed in 0..20 {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let mut bench = Bench::new(3);
        // The image after each entry, by its index.
        let mut images = BTreeMap::new();
        let mut under_way = None;
        for _ in 0..60 {
            request(&mut bench, &mut random);
            images.insert(bench.controller.index(), bench.controller.image_decided().clone());
            bench.files.full = random.random_range(0..4) == 0;
            under_way = under_way.or_else(|| bench.controller.plan_write());
            if random.random_range(0..3) > 0 {
                continue;
            }
            let Some(write) = under_way.take() else { continue };
            let written = bench.files.carry_out(&write);
            if written == Written::Synced {
                let mut torn = torn(&bench.files, &write, &mut random);
                let recovered = torn.recover().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                let image = recovered.controller.image_durable();
                assert!(image.index() >= bench.controller.image_durable().index(), "seed {seed}");
                if let Some(known) = images.get(&image.index()) {
                    assert_eq!(image, known, "seed {seed}");
                }
                torn.clean(&recovered);
                assert_eq!(torn.recover().unwrap().controller.image_durable(), image, "seed {seed}");
            }
            if bench.controller.written(written).lost {
                images.retain(|index, _| *index <= bench.controller.index());
            }
            bench.controller.log.check();
            let gone: Vec<_> = bench.controller.removing.iter().map(|(name, id)| (name.clone(), *id)).collect();
            gone.iter().for_each(|(name, id)| bench.controller.topic_removed(name, *id));
            assert_eq!(bench.recovered().image_durable(), bench.controller.image_durable(), "seed {seed}");
        }
    }
}
