//! ApiVersions (API 18): which APIs and features this broker has.

use super::features::FEATURES;
use super::reply;
use crate::shard::context::{Apis, Context};
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::{Head, response_frame};
use crate::wire::messages::ApiVersionsRequest;
use crate::wire::messages::api_versions_response::{
    ApiVersion, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use bytes::Bytes;

/// Clients below this version cannot read a feature whose lowest level is 0 (KAFKA-17492).
const FEATURE_LEVEL_0_VERSION: i16 = 4;
/// From this version on the client says what it is.
const SOFTWARE_VERSION: i16 = 3;

pub fn answer(context: &Context<'_>, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
    let &Context { image, apis, .. } = context;
    let request = ApiVersionsRequest::decode(&mut Reader::new(body), head.version)?;
    let software = [&request.client_software_name, &request.client_software_version];
    let response = if head.version >= SOFTWARE_VERSION && !software.iter().all(|text| is_software(text)) {
        ApiVersionsResponse { error_code: ErrorCode::InvalidRequest.code(), ..Default::default() }
    } else {
        let shown =
            || FEATURES.iter().filter(|feature| feature.level_min > 0 || head.version >= FEATURE_LEVEL_0_VERSION);
        let supported = shown().map(|feature| SupportedFeatureKey {
            name: feature.name.into(),
            min_version: feature.level_min,
            max_version: feature.level_max,
        });
        let finalized = shown().map(|feature| FinalizedFeatureKey {
            name: feature.name.into(),
            max_version_level: feature.level(),
            min_version_level: feature.level(),
        });
        ApiVersionsResponse {
            api_keys: api_keys(apis),
            supported_features: supported.collect(),
            // As in Kafka, where it is the offset of the metadata that the features are as of.
            finalized_features_epoch: i64::try_from(image.index()).expect("indexes count records"),
            finalized_features: finalized.collect(),
            ..Default::default()
        }
    };
    Ok(reply(head, |w| response.encode(w, head.version)))
}

/// The answer to ApiVersions in a version that is not served: UNSUPPORTED_VERSION in the form of version 0, which every
/// client can read, with the versions to try again with (KIP-511).
pub fn unsupported(apis: Apis, correlation_id: i32) -> Vec<Bytes> {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: api_keys(apis),
        ..Default::default()
    };
    response_frame(0, correlation_id, |w| response.encode(w, 0))
}

fn api_keys(apis: Apis) -> Vec<ApiVersion> {
    let version = |(key, min_version, max_version)| ApiVersion { api_key: key as i16, min_version, max_version };
    apis().into_iter().map(version).collect()
}

/// Kafka's pattern of a client's name and version: letters, digits, `-` and `.`, the last two not at the ends.
fn is_software(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let outer = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.chars().all(inner) && outer(text.chars().next()) && outer(text.chars().last())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::api::versions;
    use crate::shard::query::api_versions_unsupported;
    use crate::shard::query::fixture::{World, ask, body_of};
    use crate::wire::messages::ApiKey;

    fn request(name: &'static str, version: &'static str) -> ApiVersionsRequest<'static> {
        ApiVersionsRequest {
            client_software_name: name.into(),
            client_software_version: version.into(),
            ..Default::default()
        }
    }

    #[test]
    fn every_version_lists_the_apis() {
        let world = World::new(&[]);
        for version in 0..=4 {
            let response = ask!(world.query(version), ApiVersions, ApiVersionsResponse, request("kcat-1", "1.7.0"));
            assert_eq!(response.error_code, 0);
            assert_eq!(response.api_keys, api_keys(versions));
            let features: Vec<_> =
                response.finalized_features.iter().map(|feature| (&*feature.name, feature.max_version_level)).collect();
            match version {
                0..=2 => assert!(features.is_empty() && response.supported_features.is_empty()),
                _ => {
                    assert_eq!(features, [("metadata.version", 27)]);
                    assert_eq!(response.supported_features[0].max_version, 27);
                    // The term that began, and the broker's registration.
                    assert_eq!(response.finalized_features_epoch, 2);
                }
            }
        }
        let produce = versions().into_iter().find(|(key, ..)| *key == ApiKey::Produce).expect("served");
        assert_eq!(produce, (ApiKey::Produce, 0, 13));
    }

    #[test]
    fn clients_say_what_they_are() {
        let world = World::new(&[]);
        for (name, software_version, version, error) in [
            ("", "1", 2, 0),
            ("", "1", 3, 42),
            ("-a", "1", 4, 42),
            ("a.", "1", 4, 42),
            ("a b", "1", 4, 42),
            ("a", "", 4, 42),
            ("a", "1-b.c", 4, 0),
        ] {
            let response =
                ask!(world.query(version), ApiVersions, ApiVersionsResponse, request(name, software_version));
            assert_eq!(response.error_code, error, "{name:?} {software_version:?}");
            assert_eq!(response.api_keys.is_empty(), error != 0);
        }
    }

    #[test]
    fn an_unserved_version_gets_the_list_in_the_oldest_form() {
        let mut reader = Reader::new(body_of(api_versions_unsupported(versions, 77), 0));
        let response = ApiVersionsResponse::decode(&mut reader, 0).expect("version 0");
        assert_eq!((response.error_code, reader.remaining()), (35, 0));
        let own = response.api_keys.iter().find(|api| api.api_key == 18).expect("listed");
        assert_eq!((own.min_version, own.max_version), (0, 4));
    }
}
