//! AlterConfigs (API 33) and IncrementalAlterConfigs (API 44, KIP-339).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{Context, refusal, reply};
use crate::config::{AlterOp, Scope, alter, validate_broker_dynamic, validate_topic, validate_topic_all};
use crate::metadata::{Rejection, check_name};
use crate::shard::query::{ALL_BROKERS, Resource, check_broker_name};
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    alter_configs_response, incremental_alter_configs_response,
};

/// Values by name, as a resource has them.
type Settings = BTreeMap<String, String>;

/// One resource of a request of either API.
struct Change<'a> {
    resource_type: i8,
    resource_name: &'a str,
    /// Of each setting the name, what to do, and the value.
    operations: Vec<(&'a str, i8, Option<&'a str>)>,
    /// Whether the settings that are not named go back to their defaults.
    replaces: bool,
}

impl Context<'_> {
    pub(super) fn alter_configs(mut self, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
        let request = AlterConfigsRequest::decode(&mut Reader::new(body), head.version)?;
        let changes = request.resources.iter().map(|resource| Change {
            resource_type: resource.resource_type,
            resource_name: &resource.resource_name,
            operations: resource
                .configs
                .iter()
                .map(|setting| (&*setting.name, AlterOp::Set as i8, setting.value.as_deref()))
                .collect(),
            replaces: true,
        });
        let changes: Vec<Change<'_>> = changes.collect();
        let response = |(change, answer): (&Change<'_>, _)| {
            let (error_code, message) = outcome(answer);
            alter_configs_response::AlterConfigsResourceResponse {
                error_code,
                error_message: message.map(Into::into),
                resource_type: change.resource_type,
                resource_name: change.resource_name.to_string().into(),
            }
        };
        let answers = self.change_all(&changes, request.validate_only);
        let response = AlterConfigsResponse {
            responses: changes.iter().zip(answers).map(response).collect(),
            ..Default::default()
        };
        Ok(reply(head, |w| response.encode(w, head.version)))
    }

    pub(super) fn incremental_alter_configs(mut self, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
        let request = IncrementalAlterConfigsRequest::decode(&mut Reader::new(body), head.version)?;
        let changes = request.resources.iter().map(|resource| Change {
            resource_type: resource.resource_type,
            resource_name: &resource.resource_name,
            operations: resource
                .configs
                .iter()
                .map(|setting| (&*setting.name, setting.config_operation, setting.value.as_deref()))
                .collect(),
            replaces: false,
        });
        let changes: Vec<Change<'_>> = changes.collect();
        let response = |(change, answer): (&Change<'_>, _)| {
            let (error_code, message) = outcome(answer);
            incremental_alter_configs_response::AlterConfigsResourceResponse {
                error_code,
                error_message: message.map(Into::into),
                resource_type: change.resource_type,
                resource_name: change.resource_name.to_string().into(),
            }
        };
        let answers = self.change_all(&changes, request.validate_only);
        let response = IncrementalAlterConfigsResponse {
            responses: changes.iter().zip(answers).map(response).collect(),
            ..Default::default()
        };
        Ok(reply(head, |w| response.encode(w, head.version)))
    }

    /// One answer for each of `changes`, in their order. A resource that occurs twice is refused each time.
    fn change_all(&mut self, changes: &[Change<'_>], validate_only: bool) -> Vec<Result<(), Rejection>> {
        let key = |change: &Change<'_>| (change.resource_type, change.resource_name.to_string());
        let mut seen = BTreeSet::new();
        let twice: BTreeSet<_> = changes
            .iter()
            .map(key)
            .filter(|key| !seen.insert(key.clone()))
            .collect();
        let mut answers = Vec::with_capacity(changes.len());
        for change in changes {
            answers.push(match twice.contains(&key(change)) {
                true => Err(invalid("Each resource must appear at most once.")),
                false => self.change(change, validate_only),
            });
        }
        answers
    }

    fn change(&mut self, change: &Change<'_>, validate_only: bool) -> Result<(), Rejection> {
        change.check()?;
        match Resource::from_number(change.resource_type).map_err(invalid)? {
            Resource::Topic => self.change_topic(change, validate_only),
            Resource::Broker => self.change_broker(change, validate_only),
            other => Err(invalid(other.unsupported())),
        }
    }

    fn change_topic(&mut self, change: &Change<'_>, validate_only: bool) -> Result<(), Rejection> {
        check_name(change.resource_name)?;
        let image = self.controller.image_decided();
        let topic = image.topic(change.resource_name).ok_or(Rejection::UnknownTopic)?;
        let id = topic.id;
        let settings = change
            .apply(Scope::Topic, &topic.settings)
            .map_err(Rejection::InvalidConfig)?;
        validate_topic_all(&settings, &self.config()).map_err(Rejection::InvalidConfig)?;
        self.controller
            .set_topic_settings(id, settings, validate_only, &validate_topic)
    }

    fn change_broker(&mut self, change: &Change<'_>, validate_only: bool) -> Result<(), Rejection> {
        let per_broker = !change.resource_name.is_empty();
        if per_broker {
            check_broker_name(self.node.id, change.resource_name, "").map_err(invalid)?;
        }
        let broker = if per_broker { self.node.id } else { ALL_BROKERS };
        let image = self.controller.image_decided();
        let none = Settings::new();
        let settings_of = |broker| image.broker_settings(broker).map_or(&none, |settings| &**settings);
        let settings = change.apply(Scope::Broker, settings_of(broker)).map_err(invalid)?;
        let check = |name: &str, value: Option<&str>| validate_broker_dynamic(name, value, per_broker);
        for (name, value) in &settings {
            check(name, Some(value)).map_err(invalid)?;
        }
        // Each value may be right and all of them together wrong.
        let (_, left_out) = match per_broker {
            true => self.node.config.with_dynamic(&settings, settings_of(ALL_BROKERS)),
            false => self.node.config.with_dynamic(settings_of(self.node.id), &settings),
        };
        if let Some(why) = left_out.into_iter().next() {
            return Err(invalid(why));
        }
        self.controller
            .set_broker_settings(broker, settings, validate_only, &check)
    }
}

impl Change<'_> {
    /// What is wrong whatever the resource is.
    fn check(&self) -> Result<(), Rejection> {
        let mut names = BTreeSet::new();
        if !self.operations.iter().all(|(name, ..)| names.insert(*name)) {
            return Err(invalid("Error due to duplicate config keys"));
        }
        let mut without_value = Vec::new();
        for &(name, operation, value) in &self.operations {
            match AlterOp::from_number(operation) {
                None => return Err(invalid(format!("Unknown operation {operation} for config {name}"))),
                Some(AlterOp::Delete) => {}
                Some(_) if value.is_none() => without_value.push(name),
                Some(_) => {}
            }
        }
        match &without_value[..] {
            [] => Ok(()),
            names => Err(invalid(format!("Null value not supported for : {}", names.join(",")))),
        }
    }

    /// The settings after the change. The error text is for the client.
    fn apply(&self, scope: Scope, current: &Settings) -> Result<Settings, String> {
        let mut settings = if self.replaces {
            Settings::new()
        } else {
            current.clone()
        };
        for &(name, operation, value) in &self.operations {
            let operation = AlterOp::from_number(operation).expect("it was checked");
            alter(scope, &mut settings, name, operation, value)?;
        }
        Ok(settings)
    }
}

fn outcome(answer: Result<(), Rejection>) -> (i16, Option<String>) {
    match answer {
        Ok(()) => (ErrorCode::None.code(), None),
        Err(rejection) => refusal(&rejection),
    }
}

fn invalid(message: impl Into<String>) -> Rejection {
    Rejection::InvalidRequest(message.into())
}
