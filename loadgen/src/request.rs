//! Produce requests whose fields are written once; each send puts the batches between them and patches the correlation id.
//! Of their answers the error codes.

use crate::link::Outgoing;
use crate::payload::{Payload, Stamp};
use klamm::types::Uuid;
use klamm::wire::codec::{DecodeError, Reader, Writer};
use klamm::wire::messages::produce_response::PartitionProduceResponse;
use klamm::wire::messages::{ApiKey, ProduceRequest, ProduceResponse, RequestHeader};
use std::borrow::Cow;
use std::ops::Range;

/// Name that the requests give to the broker.
pub const CLIENT_ID: &str = "loadgen";
/// How long the broker may wait for its replicas.
pub const TIMEOUT_MS: i32 = 30_000;
/// Where the correlation id stands in a frame: behind its length, the API's key and the version.
const CORRELATION_START: usize = 8;

/// The topic as requests name it: by name up to version 12, by id from then on.
#[derive(Clone, Debug)]
pub struct Topic {
    pub name: String,
    pub id: Uuid,
}

#[derive(Clone, Debug)]
pub struct Template {
    /// The frame without the batches.
    fields: Vec<u8>,
    /// Where each belongs among the fields, and how long it is.
    batches: Vec<(usize, usize)>,
}

impl Template {
    /// A request that writes a batch to each of the partitions.
    pub fn new(version: i16, acks: i16, topic: &Topic, batches: &[(i32, usize)]) -> Self {
        let flexible = version >= ProduceRequest::FLEXIBLE_SINCE;
        let mut w = Writer::new();
        w.put_i32(0);
        RequestHeader {
            request_api_key: ApiKey::Produce as i16,
            request_api_version: version,
            correlation_id: 0,
            client_id: Some(Cow::Borrowed(CLIENT_ID)),
        }
        .encode(&mut w, ApiKey::Produce.header_versions(version).0);
        w.put_nullable_string(None, flexible);
        w.put_i16(acks);
        w.put_i32(TIMEOUT_MS);
        w.put_length(Some(1), flexible);
        if version >= 13 {
            w.put_uuid(topic.id);
        } else {
            w.put_string(&topic.name, flexible);
        }
        w.put_length(Some(batches.len()), flexible);
        let end_of_struct = |w: &mut Writer| {
            if flexible {
                w.put_uvarint(0);
            }
        };
        let mut batches_bytes = 0;
        let mut places = Vec::with_capacity(batches.len());
        for &(partition, bytes) in batches {
            w.put_i32(partition);
            w.put_length(Some(bytes), flexible);
            places.push((w.len(), bytes));
            end_of_struct(&mut w);
            batches_bytes += bytes;
        }
        end_of_struct(&mut w);
        end_of_struct(&mut w);
        let size = w.len() + batches_bytes;
        w.patch_i32(0, i32::try_from(size - 4).expect("a request is shorter than 2 GiB"));
        Template { fields: w.into_bytes().to_vec(), batches: places }
    }

    /// Whether a batch of so many bytes fits in alone.
    pub fn fits(&self, bytes: usize) -> bool {
        matches!(self.batches[..], [(_, expected)] if expected == bytes)
    }

    /// One send of batches of the lengths that were said, each with what it says about itself.
    pub fn fill(&self, out: &mut Outgoing, correlation_id: i32, batches: &[(Payload, Stamp)]) {
        assert_eq!(batches.len(), self.batches.len());
        out.clear();
        let mut from = 0;
        for ((payload, stamp), &(place, bytes)) in batches.iter().zip(&self.batches) {
            assert_eq!(payload.size(), bytes);
            out.fields.extend_from_slice(&self.fields[from..place]);
            out.fields.extend_from_slice(&payload.header(stamp));
            out.put(payload.body());
            from = place;
        }
        out.fields.extend_from_slice(&self.fields[from..]);
        out.fields[CORRELATION_START..CORRELATION_START + 4].copy_from_slice(&correlation_id.to_be_bytes());
    }
}

/// Adds the error code of each partition in an answer; gives their places. Nothing else of it is kept, so that it needs no memory.
pub fn decode_codes(r: &mut Reader<'_>, version: i16, codes: &mut Vec<i16>) -> Result<Range<usize>, DecodeError> {
    let flexible = version >= ProduceResponse::FLEXIBLE_SINCE;
    let first = codes.len();
    let skip_tags = |r: &mut Reader<'_>| match flexible {
        true => r.tags(|_, r| {
            r.skip();
            Ok(())
        }),
        false => Ok(()),
    };
    // Both are at least as long as a count.
    let bytes_min = 1;
    r.array(flexible, bytes_min, |r| {
        if version >= 13 {
            r.uuid()?;
        } else {
            r.string(flexible)?;
        }
        r.array(flexible, bytes_min, |r| {
            codes.push(PartitionProduceResponse::decode(r, version)?.error_code);
            Ok(())
        })?;
        skip_tags(r)
    })?;
    let _throttle_time_ms = r.i32()?;
    skip_tags(r)?;
    Ok(first..codes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm::wire::batch::{Batch, BatchBuilder, Compression, HEADER_BYTES};
    use klamm::wire::codec::Records;
    use klamm::wire::frame::{Head, request_frame};
    use klamm::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use klamm::wire::messages::produce_response::{LeaderIdAndEpoch, NodeEndpoint, TopicProduceResponse};
    use rand::{Rng, SeedableRng, rngs::SmallRng};

    #[test]
    fn a_request_is_what_the_codec_would_write() {
        let mut random = SmallRng::seed_from_u64(3);
        let topic = Topic { name: "topic".to_string(), id: Uuid([7; 16]) };
        for version in ProduceRequest::VERSIONS {
            for record_bytes in [1, 100, 3_000, 30_000] {
                let payload = |r: &mut SmallRng| {
                    let value: Vec<u8> = r.random_iter().take(record_bytes).collect();
                    let batch = BatchBuilder::new(0).record(0, None, Some(&value)).record(0, None, None).build();
                    let header = *Batch::first(&batch).unwrap().header;
                    Payload::new(header, batch.slice(HEADER_BYTES..), Compression::None)
                };
                let stamp = |i| Stamp { timestamp_ms: i, ..Stamp::PLAIN };
                let batches = [1, 2].map(|i| (payload(&mut random), stamp(i)));
                let [first, second] = [0, 1].map(|i| batches[i].0.size());
                let template = Template::new(version, -1, &topic, &[(4, first), (9, second)]);
                assert!(!template.fits(first) && Template::new(version, -1, &topic, &[(4, first)]).fits(first));
                let mut out = Outgoing::default();
                template.fill(&mut out, 1, &[1, 2].map(|i| (payload(&mut random), stamp(i))));
                template.fill(&mut out, 77, &batches);
                let whole =
                    batches.each_ref().map(|(payload, stamp)| [&payload.header(stamp)[..], payload.body()].concat());
                let [first, second] = &whole;
                let partition = |index, bytes| PartitionProduceData { index, records: Some(Records::Slice(bytes)) };
                let body = ProduceRequest {
                    transactional_id: None,
                    acks: -1,
                    timeout_ms: TIMEOUT_MS,
                    topic_data: vec![TopicProduceData {
                        name: "topic".into(),
                        topic_id: topic.id,
                        partition_data: vec![partition(4, first), partition(9, second)],
                    }],
                };
                let expected =
                    request_frame(ApiKey::Produce, version, 77, Some(CLIENT_ID), |w| body.encode(w, version));
                let frame = out.concat();
                assert_eq!(frame, expected.concat(), "version {version}");
                let head = Head::decode(&frame[4..]).unwrap();
                let mut reader = Reader::new(&frame[4 + head.body_start..]);
                assert!(ProduceRequest::decode(&mut reader, version).is_ok() && reader.remaining() == 0);
            }
        }
    }

    #[test]
    fn codes_are_those_that_the_codec_finds() {
        let partition = |index: i32, error_code| PartitionProduceResponse {
            index,
            error_code,
            base_offset: 1 << 40,
            record_errors: vec![Default::default(); index as usize % 3],
            error_message: (error_code != 0).then(|| "why".into()),
            current_leader: LeaderIdAndEpoch { leader_id: i32::from(error_code), ..Default::default() },
            ..Default::default()
        };
        let topic = |codes: &[i16]| TopicProduceResponse {
            name: "topic".into(),
            partition_responses: codes.iter().zip(4..).map(|(code, index)| partition(index, *code)).collect(),
            ..Default::default()
        };
        let all: [&[&[i16]]; 3] = [&[], &[&[0]], &[&[0, 6, 0], &[], &[-1]]];
        for version in ProduceResponse::VERSIONS {
            for topics in all {
                let responses = topics.iter().map(|codes| topic(codes)).collect();
                let node_endpoints = vec![NodeEndpoint { host: "host".into(), ..Default::default() }];
                let answer = ProduceResponse { responses, node_endpoints, ..Default::default() };
                let mut w = Writer::new();
                answer.encode(&mut w, version);
                let bytes = w.into_bytes();
                let (mut codes, mut reader) = (vec![99], Reader::new(&bytes));
                let places = decode_codes(&mut reader, version, &mut codes).unwrap();
                assert_eq!((&codes[places], reader.remaining()), (&topics.concat()[..], 0), "version {version}");
                for end in 0..bytes.len() {
                    let cut = decode_codes(&mut Reader::new(&bytes[..end]), version, &mut codes);
                    assert!(cut.is_err(), "version {version}, {end} bytes");
                }
            }
        }
    }
}
