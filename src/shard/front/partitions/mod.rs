//! Requests that ask each of some partitions one thing: one file an API.

pub mod delete_records;
pub mod epoch_ends;
pub mod list_offsets;
pub mod log_dirs;
pub mod producers;

use super::gather::{Begun, Incoming, Next, Reply, ReplyHead, Scatter, Work};
use crate::metadata::Topic;
use crate::shard::message::{Answer, Op};
use crate::shard::rules::TopicRules;
use crate::shard::view::View;
use crate::types::{PartitionId, PartitionIndex};
use crate::wire::codec::{DecodeError, Writer};
use crate::wire::error::ErrorCode;
use bytes::BytesMut;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// How many partitions a request asks at the same time.
const ASKS_MAX: usize = 256;

/// A partition that is asked, as the request names it.
struct Question {
    topic: Arc<str>,
    index: PartitionIndex,
    op: Op,
}

/// What is known of a partition; `A` is what its answers are kept as.
struct Part<A> {
    topic: Arc<str>,
    index: PartitionIndex,
    code: ErrorCode,
    answer: A,
    /// `None` if it is not there.
    partition: Option<PartitionId>,
    /// The request names it more than once.
    is_repeated: bool,
}

/// A topic that questions are about, looked up once for those that follow each other.
struct Named {
    name: Arc<str>,
    /// The same for each question about the topic.
    number: usize,
    topic: Option<Arc<Topic>>,
    /// The codes for its partitions, and for those that are not there.
    admitted: ErrorCode,
    absent: ErrorCode,
}

impl Named {
    fn new(view: &mut View, name: &Arc<str>, number: usize, admit: Admit) -> Named {
        let topic = view.image().topic(name).cloned();
        let rules = topic.as_ref().map(|topic| view.rules_of(topic));
        let (admitted, absent) = (admit(name, rules.as_deref()), admit(name, None));
        Named { name: name.clone(), number, topic, admitted, absent }
    }
}

/// The code for a partition of the topic with this name, which is not asked if it is an error; without rules it is not there.
type Admit = fn(&str, Option<&TopicRules>) -> ErrorCode;

/// The partitions of a request, each once, in the order of the request, and what is still to be asked.
struct Parts<A> {
    parts: Vec<Part<A>>,
    queue: VecDeque<(u32, PartitionId, Op)>,
}

impl<A: Default> Parts<A> {
    /// The partitions that these questions are about; `admit` is that of [`Each`].
    fn new(view: &mut View, questions: Vec<Question>, admit: Admit) -> Parts<A> {
        let (mut parts, mut queue) = (Vec::<Part<A>>::new(), VecDeque::new());
        let (mut numbers, mut places) = (HashMap::new(), HashMap::new());
        let mut last = None::<Named>;
        for Question { topic, index, op } in questions {
            let named = match last.take() {
                Some(named) if named.name == topic => named,
                _ => {
                    let next = numbers.len();
                    Named::new(view, &topic, *numbers.entry(topic.clone()).or_insert(next), admit)
                }
            };
            let place = parts.len();
            let first = *places.entry((named.number, index)).or_insert(place);
            if first == place {
                let partition = named.topic.as_ref().and_then(|topic| view.led(topic, index));
                let code = if partition.is_some() { named.admitted } else { named.absent };
                if code == ErrorCode::None {
                    queue.extend(partition.map(|partition| (place as u32, partition, op)));
                }
                parts.push(Part { topic, index, code, answer: A::default(), partition, is_repeated: false });
            } else {
                parts[first].is_repeated = true;
            }
            last = Some(named);
        }
        Parts { parts, queue }
    }

    /// Asks the first partitions.
    fn begin(&mut self, scatter: &mut Scatter<'_>) {
        (0..ASKS_MAX).for_each(|_| self.ask_next(scatter));
    }

    /// Asks the next partition, if there is one.
    fn ask_next(&mut self, scatter: &mut Scatter<'_>) {
        while let Some((number, partition, op)) = self.queue.pop_front() {
            let Some(topic) = scatter.view.image().topic_by_id(partition.topic).cloned() else {
                // Deleted meanwhile.
                self.parts[number as usize].code = ErrorCode::UnknownTopicOrPartition;
                continue;
            };
            return scatter.ask(number, partition, &topic, op);
        }
    }

    /// One element a topic, for the runs of parts of the same topic.
    fn by_topic<'a, T>(&'a self, make: impl Fn(&'a str, &'a [Part<A>]) -> T) -> Vec<T> {
        self.parts.chunk_by(|a, b| a.topic == b.topic).map(|parts| make(&parts[0].topic, parts)).collect()
    }
}

fn if_there(rules: Option<&TopicRules>) -> ErrorCode {
    if rules.is_some() { ErrorCode::None } else { ErrorCode::UnknownTopicOrPartition }
}

/// An API whose answer is made of one answer of each partition.
trait Each: Sized + 'static {
    /// What is kept of a partition's answer.
    type Answer: Default;

    fn questions(view: &View, body: &[u8], version: i16) -> Result<Vec<Question>, DecodeError>;

    /// The code for a partition of this topic, which is not asked if it is an error; without rules it is not there.
    fn admit(_: &str, rules: Option<&TopicRules>) -> ErrorCode {
        if_there(rules)
    }

    /// Keeps an answer other than an error.
    fn keep(answer: Answer) -> Self::Answer;

    fn encode(parts: &Parts<Self::Answer>, view: &View, w: &mut Writer, version: i16);
}

/// A request of such an API in progress.
struct Asking<E: Each> {
    head: ReplyHead,
    parts: Parts<E::Answer>,
}

fn begin_each<E: Each>(
    scatter: &mut Scatter<'_>,
    incoming: &Incoming<'_>,
    frame: &BytesMut,
) -> Result<Begun, DecodeError> {
    let head = &incoming.head;
    let body = &frame[head.body_start..];
    let questions = E::questions(scatter.view, body, head.version)?;
    let mut parts = Parts::new(scatter.view, questions, E::admit);
    parts.begin(scatter);
    let work = Box::new(Asking::<E> { head: ReplyHead::new(head), parts });
    Ok(Begun::Started { work, deadline: None, silent: false })
}

impl<E: Each> Work for Asking<E> {
    fn answered(&mut self, scatter: &mut Scatter<'_>, part: u32, answer: Answer) {
        let part = &mut self.parts.parts[part as usize];
        match answer {
            Answer::Failed(code) => part.code = code,
            answer => part.answer = E::keep(answer),
        }
        self.parts.ask_next(scatter);
    }

    fn gathered(&mut self, _: &mut Scatter<'_>) -> Next {
        assert!(self.parts.queue.is_empty(), "who has answered makes room for the next");
        Next::Reply
    }

    fn reply(self: Box<Self>, scatter: &mut Scatter<'_>) -> Reply {
        let Asking { head, parts } = *self;
        Reply::Send(head.frame(|w| E::encode(&parts, scatter.view, w, head.version)))
    }
}
