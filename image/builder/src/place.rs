//! Where things are: what is ours in the checkout, and what is made in `.dev/image` beside it, which git ignores.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::{Variant, Which};

/// The folders.
#[derive(Debug)]
pub(crate) struct Place {
    /// The checkout.
    pub(crate) checkout: PathBuf,
    made: PathBuf,
}

impl Place {
    /// In this checkout.
    pub(crate) fn of(checkout: &Path) -> anyhow::Result<Self> {
        let checkout = fs::canonicalize(checkout).with_context(|| format!("no folder {}", checkout.display()))?;
        ensure!(
            checkout.join("image/mkosi/mkosi.conf").exists(),
            "{} is no checkout of Holdfast: name one with --checkout",
            checkout.display()
        );
        let made = checkout.join(".dev/image");
        fs::create_dir_all(&made).with_context(|| format!("cannot make {}", made.display()))?;
        Ok(Self { checkout, made })
    }

    /// A folder of `image/`.
    pub(crate) fn ours(&self, name: &str) -> PathBuf {
        self.checkout.join("image").join(name)
    }

    /// What is made and kept.
    pub(crate) fn made(&self, name: &str) -> PathBuf {
        self.made.join(name)
    }

    /// What the build of one image leaves.
    pub(crate) fn output(&self, which: &Which) -> PathBuf {
        let variant = match which.variant {
            Variant::Release => "",
            Variant::Trial => "-trial",
            Variant::Test => "-test",
        };
        self.made.join("out").join(format!("{}{variant}", which.board))
    }
}
