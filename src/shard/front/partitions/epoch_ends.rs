//! OffsetForLeaderEpoch (API 23, KIP-101, KIP-320): where epochs of partitions end.

use super::super::gather::{Begun, Incoming, Scatter};
use super::{Each, Part, Parts, Question, begin_each};
use crate::shard::message::{Answer, Op};
use crate::shard::view::View;
use crate::types::{Epoch, Offset};
use crate::wire::codec::{DecodeError, Reader, Writer};
use crate::wire::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use crate::wire::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use bytes::BytesMut;
use std::borrow::Cow;
use std::sync::Arc;

struct EpochEnds;

pub fn begin(scatter: &mut Scatter<'_>, incoming: &Incoming<'_>, frame: BytesMut) -> Result<Begun, DecodeError> {
    begin_each::<EpochEnds>(scatter, incoming, &frame)
}

impl Each for EpochEnds {
    type Answer = Option<(Epoch, Offset)>;

    fn questions(_: &View, body: &[u8], version: i16) -> Result<Vec<Question>, DecodeError> {
        let request = OffsetForLeaderEpochRequest::decode(&mut Reader::new(body), version)?;
        let mut questions = Vec::new();
        for topic in &request.topics {
            let name: Arc<str> = (*topic.topic).into();
            questions.extend(topic.partitions.iter().map(|partition| Question {
                topic: name.clone(),
                index: partition.partition,
                op: Op::EpochEnd {
                    epoch: Epoch(partition.leader_epoch),
                    leader_epoch: Epoch(partition.current_leader_epoch),
                },
            }));
        }
        Ok(questions)
    }

    fn keep(answer: Answer) -> Option<(Epoch, Offset)> {
        let Answer::EpochEnd { epoch, offset } = answer else { panic!("an epoch's end is not answered by {answer:?}") };
        Some((epoch, offset))
    }

    fn encode(parts: &Parts<Option<(Epoch, Offset)>>, _: &View, w: &mut Writer, version: i16) {
        let partition = |part: &Part<Option<(Epoch, Offset)>>| {
            let (leader_epoch, end_offset) = part.answer.unwrap_or((Epoch::NONE, -1));
            EpochEndOffset {
                error_code: part.code.code(),
                partition: part.index,
                leader_epoch: leader_epoch.0,
                end_offset,
            }
        };
        let topics = parts.by_topic(|name, parts| OffsetForLeaderTopicResult {
            topic: Cow::Borrowed(name),
            partitions: parts.iter().map(partition).collect(),
        });
        OffsetForLeaderEpochResponse { topics, ..Default::default() }.encode(w, version);
    }
}
