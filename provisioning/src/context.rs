//! The boxes that this operator has: where each is reached, by which key it is known, with which certificate to show.
//!
//! No secret is in it; keys are in files beside it, of which it has the paths.

use std::path::{Path, PathBuf};

use holdfast_types::{BoxName, P256Public};
use serde::{Deserialize, Serialize};

use crate::client::Target;
use crate::files::{self, FileError};
use crate::tls::Expected;

/// All boxes, and which one is meant when none is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Contexts {
    selected: Option<String>,
    contexts: Vec<Context>,
}

/// One box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Context {
    /// What the operator calls it.
    pub name: String,
    /// Where its API is reached.
    pub address: Target,
    /// Its whole name.
    pub box_name: BoxName,
    /// Its key.
    pub box_key: P256Public,
    /// The authority that owns it.
    pub authority: P256Public,
    /// The file of our certificate, in PEM.
    pub client_certificate: PathBuf,
    /// The file of our key, in PEM.
    pub client_key: PathBuf,
    /// What was seen at the pairing. Whatever changes of it later is an alarm.
    pub seen: SeenAtPairing,
}

/// What a box's TPM was at the pairing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeenAtPairing {
    /// The Name of the endorsement key, hex.
    pub endorsement_key: String,
    /// The Name of the attestation key, hex.
    pub attestation_key: String,
    /// What the seal meant on this machine: `A`, `B` or `C`.
    pub tier: String,
}

/// What is wrong with the contexts.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The file.
    #[error("cannot keep the contexts")]
    File(#[from] FileError),
    /// The name is no name.
    #[error("{0:?} is no name for a context: take 1 to 64 letters, digits, dots, dashes or underscores")]
    Name(String),
    /// None is selected.
    #[error("no box is selected: pair one with holdfast pair, or choose one with holdfast context use NAME")]
    NoneSelected,
    /// The file cannot be read as contexts.
    #[error("{} is no file of contexts of this version", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        err: serde_json::Error,
    },
    /// There is no context of this name.
    #[error("there is no context {0:?}: holdfast context list shows those that there are")]
    Unknown(String),
}

impl Contexts {
    /// Those of the file; none when there is none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load(path: &Path) -> Result<Self, ContextError> {
        let Some(bytes) = files::read_bounded(path, FILE_LEN_MAX)? else { return Ok(Self::default()) };
        let contexts: Self =
            serde_json::from_slice(&bytes).map_err(|err| ContextError::Parse { path: path.to_owned(), err })?;
        contexts.contexts.iter().try_for_each(|context| check_name(&context.name))?;
        Ok(contexts)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ContextError> {
        let bytes = serde_json::to_vec_pretty(self).expect("plain data has a form in JSON");
        Ok(files::write_whole(path, &bytes)?)
    }

    /// All, by name.
    #[must_use]
    pub fn all(&self) -> &[Context] {
        &self.contexts
    }

    /// The selected one, if it is there.
    ///
    /// # Errors
    /// When none is.
    pub fn selected(&self) -> Result<&Context, ContextError> {
        self.get(self.selected.as_deref().ok_or(ContextError::NoneSelected)?)
    }

    /// The one of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self, name: &str) -> Result<&Context, ContextError> {
        let found = self.contexts.iter().find(|context| context.name == name);
        found.ok_or_else(|| ContextError::Unknown(name.to_owned()))
    }

    /// Selects the one of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn select(&mut self, name: &str) -> Result<(), ContextError> {
        self.get(name)?;
        self.selected = Some(name.to_owned());
        Ok(())
    }

    /// Adds one, in place of another of the same name.
    ///
    /// # Errors
    /// When its name is none.
    pub fn put(&mut self, context: Context) -> Result<(), ContextError> {
        check_name(&context.name)?;
        self.contexts.retain(|other| other.name != context.name);
        self.contexts.push(context);
        self.contexts.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(())
    }

    /// Takes the one of this name away. The box does not notice.
    ///
    /// # Errors
    /// When there is none.
    pub fn remove(&mut self, name: &str) -> Result<Context, ContextError> {
        let at = self.contexts.iter().position(|context| context.name == name);
        let context = self.contexts.remove(at.ok_or_else(|| ContextError::Unknown(name.to_owned()))?);
        self.selected.take_if(|selected| selected == name);
        Ok(context)
    }
}

impl Context {
    /// What its box must be.
    #[must_use]
    pub const fn expected(&self) -> Expected {
        Expected { name: Some(self.box_name), key: Some(self.box_key) }
    }
}

/// Names are part of file names and of tables.
pub(crate) fn check_name(name: &str) -> Result<(), ContextError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > NAME_LEN_MAX || name.starts_with('.') || !name.bytes().all(good) {
        return Err(ContextError::Name(name.chars().take(NAME_LEN_MAX).collect()));
    }
    Ok(())
}

const NAME_LEN_MAX: usize = 64;
/// A thousand boxes.
const FILE_LEN_MAX: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn context(name: &str) -> Context {
        Context {
            name: name.to_owned(),
            address: "box-7f3a.local".parse().unwrap(),
            box_name: BoxName([1; 32]),
            box_key: P256Public([2; 33]),
            authority: P256Public([3; 33]),
            client_certificate: "clients/a.pem".into(),
            client_key: "clients/a.key".into(),
            seen: SeenAtPairing { tier: "A".to_owned(), ..SeenAtPairing::default() },
        }
    }

    #[test]
    fn contexts_are_kept_selected_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contexts.json");
        let mut contexts = Contexts::load(&path).unwrap();
        assert!(matches!(contexts.selected(), Err(ContextError::NoneSelected)));
        for name in ["box-b", "box-a", "box-b"] {
            contexts.put(context(name)).unwrap();
        }
        contexts.select("box-b").unwrap();
        contexts.save(&path).unwrap();
        let mut read = Contexts::load(&path).unwrap();
        assert_eq!(read, contexts);
        assert_eq!(read.all().iter().map(|context| &context.name[..]).collect::<Vec<_>>(), ["box-a", "box-b"]);
        assert_eq!(read.selected().unwrap(), &context("box-b"));
        read.remove("box-b").unwrap();
        assert!(matches!(read.selected(), Err(ContextError::NoneSelected)));
        assert!(matches!(read.select("box-b"), Err(ContextError::Unknown(_))));
    }

    #[test]
    fn a_name_stays_inside_its_folder_and_its_line() {
        for name in ["", ".hidden", "../up", "a/b", "a b", "a\n", &"a".repeat(65)] {
            assert!(matches!(Contexts::default().put(context(name)), Err(ContextError::Name(_))), "{name:?}");
        }
    }

    #[test]
    fn a_file_of_another_kind_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contexts.json");
        std::fs::write(&path, r#"{"selected":null,"contexts":[],"more":1}"#).unwrap();
        let error = Contexts::load(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("{} is no file of contexts of this version", path.display()));
    }
}
