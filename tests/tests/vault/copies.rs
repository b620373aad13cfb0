//! Copies of folders, as somebody takes them who has the disk in his hands.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// A copy of a folder of files.
pub(crate) struct Copy(PathBuf);

impl Copy {
    /// Copies the files of `folder` to a new folder `to`.
    pub(crate) fn take(folder: &Path, to: &Path) -> anyhow::Result<Self> {
        copy(folder, to)?;
        Ok(Self(to.to_owned()))
    }

    /// Puts the copy in the place of `folder`, whatever that holds.
    pub(crate) fn put(&self, folder: &Path) -> anyhow::Result<()> {
        copy(&self.0, folder)
    }

    /// Puts the files whose names begin so in the place of those that begin so in `folder`.
    pub(crate) fn put_only(&self, folder: &Path, beginning: &str) -> anyhow::Result<()> {
        remove(folder, beginning)?;
        copy_into(&self.0, folder, beginning)
    }

    /// One file of it; `None` when it has none of the name.
    pub(crate) fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.0.join(name)).ok()
    }
}

/// Removes the files of `folder` whose names begin so.
pub(crate) fn remove(folder: &Path, beginning: &str) -> anyhow::Result<()> {
    for name in names(folder, beginning)? {
        fs::remove_file(folder.join(&name)).with_context(|| format!("cannot remove {name} of {}", folder.display()))?;
    }
    Ok(())
}

/// The names of the files of `folder` that begin so.
pub(crate) fn names(folder: &Path, beginning: &str) -> anyhow::Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.collect::<anyhow::Result<_>>()?;
    names.retain(|name| name.starts_with(beginning));
    names.sort();
    Ok(names)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("cannot remove {}", to.display()))?;
    }
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    copy_into(from, to, "")
}

fn copy_into(from: &Path, to: &Path, beginning: &str) -> anyhow::Result<()> {
    for name in names(from, beginning)? {
        match fs::copy(from.join(&name), to.join(&name)) {
            // A vault that runs replaces files under whoever copies them.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            copied => drop(copied.with_context(|| format!("cannot copy {name} of {}", from.display()))?),
        }
    }
    Ok(())
}
