//! CreatePartitions (API 37).

use bytes::Bytes;

use super::{Context, refusal, reply};
use crate::metadata::PartitionsSpec;
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::create_partitions_request::CreatePartitionsTopic;
use crate::wire::messages::create_partitions_response::CreatePartitionsTopicResult;
use crate::wire::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

impl Context<'_> {
    pub(super) fn create_partitions(self, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
        let request = CreatePartitionsRequest::decode(&mut Reader::new(body), head.version)?;
        let spec = |topic: &CreatePartitionsTopic<'_>| PartitionsSpec {
            name: topic.name.to_string(),
            count: topic.count,
            assignments: topic.assignments.as_ref().map(|assignments| {
                assignments
                    .iter()
                    .map(|assignment| assignment.broker_ids.clone())
                    .collect()
            }),
        };
        let specs: Vec<PartitionsSpec> = request.topics.iter().map(spec).collect();
        let answers = self.controller.create_partitions(&specs, request.validate_only);
        let results = request.topics.iter().zip(answers).map(|(topic, answer)| {
            let (error_code, error_message) = match answer {
                Ok(_) => (ErrorCode::None.code(), None),
                Err(rejection) => refusal(&rejection),
            };
            CreatePartitionsTopicResult {
                name: (&*topic.name).into(),
                error_code,
                error_message: error_message.map(Into::into),
            }
        });
        let response = CreatePartitionsResponse {
            results: results.collect(),
            ..Default::default()
        };
        Ok(reply(head, |w| response.encode(w, head.version)))
    }
}
