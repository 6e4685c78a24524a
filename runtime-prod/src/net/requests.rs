//! The requests of one connection that are under way, with when each began.

use crate::monitor::metrics::IoMetrics;
use karst_core::kafka::Api;
use karst_core::machine::Instant;
use karst_core::session::RequestNumber;
use std::collections::VecDeque;
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Requests {
    begun: VecDeque<(RequestNumber, Api, Instant)>,
    last: RequestNumber,
}

impl Requests {
    /// Follows what the session says is `under_way`, in order: what is not any more has been answered by now, what is new
    /// has begun.
    pub(super) fn follow<I>(&mut self, now: Instant, under_way: impl Fn() -> I, metrics: &IoMetrics)
    where
        I: DoubleEndedIterator<Item = (RequestNumber, Api)>,
    {
        let first = under_way().next().map(|(number, _)| number);
        while let Some((_, api, begun)) =
            self.begun.pop_front_if(|(number, ..)| first.is_none_or(|first| *number < first))
        {
            metrics.answered(api, Duration::from_nanos(now.0.saturating_sub(begun.0)));
        }
        let seen = self.last;
        let at = self.begun.len();
        for (number, api) in under_way().rev().take_while(|(number, _)| *number > seen) {
            // An answer that leaves in parts is named for each.
            if self.begun.get(at).is_none_or(|(later, ..)| *later != number) {
                self.begun.insert(at, (number, api, now));
            }
            self.last = self.last.max(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::histogram::Histogram;

    fn counts(metrics: &IoMetrics) -> (u64, u64) {
        let of = |api| Histogram::sum(metrics.requests_of(api).into_iter()).count();
        (of(Api::Produce), of(Api::Fetch))
    }

    #[test]
    fn each_request_is_counted_once_when_it_is_gone() {
        let (mut requests, metrics) = (Requests::default(), IoMetrics::default());
        let (produce, fetch) = (Api::Produce, Api::Fetch);
        let mut now = Instant(0);
        let mut follow = |under_way: &[(u64, Api)]| {
            now = Instant(now.0 + 1_000_000);
            let named = || under_way.iter().map(|(number, api)| (RequestNumber(*number), *api));
            requests.follow(now, named, &metrics);
            counts(&metrics)
        };
        assert_eq!(follow(&[]), (0, 0));
        assert_eq!(follow(&[(1, produce), (2, produce)]), (0, 0));
        assert_eq!(follow(&[(1, produce), (2, produce), (3, produce)]), (0, 0));
        assert_eq!(follow(&[(3, produce)]), (2, 0));
        assert_eq!(follow(&[]), (3, 0));
        // An answer that leaves in parts.
        assert_eq!(follow(&[(5, fetch), (5, fetch), (5, fetch)]), (3, 0));
        assert_eq!(follow(&[(5, fetch)]), (3, 0));
        assert_eq!(follow(&[(6, produce)]), (3, 1));
    }
}
