//! What a coordinator's answers mean to a member of a group of the classic protocol.

use crate::wire::error::ErrorCode;

/// What an answer's code means to the member that gets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// All is well.
    Member,
    /// The answer has the id with which to join (KIP-394).
    IdGiven,
    /// The group forms anew: join again, with what it has.
    Rebalance,
    /// The group has gone on without the member, which is still known: join again; what it had is another's.
    GenerationLost,
    /// The group knows the member no more: join again without an id; what it had is another's.
    MembershipLost,
    /// Another one of the same instance id has taken the member's place for good (KIP-345).
    Replaced,
    /// Another broker coordinates the group: find it, and ask there.
    CoordinatorMoved,
    /// The coordinator is not ready: ask again a little later.
    CoordinatorLoading,
    /// What no member of good will expects.
    Refused(ErrorCode),
}

impl Standing {
    /// What Kafka's clients make of the code of an answer to JoinGroup, SyncGroup, Heartbeat, LeaveGroup or OffsetCommit. A
    /// number that Kafka has not given out is an unknown error.
    pub fn of(code: i16) -> Standing {
        match ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError) {
            ErrorCode::None => Standing::Member,
            ErrorCode::MemberIdRequired => Standing::IdGiven,
            ErrorCode::RebalanceInProgress => Standing::Rebalance,
            ErrorCode::IllegalGeneration => Standing::GenerationLost,
            // A group ends with its last member, whose session is over.
            ErrorCode::UnknownMemberId | ErrorCode::GroupIdNotFound => Standing::MembershipLost,
            ErrorCode::FencedInstanceId => Standing::Replaced,
            ErrorCode::CoordinatorLoadInProgress | ErrorCode::UnstableOffsetCommit => Standing::CoordinatorLoading,
            ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::RequestTimedOut
            | ErrorCode::NetworkException => Standing::CoordinatorMoved,
            code => Standing::Refused(code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_means_something() {
        let meant = ErrorCode::ALL.iter().filter(|code| !matches!(Standing::of(code.code()), Standing::Refused(_)));
        assert_eq!(meant.count(), 13);
        assert_eq!(Standing::of(ErrorCode::InvalidGroupId.code()), Standing::Refused(ErrorCode::InvalidGroupId));
        assert_eq!(Standing::of(9999), Standing::Refused(ErrorCode::UnknownServerError));
    }
}
