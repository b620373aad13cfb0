//! The boards: small files over one base.

use std::fs;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::place::Place;

/// What a board's file says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Board {
    /// As releases and approvals name it.
    pub(crate) name: String,
    /// As mkosi and systemd name it.
    pub(crate) architecture: String,
}

impl Board {
    /// Reads the file of `name`.
    pub(crate) fn read(place: &Place, name: &str) -> anyhow::Result<Self> {
        let path = place.ours("boards").join(format!("{name}.toml"));
        let text = fs::read_to_string(&path)
            .with_context(|| format!("there is no board {name}: the files of image/boards are all there are"))?;
        let board: Self = toml::from_str(&text).with_context(|| format!("cannot read {}", path.display()))?;
        if board.name != name {
            bail!("{} calls itself {}", path.display(), board.name);
        }
        Ok(board)
    }
}
