//! The form of one sealed file, versioned and bounded; every length is checked before anything is made of it.
//!
//! Nothing is trusted here: what is in the clear counts only once what is sealed has opened with it.
//!
//! ```text
//! magic     8 bytes, the version in the last
//! constants u32 length, postcard: salt the wrapping key
//! contents  u32 length, postcard: authenticated with the keys
//! halves    twice u32 length, a sealed blob
//! keys      tag, ciphertext
//! shares    tag, ciphertext; one for each validator of the contents, in their order
//! ```

use holdfast_hal::tpm::SealedBlob;
use holdfast_vault_client::codec::BATCH_LEN_MAX;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::constants::Constants;
use super::wrapping::{Halves, TAG_LEN};
use crate::keys::{Pins, SECRETS_LEN};

/// What a file says of itself in the clear, besides the constants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contents {
    /// The value of the generation counter at which it opens.
    pub(super) generation: u64,
    /// The level that the image needs.
    pub(super) level: u64,
    /// The id of the file before; zero for the first of an owner.
    pub(super) parent: [u8; 32],
    /// The value of the lease counter when it was written; 0 for the first of an owner.
    pub(super) born_at: u64,
    /// What the shares belong to; `None` when there are none.
    pub(super) pins: Option<Pins>,
}

/// One sealed file, taken apart. Nothing in it has been checked.
pub(super) struct SealedFile {
    pub(super) id: [u8; 32],
    pub(super) constants: Constants,
    pub(super) constants_bytes: Vec<u8>,
    pub(super) contents: Contents,
    pub(super) contents_bytes: Vec<u8>,
    pub(super) halves: Halves,
    pub(super) keys: Encrypted<SECRETS_LEN>,
    pub(super) shares: Vec<Encrypted<32>>,
}

/// One ciphertext with its tag.
pub(super) struct Encrypted<const LEN: usize> {
    pub(super) tag: [u8; TAG_LEN],
    pub(super) text: [u8; LEN],
}

/// What lies under the name of a generation.
pub(super) enum Read {
    /// Everything was erased with this generation.
    Erased,
    /// Something sealed.
    Sealed(Box<SealedFile>),
    /// Nothing that this version wrote: the part that is wrong.
    Unreadable(&'static str),
}

impl SealedFile {
    /// Takes the bytes of the file of a generation apart.
    pub(super) fn read(bytes: &[u8], generation: u64) -> Read {
        if bytes == erased(generation) {
            return Read::Erased;
        }
        match Self::parse(bytes) {
            Ok(file) if file.contents.generation == generation => Read::Sealed(Box::new(file)),
            Ok(_) => Read::Unreadable("generation"),
            Err(part) => Read::Unreadable(part),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut rest = bytes.strip_prefix(MAGIC).ok_or("version")?;
        let constants_bytes = take_part(&mut rest, CONSTANTS_LEN_MAX).ok_or("part of the constants")?;
        let constants = Constants::from_bytes(constants_bytes).ok_or("part of the constants")?;
        let contents_bytes = take_part(&mut rest, CONTENTS_LEN_MAX).ok_or("list of contents")?;
        let contents: Contents = match postcard::take_from_bytes(contents_bytes) {
            Ok((contents, [])) => contents,
            _ => return Err("list of contents"),
        };
        let mut take_blob = || SealedBlob::from_bytes(take_part(&mut rest, BLOB_LEN_MAX)?).ok();
        let halves = Halves {
            image: take_blob().ok_or("half for the image")?,
            boot_state: take_blob().ok_or("half for the boot state")?,
        };
        let keys = Encrypted::take(&mut rest).ok_or("part with the keys")?;
        let held = contents.pins.as_ref().map_or(0, |pins| pins.validators.len());
        if held > BATCH_LEN_MAX || rest.len() != held * Encrypted::<32>::LEN {
            return Err("part with the shares");
        }
        let shares = std::iter::from_fn(|| Encrypted::take(&mut rest)).collect();
        let (constants_bytes, contents_bytes) = (constants_bytes.to_vec(), contents_bytes.to_vec());
        let id = id_of(bytes);
        Ok(Self { id, constants, constants_bytes, contents, contents_bytes, halves, keys, shares })
    }

    /// The bytes of a file. The caller has kept to the bounds.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        put_part(&mut out, &self.constants_bytes);
        put_part(&mut out, &self.contents_bytes);
        put_part(&mut out, &self.halves.image.to_bytes());
        put_part(&mut out, &self.halves.boot_state.to_bytes());
        self.keys.put(&mut out);
        self.shares.iter().for_each(|share| share.put(&mut out));
        out
    }
}

impl Contents {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("contents have a fixed form")
    }
}

impl<const LEN: usize> Encrypted<LEN> {
    const LEN: usize = TAG_LEN + LEN;

    fn take(rest: &mut &[u8]) -> Option<Self> {
        let (tag, after) = rest.split_first_chunk()?;
        let (text, after) = after.split_first_chunk()?;
        *rest = after;
        Some(Self { tag: *tag, text: *text })
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.tag);
        out.extend_from_slice(&self.text);
    }
}

/// By what a file is known to the record of the lease and to the file after it.
pub(super) fn id_of(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The file that stands for everything having been erased with this generation.
pub(super) fn erased(generation: u64) -> Vec<u8> {
    [ERASED, &generation.to_be_bytes()].concat()
}

/// The name of the file of a generation.
pub(super) fn name_of(generation: u64) -> String {
    format!("{NAME_START}{generation}")
}

/// The generation of a file with this name; `None` for files of other kinds.
pub(super) fn generation_of(name: &str) -> Option<u64> {
    let generation = name.strip_prefix(NAME_START)?.parse().ok()?;
    (name == name_of(generation)).then_some(generation)
}

fn take_part<'a>(rest: &mut &'a [u8], len_max: usize) -> Option<&'a [u8]> {
    let (len, after) = rest.split_first_chunk()?;
    let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
    if len > len_max {
        return None;
    }
    let (part, after) = after.split_at_checked(len)?;
    *rest = after;
    Some(part)
}

fn put_part(out: &mut Vec<u8>, part: &[u8]) {
    let len = u32::try_from(part.len()).expect("every bound is below 2^32");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(part);
}

/// How the name of everything begins that belongs to something sealed, unfinished copies included.
pub(super) const NAME_START: &str = "sealed-";
const MAGIC: &[u8] = b"HFVAULT\x02";
const ERASED: &[u8] = b"HFVOID\x00\x01";
/// Some hundred bytes, and 12 for each fork of a network.
pub(super) const CONSTANTS_LEN_MAX: usize = 16 * 1024;
/// 49 bytes for each validator, and some hundred.
const CONTENTS_LEN_MAX: usize = 64 * 1024;
/// The bound of the parts of a blob together, and their lengths.
const BLOB_LEN_MAX: usize = 1024;
