//! Situations that matter and are rare: the branches that a campaign must have reached, or it proved little.
//!
//! ```text
//!   machine:    sometimes!(Mark::TornTail, seen.any)
//!                   │  a `tracing` event at TRACE level, of the target [`Mark::TARGET`]
//!   simulation: counted for each run, by its thread       production: not enabled, costs one load and a branch
//! ```
//! All marks are listed here, so that those are known, too, which nobody ever reached. A mark decides nothing.

use tracing::Level;

/// Notes that this place was reached, or, with a condition, that it holds here. The condition is evaluated only while
/// somebody watches: it must have no effect.
macro_rules! sometimes {
    ($mark:expr) => {
        $mark.reach()
    };
    ($mark:expr, $condition:expr) => {
        if $crate::machine::Mark::is_watched() && $condition {
            $mark.reach();
        }
    };
}

pub(crate) use sometimes;

macro_rules! marks {
    ($($(#[doc = $meaning:literal])+ $mark:ident = $name:literal,)*) => {
        /// A situation that a campaign should reach.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Mark {
            $($(#[doc = $meaning])+ $mark,)*
        }

        impl Mark {
            /// All of them; each is found at its own number.
            pub const ALL: &'static [Self] = &[$(Self::$mark,)*];

            /// How a campaign calls it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$mark => $name,)*
                }
            }

            /// What happened, for a person.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$mark => concat!($($meaning),+),)*
                }
            }
        }
    };
}

marks! {
    /// An object of the WAL, of which nobody knew whether it had been put, is there.
    OwnWalObjectRecognised = "object-wal.own-object-recognised",
    /// An object of the WAL is durable before an earlier one.
    WalObjectsOutOfOrder = "object-wal.objects-out-of-order",
    /// There are as many objects of the WAL as there may be, and records wait.
    WalObjectsAtBound = "object-wal.at-bound",
    /// The object WAL asks for a cut, since it is half full.
    ObjectWalHalfFull = "object-wal.half-full",
    /// A put meets the seal of a later life.
    WalFoundSealed = "object-wal.sealed-by-later-life",
    /// A recovery ends an earlier life by a seal.
    WalSealed = "object-wal.recovered-with-seal",
    /// A recovery finds the seal of an earlier one, or its own.
    WalSealFound = "object-wal.seal-found",
    /// Something is where a recovery wanted to put its seal.
    WalSealBeaten = "object-wal.seal-beaten",
    /// An object of the WAL could not be read, and is read again.
    WalObjectReadAgain = "object-wal.read-again",
    /// A recovery commits an object of the WAL as it is.
    WalObjectAdopted = "object-wal.object-adopted",
    /// An object of a WAL that had become data is deleted, since no stream needs it any more.
    AdoptedWalObjectDeleted = "object-wal.adopted-object-deleted",
    /// An object of a WAL that is over is deleted.
    OldWalObjectDeleted = "object-wal.old-object-deleted",
    /// A record is cut into fragments since it does not fit into a block.
    RecordSpansBlocks = "wal.record-spans-blocks",
    /// A record crosses the end of the ring.
    RecordCrossesRingEnd = "wal.record-crosses-ring-end",
    /// A block became durable before the one in front of it.
    BlocksOutOfOrder = "wal.blocks-out-of-order",
    /// A cut marker lies below the durable LSN, since a record crosses that.
    CutBelowDurable = "wal.cut-below-durable",
    /// A cut is made because half of the ring is in none.
    RingHalfFull = "wal.ring-half-full",
    /// The header records the durable LSN because nothing happened for a while.
    IdleHeader = "wal.idle-header",
    /// The log is poisoned while several of its writes are in flight.
    PoisonedWithWritesInFlight = "wal.poisoned-with-writes-in-flight",
    /// A poisoned log still says up to where it can be cut.
    CutOfPoisonedWal = "wal.cut-of-poisoned-wal",

    /// Recovery ends at a hole behind which later blocks lie.
    TornTail = "recovery.torn-tail",
    /// Recovery drops the first fragments of a record whose last one never reached the disk.
    HalfRecord = "recovery.half-record",
    /// Recovery gives the records in more than one part.
    RecoveredInParts = "recovery.in-parts",
    /// Nothing follows the committed end, and only the block in front of it shows that the log came so far.
    LookedBack = "recovery.looked-back",
    /// A read fails while the log is recovered.
    RecoveryReadFailed = "recovery.read-failed",
    /// Recovery finds records that were committed before the crash.
    RecoveredCommitted = "recovery.already-committed",
    /// Recovery keeps records that were deleted before they were committed, since a producer wrote them.
    RecoveredDeleted = "recovery.deleted-of-producer",
    /// Recovery finds records of a topic that is deleted.
    RecoveredOfDeletedTopic = "recovery.of-deleted-topic",

    /// After a start a group goes on as it was, without a rebalance.
    GroupLoadedStable = "group.loaded-stable",
    /// After a start a group goes on waiting for its leader's assignment.
    GroupLoadedUnassigned = "group.loaded-unassigned",
    /// Somebody asks for a group that is still being read.
    GroupAskedWhileLoading = "group.asked-while-loading",
    /// Live keys of the groups' log are written again.
    GroupLogRewritten = "group.log-rewritten",
    /// A rebalance begins while the leader's assignment is awaited.
    RebalancedWhileCompleting = "group.rebalanced-while-completing",
    /// The leader's assignment becomes durable when the group has moved on.
    AssignedTooLate = "group.assigned-too-late",
    /// A member was silent for its session timeout.
    MemberExpired = "group.member-expired",
    /// A group begins another generation.
    Rebalanced = "group.rebalanced",
    /// A group's first rebalance waits longer since members come.
    InitialRebalanceExtended = "group.initial-rebalance-extended",
    /// A static member comes back without its id.
    StaticMemberReplaced = "group.static-member-replaced",
    /// A static member comes back, and nobody else notices.
    StaticMemberKeptGroupStable = "group.static-member-kept-group-stable",
    /// Offsets go since nobody wants them any more.
    OffsetsExpired = "group.offsets-expired",
    /// Offsets go with their topic.
    OffsetsDeletedWithTopic = "group.offsets-deleted-with-topic",
    /// A group without members and offsets is removed.
    EmptyGroupRemoved = "group.empty-removed",

    /// The broker is told to stop before it serves.
    StoppedBeforeServing = "node.stopped-before-serving",
    /// The log fails while the broker is stopping.
    PoisonedWhileStopping = "node.poisoned-while-stopping",
    /// An upload that was never committed is found and deleted.
    OrphanDeleted = "node.orphan-deleted",
    /// The bucket is listed in more than one page.
    ScrubbedInPages = "node.scrubbed-in-pages",

    /// An object that is already there turns out to be what an earlier attempt put.
    OwnObjectRecognised = "upload.own-object-recognised",
    /// A cut is in the bucket before an earlier one is.
    UploadsOutOfOrder = "upload.out-of-order",
    /// There is no space for objects.
    StoreFull = "upload.store-full",
    /// A cut without records is committed.
    EmptyCut = "upload.empty-cut",

    /// A swap of the head without an answer turns out to have succeeded.
    OwnSwapRecognised = "controller.own-swap-recognised",
    /// A swap of the head without an answer turns out to have failed, and is tried again.
    SwapTriedAgain = "controller.swap-tried-again",
    /// The store refuses a swap of the head for another that is in progress.
    SwapConflict = "controller.swap-conflict",
    /// Somebody else's swap, such as a dead predecessor's late one, comes before the claim of the head.
    ClaimLost = "controller.claim-lost",
    /// Entries leave the head as a segment.
    SegmentSpilled = "controller.segment-spilled",
    /// The image leaves the head as a snapshot.
    SnapshotWritten = "controller.snapshot-written",
    /// What is to leave the head is there by an earlier attempt.
    SpillWasThere = "controller.spill-was-there",
    /// The log is read from a snapshot, segments and inline entries.
    OpenedFromAllParts = "controller.opened-from-all-parts",
    /// Metadata to which no head refers is found.
    OrphanedMetadata = "controller.orphaned-metadata",

    /// A batch waits since the log has granted no room.
    AppendWaitedForRoom = "shard.append-waited-for-room",
    /// A produce is answered since its time is up, before all of it is durable.
    ProduceLate = "shard.produce-late",
    /// A client that believes in another leader is told who leads.
    LeaderTold = "shard.leader-told",
    /// A connection closes while batches of it wait for room.
    ClosedWithAppendsWaiting = "shard.closed-with-appends-waiting",
    /// A topic is deleted while a batch for it waits for room.
    DeletedWhileWaiting = "shard.deleted-while-waiting",
    /// A topic is deleted while a batch for it is on its way to the disk.
    DeletedInFlight = "shard.deleted-in-flight",
    /// A batch becomes durable after its topic was deleted.
    DurableAfterDelete = "shard.durable-after-delete",
    /// The log fails while appends wait for it.
    PoisonedWithAppendsInFlight = "shard.poisoned-with-appends-in-flight",
    /// A cut marker arrives after the last cut.
    MarkerAfterLastCut = "shard.marker-after-last-cut",
    /// A batch is sent again while it is in flight, and waits for itself.
    DuplicateInFlight = "shard.duplicate-in-flight",
    /// A batch is sent again when it is durable, and is answered with its offset.
    DuplicateDurable = "shard.duplicate-durable",
    /// A batch does not follow its producer's last one.
    SequenceGap = "shard.sequence-gap",
    /// A producer that has batches in flight is unknown, and the first of them was refused: so is the next.
    GapAfterRefusal = "shard.gap-after-refusal",
    /// A producer that is unknown is taken in the middle of its sequence.
    ProducerTakenMidway = "shard.producer-taken-midway",
    /// A producer begins a newer epoch without asking.
    ProducerEpochBumped = "shard.producer-epoch-bumped",
    /// A producer that was idle for long is forgotten.
    ProducerForgotten = "shard.producer-forgotten",
    /// A producer writes to a partition whose producers are not loaded yet.
    ProducersAwaited = "shard.producers-awaited",
    /// What is known of producers has to be read again.
    ProducersReadAgain = "shard.producers-read-again",
    /// A cut tells all that is known of a partition's producers.
    ProducersWritten = "shard.producers-written",
    /// A fetch waited and is woken by an append.
    FetchWoken = "shard.fetch-woken",
    /// A fetch waited as long as it may.
    FetchExpired = "shard.fetch-expired",
    /// One fetch takes records from the log cache and from objects.
    FetchFromBoth = "shard.fetch-from-both",
    /// A fetch begins again since an object that it wanted is gone.
    FetchBegunAgain = "shard.fetch-begun-again",
    /// An object, or a part of it, arrives unreadable and is read again.
    ObjectReadAgain = "shard.object-read-again",
    /// A read waits for blocks that are on their way to another.
    ReadJoined = "reads.joined",
    /// A read waits since as much is being read as may be.
    ReadWaitedInLine = "reads.waited-in-line",
    /// A read ends unserved since others were before it for too long.
    ReadCrowdedOut = "reads.crowded-out",
    /// Adjacent blocks that several reads want are asked for together.
    ReadsMerged = "reads.merged",
    /// A block was read ahead when it was wanted.
    ReadAheadUsed = "reads.ahead-used",
    /// A block was read ahead for nothing.
    ReadAheadWasted = "reads.ahead-wasted",
    /// What was read ahead did not come.
    ReadAheadFailed = "reads.ahead-failed",
    /// Less is read ahead, since a reader goes on elsewhere or came too late.
    ReadAheadShrunk = "reads.ahead-shrunk",
    /// A block that was read ahead has left when it is wanted.
    BlockLeftWhileWanted = "reads.block-left-while-wanted",
    /// Several reads wait for a load that fails.
    LoadFailedForMany = "reads.load-failed-for-many",
    /// A record is looked for by its time in an object.
    TimeReadFromObject = "shard.time-read-from-object",
    /// A record is looked for by its time by a job.
    TimeComputed = "shard.time-computed",
    /// The largest time of something that is searched is that of a record below the log's start.
    TimeBoundTrimmed = "shard.time-bound-trimmed",
    /// Records were to be deleted from a topic that is compacted only.
    TrimForbidden = "shard.trim-forbidden",
    /// Somebody waits for credit.
    CreditWaited = "shard.credit-waited",
    /// A fetch finds in an object a batch so large that it waits for more credit.
    FetchOfLargeBatch = "shard.fetch-of-large-batch",
    /// A batch is taken that is above the usual limit, since its topic allows it.
    LargeBatchTaken = "shard.large-batch-taken",
    /// A batch is refused that is above the limit of its topic.
    BatchBeyondTopic = "shard.batch-beyond-topic",
    /// A batch is refused that is above what any topic may have.
    BatchBeyondBroker = "shard.batch-beyond-broker",
    /// A search by time finds a batch so large that it waits for more credit.
    SearchOfLargeBatch = "shard.search-of-large-batch",
    /// A fetch has found records, and there is no credit for an answer.
    FetchUnpaid = "shard.fetch-unpaid",
    /// Those who hold credit are told to hurry, since others have waited for it.
    HoldersHurried = "shard.holders-hurried",
    /// A wish beyond its whole pool is granted alone.
    WishBeyondPool = "shard.wish-beyond-pool",

    /// A batch is refused for the times of its records.
    TimestampRefused = "configs.timestamp-refused",
    /// A batch for a compacted topic is refused since a record has no key.
    KeylessRefused = "configs.keyless-refused",
    /// A topic's configs change while batches of it are on their way to the disk.
    ConfiguredInFlight = "configs.changed-in-flight",
    /// A batch gets the time of its append.
    AppendTimeStamped = "configs.append-time-stamped",
    /// A small batch is put into its topic's codec without a job.
    RecompressedAtOnce = "recompression.at-once",
    /// A job has put a batch into its topic's codec.
    RecompressedByJob = "recompression.by-job",
    /// A batch waits behind one of its partition that is being recompressed.
    BehindRecompression = "recompression.behind",
    /// Batches wait for room to be recompressed in.
    RecompressionWaitedForRoom = "recompression.waited-for-room",
    /// A batch was recompressed whose producer does not wait any more.
    RecompressedForNobody = "recompression.for-nobody",
    /// A batch is too large in its topic's codec.
    RecompressedTooLarge = "recompression.too-large",
    /// Records go since they are old.
    TrimmedByAge = "retention.by-age",
    /// Records go since there are too many.
    TrimmedBySize = "retention.by-size",
    /// Old records stay since others in their range are young.
    KeptByYoung = "retention.kept-by-young",

    /// A connection is closed for a frame that makes no sense.
    MalformedFrame = "session.malformed-frame",
    /// A connection is closed since its client does not go on.
    ClientTooSlow = "session.client-too-slow",
    /// A connection is closed since its client does not go on, and others wait for what it holds.
    HeldUpOthers = "session.held-up-others",
    /// An answer is held back for earlier ones.
    AnswerHeldBack = "session.answer-held-back",
    /// A connection is not read since its request has no credit.
    ReadingPaused = "session.reading-paused",

    /// A lost WAL is given up.
    WalGivenUp = "node.wal-given-up",
    /// A WAL is not given up: it is another one, it is there, or nothing is left to give up.
    GiveUpRefused = "node.give-up-refused",

    /// The committed ranges of a deleted topic are dropped.
    CommitOfDeletedTopic = "metadata.commit-of-deleted-topic",
    /// A compaction is committed that rewrote records of a topic which was deleted meanwhile.
    CompactedDeleted = "metadata.compacted-deleted",
    /// A compaction is committed that rewrote records which were trimmed meanwhile.
    CompactedTrimmed = "metadata.compacted-trimmed",

    /// What was to be read about producers was in an object that another has taken the place of.
    ProducersReplaced = "compaction.producers-replaced",
    /// A fetch looks again since the object that it read was rewritten.
    ReadReplaced = "compaction.read-replaced",
    /// Objects were rewritten, and others took their place.
    Compacted = "compaction.committed",
    /// Records that had been in shared objects for long went into objects of their own.
    ForceSplit = "compaction.force-split",
    /// Rewriting objects failed, and is given up for a while.
    CompactionAbandoned = "compaction.abandoned",
    /// A compaction is given up that may have written objects already.
    CompactionAbandonedHalfWay = "compaction.abandoned-half-way",
    /// It is not known at first whether the entry of a compaction is durable.
    CompactionAmbiguous = "compaction.ambiguous",

    /// Recovery ends at a torn tail, and the broker died while an upload was pending. Seen by whoever watches both.
    TornTailWithUploadPending = "world.torn-tail-with-upload-pending",
    /// A broker dies before it has recovered from the crash before. Seen by whoever watches the process.
    CrashedWhileRecovering = "world.crashed-while-recovering",
    /// A broker dies while it rewrites objects. Seen by whoever watches the process.
    CrashedWhileCompacting = "world.crashed-while-compacting",
    /// A broker dies while its swap of the head is in flight. Seen by whoever watches the bucket.
    CrashedWhileSwapping = "world.crashed-while-swapping",
    /// A broker dies with an object in the bucket that no commit names. Seen by whoever watches the bucket.
    CrashedBeforeCommit = "world.crashed-before-commit",
}

impl Mark {
    /// The target of its events; their field `mark` is its number.
    pub const TARGET: &'static str = "karst::mark";

    /// Notes that it was reached.
    #[inline]
    pub fn reach(self) {
        tracing::event!(target: Mark::TARGET, Level::TRACE, mark = self as u64);
    }

    /// Whether anybody counts marks.
    #[inline]
    #[must_use]
    pub fn is_watched() -> bool {
        tracing::enabled!(target: Mark::TARGET, Level::TRACE)
    }

    /// The mark of that number.
    #[must_use]
    pub fn of_number(number: u64) -> Option<Self> {
        usize::try_from(number).ok().and_then(|number| Self::ALL.get(number)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::Mark;
    use alloc::collections::BTreeSet;

    #[test]
    fn each_mark_is_found_by_its_number_and_has_a_name_and_a_meaning_of_its_own() {
        for (number, mark) in (0_u64..).zip(Mark::ALL) {
            assert_eq!((*mark as u64, Mark::of_number(number)), (number, Some(*mark)));
            assert!(mark.meaning().trim().ends_with('.'), "{mark:?}");
        }
        assert_eq!(Mark::of_number(Mark::ALL.len() as u64), None);
        let names: BTreeSet<&str> = Mark::ALL.iter().map(|mark| mark.name()).collect();
        assert_eq!(names.len(), Mark::ALL.len());
    }
}
