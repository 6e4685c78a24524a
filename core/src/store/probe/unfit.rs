//! Why a store can't be used, in words for its operator.

use super::StoreError;
use core::fmt;

/// Why a store can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unfit {
    /// It breaks the contract: no cluster is safe on it.
    Flawed(Flaw),
    /// It refuses something for good, while this was done.
    Refused(&'static str, StoreError),
    /// It gave nothing but errors that may pass, for as long as one waits; this was the last.
    Unreachable(StoreError),
    /// The probe was asked to stop.
    GivenUp,
}

/// A way to break the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// A conditional create overwrote an object.
    CreatesTwice,
    /// A swap overwrote another version than the one it named.
    SwapsStale,
    /// A swap created an object.
    SwapsNothing,
    /// A swap of the version that the store named itself was refused.
    RefusesSwap,
    /// A conditional create of a name that nobody has was refused.
    RefusesCreate,
    /// More than one of those who raced to create an object was told to have done it.
    ManyCreators,
    /// More than one of those who raced to swap a version was told to have done it.
    ManySwappers,
    /// It calls a conditional put malformed or not implemented.
    NoConditions,
    /// A read did not return what was written last.
    StaleRead,
    /// A partial read returned other bytes, or another total length.
    WrongRange,
    /// A listing missed or invented names, misplaced them, or told wrong lengths or a wrong end.
    WrongListing,
    /// A deleted object was still there.
    KeepsDeleted,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreatesTwice => {
                "it ignores If-None-Match: a put that may only create an object overwrote one that existed"
            }
            Self::SwapsStale => {
                "it ignores If-Match: a put that may only replace one version of an object replaced another"
            }
            Self::SwapsNothing => "it ignores If-Match: a put that may only replace an object created one",
            Self::RefusesSwap => "it refuses If-Match with the ETag that it had given itself",
            Self::RefusesCreate => "it refuses If-None-Match for a name that no object has",
            Self::ManyCreators => {
                "its If-None-Match is not atomic: of several puts at once that may only create the same object, more than \
                 one succeeded"
            }
            Self::ManySwappers => {
                "its If-Match is not atomic: of several puts at once that may only replace the same version, more than one \
                 succeeded"
            }
            Self::NoConditions => "it does not know conditional puts (If-None-Match, If-Match)",
            Self::StaleRead => "it is not strongly consistent: a read did not return what had been written before it",
            Self::WrongRange => "its ranged reads are wrong: they returned other bytes than were asked for",
            Self::WrongListing => "its listings are wrong: names were missing, superfluous, or out of order",
            Self::KeepsDeleted => "it is not strongly consistent: a deleted object could still be read or listed",
        })
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flawed(flaw) => write!(
                f,
                "the object store cannot hold a Karst cluster: {flaw}. Records would be lost sooner or later. Use a store \
                 with atomic conditional writes and strong consistency"
            ),
            Self::Refused(doing, error) => write!(f, "the object store refused to {doing}: {error}"),
            Self::Unreachable(error) => write!(f, "the object store cannot be used: {error}"),
            Self::GivenUp => f.write_str("the probe of the object store was given up"),
        }
    }
}
