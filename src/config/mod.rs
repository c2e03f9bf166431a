//! Every setting once: Kafka's name, type, default, range, and what this broker makes of it.
//!
//! The tables `kafka.txt` and `klamm.txt` are the source; everything else reads them. This room is the only translator
//! between Kafka's words outside and the broker's terms inside. It is pure: the caller reads the properties file and the
//! environment.
//!
//! Precedence of values: `--override`, then the environment, then the file, then the defaults. (Kafka's container images
//! write the environment into the file, so the environment wins there too.) Values set while the broker runs win over all
//! of them: see [`Config::with_dynamic`].

#![warn(missing_docs)]

mod alter;
mod broker;
mod definition;
mod describe;
mod error;
mod group;
mod listener;
mod load;
pub mod node;
mod policy;
pub mod properties;
mod range;
mod topic;
mod value;

pub use alter::{AlterOp, alter, validate_broker_dynamic, validate_broker_dynamic_all};
pub use broker::{Config, Source};
pub use definition::{Definition, Effect, Importance, Mode, NO_EFFECT, Refusal, Scope, definition, definitions};
pub use describe::{
    Described, Names, Synonym, describe_broker, describe_broker_default, describe_client_metrics, describe_group,
    describe_topic,
};
pub use error::ConfigError;
pub use group::{validate_group, validate_group_all};
pub use listener::Listener;
pub use load::Loaded;
pub use range::Type;
pub use topic::{
    AckDurability, AckValidation, CleanupPolicy, Compression, TimestampType, TopicSettings, topic_definition,
    validate_topic, validate_topic_all,
};

/// What the tests of this room start from.
#[cfg(test)]
mod fixture {
    use super::Config;
    use std::collections::BTreeMap;

    pub fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    /// A broker with these settings besides the defaults.
    pub fn config(pairs: &[(&str, &str)]) -> Config {
        let overrides: Vec<_> = map(pairs).into_iter().collect();
        Config::load(None, std::iter::empty(), &overrides).expect("valid").config
    }
}
