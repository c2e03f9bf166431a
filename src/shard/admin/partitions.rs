//! CreatePartitions (API 37).

use super::{Decision, policy, refusal, reply};
use crate::metadata::PartitionsSpec;
use crate::shard::query::by_key;
use crate::types::BrokerId;
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::create_partitions_request::CreatePartitionsTopic;
use crate::wire::messages::create_partitions_response::CreatePartitionsTopicResult;
use crate::wire::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use bytes::Bytes;

impl Decision<'_> {
    pub(in crate::shard) fn create_partitions(self, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
        let request = CreatePartitionsRequest::decode(&mut Reader::new(body), head.version)?;
        let spec = |topic: &CreatePartitionsTopic<'_>| PartitionsSpec {
            name: topic.name.to_string(),
            count: topic.count,
            assignments: topic.assignments.as_ref().map(|assignments| {
                assignments.iter().map(|assignment| BrokerId::from_numbers(&assignment.broker_ids)).collect()
            }),
        };
        // The controller refuses a name that it gets twice; the client is told once.
        let topics = by_key(request.topics.iter().map(|topic| (&*topic.name, topic)));
        let specs: Vec<PartitionsSpec> =
            topics.iter().flat_map(|(_, topics)| topics.iter().take(2)).map(|t| spec(t)).collect();
        let config = self.config();
        let answers = self.controller.create_partitions(&specs, request.validate_only, &policy(&config));
        let mut answers = answers.into_iter();
        let results = topics.iter().map(|(name, topics)| {
            let answer = answers.next().expect("there is an answer to each");
            answers.by_ref().take(topics.len().min(2) - 1).for_each(drop);
            let (error_code, error_message) = match answer {
                Ok(_) => (ErrorCode::None.code(), None),
                Err(rejection) => refusal(&rejection),
            };
            CreatePartitionsTopicResult {
                name: (*name).into(),
                error_code,
                error_message: error_message.map(Into::into),
            }
        });
        let response = CreatePartitionsResponse { results: results.collect(), ..Default::default() };
        Ok(reply(head, |w| response.encode(w, head.version)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::query::fixture::{World, ask};
    use crate::wire::messages::create_partitions_request::CreatePartitionsAssignment;

    fn topic(name: &'static str, count: i32, brokers: Option<&[i32]>) -> CreatePartitionsTopic<'static> {
        CreatePartitionsTopic {
            name: name.into(),
            count,
            assignments: brokers.map(|brokers| vec![CreatePartitionsAssignment { broker_ids: brokers.to_vec() }]),
        }
    }

    fn ask(
        world: &mut World,
        version: i16,
        validate_only: bool,
        topics: Vec<CreatePartitionsTopic<'static>>,
    ) -> Vec<(i16, String)> {
        let request = CreatePartitionsRequest { topics, timeout_ms: 1000, validate_only };
        let response = ask!(world.command(version), CreatePartitions, CreatePartitionsResponse, request);
        let results = response.results.iter();
        results
            .map(|result| {
                assert_eq!(result.error_message.is_some(), result.error_code != 0);
                (result.error_code, result.name.to_string())
            })
            .collect()
    }

    fn count(world: &World) -> i32 {
        world.controller.image_decided().topic("t").expect("there").partition_count()
    }

    #[test]
    fn every_version_adds_partitions() {
        let mut world = World::new(&[]);
        world.topic("t", 1, &[]);
        for version in 0..=3 {
            let wanted = i32::from(version) * 2 + 2;
            let ok = [(0, "t".to_string())];
            assert_eq!(ask(&mut world, version, true, vec![topic("t", wanted, None)]), ok);
            assert_eq!(count(&world), wanted - 1);
            assert_eq!(ask(&mut world, version, false, vec![topic("t", wanted, None)]), ok);
            assert_eq!(count(&world), wanted);
            assert_eq!(ask(&mut world, version, false, vec![topic("t", wanted + 1, Some(&[1]))]), ok);
        }
        assert_eq!(count(&world), 9);
    }

    #[test]
    fn faults_are_told_apart() {
        let mut world = World::new(&[]);
        world.topic("t", 2, &[]);
        for (wanted, error) in [
            (topic("t", 2, None), 37),
            (topic("t", 1, None), 37),
            (topic("t", -1, None), 37),
            (topic("no", 3, None), 3),
            (topic("t", 3, Some(&[2])), 39),
            (topic("t", 4, Some(&[1])), 39),
            (topic("t", 10_003, None), 44),
        ] {
            let name = wanted.name.to_string();
            assert_eq!(ask(&mut world, 3, false, vec![wanted]), [(error, name)]);
        }
        let twice = vec![topic("t", 3, None), topic("no", 3, None), topic("t", 4, None)];
        let errors: Vec<i16> = ask(&mut world, 3, false, twice).iter().map(|(error, _)| *error).collect();
        assert_eq!((errors, count(&world)), (vec![42, 3], 2));
    }
}
