//! InitProducerId (API 22, KIP-98): ids of idempotent producers.

use super::{Decision, error_code, reply};
use crate::metadata::{Controller, Rejection};
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::{InitProducerIdRequest, InitProducerIdResponse};
use bytes::Bytes;
use std::ops::Range;

/// What stands for a producer's id and epoch where there is none.
const NO_PRODUCER: i64 = -1;
const NO_EPOCH: i16 = -1;

/// Producer ids that the controller has given out and no producer has got. A crash loses them, so no id is used twice.
#[derive(Debug, Default)]
pub struct ProducerIds {
    left: Range<i64>,
}

impl Decision<'_> {
    pub(in crate::shard) fn init_producer_id(self, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
        self.producer_ids.answer(self.controller, head, body)
    }
}

impl ProducerIds {
    /// A producer that names an id and epoch that it had gets a new id too, at epoch 0: its older batches stay apart from
    /// those that follow (KIP-360).
    ///
    /// This broker has no transactions. A producer with a transactional id normally stops before it comes here, at
    /// FindCoordinator; the one that does come gets the same error.
    fn answer(&mut self, controller: &mut Controller, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
        let request = InitProducerIdRequest::decode(&mut Reader::new(body), head.version)?;
        let half = (request.producer_id == NO_PRODUCER) != (request.producer_epoch == NO_EPOCH);
        let decided = match request.transactional_id.as_deref() {
            _ if half => Err(ErrorCode::InvalidRequest),
            Some("") => Err(ErrorCode::InvalidRequest),
            Some(_) => Err(ErrorCode::TransactionalIdAuthorizationFailed),
            None => self.next(controller).map_err(|rejection| error_code(&rejection)),
        };
        let (error, producer_id, producer_epoch) = match decided {
            Ok(id) => (ErrorCode::None, id, 0),
            Err(error) => (error, NO_PRODUCER, NO_EPOCH),
        };
        let response =
            InitProducerIdResponse { error_code: error.code(), producer_id, producer_epoch, ..Default::default() };
        Ok(reply(head, |w| response.encode(w, head.version)))
    }

    fn next(&mut self, controller: &mut Controller) -> Result<i64, Rejection> {
        // The block may be one of the decisions that were lost.
        if self.left.is_empty() || self.left.end > controller.image_decided().producer_id_next() {
            self.left = controller.allocate_producer_ids()?;
        }
        let id = self.left.next().expect("a block is not empty");
        assert!(id >= 0 && id < controller.image_decided().producer_id_next());
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Written;
    use crate::shard::query::fixture::{World, ask};

    fn request(transactional_id: Option<&'static str>) -> InitProducerIdRequest<'static> {
        InitProducerIdRequest {
            transactional_id: transactional_id.map(Into::into),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        }
    }

    fn ask(world: &mut World, version: i16, request: InitProducerIdRequest<'_>) -> (i16, i64, i16) {
        let response = ask!(world.command(version), InitProducerId, InitProducerIdResponse, request);
        (response.error_code, response.producer_id, response.producer_epoch)
    }

    #[test]
    fn every_producer_gets_an_id_of_its_own() {
        let mut world = World::new(&[]);
        for version in 0..=5 {
            assert_eq!(ask(&mut world, version, request(None)), (0, i64::from(version), 0));
        }
        let index = world.controller.index();
        assert_eq!(world.controller.image_decided().producer_id_next(), 1000);
        for id in 6..1000 {
            assert_eq!(ask(&mut world, 4, request(None)), (0, id, 0));
        }
        // A block is one decision.
        assert_eq!(world.controller.index(), index);
        assert_eq!(ask(&mut world, 4, request(None)), (0, 1000, 0));
        assert_eq!(world.controller.index(), index + 1);
    }

    #[test]
    fn a_producer_that_starts_over_gets_a_new_id() {
        let mut world = World::new(&[]);
        let named =
            |producer_id, producer_epoch| InitProducerIdRequest { producer_id, producer_epoch, ..request(None) };
        assert_eq!(ask(&mut world, 3, named(-1, -1)), (0, 0, 0));
        assert_eq!(ask(&mut world, 5, named(0, 4)), (0, 1, 0));
        assert_eq!(ask(&mut world, 5, named(0, -1)), (42, -1, -1));
        assert_eq!(ask(&mut world, 5, named(-1, 4)), (42, -1, -1));
        // Version 2 cannot name them.
        assert_eq!(ask(&mut world, 2, named(0, -1)), (0, 2, 0));
    }

    #[test]
    fn transactions_are_refused_for_good() {
        let mut world = World::new(&[]);
        let index = world.controller.index();
        for version in [0, 5] {
            assert_eq!(ask(&mut world, version, request(Some("t"))), (53, -1, -1));
            assert_eq!(ask(&mut world, version, request(Some(""))), (42, -1, -1));
        }
        assert!(!ErrorCode::TransactionalIdAuthorizationFailed.retriable());
        assert_eq!(world.controller.index(), index);
    }

    #[test]
    fn ids_that_may_not_be_durable_are_not_given_out() {
        let mut world = World::new(&[]);
        assert_eq!(ask(&mut world, 4, request(None)), (0, 0, 0));
        world.controller.plan_write().expect("something is to be written");
        world.controller.written(Written::Failed);
        assert_eq!(ask(&mut world, 4, request(None)), (56, -1, -1));
    }
}
