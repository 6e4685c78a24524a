//! Looks at machines, between two of their turns and on their own threads, when somebody asks.

use super::groups;
use karst_core::data_object::ReadStats;
use karst_core::log_cache::Bytes;
use karst_core::shard::{Pool, Shard, WatchedGroups};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// What the shard knows that others want to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShardView {
    pub(crate) topics: usize,
    pub(crate) partitions: usize,
    pub(crate) objects: usize,
    pub(crate) cache: Bytes,
    pub(crate) reads: ReadStats,
    pub(crate) credit: Vec<PoolView>,
    /// Only if that was asked for.
    pub(crate) groups: Option<WatchedGroups>,
}

/// How much of it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Detail {
    /// What costs next to nothing.
    Brief = 1,
    /// The groups, too: the shard goes through them.
    Groups = 2,
}

/// A pool of credit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolView {
    pub(crate) name: &'static str,
    pub(crate) total: u64,
    pub(crate) free: u64,
    pub(crate) waiting: usize,
}

impl ShardView {
    fn of(shard: &Shard, detail: u8) -> Self {
        let pools = shard.credit().map(|pool| PoolView {
            name: name(pool.pool),
            total: pool.total,
            free: pool.free,
            waiting: pool.waiting,
        });
        Self {
            topics: shard.image().map_or(0, |image| image.topics.len()),
            partitions: shard.open_streams(),
            objects: shard.image().map_or(0, |image| image.objects.len()),
            cache: shard.cache_bytes(),
            reads: shard.reads(),
            credit: pools.collect(),
            groups: (detail >= Detail::Groups as u8).then(|| shard.watch_groups(groups::METRICS)),
        }
    }
}

const fn name(pool: Pool) -> &'static str {
    match pool {
        Pool::Idle => "idle",
        Pool::Produce => "produce",
        Pool::LargeProduce => "produce_large",
        Pool::Control => "control",
        Pool::Answers => "answer",
        Pool::ControlAnswers => "answer_control",
    }
}

/// Asks the shard for a look at it.
pub(crate) struct Look {
    shared: Arc<Shared>,
    wake: Box<dyn Fn() + Send + Sync>,
}

/// The shard's side of it.
pub(crate) struct Looked(Arc<Shared>);

struct Shared {
    /// The most that anybody has asked for since the last look: 0, or a [`Detail`].
    asked: AtomicU8,
    latest: watch::Sender<ShardView>,
}

impl Look {
    /// Both sides; `wake` has the shard take a turn.
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> (Self, Looked) {
        let shared = Arc::new(Shared { asked: AtomicU8::new(0), latest: watch::Sender::default() });
        (Self { shared: shared.clone(), wake: Box::new(wake) }, Looked(shared))
    }

    /// How it is now, or `None` if it takes no turn for so long.
    pub(crate) async fn now(&self, detail: Detail, patience: Duration) -> Option<ShardView> {
        let mut latest = self.shared.latest.subscribe();
        self.shared.asked.fetch_max(detail as u8, Ordering::AcqRel);
        (self.wake)();
        let seen = async {
            loop {
                latest.changed().await.ok()?;
                // The first look may be one that was begun before this was asked for, with less in it.
                let view = latest.borrow_and_update().clone();
                if detail == Detail::Brief || view.groups.is_some() {
                    return Some(view);
                }
            }
        };
        timeout(patience, seen).await.ok()?
    }
}

impl Looked {
    /// Between two turns.
    pub(crate) fn at(&self, shard: &Shard) {
        if self.0.asked.load(Ordering::Relaxed) != 0 {
            let detail = self.0.asked.swap(0, Ordering::AcqRel);
            self.0.latest.send_replace(ShardView::of(shard, detail));
        }
    }
}

impl fmt::Debug for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Look").finish_non_exhaustive()
    }
}
