//! Produce requests whose fields are written once; each send puts the batches between them and patches the correlation id.

use crate::link::Outgoing;
use crate::payload::{Payload, Stamp};
use klamm::types::Uuid;
use klamm::wire::codec::Writer;
use klamm::wire::messages::{ApiKey, ProduceRequest, RequestHeader};
use std::borrow::Cow;

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

#[cfg(test)]
mod tests {
    use super::*;
    use klamm::wire::batch::{Batch, BatchBuilder, Compression, HEADER_BYTES};
    use klamm::wire::codec::{Reader, Records};
    use klamm::wire::frame::{Head, request_frame};
    use klamm::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
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
}
