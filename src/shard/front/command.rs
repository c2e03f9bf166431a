//! Requests that the controller decides: the whole frame goes there, the whole answer comes back.

use super::gather::{Reply, Scatter, Work};
use crate::shard::message::Answer;
use bytes::Bytes;

#[derive(Default)]
pub struct Command {
    response: Option<Vec<Bytes>>,
}

impl Work for Command {
    fn answered(&mut self, _: &mut Scatter<'_>, _: u32, answer: Answer) {
        let Answer::Decided(response) = answer else { panic!("the controller does not answer with {answer:?}") };
        self.response = response;
    }

    fn reply(self: Box<Self>, _: &mut Scatter<'_>) -> Reply {
        match self.response {
            Some(response) => Reply::Send(response),
            None => Reply::Close("malformed request".into()),
        }
    }
}
