//! A copy of a disk at one moment, cheap enough to take after every action.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::content::Content;

/// The files of a disk, by name.
#[derive(Clone, Default)]
pub struct Snapshot {
    pub(super) files: Arc<BTreeMap<Arc<str>, Content>>,
}

impl Snapshot {
    /// The names of the files, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(AsRef::as_ref)
    }

    /// The bytes of a file.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<Vec<u8>> {
        self.files.get(name).map(Content::to_vec)
    }

    /// A copy in which those files that `takes` picks are as in `other`: also not there, when they are not there.
    #[must_use]
    pub fn with(&self, other: &Self, takes: impl Fn(&str) -> bool) -> Self {
        let mine = self.files.iter().filter(|(name, _)| !takes(name));
        let theirs = other.files.iter().filter(|(name, _)| takes(name));
        let files = mine.chain(theirs).map(|(name, content)| (Arc::clone(name), content.clone()));
        Self { files: Arc::new(files.collect()) }
    }

    /// A copy in which a file has these bytes.
    #[must_use]
    pub fn with_file(&self, name: &str, bytes: &[u8]) -> Self {
        let mut content = Content::default();
        content.write(0, bytes);
        let mut files = BTreeMap::clone(&self.files);
        files.insert(name.into(), content);
        Self { files: Arc::new(files) }
    }

    /// Whether both hold the same files.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        let mut pairs = self.files.iter().zip(other.files.iter());
        self.files.len() == other.files.len()
            && pairs.all(|((mine, content), (theirs, other))| mine == theirs && content.same_as(other))
    }
}
