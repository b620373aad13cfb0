//! Which sealed file may be believed, when the generation counter alone cannot tell.
//!
//! A sealed file is written before the generation counter goes up. One whose count never happened stays on an old disk,
//! and would fit the counter once another change has raised it. So the record must name it.

#[cfg(test)]
mod tests;

use super::record::RecordFound;

/// What a sealed file says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SealedAs {
    /// Its id: the hash of its bytes.
    pub(crate) id: [u8; 32],
    /// The id of the file that it replaced.
    pub(crate) parent: [u8; 32],
    /// The value of the lease counter when it was written.
    pub(crate) born_at: u64,
}

/// Whether a sealed file that opens at the present generation counts: the record names it, or the vault that wrote it
/// was cut off before its record could. Before there is a lease there is no record, and this is not asked.
///
/// The second holds only while the counter has not gone on, so it needs two things of the vault. After a file whose count
/// did not happen it ticks before it writes another. And when the record does not name what it opened, it puts the name
/// there before it ticks, else a second cut would leave it without a file that counts.
pub(crate) fn seal_counts(record: &RecordFound, sealed: &SealedAs, counter: u64) -> bool {
    let RecordFound::Found(record) = record else { return false };
    let cut_off = record.seal == sealed.parent && sealed.born_at == counter && record.counter == counter;
    record.seal == sealed.id || cut_off
}
