//! What is ours in an image, laid out as it will lie in its root: programs, units, the board's name, the release key.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::board::Board;
use crate::keys::Keys;
use crate::place::Place;
use crate::programs;
use crate::run::run;
use crate::{Variant, Which};

/// Lays everything out in a new folder.
pub(crate) fn lay_out(
    place: &Place,
    which: &Which,
    board: &Board,
    keys: &Keys,
    from: &Path,
) -> anyhow::Result<PathBuf> {
    let stage = place.made("stage");
    if stage.exists() {
        fs::remove_dir_all(&stage).context("cannot remove an older stage")?;
    }
    let (units, own) = (stage.join("usr/lib/systemd/system"), stage.join("usr/lib/holdfast"));
    for folder in [&units, &own] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    programs::copy(from, &stage.join("usr/bin"), &board.architecture)?;
    copy_into(&place.ours("units"), &units)?;
    for variant in variants(which.variant) {
        copy_into(&place.ours("variants").join(variant), &stage)?;
    }
    fs::write(own.join("board.env"), format!("HOLDFAST_BOARD={}\n", board.name)).context("cannot name the board")?;
    fs::write(own.join("release-key"), format!("{}\n", keys.release.public())).context("cannot write the key")?;
    Ok(stage)
}

/// The folders of `image/variants` that a variant is made of.
fn variants(variant: Variant) -> &'static [&'static str] {
    match variant {
        Variant::Release => &[],
        Variant::Trial => &["trial"],
        Variant::Test => &["trial", "test"],
    }
}

fn copy_into(from: &Path, to: &Path) -> anyhow::Result<()> {
    run(Command::new("cp").args(["--recursive", "--no-dereference", "--preserve=mode"]).arg(from.join(".")).arg(to))
}
