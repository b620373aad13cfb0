//! [`EsapiTpm`]: the connection, the storage root key, and the trait.

use holdfast_hal::tpm::{NvIndex, PcrIndex, SealedBlob, Tpm, TpmError, TpmKind, TpmName};
use tss_esapi::Context;
use tss_esapi::attributes::ObjectAttributesBuilder;
use tss_esapi::constants::PropertyTag;
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{EccPoint, Public, PublicBuilder, PublicEccParametersBuilder, SymmetricDefinitionObject};
use zeroize::Zeroizing;

use crate::address;
use crate::failure::{Failure, Naming, odd_answer};
#[cfg(feature = "danger_emulated_tpm")]
use crate::left_over;
use crate::session::{Purpose, with_session};
use crate::{counter, pcr, seal};

/// One TPM, held for as long as this lives: an emulator serves one connection at a time.
///
/// The storage root key stays loaded; everything else is flushed before a call returns. An answer whose HMAC does not
/// fit ends the connection: the stack then refuses every later call, and only opening anew helps.
#[derive(Debug)]
pub struct EsapiTpm {
    context: Context,
    kind: TpmKind,
    storage_root: KeyHandle,
    storage_root_name: TpmName,
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
        let (conf, promised) = address::parse(address)?;
        #[cfg(feature = "danger_emulated_tpm")]
        if let Some(port) = address::emulated_port(address) {
            left_over::flush(port)
                .map_err(|err| TpmError::Unreachable { address: address.to_owned(), err: Box::new(err) })?;
        }
        let mut context = Context::new(conf)
            .map_err(|err| TpmError::Unreachable { address: address.to_owned(), err: Box::new(err) })?;
        let maker = context.get_tpm_property(PropertyTag::Manufacturer).naming("name its maker")?;
        let kind = if maker == Some(MAKER_LIBTPMS) { TpmKind::Emulated } else { promised };
        if kind == TpmKind::Emulated && !cfg!(feature = "danger_emulated_tpm") {
            return Err(TpmError::Emulated { address: address.to_owned() });
        }
        let storage_root = create_storage_root(&mut context)?;
        let name = context.tr_get_name(storage_root.into()).naming("name the storage root key")?;
        let storage_root_name = TpmName(name.value().to_vec());
        Ok(Self { context, kind, storage_root, storage_root_name })
    }
}

impl Tpm for EsapiTpm {
    fn kind(&self) -> TpmKind {
        self.kind
    }

    fn random(&mut self, len: usize) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        if len > RANDOM_LEN_MAX {
            return Err(odd_answer(RANDOM, "more than 32 bytes asked for"));
        }
        let bytes = with_session(&mut self.context, self.storage_root, Purpose::HideAnswer, |context, session| {
            context.execute_with_session(Some(session), |context| context.get_random(len)).naming(RANDOM)
        })?;
        if bytes.value().len() != len {
            return Err(odd_answer(RANDOM, "fewer bytes came than were asked for"));
        }
        Ok(Zeroizing::new(bytes.value().to_vec()))
    }

    fn read_pcr(&mut self, index: PcrIndex) -> Result<[u8; 32], TpmError> {
        Ok(pcr::read(&mut self.context, self.storage_root, &[index])?[0])
    }

    fn storage_root_name(&mut self) -> Result<TpmName, TpmError> {
        Ok(self.storage_root_name.clone())
    }

    fn seal(&mut self, secret: &[u8], pcrs: &[PcrIndex]) -> Result<SealedBlob, TpmError> {
        seal::seal(&mut self.context, self.storage_root, &self.storage_root_name, secret, pcrs)
    }

    fn unseal(&mut self, blob: &SealedBlob) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        seal::unseal(&mut self.context, self.storage_root, &self.storage_root_name, blob)
    }

    fn counter_define(&mut self, index: NvIndex) -> Result<(), TpmError> {
        counter::define(&mut self.context, self.storage_root, index)
    }

    fn counter_read(&mut self, index: NvIndex) -> Result<u64, TpmError> {
        counter::read(&mut self.context, self.storage_root, index)
    }

    fn counter_increment(&mut self, index: NvIndex) -> Result<(), TpmError> {
        counter::increment(&mut self.context, self.storage_root, index)
    }
}

/// Makes the storage root key: a function of the owner seed and the template alone, so it is the same key each time
/// until the TPM is cleared.
pub(crate) fn create_storage_root(context: &mut Context) -> Result<KeyHandle, Failure> {
    let template = storage_root_template().naming(STORAGE_ROOT)?;
    let created = context.execute_with_session(Some(AuthSession::Password), |context| {
        context.create_primary(Hierarchy::Owner, template, None, None, None, None)
    });
    Ok(created.naming(STORAGE_ROOT)?.key_handle)
}

/// A storage key on P-256 with AES-128, as the TCG's provisioning guidance has it. Changing it makes every blob dead.
fn storage_root_template() -> tss_esapi::Result<Public> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_restricted(true)
        .with_decrypt(true)
        .build()?;
    let parameters = PublicEccParametersBuilder::new_restricted_decryption_key(
        SymmetricDefinitionObject::AES_128_CFB,
        EccCurve::NistP256,
    );
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_ecc_parameters(parameters.build()?)
        .with_ecc_unique_identifier(EccPoint::default())
        .build()
}

const RANDOM: &str = "give random bytes";
const STORAGE_ROOT: &str = "make the storage root key";
/// As the trait promises: every TPM's digests, and so its answers, hold at least this much.
const RANDOM_LEN_MAX: usize = 32;
/// "IBM": what libtpms, and so swtpm behind a virtual machine's TPM device, answers. Not proof of hardware when absent:
/// an emulator can answer anything.
const MAKER_LIBTPMS: u32 = 0x4942_4d00;
