//! What happened, in a ring: followers take up where they left off, and learn of what they missed.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use holdfast_api::{Event, EventKind, Gap, Timestamp};
use tokio::sync::watch;

use crate::clock;

/// The ring. Its numbers only rise, also over a restart: each start of the daemon has a block of them.
#[derive(Debug)]
pub struct Events {
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring {
    kept: VecDeque<Event>,
    /// The number of the newest event; the end of the block before while there is none.
    newest: u64,
}

impl Events {
    /// An empty ring with the numbers of this start of the daemon, as [`Folder::count_start`] counts them.
    ///
    /// [`Folder::count_start`]: crate::folder::Folder::count_start
    #[must_use]
    pub fn new(start: u64) -> Self {
        let newest = start.saturating_mul(BLOCK);
        Self { ring: Mutex::new(Ring { kept: VecDeque::new(), newest }), newest: watch::Sender::new(newest) }
    }

    /// Keeps an event and tells followers; returns its number.
    pub fn push(&self, what: EventKind) -> u64 {
        let id = {
            let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
            ring.newest += 1;
            if ring.kept.len() == EVENTS_MAX {
                ring.kept.pop_front();
            }
            let event = Event { id: ring.newest, at: Timestamp(clock::now()), what };
            ring.kept.push_back(event);
            ring.newest
        };
        self.newest.send_if_modified(|newest| {
            // Two writers may come here in the other order.
            let rises = id > *newest;
            *newest = id.max(*newest);
            rises
        });
        id
    }

    /// The events after a number, oldest first, at most [`PAGE_MAX`]: ask again with the last one's number. When some of
    /// them are not kept any more, or the number is of no event that this box knows, a gap comes first.
    #[must_use]
    pub fn since(&self, id: u64) -> Vec<Event> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let first = ring.kept.front().map_or(ring.newest + 1, |event| event.id);
        // Numbers follow one another, so a number is a place.
        let mut page = Vec::new();
        let mut skip = usize::try_from(id.saturating_add(1).saturating_sub(first)).unwrap_or(usize::MAX);
        let from_elsewhere = id > ring.newest;
        if from_elsewhere || id.saturating_add(1) < first {
            let gap = Gap { from: if from_elsewhere { 0 } else { id + 1 }, to: first - 1 };
            page.push(Event { id: gap.to, at: Timestamp(clock::now()), what: EventKind::Gap(gap) });
            skip = 0;
        }
        page.extend(ring.kept.iter().skip(skip).take(PAGE_MAX).cloned());
        page
    }

    /// The number of the newest event, as it rises.
    #[must_use]
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
}

/// Events kept: those of some hours.
pub const EVENTS_MAX: usize = 16_384;

/// Events in one page, so that a follower who comes back late takes what it missed in pieces.
pub const PAGE_MAX: usize = 512;

/// The numbers of one start of the daemon. At ten events a second they last for 13 years, and at one start a minute for
/// four years they are still below 2^53, up to which every reader of JSON counts.
const BLOCK: u64 = 1 << 32;

#[cfg(test)]
mod tests {
    use holdfast_api::ModeChange;
    use holdfast_types::Mode;

    use super::*;

    fn mode(reason: &str) -> EventKind {
        EventKind::Mode(ModeChange { mode: Mode::Syncing, reason: reason.to_owned() })
    }

    fn reasons(events: &[Event]) -> Vec<&str> {
        fn reason(event: &Event) -> Option<&str> {
            match &event.what {
                EventKind::Mode(change) => Some(&change.reason),
                _ => None,
            }
        }
        events.iter().filter_map(reason).collect()
    }

    #[test]
    fn a_reader_takes_up_where_it_left_off() {
        let events = Events::new(1);
        let first = events.push(mode("one"));
        events.push(mode("two"));
        let page = events.since(first);
        assert_eq!((reasons(&page), page[0].id), (vec!["two"], first + 1));
        assert_eq!(events.since(first + 1), []);
    }

    #[test]
    fn evicted_events_are_a_gap_that_is_as_long_as_they_are() {
        let events = Events::new(1);
        let first = events.push(mode("evicted"));
        for _ in 0..EVENTS_MAX {
            events.push(mode("kept"));
        }
        let page = events.since(first - 1);
        assert_eq!(page[0].what, EventKind::Gap(Gap { from: first, to: first }));
        assert_eq!((page[0].id, page[1].id, page.len()), (first, first + 1, 1 + PAGE_MAX));
        assert_eq!(events.since(page[PAGE_MAX].id)[0].id, page[PAGE_MAX].id + 1);
    }

    #[test]
    fn after_a_restart_numbers_are_higher_and_the_rest_is_a_gap() {
        let before = Events::new(1);
        let last = before.push(mode("before"));
        let events = Events::new(2);
        let page = events.since(last);
        assert!(matches!(page[..], [Event { what: EventKind::Gap(Gap { from, .. }), .. }] if from == last + 1));
        assert_eq!(events.since(page[0].id), [], "a gap is told once");
        assert!(events.push(mode("after")) > last);
        assert_eq!(reasons(&events.since(page[0].id)), ["after"]);
    }

    #[test]
    fn a_number_of_another_box_gives_all_that_is_kept() {
        let events = Events::new(1);
        events.push(mode("kept"));
        let page = events.since(u64::MAX);
        assert!(matches!(page[0].what, EventKind::Gap(Gap { from: 0, .. })));
        assert_eq!(reasons(&page), ["kept"]);
    }

    #[tokio::test]
    async fn a_follower_is_woken() {
        let events = Events::new(1);
        let mut newest = events.newest();
        let id = events.push(mode("one"));
        newest.changed().await.unwrap();
        assert_eq!(*newest.borrow_and_update(), id);
    }
}
