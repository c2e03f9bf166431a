//! Topic settings: checking them, and what the log gets to read.

use super::broker::{Config, Source};
use super::definition::{Definition, Scope, broker_definition, definition};
use super::value::split_list;
use std::collections::BTreeMap;

/// What an acknowledgement promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AckDurability {
    /// Synced on every in-sync replica.
    Disk,
    /// In memory on every in-sync replica, synced within `flush_ms`.
    Memory,
}

/// What is looked at before a batch is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AckValidation {
    /// Every record, decompressed.
    Full,
    /// The batch's header and checksum, and records where another setting depends on them.
    Header,
}

/// What stored batches are compressed with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// Each batch as its producer sent it.
    Producer,
    /// Batches are stored without compression.
    Uncompressed,
    /// `gzip`
    Gzip,
    /// `snappy`
    Snappy,
    /// `lz4`
    Lz4,
    /// `zstd`
    Zstd,
}

/// `message.timestamp.type`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimestampType {
    /// Records keep the time that the producer gave them.
    CreateTime,
    /// Records get the time at which they are appended.
    LogAppendTime,
}

/// What becomes of old segments; with neither everything stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CleanupPolicy {
    /// The last record of each key stays.
    pub compact: bool,
    /// Old segments are deleted.
    pub delete: bool,
}

/// A topic's settings as the log uses them. Sizes in bytes, durations in milliseconds; `i64::MAX` of Kafka's stays that
/// large where it means "no limit", and -1 is `None`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicSettings {
    /// `ack.durability`
    pub ack_durability: AckDurability,
    /// `ack.validation`
    pub ack_validation: AckValidation,
    /// `cleanup.policy`
    pub cleanup_policy: CleanupPolicy,
    /// `compression.type`
    pub compression: Compression,
    /// `None`: gzip's own choice.
    pub compression_gzip_level: Option<i32>,
    /// `compression.zstd.level`
    pub compression_zstd_level: i32,
    /// Of one record, and of all records of a batch.
    pub decompressed_bytes_max: u32,
    /// `file.delete.delay.ms`
    pub file_delete_delay_ms: u64,
    /// `flush.ms`
    pub flush_ms: u64,
    /// `index.interval.bytes`
    pub index_interval_bytes: u32,
    /// Of a batch as it is stored.
    pub message_bytes_max: u32,
    /// `min.insync.replicas`
    pub min_insync_replicas: u32,
    /// `preallocate`
    pub preallocate: bool,
    /// `retention.bytes`
    pub retention_bytes: Option<u64>,
    /// `retention.ms`
    pub retention_ms: Option<u64>,
    /// `segment.bytes`
    pub segment_bytes_max: u32,
    /// `segment.index.bytes`
    pub segment_index_bytes_max: u32,
    /// `segment.jitter.ms`
    pub segment_jitter_ms: u64,
    /// `segment.ms`
    pub segment_ms: u64,
    /// `message.timestamp.type`
    pub timestamp_type: TimestampType,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: u64,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: u64,
}

impl TopicSettings {
    /// The settings of a topic with these values of its own; the rest comes from the broker's settings, in Kafka's order
    /// of synonyms, and from the defaults. A value that the present version does not take counts as not given.
    pub fn resolve(overrides: &BTreeMap<String, String>, config: &Config) -> TopicSettings {
        let text = |name: &str| {
            let definition = topic_definition(name).unwrap_or_else(|| panic!("{name} is not in the tables"));
            let own = overrides.get(name).filter(|value| definition.admit(value).is_ok());
            let value = own.cloned().or_else(|| inherited(definition, config).map(|(value, _)| value));
            value.unwrap_or_else(|| panic!("{name} has a default")).trim().to_string()
        };
        let number = |name: &str| text(name).parse::<i64>().unwrap_or_else(|_| panic!("{name} is checked"));
        let at_least_0 = |name: &str| u64::try_from(number(name)).unwrap_or_else(|_| panic!("{name} is checked"));
        let int = |name: &str| u32::try_from(number(name)).unwrap_or_else(|_| panic!("{name} is checked"));
        let limit = |name: &str| u64::try_from(number(name)).ok();
        let policies = text("cleanup.policy");
        let policy = |name: &str| split_list(&policies).contains(&name);
        TopicSettings {
            ack_durability: match text("ack.durability").as_str() {
                "memory" => AckDurability::Memory,
                _ => AckDurability::Disk,
            },
            ack_validation: match text("ack.validation").as_str() {
                "header" => AckValidation::Header,
                _ => AckValidation::Full,
            },
            cleanup_policy: CleanupPolicy { compact: policy("compact"), delete: policy("delete") },
            compression: match text("compression.type").as_str() {
                "uncompressed" => Compression::Uncompressed,
                "gzip" => Compression::Gzip,
                "snappy" => Compression::Snappy,
                "lz4" => Compression::Lz4,
                "zstd" => Compression::Zstd,
                _ => Compression::Producer,
            },
            compression_gzip_level: i32::try_from(number("compression.gzip.level")).ok().filter(|level| *level > 0),
            compression_zstd_level: i32::try_from(number("compression.zstd.level")).expect("it is checked"),
            decompressed_bytes_max: int("max.decompressed.message.bytes"),
            file_delete_delay_ms: at_least_0("file.delete.delay.ms"),
            // The broker's form of this setting has no range: below 0 is as soon as possible.
            flush_ms: limit("flush.ms").unwrap_or(0),
            index_interval_bytes: int("index.interval.bytes"),
            message_bytes_max: int("max.message.bytes"),
            min_insync_replicas: int("min.insync.replicas"),
            preallocate: text("preallocate").eq_ignore_ascii_case("true"),
            retention_bytes: limit("retention.bytes"),
            retention_ms: limit("retention.ms"),
            segment_bytes_max: int("segment.bytes"),
            segment_index_bytes_max: int("segment.index.bytes"),
            segment_jitter_ms: limit("segment.jitter.ms").unwrap_or(0),
            segment_ms: limit("segment.ms").unwrap_or(u64::MAX),
            timestamp_type: match text("message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            timestamp_after_max_ms: at_least_0("message.timestamp.after.max.ms"),
            timestamp_before_max_ms: at_least_0("message.timestamp.before.max.ms"),
        }
    }
}

/// The topic setting of that name.
pub fn topic_definition(name: &str) -> Option<&'static Definition> {
    definition(Scope::Topic, name)
}

/// The value that a topic setting has when the topic gives none, in the topic setting's unit, and its source.
pub(super) fn inherited(definition: &Definition, config: &Config) -> Option<(String, Source)> {
    for &(synonym, factor) in &definition.broker {
        let Some(given) = config.given(synonym).first() else {
            continue;
        };
        let value = match given.value.trim().parse::<i64>() {
            Ok(number) if factor != 1 && number < 0 => "-1".to_string(),
            Ok(number) if factor != 1 => number.saturating_mul(factor).to_string(),
            _ => given.value.clone(),
        };
        return Some((value, given.source));
    }
    // The table may leave a group's default to the broker's setting.
    let of_broker = || definition.broker.iter().find_map(|(name, _)| broker_definition(name).default);
    definition.default.or_else(of_broker).map(|default| (default.to_string(), Source::Default))
}

/// Checks one topic setting that somebody wants to set. The error is for the client, with INVALID_CONFIG.
pub fn validate_topic(name: &str, value: Option<&str>) -> Result<(), String> {
    let definition = topic_definition(name).ok_or_else(|| format!("Unknown topic config name: {name}"))?;
    let value = value.ok_or_else(|| format!("Null value not supported for topic configs: {name}"))?;
    definition.admit(value)
}

/// Checks all of a topic's own settings together, as they would be after a change.
pub fn validate_topic_all(overrides: &BTreeMap<String, String>, config: &Config) -> Result<(), String> {
    overrides.iter().try_for_each(|(name, value)| validate_topic(name, Some(value)))?;
    let number = |name: &str| -> Option<i64> {
        let inherited = || inherited(topic_definition(name)?, config).map(|(value, _)| value);
        overrides.get(name).cloned().or_else(inherited)?.trim().parse().ok()
    };
    let (least, most) = (number("min.compaction.lag.ms"), number("max.compaction.lag.ms"));
    match (least, most) {
        (Some(least), Some(most)) if least > most => Err(format!(
            "conflict topic config setting min.compaction.lag.ms ({least}) > max.compaction.lag.ms ({most})"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixture::{config, map};
    use crate::config::{Effect, definitions};

    #[test]
    fn defaults_are_kafkas_and_durable() {
        let settings = TopicSettings::resolve(&BTreeMap::new(), &Config::default());
        let expected = TopicSettings {
            ack_durability: AckDurability::Disk,
            ack_validation: AckValidation::Full,
            cleanup_policy: CleanupPolicy { compact: false, delete: true },
            compression: Compression::Producer,
            compression_gzip_level: None,
            compression_zstd_level: 3,
            decompressed_bytes_max: 2_147_483_639,
            file_delete_delay_ms: 60_000,
            flush_ms: i64::MAX as u64,
            index_interval_bytes: 4096,
            message_bytes_max: 1_048_588,
            min_insync_replicas: 1,
            preallocate: false,
            retention_bytes: None,
            retention_ms: Some(604_800_000),
            segment_bytes_max: 1 << 30,
            segment_index_bytes_max: 10 << 20,
            segment_jitter_ms: 0,
            segment_ms: 604_800_000,
            timestamp_type: TimestampType::CreateTime,
            timestamp_after_max_ms: 3_600_000,
            timestamp_before_max_ms: i64::MAX as u64,
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn every_obeyed_topic_setting_is_read() {
        let config = Config::default();
        let default = TopicSettings::resolve(&BTreeMap::new(), &config);
        for definition in definitions(Scope::Topic).filter(|definition| definition.effect == Effect::Obeyed) {
            let value = match definition.name {
                "ack.durability" => "memory",
                "ack.validation" => "header",
                "compression.gzip.level" | "compression.zstd.level" => "5",
                "compression.type" => "zstd",
                "cleanup.policy" => "compact",
                "message.timestamp.type" => "LogAppendTime",
                _ => "1234567",
            };
            let own = map(&[(definition.name, value)]);
            assert_eq!(validate_topic_all(&own, &config), Ok(()));
            assert_ne!(TopicSettings::resolve(&own, &config), default, "{}", definition.name);
        }
    }

    #[test]
    fn broker_settings_are_inherited_in_order() {
        let resolve = |pairs: &[(&str, &str)]| TopicSettings::resolve(&BTreeMap::new(), &config(pairs));
        assert_eq!(resolve(&[("log.retention.hours", "2")]).retention_ms, Some(7_200_000));
        let minutes = [("log.retention.hours", "2"), ("log.retention.minutes", "3")];
        assert_eq!(resolve(&minutes).retention_ms, Some(180_000));
        assert_eq!(resolve(&[minutes[0], minutes[1], ("log.retention.ms", "5")]).retention_ms, Some(5));
        assert_eq!(resolve(&[("log.retention.hours", "-1")]).retention_ms, None);
        assert_eq!(resolve(&[("log.flush.scheduler.interval.ms", "9")]).flush_ms, 9);
        assert_eq!(resolve(&[("log.roll.hours", "1")]).segment_ms, 3_600_000);
        assert_eq!(resolve(&[("ack.durability", "memory")]).ack_durability, AckDurability::Memory);
        let own = map(&[("retention.ms", "-1"), ("cleanup.policy", "compact,delete"), ("segment.bytes", "7")]);
        let settings = TopicSettings::resolve(&own, &config(&minutes));
        assert_eq!(settings.retention_ms, None);
        assert_eq!(settings.cleanup_policy, CleanupPolicy { compact: true, delete: true });
        assert_eq!(settings.segment_bytes_max, 1 << 30, "a value out of range counts as not given");
    }

    #[test]
    fn odd_broker_values_do_not_end_the_process() {
        let low = "-9223372036854775808";
        let names =
            ["log.flush.interval.ms", "log.retention.ms", "log.retention.bytes", "log.roll.ms", "log.roll.jitter.ms"];
        let pairs = names.map(|name| (name, low));
        let settings = TopicSettings::resolve(&BTreeMap::new(), &config(&pairs));
        assert_eq!((settings.retention_ms, settings.flush_ms, settings.segment_jitter_ms), (None, 0, 0));
        assert_eq!(settings.segment_ms, u64::MAX);
    }

    #[test]
    fn wrong_settings_are_refused() {
        assert_eq!(validate_topic("xyz", Some("1")), Err("Unknown topic config name: xyz".into()));
        assert_eq!(
            validate_topic("segment.bytes", Some("-2")),
            Err("Invalid value -2 for configuration segment.bytes: Value must be at least 1048576".into())
        );
        assert!(validate_topic("segment.bytes", None).expect_err("null").contains("Null value"));
        assert!(validate_topic("remote.storage.enable", Some("true")).expect_err("tiered").contains("Tiered Storage"));
        assert_eq!(validate_topic("remote.storage.enable", Some("false")), Ok(()));
        assert_eq!(validate_topic("message.format.version", Some("2.8")), Ok(()));
        assert_eq!(validate_topic("message.downconversion.enable", Some("true")), Ok(()));
        let own = map(&[("min.compaction.lag.ms", "9"), ("max.compaction.lag.ms", "8")]);
        assert!(validate_topic_all(&own, &Config::default()).expect_err("conflict").contains("(9)"));
    }
}
