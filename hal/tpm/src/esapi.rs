//! [`EsapiTpm`]: the trait over one connection, which is opened anew when it was lost.

use holdfast_hal::tpm::{
    CounterDefined, CounterReading, EndorsementKey, NvIndex, PcrIndex, Quote, Resets, SealedBlob, Statement, Tpm,
    TpmError, TpmKind, TpmName, UnsealPolicy,
};
use holdfast_types::{P256Public, P256Signature, PolicyDigest};
use zeroize::Zeroizing;

use crate::connection::Connection;
use crate::failure::odd_answer;
use crate::raw::Purpose;
use crate::{counter, endorsement, keys, pcr, seal};

/// One TPM, held for as long as this lives: an emulator serves one connection at a time.
///
/// An answer that is cut short, or whose HMAC does not fit, ends the connection and fails the call. The next call opens
/// a new one, to the same storage root key or not at all. It may be another power cycle of the TPM: [`Tpm::resets`]
/// tells.
#[derive(Debug)]
pub struct EsapiTpm {
    address: String,
    kind: TpmKind,
    storage_root_name: TpmName,
    attestation_key_name: Option<TpmName>,
    endorsement_key: Option<EndorsementKey>,
    connection: Option<Connection>,
}

impl EsapiTpm {
    /// Connects to the TPM at `address` and makes its storage root key.
    ///
    /// `device:/dev/tpmrm0` is the machine's TPM behind the kernel's resource manager. Builds with the feature
    /// `danger_emulated_tpm` know `swtpm:host=127.0.0.1,port=N` too; a second connection to one swtpm waits for the
    /// first to end.
    ///
    /// # Errors
    /// [`TpmError::UnknownAddress`], [`TpmError::Unreachable`], [`TpmError::Emulated`] when the device says that it is
    /// software and this build does not accept that, [`TpmError::Refused`] when the storage root key cannot be made.
    pub fn open(address: &str) -> Result<Self, TpmError> {
        let connection = Connection::open(address)?;
        Ok(Self {
            address: address.to_owned(),
            kind: connection.kind,
            storage_root_name: connection.storage_root_name.clone(),
            attestation_key_name: None,
            endorsement_key: None,
            connection: Some(connection),
        })
    }

    /// The connection, or a new one in place of one that was lost.
    fn connection(&mut self) -> Result<&Connection, TpmError> {
        let live = self.connection.take_if(|connection| !connection.esys.is_lost());
        // The lost one ends before the new one begins: an emulator serves one at a time.
        self.connection = None;
        let connection = match live {
            Some(live) => live,
            None => Connection::open(&self.address)?,
        };
        if connection.kind != self.kind || connection.storage_root_name != self.storage_root_name {
            return Err(TpmError::OtherTpm {
                sealed: self.storage_root_name.clone(),
                present: connection.storage_root_name.clone(),
            });
        }
        Ok(self.connection.insert(connection))
    }
}

impl Tpm for EsapiTpm {
    fn kind(&self) -> TpmKind {
        self.kind
    }

    fn random(&mut self, len: usize) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let wanted = u16::try_from(len).ok().filter(|wanted| *wanted <= RANDOM_LEN_MAX);
        let wanted = wanted.ok_or_else(|| odd_answer(RANDOM, "more than 32 bytes asked for"))?;
        let connection = self.connection()?;
        let bytes = connection.esys.random(&connection.session(Purpose::HideAnswer)?, wanted)?;
        if bytes.len() != len {
            return Err(odd_answer(RANDOM, "fewer bytes came than were asked for"));
        }
        Ok(bytes)
    }

    fn read_pcrs(&mut self, pcrs: &[PcrIndex]) -> Result<Vec<[u8; 32]>, TpmError> {
        pcr::read(self.connection()?, pcrs)
    }

    fn storage_root_name(&mut self) -> Result<TpmName, TpmError> {
        Ok(self.storage_root_name.clone())
    }

    fn attestation_key_name(&mut self) -> Result<TpmName, TpmError> {
        if let Some(name) = &self.attestation_key_name {
            return Ok(name.clone());
        }
        let name = keys::attestation_key_name(self.connection()?)?;
        Ok(self.attestation_key_name.insert(name).clone())
    }

    fn resets(&mut self) -> Result<Resets, TpmError> {
        let connection = self.connection()?;
        let (resets, restarts) = connection.esys.resets(&connection.session(Purpose::Audit)?)?;
        Ok(Resets { resets, restarts })
    }

    fn seal(&mut self, secret: &[u8], policy: &PolicyDigest) -> Result<SealedBlob, TpmError> {
        seal::seal(self.connection()?, secret, policy)
    }

    fn unseal(&mut self, blob: &SealedBlob, policy: &UnsealPolicy) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        seal::unseal(self.connection()?, blob, policy)
    }

    fn counter_define(&mut self, index: NvIndex) -> Result<CounterDefined, TpmError> {
        counter::define(self.connection()?, index)
    }

    fn counter_read(&mut self, index: NvIndex) -> Result<CounterReading, TpmError> {
        counter::read(self.connection()?, index)
    }

    fn counter_increment(&mut self, index: NvIndex) -> Result<(), TpmError> {
        counter::increment(self.connection()?, index)
    }

    fn quote(&mut self, pcrs: &[PcrIndex], qualifying: &[u8; 32]) -> Result<Quote, TpmError> {
        keys::quote(self.connection()?, pcrs, qualifying)
    }

    fn certify_counter(&mut self, index: NvIndex, qualifying: &[u8; 32]) -> Result<Statement, TpmError> {
        keys::certify_counter(self.connection()?, index, qualifying)
    }

    fn endorsement_key(&mut self) -> Result<EndorsementKey, TpmError> {
        if let Some(key) = &self.endorsement_key {
            return Ok(key.clone());
        }
        let key = endorsement::key(self.connection()?)?;
        Ok(self.endorsement_key.insert(key).clone())
    }

    fn activate_credential(&mut self, id_object: &[u8], secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let kind = endorsement::kind_of(&self.endorsement_key()?)?;
        endorsement::activate(self.connection()?, kind, id_object, secret)
    }

    fn box_key(&mut self) -> Result<P256Public, TpmError> {
        keys::box_key(self.connection()?)
    }

    fn sign_with_box_key(&mut self, digest: &[u8; 32]) -> Result<P256Signature, TpmError> {
        keys::sign_with_box_key(self.connection()?, digest)
    }
}

const RANDOM: &str = "give random bytes";
/// As the trait promises: every TPM's digests, and so its answers, hold at least this much.
const RANDOM_LEN_MAX: u16 = 32;
