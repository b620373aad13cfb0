//! What may be asked to sign, by its own rules.

use holdfast_types::{SigningRoot, ValidatorPublic};

/// A signing root of a kind that cannot be slashed, within its window and under its own domain. Made only here.
#[derive(Debug)]
pub(crate) struct Admitted {
    validator: ValidatorPublic,
    root: SigningRoot,
}

impl Admitted {
    pub(crate) fn validator(&self) -> &ValidatorPublic {
        &self.validator
    }

    pub(crate) fn root(&self) -> SigningRoot {
        self.root
    }
}
