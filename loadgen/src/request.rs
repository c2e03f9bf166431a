//! Produce requests whose fields are written once; each send patches the correlation id and the batches' headers.

use crate::link::Outgoing;
use crate::payload::{Payload, Stamp};
use klamm::types::Uuid;
use klamm::wire::batch::HEADER_BYTES;
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
    /// The frame without the batches' bodies.
    fields: Vec<u8>,
    batches: Vec<TemplateBatch>,
}

#[derive(Clone, Debug)]
struct TemplateBatch {
    /// Where the batch's header stands in the fields; its body belongs right behind.
    header_start: usize,
    payload: Payload,
}

impl Template {
    /// A request that writes a batch to each of the partitions.
    pub fn new(version: i16, acks: i16, topic: &Topic, batches: Vec<(i32, Payload)>) -> Self {
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
        let mut bodies_bytes = 0;
        let batches = batches
            .into_iter()
            .map(|(partition, payload)| {
                w.put_i32(partition);
                w.put_length(Some(payload.size()), flexible);
                let header_start = w.len();
                w.put_slice(&[0; HEADER_BYTES]);
                end_of_struct(&mut w);
                bodies_bytes += payload.body().len();
                TemplateBatch { header_start, payload }
            })
            .collect();
        end_of_struct(&mut w);
        end_of_struct(&mut w);
        let size = w.len() + bodies_bytes;
        w.patch_i32(0, i32::try_from(size - 4).expect("a request is shorter than 2 GiB"));
        Template { fields: w.into_bytes().to_vec(), batches }
    }

    /// The request in `place` with another batch to the same partition, or a `fresh` one where that has another length.
    pub fn renewed(
        place: &mut Option<Template>,
        mut batch: Vec<(i32, Payload)>,
        fresh: impl FnOnce(Vec<(i32, Payload)>) -> Template,
    ) -> &Template {
        assert_eq!(batch.len(), 1);
        match place {
            Some(Template { batches, .. }) if batches[0].payload.size() == batch[0].1.size() => {
                batches[0].payload = batch.remove(0).1;
                place.as_ref().expect("it was just there")
            }
            place => place.insert(fresh(batch)),
        }
    }

    /// One send; `stamp` says what the batch of that number says about itself.
    pub fn fill(&self, out: &mut Outgoing, correlation_id: i32, mut stamp: impl FnMut(usize) -> Stamp) {
        out.clear();
        out.fields.extend_from_slice(&self.fields);
        out.fields[CORRELATION_START..CORRELATION_START + 4].copy_from_slice(&correlation_id.to_be_bytes());
        for (i, batch) in self.batches.iter().enumerate() {
            let header_end = batch.header_start + HEADER_BYTES;
            out.fields[batch.header_start..header_end].copy_from_slice(&batch.payload.header(&stamp(i)));
            out.spans.push((header_end, batch.payload.body().clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm::wire::batch::{Batch, BatchBuilder, Compression};
    use klamm::wire::codec::{Reader, Records};
    use klamm::wire::frame::{Head, request_frame};
    use klamm::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use rand::{Rng, SeedableRng, rngs::SmallRng};

    #[test]
    fn a_request_is_what_the_codec_would_write() {
        let mut random = SmallRng::seed_from_u64(3);
        let topic = Topic { name: "topic".to_string(), id: Uuid([7; 16]) };
        for version in ProduceRequest::VERSIONS {
            for record_bytes in [1, 100, 3_000] {
                let payload = |r: &mut SmallRng| {
                    let value: Vec<u8> = r.random_iter().take(record_bytes).collect();
                    let batch = BatchBuilder::new(0).record(0, None, Some(&value)).record(0, None, None).build();
                    let header = *Batch::first(&batch).unwrap().header;
                    Payload::new(header, batch.slice(HEADER_BYTES..), Compression::None)
                };
                let batches = vec![(4, payload(&mut random)), (9, payload(&mut random))];
                let template = Template::new(version, -1, &topic, batches.clone());
                let mut out = Outgoing::default();
                let stamp = |i| Stamp { timestamp_ms: i as i64, ..Stamp::PLAIN };
                template.fill(&mut out, 1, stamp);
                template.fill(&mut out, 77, stamp);
                let whole: Vec<u8> = batches
                    .iter()
                    .enumerate()
                    .flat_map(|(i, (_, payload))| [&payload.header(&stamp(i))[..], payload.body()].concat())
                    .collect();
                let (first, second) = whole.split_at(batches[0].1.size());
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
