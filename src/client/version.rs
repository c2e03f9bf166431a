//! Which version of each API is spoken with a broker (KIP-35, KIP-511).

use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use std::collections::BTreeMap;
use std::fmt;

/// The version of ApiVersions that is asked first; a broker that lacks it says so in version 0.
const API_VERSIONS_VERSION: i16 = 3;

/// Versions of each API that a broker speaks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Versions(BTreeMap<i16, (i16, i16)>);

/// There is no version of an API that both sides know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoCommonVersion {
    /// The API that was to be used.
    pub api: ApiKey,
    /// What the broker speaks of it, if it has it.
    pub theirs: Option<(i16, i16)>,
}

impl Versions {
    /// What the broker speaks of each API, by the API's number.
    pub fn all(&self) -> &BTreeMap<i16, (i16, i16)> {
        &self.0
    }

    /// The highest version of an API that both sides know.
    pub fn common(&self, api: ApiKey) -> Result<i16, NoCommonVersion> {
        let (theirs, ours) = (self.0.get(&(api as i16)).copied(), api.versions());
        match theirs.map(|(from, to)| (from.max(*ours.start()), to.min(*ours.end()))) {
            Some((from, to)) if from <= to => Ok(to),
            _ => Err(NoCommonVersion { api, theirs }),
        }
    }
}

impl FromIterator<(ApiKey, (i16, i16))> for Versions {
    fn from_iter<T: IntoIterator<Item = (ApiKey, (i16, i16))>>(ranges: T) -> Versions {
        Versions(ranges.into_iter().map(|(api, range)| (api as i16, range)).collect())
    }
}

/// Behind the broker's address or name.
impl fmt::Display for NoCommonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, ours) = (self.api.name(), self.api.versions());
        match self.theirs {
            None => write!(f, "does not have the API {name}"),
            Some((from, to)) => {
                write!(f, "speaks {name} {from} to {to}, this program {ours:?}: no common version")
            }
        }
    }
}

/// What is wrong with a broker's answer to the question for its versions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NegotiationError {
    /// The answer cannot be decoded.
    Unreadable(DecodeError),
    /// Kafka's code.
    Refused(i16),
}

/// Asks a broker on a new connection what it speaks, again in version 0 if it does not know the version asked first.
#[derive(Debug)]
pub struct Negotiation {
    request: ApiVersionsRequest<'static>,
    version: i16,
}

impl Negotiation {
    /// `software` and `release` are how the client introduces itself.
    pub fn new(software: &'static str, release: &'static str) -> Negotiation {
        let request = ApiVersionsRequest {
            client_software_name: software.into(),
            client_software_version: release.into(),
            ..Default::default()
        };
        Negotiation { request, version: API_VERSIONS_VERSION }
    }

    /// What is to be asked now, and in which version.
    pub fn request(&self) -> (&ApiVersionsRequest<'static>, i16) {
        (&self.request, self.version)
    }

    /// The body of the answer; `None` if it is to be asked again.
    pub fn answered(&mut self, body: &[u8]) -> Result<Option<Versions>, NegotiationError> {
        if self.version > 0 && body.starts_with(&ErrorCode::UnsupportedVersion.code().to_be_bytes()) {
            self.version = 0;
            return Ok(None);
        }
        let answer = ApiVersionsResponse::decode(&mut Reader::new(body), self.version);
        let answer = answer.map_err(NegotiationError::Unreadable)?;
        match answer.error_code {
            0 => {
                let range = |api: &crate::wire::messages::api_versions_response::ApiVersion| {
                    (api.api_key, (api.min_version, api.max_version))
                };
                Ok(Some(Versions(answer.api_keys.iter().map(range).collect())))
            }
            code => Err(NegotiationError::Refused(code)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::Writer;
    use crate::wire::messages::api_versions_response::ApiVersion;

    #[test]
    fn the_highest_common_version_is_chosen() {
        let common = |from, to| Versions::from_iter([(ApiKey::Produce, (from, to))]).common(ApiKey::Produce);
        assert_eq!((common(0, 11), common(0, 99)), (Ok(11), Ok(13)));
        let told = common(14, 15).unwrap_err().to_string();
        assert_eq!(told, "speaks Produce 14 to 15, this program 3..=13: no common version");
        assert!(common(0, 2).is_err());
        let none = Versions::default().common(ApiKey::Produce).unwrap_err();
        assert_eq!(none.to_string(), "does not have the API Produce");
    }

    fn answer(version: i16, error_code: i16) -> Vec<u8> {
        let api = ApiVersion { api_key: ApiKey::Produce as i16, min_version: 0, max_version: 9 };
        let mut w = Writer::new();
        ApiVersionsResponse { error_code, api_keys: vec![api], ..Default::default() }.encode(&mut w, version);
        w.into_bytes().to_vec()
    }

    #[test]
    fn brokers_that_do_not_know_the_version_are_asked_again() {
        let mut negotiation = Negotiation::new("test", "1");
        assert_eq!(negotiation.request().1, 3);
        assert_eq!(negotiation.answered(&answer(0, 35)), Ok(None));
        assert_eq!(negotiation.request().1, 0);
        let versions = negotiation.answered(&answer(0, 0)).unwrap().unwrap();
        assert_eq!(versions.common(ApiKey::Produce), Ok(9));
        // It is not asked a third time.
        assert_eq!(negotiation.answered(&answer(0, 35)), Err(NegotiationError::Refused(35)));
        let mut negotiation = Negotiation::new("test", "1");
        assert_eq!(negotiation.answered(&answer(3, 0)), Ok(Some(versions)));
        assert!(matches!(negotiation.answered(&[0]), Err(NegotiationError::Unreadable(_))));
    }
}
