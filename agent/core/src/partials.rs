//! Partial signatures: collect, verify in batches, combine.

/// Work for the worker pool: pure, owns what it needs.
#[derive(Debug)]
pub struct BlsJob;

/// What came of a [`BlsJob`].
#[derive(Debug)]
pub struct BlsDone;
