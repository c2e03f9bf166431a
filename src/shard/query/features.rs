//! Features of the cluster (KIP-584), and UpdateFeatures (API 57).

use super::reply;
use crate::shard::context::Context;
use crate::shard::node::Node;
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::update_features_request::{FeatureUpdateKey, UpdateFeaturesRequest};
use crate::wire::messages::update_features_response::{UpdatableFeatureResult, UpdateFeaturesResponse};
use bytes::Bytes;
use std::collections::BTreeMap;

/// A feature with the levels that this broker has.
pub struct Feature {
    pub name: &'static str,
    pub level_min: i16,
    pub level_max: i16,
}

impl Feature {
    /// The level in force. Nothing has more than one, so it is kept nowhere.
    pub fn level(&self) -> i16 {
        assert_eq!(self.level_min, self.level_max, "the level of {} is to be kept", self.name);
        self.level_max
    }
}

/// `metadata.version` tells tools which release's behaviour to expect: 27 is 4.1-IV1, to which the versions of our APIs
/// belong. Features that clients switch behaviour on (`transaction.version`, `group.version`) are not here because the
/// broker does not have them.
pub const FEATURES: [Feature; 1] = [Feature { name: "metadata.version", level_min: 27, level_max: 27 }];

/// Kinds of updates: to a level at least as high, or to one at most as high.
const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;
/// From this version on an update has a kind; before, it may be allowed to go down.
const KINDS_VERSION: i16 = 1;
/// From this version on each feature's own outcome is left out (KIP-1022).
const NO_RESULTS_VERSION: i16 = 2;

pub fn update(context: &Context<'_>, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
    let &Context { node, .. } = context;
    let request = UpdateFeaturesRequest::decode(&mut Reader::new(body), head.version)?;
    // Of a feature that occurs twice the last update counts.
    let updates: BTreeMap<&str, &FeatureUpdateKey<'_>> =
        request.feature_updates.iter().map(|update| (&*update.feature, update)).collect();
    let outcome = updates.values().try_for_each(|update| check(node, update, head.version));
    let response = match outcome {
        Err(why) => UpdateFeaturesResponse {
            error_code: ErrorCode::InvalidUpdateVersion.code(),
            error_message: Some(
                format!("The update failed for all features since the following feature had an error: {why}").into(),
            ),
            ..Default::default()
        },
        Ok(()) => UpdateFeaturesResponse {
            error_message: None,
            results: match head.version < NO_RESULTS_VERSION {
                true => updates.keys().map(|name| updated(name)).collect(),
                false => Vec::new(),
            },
            ..Default::default()
        },
    };
    Ok(reply(head, |w| response.encode(w, head.version)))
}

fn updated(name: &str) -> UpdatableFeatureResult<'static> {
    UpdatableFeatureResult { feature: name.to_string().into(), error_code: ErrorCode::None.code(), error_message: None }
}

/// Whether the feature may have that level; the error says why not, in Kafka's words.
fn check(node: &Node, update: &FeatureUpdateKey<'_>, version: i16) -> Result<(), String> {
    let (name, level) = (&*update.feature, update.max_version_level);
    let refuse = |why: String| Err(format!("Invalid update version {level} for feature {name}. {why}"));
    let kind = match version < KINDS_VERSION {
        true if update.allow_downgrade => SAFE_DOWNGRADE,
        true => UPGRADE,
        false => update.upgrade_type,
    };
    if !(UPGRADE..=UNSAFE_DOWNGRADE).contains(&kind) {
        return refuse("The controller does not support the given upgrade type.".into());
    }
    if level < 0 {
        return refuse("A feature version cannot be less than 0.".into());
    }
    let Some(feature) = FEATURES.iter().find(|feature| feature.name == name) else {
        return refuse(format!("Local controller {} does not support this feature.", node.id));
    };
    let (min, max) = (feature.level_min, feature.level_max);
    if !(min..=max).contains(&level) {
        return refuse(format!("Local controller {} only supports versions {min}-{max}", node.id));
    }
    match (level.cmp(&feature.level()), kind) {
        (std::cmp::Ordering::Less, UPGRADE) => refuse(
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe \
             downgrade."
                .into(),
        ),
        (std::cmp::Ordering::Greater, SAFE_DOWNGRADE | UNSAFE_DOWNGRADE) => {
            refuse("Can't downgrade to a newer version.".into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::query::fixture::{World, ask};

    fn ask_for(world: &World, version: i16, updates: &[(&'static str, i16, i8)]) -> UpdateFeaturesResponse<'static> {
        let update = |&(feature, max_version_level, upgrade_type): &(&'static str, i16, i8)| FeatureUpdateKey {
            feature: feature.into(),
            max_version_level,
            upgrade_type,
            allow_downgrade: false,
        };
        let request =
            UpdateFeaturesRequest { feature_updates: updates.iter().map(update).collect(), ..Default::default() };
        ask!(world.query(version), UpdateFeatures, UpdateFeaturesResponse, request)
    }

    #[test]
    fn the_level_in_force_is_taken() {
        let world = World::new(&[]);
        for version in 0..=2 {
            for kind in [1, 2, 3] {
                let response = ask_for(&world, version, &[("metadata.version", 27, kind)]);
                assert_eq!((response.error_code, response.error_message.as_deref()), (0, None));
                assert_eq!(response.results.len(), usize::from(version < 2));
            }
            assert_eq!(ask_for(&world, version, &[]).error_code, 0);
            // The later one counts.
            let twice = [("metadata.version", 99, 1), ("metadata.version", 27, 1)];
            assert_eq!(ask_for(&world, version, &twice).error_code, 0);
        }
    }

    #[test]
    fn other_levels_and_features_are_refused() {
        let world = World::new(&[]);
        for (name, level, kind, why) in [
            ("metadata.version", 28, 1, "Local controller 1 only supports versions 27-27"),
            ("metadata.version", 26, 3, "Local controller 1 only supports versions 27-27"),
            ("metadata.version", -1, 1, "A feature version cannot be less than 0."),
            ("metadata.version", 27, 4, "The controller does not support the given upgrade type."),
            ("group.version", 1, 1, "Local controller 1 does not support this feature."),
            ("no.such", 0, 1, "Local controller 1 does not support this feature."),
        ] {
            let response = ask_for(&world, 2, &[("metadata.version", 27, 1), (name, level, kind)]);
            let text = response.error_message.as_deref().expect("a message");
            assert_eq!(response.error_code, 95, "{text}");
            assert!(text.ends_with(&format!("Invalid update version {level} for feature {name}. {why}")), "{text}");
        }
    }
}
