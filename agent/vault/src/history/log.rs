//! The log of orders and refusals as a hash chain. It knows neither where the entries lie nor what they mean.

use holdfast_vault_client::LoggedOrder;

/// What is to be logged.
#[derive(Clone, Debug)]
pub(crate) struct NewEntry {
    /// When, by the vault's clock, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// The kind of the order, or of the request that was refused.
    pub(crate) kind: String,
    /// SHA-256 of the order as it came; zero for other requests.
    pub(crate) order: [u8; 32],
    /// `None` when it was carried out, else why not.
    pub(crate) refused: Option<String>,
}

/// Where a log ends: how many entries it ever had, and the hash of the last; zero before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LogEnd {
    pub(super) count: u64,
    pub(super) head: [u8; 32],
}

impl LogEnd {
    /// The entry that comes next.
    pub(super) fn next(&self, entry: NewEntry) -> LoggedOrder {
        let NewEntry { at_ms, kind, order, refused } = entry;
        let mut entry = LoggedOrder {
            number: self.count + 1,
            at_ms,
            kind: shortened(&kind),
            order,
            refused: refused.as_deref().map(shortened),
            hash: [0; 32],
        };
        entry.hash = entry.hash_after(&self.head);
        entry
    }

    /// The end after `entry`, if that is the next one.
    pub(super) fn after(&self, entry: &LoggedOrder) -> Option<Self> {
        let follows = self.count.checked_add(1) == Some(entry.number) && entry.hash_after(&self.head) == entry.hash;
        follows.then_some(Self { count: entry.number, head: entry.hash })
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// How many entries are kept: at ten orders or refusals a day, those of three years.
pub(super) const ENTRIES_KEPT: u64 = 10_000;
/// Our longest sentence has about 300; a refusal may quote bytes of whoever asked, and a page of entries is one message.
const TEXT_CHARS_MAX: usize = 500;
