//! A topic's settings in the form in which shards use them.

use crate::config::{AckDurability, AckValidation, Compression, Config, TimestampType, TopicSettings};
use crate::log::{self, check};
use crate::metadata::Topic;
use crate::types::PartitionIndex;
use crate::wire::batch;
use crate::wire::compression::Codec;
use std::sync::Arc;

/// What shards obey of one topic's settings.
#[derive(Debug)]
pub struct TopicRules {
    /// The topic itself.
    pub topic: Arc<Topic>,
    /// Records are replaced by later ones of the same key, and never deleted because they are old.
    pub only_compacted: bool,
    /// What its batches are checked for.
    pub check: check::Rules,
    /// What its logs obey.
    pub log: Arc<log::Settings>,
}

fn millis(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn codec(settings: &TopicSettings) -> Option<Codec> {
    let (compression, level) = match settings.compression {
        Compression::Producer => return None,
        Compression::Uncompressed => (batch::Compression::None, None),
        Compression::Gzip => (batch::Compression::Gzip, settings.compression_gzip_level),
        Compression::Snappy => (batch::Compression::Snappy, None),
        Compression::Lz4 => (batch::Compression::Lz4, None),
        Compression::Zstd => (batch::Compression::Zstd, Some(settings.compression_zstd_level)),
    };
    Some(Codec { compression, level })
}

impl TopicRules {
    /// `config` has the dynamic settings of the broker in it; a batch larger than `batch_bytes_max` does not fit into the
    /// journal.
    pub fn new(topic: &Arc<Topic>, config: &Config, batch_bytes_max: usize) -> TopicRules {
        let settings = TopicSettings::resolve(&topic.settings, config);
        let delete = settings.cleanup_policy.delete;
        TopicRules {
            topic: topic.clone(),
            only_compacted: settings.cleanup_policy.compact && !settings.cleanup_policy.delete,
            check: check::Rules {
                message_bytes_max: (settings.message_bytes_max as usize).min(batch_bytes_max),
                decompressed_bytes_max: settings.decompressed_bytes_max as usize,
                timestamp_before_max_ms: millis(settings.timestamp_before_max_ms),
                timestamp_after_max_ms: millis(settings.timestamp_after_max_ms),
                log_append_time: settings.timestamp_type == TimestampType::LogAppendTime,
                key_required: settings.cleanup_policy.compact,
                codec: codec(&settings),
                header_only: settings.ack_validation == AckValidation::Header,
            },
            log: Arc::new(log::Settings {
                segment_bytes: settings.segment_bytes_max,
                segment_ms: millis(settings.segment_ms),
                segment_jitter_ms: millis(settings.segment_jitter_ms),
                index_bytes_max: settings.segment_index_bytes_max as usize,
                index_interval: settings.index_interval_bytes,
                retention_ms: settings.retention_ms.filter(|_| delete).map(millis),
                retention_bytes: settings.retention_bytes.filter(|_| delete),
                delete_delay_ms: settings.file_delete_delay_ms,
                ack_memory: settings.ack_durability == AckDurability::Memory,
            }),
        }
    }

    /// The name of a partition's directory.
    pub fn partition_name(&self, index: PartitionIndex) -> Arc<str> {
        format!("{}-{index}", self.topic.name).into()
    }
}
