//! What a request may change, and the records that change it: the controller's part that knows Kafka's rules.

use super::controller::{Controller, Draft};
use super::decided::DecidedLog;
use super::record::{Broker, Record};
use super::rejection::Rejection;
use super::rules::{self, Created, Deleted, PartitionsSpec, PolicyCheck, SettingCheck, Terms, TopicKey, TopicSpec};
use crate::types::{BrokerId, Uuid};
use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::ops::Range;
use std::sync::Arc;

/// Groups that may have settings of their own.
pub const GROUPS_SET_MAX: usize = 100_000;
/// Producer ids that a core gets at a time.
pub const PRODUCER_IDS_BLOCK: i64 = 1_000;

impl<L: DecidedLog> Controller<L> {
    /// Creates topics, each with the next of `ids`. One answer for each of `specs`, in their order; a name that
    /// occurs twice is refused both times. Names collide with those of topics that are there, as in Kafka, not with each
    /// other.
    pub fn create_topics(
        &mut self,
        specs: &[TopicSpec],
        validate_only: bool,
        terms: Terms<'_>,
        ids: &mut dyn FnMut() -> Uuid,
    ) -> Vec<Result<Created, Rejection>> {
        let partitions = specs.iter().map(|spec| spec.partitions_added(terms.defaults)).sum();
        let (mut draft, ()) = match self.draft().and_then(|d| Ok((d, rules::check_request_partitions(partitions)?))) {
            Ok(draft) => draft,
            Err(rejection) => return vec![Err(rejection); specs.len()],
        };
        let twice = occurring_twice(specs.iter().map(|spec| &spec.name));
        let image = self.image_decided();
        let answers = specs
            .iter()
            .map(|spec| {
                if twice.contains(&spec.name) {
                    return Err(Rejection::InvalidRequest("Duplicate topic name.".into()));
                }
                rules::check_name_free(image, &spec.name)?;
                if self.is_name_held(&spec.name) {
                    return Err(Rejection::TopicMarkedForDeletion(spec.name.clone()));
                }
                draft.create_topic(spec, terms, ids)
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
        let mut draft = match self.draft_freeing() {
            Ok(draft) => draft,
            Err(rejection) => return vec![Err(rejection); keys.len()],
        };
        let find = |key: &TopicKey| match key {
            TopicKey::Name(name) => self.image_decided().topic(name).ok_or(Rejection::UnknownTopic),
            TopicKey::Id(id) => self.image_decided().topic_by_id(*id).ok_or(Rejection::UnknownTopicId),
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
                Ok(Deleted { id: topic.id, name: topic.name.clone(), partitions: topic.partition_count() })
            })
            .collect();
        self.adopt(draft);
        answers
    }

    /// Gives topics more partitions. One answer for each of `specs`, in their order: the number of partitions that
    /// the topic then has. A name that occurs twice is refused both times.
    pub fn create_partitions(
        &mut self,
        specs: &[PartitionsSpec],
        validate_only: bool,
        policy: PolicyCheck<'_>,
    ) -> Vec<Result<i32, Rejection>> {
        let count =
            |spec: &PartitionsSpec| self.image_decided().topic(&spec.name).map_or(0, |topic| topic.partition_count());
        let added = specs.iter().map(|spec| i64::from(spec.count) - i64::from(count(spec))).map(|n| n.max(0) as usize);
        let (mut draft, ()) = match self.draft().and_then(|d| Ok((d, rules::check_request_partitions(added.sum())?))) {
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
                draft.create_partitions(spec, policy)
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
        let topic = self.image_decided().topic_by_id(id).ok_or(Rejection::UnknownTopicId)?;
        check_settings(&settings, check)?;
        match *topic.settings == settings {
            true => Ok(()),
            false => self.decide(&Record::TopicSettingsSet { id, settings: Arc::new(settings) }, validate_only),
        }
    }

    /// Replaces all dynamic settings of one broker, or with [`BrokerId::ALL`] the default of all brokers.
    pub fn set_broker_settings(
        &mut self,
        broker: BrokerId,
        settings: BTreeMap<String, String>,
        validate_only: bool,
        check: SettingCheck<'_>,
    ) -> Result<(), Rejection> {
        if broker != BrokerId::ALL && self.image_decided().broker(broker).is_none() {
            return Err(Rejection::InvalidRequest(format!("No broker with id {broker} is registered.")));
        }
        check_settings(&settings, check)?;
        let unchanged = match self.image_decided().broker_settings(broker) {
            Some(older) => **older == settings,
            None => settings.is_empty(),
        };
        match unchanged {
            true => Ok(()),
            false => self.decide(&Record::BrokerSettingsSet { broker, settings: Arc::new(settings) }, validate_only),
        }
    }

    /// Replaces all settings of a consumer group, which need not exist.
    pub fn set_group_settings(
        &mut self,
        group: &str,
        settings: BTreeMap<String, String>,
        validate_only: bool,
        check: SettingCheck<'_>,
    ) -> Result<(), Rejection> {
        check_settings(&settings, check)?;
        let image = self.image_decided();
        let unchanged = match image.group_settings(group) {
            Some(older) => **older == settings,
            None if !settings.is_empty() && image.groups_set().len() >= GROUPS_SET_MAX => {
                return Err(Rejection::PolicyViolation(format!("{GROUPS_SET_MAX} groups have settings of their own.")));
            }
            None => settings.is_empty(),
        };
        let settings = Arc::new(settings);
        match unchanged {
            true => Ok(()),
            false => self.decide(&Record::GroupSettingsSet { group: group.into(), settings }, validate_only),
        }
    }

    /// Says where a broker is reached. The shell does so at each start, before topics can be created. Nothing is
    /// written if the cluster knows it already.
    pub fn register_broker(&mut self, id: BrokerId, broker: Broker) -> Result<(), Rejection> {
        assert!(id.0 >= 0, "the configuration checks node.id");
        match self.image_decided().broker(id) {
            Some(known) if **known == broker => Ok(()),
            _ => self.decide(&Record::BrokerRegistered { id, broker }, false),
        }
    }

    /// Producer ids that nobody else ever gets, to be used once the decision is durable.
    pub fn allocate_producer_ids(&mut self) -> Result<Range<i64>, Rejection> {
        let start = self.image_decided().producer_id_next();
        let next = start.checked_add(PRODUCER_IDS_BLOCK).ok_or(Rejection::ProducerIdsExhausted)?;
        self.decide(&Record::ProducerIdsAllocated { next }, false)?;
        Ok(start..next)
    }
}

impl Draft {
    fn create_topic(
        &mut self,
        spec: &TopicSpec,
        terms: Terms<'_>,
        ids: &mut dyn FnMut() -> Uuid,
    ) -> Result<Created, Rejection> {
        if self.is_removing(&spec.name) {
            return Err(Rejection::TopicExists(spec.name.clone()));
        }
        for (key, value) in &spec.settings {
            (terms.setting)(key, value.as_deref()).map_err(Rejection::InvalidConfig)?;
        }
        rules::check_room(&self.image, spec.partitions_added(terms.defaults))?;
        let id = ids();
        let partitions = rules::place_topic(&self.image, spec, id, terms.defaults)?;
        let count = partitions.last().map_or(0, |range| range.end);
        let factor = partitions.first().map_or(0, |range| range.placement.replicas.len() as i16);
        (terms.policy)(&spec.name, count, factor).map_err(Rejection::PolicyViolation)?;
        let settings = spec.settings.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect();
        let settings = Arc::new(settings);
        let name = spec.name.as_str().into();
        self.decide(&Record::TopicCreated { id, name, partitions, settings })?;
        let topic = self.image.topic_by_id(id).expect("it was made above");
        Ok(Created {
            id,
            partitions: topic.partition_count(),
            replication_factor: topic.replication_factor(),
            settings: topic.settings.clone(),
        })
    }

    fn create_partitions(&mut self, spec: &PartitionsSpec, policy: PolicyCheck<'_>) -> Result<i32, Rejection> {
        let topic = self.image.topic(&spec.name).ok_or(Rejection::UnknownTopic)?.clone();
        rules::check_room(&self.image, (i64::from(spec.count) - i64::from(topic.partition_count())).max(0) as usize)?;
        let partitions = rules::place_added(&self.image, &topic, spec)?;
        policy(&topic.name, spec.count, topic.replication_factor()).map_err(Rejection::PolicyViolation)?;
        self.decide(&Record::PartitionsAdded { id: topic.id, partitions })?;
        Ok(spec.count)
    }
}

fn check_settings(settings: &BTreeMap<String, String>, check: SettingCheck<'_>) -> Result<(), Rejection> {
    settings.iter().try_for_each(|(key, value)| check(key, Some(value))).map_err(Rejection::InvalidConfig)
}

fn occurring_twice<'a, T: Eq + Hash>(items: impl Iterator<Item = &'a T>) -> HashSet<&'a T> {
    let mut seen = HashSet::new();
    items.filter(|&item| !seen.insert(item)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::controller::tests::{Bench, TERMS, accept, allow, broker, spec};
    use crate::metadata::rules::Assignment;

    fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> TopicSpec {
        let assignments = assignments
            .iter()
            .map(|&(index, brokers)| Assignment { index, brokers: BrokerId::from_numbers(brokers) })
            .collect();
        TopicSpec { assignments, ..spec(name, -1, -1) }
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
        assert_eq!(*answers[1].settings, BTreeMap::from([("retention.ms".into(), "5".into())]));
        let image = bench.controller.image_decided();
        assert_eq!(image.topic_by_id(answers[0].id), image.topic("a"));
        assert_eq!(image.topic("d").unwrap().partition(1).unwrap().leader, BrokerId(1));
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
            (spec("é", 1, 1), "one or more characters other than ASCII alphanumerics, '.', '_' and '-'"),
            (spec(&long, 1, 1), "is longer than the max allowed length 249"),
            (spec("t", 0, 1), "Number of partitions was set to an invalid non-positive value."),
            (spec("t", -2, 1), "Number of partitions was set to an invalid non-positive value."),
            (spec("t", 1, 0), "Replication factor must be larger than 0, or -1 to use the default value."),
            (
                spec("t", 1, 3),
                "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached \
                 because only 1 broker(s) are registered.",
            ),
            (spec("t", 10_001, 1), "Excessively large number of partitions per request."),
        ] {
            let got = bench.refusal(spec);
            assert!(got.ends_with(words), "{got}");
        }
        assert_eq!(bench.controller.index(), index);
    }

    #[test]
    fn refused_assignments_get_kafkas_words() {
        let mut bench = Bench::new(1);
        for (spec, words) in [
            (assigned("t", &[(0, &[1]), (2, &[1])]), "partitions should be a consecutive 0-based integer sequence"),
            (assigned("t", &[(0, &[1]), (0, &[1])]), "Found multiple manual partition assignments for partition 0"),
            (assigned("t", &[(0, &[])]), "The manual partition assignment includes an empty replica list."),
            (assigned("t", &[(0, &[2])]), "includes broker 2, but no such broker is registered."),
            (assigned("t", &[(0, &[1, 1])]), "includes the broker 1 more than once."),
            (
                TopicSpec { partitions: 1, ..assigned("t", &[(0, &[1])]) },
                "A manual partition assignment was specified, but numPartitions was not set to -1.",
            ),
            (
                TopicSpec { replication_factor: 1, ..assigned("t", &[(0, &[1])]) },
                "A manual partition assignment was specified, but replication factor was not set to -1.",
            ),
        ] {
            let got = bench.refusal(spec);
            assert!(got.ends_with(words), "{got}");
        }
        assert_eq!(bench.controller.index(), 2);
    }

    #[test]
    fn topics_of_one_request_are_checked_against_each_other() {
        let mut bench = Bench::new(1);
        let answers = bench.create(&[spec("a", 1, 1), spec("x.y", 1, 1), spec("a", 2, 1), spec("x_y", 1, 1)]);
        let duplicate = Err(Rejection::InvalidRequest("Duplicate topic name.".into()));
        assert_eq!([&answers[0], &answers[2]], [&duplicate; 2]);
        // Names collide with those that were there before.
        assert!(answers[1].is_ok() && answers[3].is_ok());
        let collides = |answer: &Result<Created, Rejection>| matches!(answer, Err(Rejection::InvalidTopicName(_)));
        let image = bench.controller.image_decided().clone();
        assert_eq!(image.topic_colliding("x.y").map(|name| &**name), Some("x.y"));
        let key = |name: &str| [TopicKey::Name(name.into())];
        for (gone, left) in [("x.y", true), ("x_y", false)] {
            assert!(bench.controller.delete_topics(&key(gone), true)[0].is_ok());
            bench.free_names();
            assert_eq!(collides(&bench.create(&[spec("x__y", 1, 1), spec("x.y", 1, 0)])[1]), left, "{gone}");
            assert!(bench.controller.delete_topics(&key("x__y"), true)[0].is_ok());
            bench.free_names();
        }
        let index = bench.create(&[spec("x.y", 1, 1)]);
        assert!(index[0].is_ok());
        let excessive = bench.create(&[spec("c", 9_999, 1), spec("d", 2, 1)]);
        assert!(excessive.iter().all(|answer| matches!(answer, Err(Rejection::PolicyViolation(_)))));
        assert_eq!(bench.controller.image_decided().topic_count(), 1);
    }

    #[test]
    fn the_cluster_has_a_largest_number_of_partitions() {
        let mut bench = Bench::new(1);
        for i in 0..20 {
            bench.create(&[spec(&format!("t{i}"), 10_000, 1)]).remove(0).unwrap();
        }
        assert!(matches!(bench.create(&[spec("u", 1, 1)])[0], Err(Rejection::PolicyViolation(_))));
        let more = [PartitionsSpec { name: "t0".into(), count: 10_001, assignments: None }];
        assert!(matches!(
            bench.controller.create_partitions(&more, false, &allow)[0],
            Err(Rejection::PolicyViolation(_))
        ));
    }

    #[test]
    fn policies_are_asked_last() {
        let mut bench = Bench::new(1);
        let small = |name: &str, partitions: i32, factor: i16| match partitions {
            ..=3 => Ok(()),
            _ => Err(format!("{name} {partitions} {factor}")),
        };
        let terms = Terms { policy: &small, ..TERMS };
        let mut n = 0;
        let mut ids = || {
            n += 1;
            Uuid([n; 16])
        };
        let specs = [spec("a", -1, -1), spec("b", 4, 1), spec("b/", 4, 1), spec("c", 4, 2)];
        let answers = bench.controller.create_topics(&specs, false, terms, &mut ids);
        assert_eq!(answers[0].as_ref().unwrap().partitions, 3);
        assert_eq!(answers[1], Err(Rejection::PolicyViolation("b 4 1".into())));
        assert!(matches!(answers[2], Err(Rejection::InvalidTopicName(_))));
        assert!(matches!(answers[3], Err(Rejection::InvalidReplicationFactor(_))));
        let grow = |count| [PartitionsSpec { name: "a".into(), count, assignments: None }];
        let refused = Err(Rejection::PolicyViolation("a 4 1".into()));
        assert_eq!(bench.controller.create_partitions(&grow(4), false, &small), [refused]);
        assert!(matches!(
            bench.controller.create_partitions(&grow(2), false, &small)[0],
            Err(Rejection::InvalidPartitions(_))
        ));
        assert_eq!(bench.controller.image_decided().partition_total(), 3);
    }

    #[test]
    fn the_brokers_own_topics_keep_their_partitions() {
        let mut bench = Bench::new(1);
        bench.create(&[spec("__consumer_offsets", 3, 1)]).remove(0).unwrap();
        let more = [PartitionsSpec { name: "__consumer_offsets".into(), count: 4, assignments: None }];
        let answer = bench.controller.create_partitions(&more, false, &allow).remove(0);
        assert!(matches!(answer, Err(Rejection::InvalidRequest(text)) if text.contains("cannot change")));
        assert_eq!(bench.controller.image_decided().partition_total(), 3);
    }

    #[test]
    fn groups_have_settings() {
        let mut bench = Bench::new(1);
        let map = BTreeMap::from([("k".to_string(), "v".to_string())]);
        let index = bench.controller.index();
        let controller = &mut bench.controller;
        controller.set_group_settings("g", map.clone(), true, &accept).unwrap();
        controller.set_group_settings("g", BTreeMap::new(), false, &accept).unwrap();
        assert_eq!(controller.index(), index, "nothing changed");
        let refuse = |_: &str, _: Option<&str>| Err("no".to_string());
        let refused = controller.set_group_settings("g", map.clone(), false, &refuse);
        assert_eq!(refused, Err(Rejection::InvalidConfig("no".into())));
        controller.set_group_settings("g", map.clone(), false, &accept).unwrap();
        controller.set_group_settings("g", map.clone(), false, &accept).unwrap();
        controller.set_group_settings("f", map.clone(), false, &accept).unwrap();
        assert_eq!(controller.index(), index + 2);
        bench.flush();
        let recovered = bench.recovered();
        let image = recovered.image_durable();
        assert_eq!(image.group_settings("g").map(|settings| &**settings), Some(&map));
        assert_eq!(image.groups_set().map(|group| &**group).collect::<Vec<_>>(), ["f", "g"]);
        bench.controller.set_group_settings("g", BTreeMap::new(), false, &accept).unwrap();
        assert_eq!(bench.controller.image_decided().group_settings("g"), None);
    }

    #[test]
    fn validation_alone_decides_nothing() {
        let mut bench = Bench::new(1);
        let (index, mut ids) = (bench.controller.index(), || Uuid([9; 16]));
        let specs = [spec("a", 2, 1)];
        let answers = bench.controller.create_topics(&specs, true, TERMS, &mut ids);
        assert_eq!(answers[0].as_ref().unwrap().partitions, 2);
        assert_eq!((bench.controller.index(), bench.controller.image_decided().topic_count()), (index, 0));
        let refuse = |key: &str, _: Option<&str>| Err(format!("Unknown topic config name: {key}"));
        let specs = [TopicSpec { settings: vec![("x".into(), None)], ..spec("a", 2, 1) }];
        let answers = bench.controller.create_topics(&specs, false, Terms { setting: &refuse, ..TERMS }, &mut ids);
        assert_eq!(answers, [Err(Rejection::InvalidConfig("Unknown topic config name: x".into()))]);
    }

    #[test]
    fn topics_are_deleted_by_name_or_id() {
        let mut bench = Bench::new(1);
        let ids: Vec<_> =
            bench.create(&["a", "b", "c", "d"].map(|n| spec(n, 1, 1))).into_iter().map(|a| a.unwrap().id).collect();
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
        assert_eq!(bench.controller.delete_topics(&keys, false), vec![Err(Rejection::TopicDeletionDisabled); 8]);
        let answers = bench.controller.delete_topics(&keys, true);
        assert_eq!(answers[0], Ok(Deleted { id: ids[0], name: "a".into(), partitions: 1 }));
        assert_eq!(answers[1].as_ref().map(|deleted| &*deleted.name), Ok("b"));
        let refused = |text: &str| Err(Rejection::InvalidRequest(text.into()));
        let supplied = refused("The provided topic name maps to an ID that was already supplied.");
        assert_eq!(answers[2..4], [supplied.clone(), supplied]);
        assert_eq!(answers[4..6], [refused("Duplicate topic name."), refused("Duplicate topic name.")]);
        assert_eq!(answers[6..], [Err(Rejection::UnknownTopic), Err(Rejection::UnknownTopicId)]);
        assert!(bench.controller.image_decided().topics().map(|t| &*t.name).eq(["c", "d"]));
        bench.controller.topic_removed("a", ids[0]);
        bench.create(&[spec("a", 1, 1)]).remove(0).unwrap();
    }

    #[test]
    fn partitions_are_added_and_never_taken() {
        let mut bench = Bench::new(1);
        bench.create(&[spec("t", 3, 1)]).remove(0).unwrap();
        let mut ask = |name: &str, count, assignments: Option<Vec<Vec<i32>>>| {
            let assignments = assignments.map(|all| all.iter().map(|ids| BrokerId::from_numbers(ids)).collect());
            let specs = [PartitionsSpec { name: name.into(), count, assignments }];
            bench
                .controller
                .create_partitions(&specs, false, &allow)
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
        assert_eq!(ask("t", i32::MAX, None), Err("Excessively large number of partitions per request.".into()));
        assert_eq!(bench.controller.image_decided().topic("t").unwrap().partition_ranges().count(), 1);
    }

    #[test]
    fn several_brokers_share_the_partitions() {
        let mut bench = Bench::new(3);
        bench.create(&[spec("t", 30, 2), assigned("u", &[(0, &[3, 1]), (1, &[3, 1])])]);
        let image = bench.controller.image_decided();
        let topic = image.topic("t").unwrap();
        for broker in [1, 2, 3].map(BrokerId) {
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
        controller.set_broker_settings(BrokerId::ALL, map.clone(), false, &accept).unwrap();
        controller.set_broker_settings(BrokerId(1), map.clone(), true, &accept).unwrap();
        let index = controller.index();
        controller.set_topic_settings(id, map.clone(), false, &accept).unwrap();
        controller.set_broker_settings(BrokerId(1), BTreeMap::new(), false, &accept).unwrap();
        controller.register_broker(BrokerId(1), broker(9092)).unwrap();
        assert_eq!(controller.index(), index, "nothing changed");
        assert_eq!(*controller.image_decided().topic("t").unwrap().settings, map);
        assert_eq!(controller.image_decided().broker_settings(BrokerId::ALL).map(|s| &**s), Some(&map));
        let refuse = |_: &str, _: Option<&str>| Err("no".to_string());
        let no = Err(Rejection::InvalidConfig("no".into()));
        assert_eq!(controller.set_topic_settings(id, map.clone(), false, &refuse), no);
        assert_eq!(
            controller.set_topic_settings(Uuid([9; 16]), map.clone(), false, &accept),
            Err(Rejection::UnknownTopicId)
        );
        assert!(controller.set_broker_settings(BrokerId(2), map, false, &accept).is_err());
        assert_eq!(controller.allocate_producer_ids(), Ok(0..1_000));
        assert_eq!(controller.allocate_producer_ids(), Ok(1_000..2_000));
        bench.flush();
        assert_eq!(bench.recovered().allocate_producer_ids(), Ok(2_000..3_000));
    }
}
