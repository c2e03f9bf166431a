//! InitProducerId (API 22, KIP-98): ids of idempotent producers.

use std::ops::Range;

use bytes::Bytes;

use super::{error_code, reply};
use crate::metadata::{Controller, Rejection};
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::{InitProducerIdRequest, InitProducerIdResponse};

/// What stands for a producer's id and epoch where there is none.
const NO_PRODUCER: i64 = -1;
const NO_EPOCH: i16 = -1;

/// Producer ids that the controller has given out and no producer has got. A crash loses them, so no id is used twice.
#[derive(Debug, Default)]
pub struct ProducerIds {
    left: Range<i64>,
}

impl ProducerIds {
    /// A producer that names an id and epoch that it had gets a new id too, at epoch 0: its older batches stay apart from
    /// those that follow (KIP-360).
    ///
    /// This broker has no transactions. A producer with a transactional id normally stops before it comes here, because
    /// FindCoordinator is not advertised; the one that does come gets TRANSACTIONAL_ID_AUTHORIZATION_FAILED, which clients
    /// take as final and as being about this id. COORDINATOR_NOT_AVAILABLE would have them try again forever.
    pub(super) fn answer(
        &mut self,
        controller: &mut Controller,
        head: &Head<'_>,
        body: &[u8],
    ) -> Result<Vec<Bytes>, DecodeError> {
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
        let response = InitProducerIdResponse {
            error_code: error.code(),
            producer_id,
            producer_epoch,
            ..Default::default()
        };
        Ok(reply(head, |w| response.encode(w, head.version)))
    }

    fn next(&mut self, controller: &mut Controller) -> Result<i64, Rejection> {
        // The block may be one of the decisions that were lost.
        if controller.has_failed() {
            return Err(Rejection::StorageFailed);
        }
        if self.left.is_empty() {
            self.left = controller.allocate_producer_ids()?;
        }
        let id = self.left.next().expect("a block is not empty");
        assert!(id >= 0 && id < controller.image_decided().producer_id_next());
        Ok(id)
    }
}
