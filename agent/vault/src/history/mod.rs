//! The slashing history.

use holdfast_types::{SigningRoot, ValidatorPublic};

/// The history has recorded this signing root for this validator, and the record is on the disk. Made only by
/// `History::check_and_record`.
#[derive(Debug)]
pub(crate) struct Recorded {
    validator: ValidatorPublic,
    root: SigningRoot,
}

impl Recorded {
    pub(crate) fn validator(&self) -> &ValidatorPublic {
        &self.validator
    }

    pub(crate) fn root(&self) -> SigningRoot {
        self.root
    }
}
