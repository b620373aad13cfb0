//! Parses a history file and folds its records on the way; knows at any time where in the file it is.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use holdfast_types::{AttestationMark, BlockMark, ValidatorMarks, ValidatorPublic};
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::records::{Attestation, Block, Metadata, Object};
use super::{HISTORY_ENTRIES_MAX, HistoryFileError, HistoryLimits, VERSION, higher_block, higher_vote, raise};

/// The watermarks in a file that fits.
pub(super) fn fold(
    bytes: &[u8],
    limits: &HistoryLimits,
) -> Result<BTreeMap<ValidatorPublic, ValidatorMarks>, HistoryFileError> {
    let mut fold = Fold { limits, place: Place::default(), refused: None, marks: BTreeMap::new() };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    match FileSeed(&mut fold).deserialize(&mut deserializer).and_then(|()| deserializer.end()) {
        Ok(()) => Ok(fold.marks),
        Err(err) => Err(fold.refused.unwrap_or_else(|| HistoryFileError::Form { place: fold.place.to_string(), err })),
    }
}

/// What is kept while a file is parsed.
struct Fold<'a> {
    limits: &'a HistoryLimits,
    place: Place,
    /// Why parsing was given up, when it was not for the form.
    refused: Option<HistoryFileError>,
    marks: BTreeMap<ValidatorPublic, ValidatorMarks>,
}

impl Fold<'_> {
    fn refuse<E: serde::de::Error>(&mut self, error: HistoryFileError) -> E {
        self.refused = Some(error);
        E::custom("refused")
    }

    fn check_metadata<E: serde::de::Error>(&mut self, metadata: &Metadata) -> Result<(), E> {
        if metadata.interchange_format_version != VERSION {
            let found = metadata.interchange_format_version.chars().take(24).collect();
            return Err(self.refuse(HistoryFileError::Version { found }));
        }
        let (found, expected) = (metadata.genesis_validators_root, self.limits.genesis_validators_root);
        if found != expected {
            return Err(self.refuse(HistoryFileError::OtherNetwork { found, expected }));
        }
        Ok(())
    }

    /// Takes one entry, whose key may stand behind its records. Only its highest record can be too high.
    fn take<E: serde::de::Error>(&mut self, validator: ValidatorPublic, records: &Records) -> Result<(), E> {
        let (last_epoch, last_slot) = (self.limits.last_epoch.0, self.limits.last_slot.0);
        let highest = [
            (ATTESTATIONS, "source_epoch", records.source, last_epoch),
            (ATTESTATIONS, "target_epoch", records.target, last_epoch),
            (BLOCKS, "slot", records.slot, last_slot),
        ];
        for (list, field, highest, last) in highest {
            if let Some((found, record)) = highest.filter(|(found, _)| *found > last) {
                let place = Place { list: Some(list), record: Some(record), ..self.place };
                let place = format!("{place}.{field}");
                return Err(self.refuse(HistoryFileError::Future { place, validator, found, last }));
            }
        }
        raise(&mut self.marks, ValidatorMarks { validator, attestation: records.attestation, block: records.block });
        Ok(())
    }
}

/// What the records of one entry come to, and the highest number of each kind with the record that has it.
#[derive(Default)]
struct Records {
    attestation: Option<AttestationMark>,
    block: Option<BlockMark>,
    source: Option<(u64, usize)>,
    target: Option<(u64, usize)>,
    slot: Option<(u64, usize)>,
}

impl Records {
    fn vote(&mut self, record: usize, vote: Attestation) {
        self.source = self.source.max(Some((vote.source_epoch.0, record)));
        self.target = self.target.max(Some((vote.target_epoch.0, record)));
        let mark = AttestationMark::from(vote);
        self.attestation = Some(self.attestation.map_or(mark, |before| higher_vote(before, mark)));
    }

    fn proposal(&mut self, record: usize, block: Block) {
        self.slot = self.slot.max(Some((block.slot.0, record)));
        let mark = BlockMark::from(block);
        self.block = Some(self.block.map_or(mark, |before| higher_block(before, mark)));
    }
}

/// Where in the file the parser is.
#[derive(Clone, Copy, Default)]
struct Place {
    entry: Option<usize>,
    list: Option<&'static str>,
    record: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(entry) = self.entry else { return f.write_str("the history file") };
        write!(f, "data[{entry}]")?;
        let Some(list) = self.list else { return Ok(()) };
        write!(f, ".{list}")?;
        self.record.map_or(Ok(()), |record| write!(f, "[{record}]"))
    }
}

/// The file as a whole. Metadata that come first are checked first.
struct FileSeed<'f, 'a>(&'f mut Fold<'a>);

impl<'de> DeserializeSeed<'de> for FileSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FileSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with metadata and data")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut metadata, mut data) = (false, false);
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &*key {
                "metadata" => {
                    once(&mut metadata, "metadata")?;
                    let Object::<Metadata>(found) = map.next_value()?;
                    self.0.check_metadata(&found)?;
                }
                "data" => {
                    once(&mut data, "data")?;
                    map.next_value_seed(DataSeed(self.0))?;
                    self.0.place = Place::default();
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        present(metadata, "metadata")?;
        present(data, "data")
    }
}

/// The list of entries.
struct DataSeed<'f, 'a>(&'f mut Fold<'a>);

impl<'de> DeserializeSeed<'de> for DataSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for DataSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of validators")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for entry in 0.. {
            self.0.place = Place { entry: Some(entry), list: None, record: None };
            if seq.next_element_seed(EntrySeed(self.0))?.is_none() {
                break;
            }
            if entry >= HISTORY_ENTRIES_MAX {
                return Err(self.0.refuse(HistoryFileError::TooMany));
            }
        }
        Ok(())
    }
}

/// One validator with its records.
struct EntrySeed<'f, 'a>(&'f mut Fold<'a>);

impl<'de> DeserializeSeed<'de> for EntrySeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EntrySeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with pubkey, signed_blocks and signed_attestations")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut pubkey = None;
        let (mut blocks, mut attestations) = (false, false);
        let mut records = Records::default();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &*key {
                "pubkey" => {
                    once(&mut pubkey.is_some(), "pubkey")?;
                    pubkey = Some(map.next_value()?);
                }
                BLOCKS => {
                    once(&mut blocks, BLOCKS)?;
                    let take = |record, block| records.proposal(record, block);
                    map.next_value_seed(ListSeed { list: BLOCKS, place: &mut self.0.place, take, kind: PhantomData })?;
                }
                ATTESTATIONS => {
                    once(&mut attestations, ATTESTATIONS)?;
                    let take = |record, vote| records.vote(record, vote);
                    let place = &mut self.0.place;
                    map.next_value_seed(ListSeed { list: ATTESTATIONS, place, take, kind: PhantomData })?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        present(blocks, BLOCKS)?;
        present(attestations, ATTESTATIONS)?;
        let pubkey = pubkey.ok_or_else(|| A::Error::missing_field("pubkey"))?;
        self.0.take(pubkey, &records)
    }
}

/// A list of records, each handed on with its number as soon as it is parsed.
struct ListSeed<'p, T, F> {
    list: &'static str,
    place: &'p mut Place,
    take: F,
    kind: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>, F: FnMut(usize, T)> DeserializeSeed<'de> for ListSeed<'_, T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.place.list = Some(self.list);
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(usize, T)> Visitor<'de> for ListSeed<'_, T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        for record in 0.. {
            self.place.record = Some(record);
            let Some(Object(found)) = seq.next_element()? else { break };
            (self.take)(record, found);
        }
        self.place.list = None;
        self.place.record = None;
        Ok(())
    }
}

fn once<E: serde::de::Error>(seen: &mut bool, field: &'static str) -> Result<(), E> {
    if std::mem::replace(seen, true) { Err(E::duplicate_field(field)) } else { Ok(()) }
}

fn present<E: serde::de::Error>(seen: bool, field: &'static str) -> Result<(), E> {
    if seen { Ok(()) } else { Err(E::missing_field(field)) }
}

const ATTESTATIONS: &str = "signed_attestations";
const BLOCKS: &str = "signed_blocks";
