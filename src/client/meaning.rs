//! What the code of an answer tells a client to do.

use crate::wire::error::ErrorCode;

/// What a client does after an answer with a code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// It did what was asked.
    Done,
    /// Ask the same broker again after a pause.
    Again,
    /// Somebody else leads the partition or coordinates the group: learn who it is, and ask there.
    Moved,
    /// Asking again changes nothing.
    Refused,
}

impl Meaning {
    /// What Kafka's clients make of a code. A number that Kafka has not given out is an unknown error.
    pub fn of(code: i16) -> Meaning {
        use ErrorCode::*;
        match ErrorCode::from_code(code).unwrap_or(UnknownServerError) {
            None => Meaning::Done,
            NotLeaderOrFollower
            | LeaderNotAvailable
            | ReplicaNotAvailable
            | FencedLeaderEpoch
            | UnknownLeaderEpoch
            | OffsetNotAvailable
            | KafkaStorageError
            | NetworkException
            | ListenerNotFound
            | UnknownTopicOrPartition
            | UnknownTopicId
            | InconsistentTopicId
            | NotController
            | NotCoordinator
            | CoordinatorNotAvailable => Meaning::Moved,
            code if code.retriable() => Meaning::Again,
            _ => Meaning::Refused,
        }
    }

    /// The same of a partition's part of an answer to Produce: a batch that is there already has been written.
    pub fn of_produce(code: i16) -> Meaning {
        match ErrorCode::from_code(code) {
            Some(ErrorCode::DuplicateSequenceNumber) => Meaning::Done,
            _ => Meaning::of(code),
        }
    }

    /// Whether the same request may succeed later, here or elsewhere.
    pub fn is_passing(self) -> bool {
        matches!(self, Meaning::Again | Meaning::Moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_means_something() {
        for code in ErrorCode::ALL {
            let meaning = Meaning::of(code.code());
            assert_eq!(meaning == Meaning::Done, *code == ErrorCode::None, "{code}");
            assert!(!code.retriable() || meaning.is_passing(), "{code}: Kafka's clients ask again");
        }
        assert_eq!(Meaning::of(ErrorCode::CoordinatorLoadInProgress.code()), Meaning::Again);
        assert_eq!(Meaning::of(ErrorCode::NotLeaderOrFollower.code()), Meaning::Moved);
        assert_eq!(Meaning::of(ErrorCode::MessageTooLarge.code()), Meaning::Refused);
        assert_eq!(Meaning::of(9999), Meaning::Refused);
    }

    #[test]
    fn a_batch_that_is_there_is_written() {
        let duplicate = ErrorCode::DuplicateSequenceNumber.code();
        assert_eq!((Meaning::of_produce(duplicate), Meaning::of(duplicate)), (Meaning::Done, Meaning::Refused));
        assert_eq!(Meaning::of_produce(ErrorCode::NotLeaderOrFollower.code()), Meaning::Moved);
    }
}
