//! One connection to a TPM, with the storage root key loaded for as long as it lives.

use holdfast_hal::tpm::{TpmError, TpmKind, TpmName};

use crate::address;
use crate::failure::Failure;
#[cfg(feature = "danger_emulated_tpm")]
use crate::left_over;
use crate::raw::{Esys, Hierarchy, Object, Purpose, Session};
use crate::template;

/// Everything else that a call loads is given back before it returns.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) esys: Esys,
    pub(crate) kind: TpmKind,
    pub(crate) storage_root: Object,
    pub(crate) storage_root_name: TpmName,
}

impl Connection {
    /// Connects to the TPM at `address` and makes its storage root key.
    pub(crate) fn open(address: &str) -> Result<Self, TpmError> {
        let (conf, promised) = address::parse(address)?;
        #[cfg(feature = "danger_emulated_tpm")]
        if let Some(port) = address::emulated_port(address) {
            left_over::flush(port)
                .map_err(|err| TpmError::Unreachable { address: address.to_owned(), err: Box::new(err) })?;
        }
        let esys = Esys::open(&conf)
            .map_err(|err| TpmError::Unreachable { address: address.to_owned(), err: Box::new(err) })?;
        let kind = if esys.maker()? == Some(MAKER_LIBTPMS) { TpmKind::Emulated } else { promised };
        if kind == TpmKind::Emulated && !cfg!(feature = "danger_emulated_tpm") {
            return Err(TpmError::Emulated { address: address.to_owned() });
        }
        // No session: there is nothing yet to salt one to. Whoever compares the Name finds a key that was put there.
        let (storage_root, area) =
            esys.create_primary("make the storage root key", Hierarchy::Owner, None, &template::storage_root())?;
        let storage_root = storage_root.keep();
        Ok(Self { esys, kind, storage_root, storage_root_name: TpmName(template::name(&area).to_vec()) })
    }

    /// Opens a session that is salted to the storage root key.
    pub(crate) fn session(&self, purpose: Purpose) -> Result<Session<'_>, Failure> {
        self.esys.session(self.storage_root, purpose)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.esys.flush(self.storage_root);
    }
}

/// "IBM": what libtpms, and so swtpm behind a virtual machine's TPM device, answers. Not proof of hardware when absent:
/// an emulator can answer anything.
const MAKER_LIBTPMS: u32 = 0x4942_4d00;
