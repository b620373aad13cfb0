//! What a duty does between its start and its end, one file per kind.

pub(crate) mod attester;
