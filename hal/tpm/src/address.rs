//! Where the TPM is: `device:PATH`, and in builds for tests `swtpm:host=127.0.0.1,port=N`.

use std::ffi::CString;

use holdfast_hal::tpm::{TpmError, TpmKind};

/// How the TPM stack takes `address`, and what kind of TPM it promises.
pub(crate) fn parse(address: &str) -> Result<(CString, TpmKind), TpmError> {
    let unknown = || TpmError::UnknownAddress { address: address.to_owned() };
    let kind = if address.strip_prefix("device:").is_some_and(|path| path.starts_with('/')) {
        TpmKind::Device
    } else if is_emulated(address) {
        TpmKind::Emulated
    } else {
        return Err(unknown());
    };
    // The stack has the same names for its transports as we have.
    Ok((CString::new(address).map_err(|_| unknown())?, kind))
}

#[cfg(feature = "danger_emulated_tpm")]
fn is_emulated(address: &str) -> bool {
    emulated_port(address).is_some()
}

/// The port of an emulated TPM on this machine. Loopback only: whoever can reach an emulator's socket owns it.
#[cfg(feature = "danger_emulated_tpm")]
pub(crate) fn emulated_port(address: &str) -> Option<u16> {
    address.strip_prefix("swtpm:host=127.0.0.1,port=")?.parse().ok()
}

#[cfg(not(feature = "danger_emulated_tpm"))]
fn is_emulated(_address: &str) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_a_part_of_the_machine() {
        let (conf, kind) = parse("device:/dev/tpmrm0").unwrap();
        assert_eq!((conf.as_c_str(), kind), (c"device:/dev/tpmrm0", TpmKind::Device));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for address in
            ["", "device", "device:", "device:tpm0", "tabrmd", "mssim:port=1", "swtpm", "/dev/tpmrm0", "device:/dev/\0"]
        {
            assert!(matches!(parse(address), Err(TpmError::UnknownAddress { .. })), "accepted {address:?}");
        }
    }

    #[test]
    fn an_emulated_tpm_needs_the_feature_and_loopback() {
        let accepted = parse("swtpm:host=127.0.0.1,port=2321").map(|(_, kind)| kind).ok();
        assert_eq!(accepted, cfg!(feature = "danger_emulated_tpm").then_some(TpmKind::Emulated));
        assert!(parse("swtpm:host=192.0.2.1,port=2321").is_err());
        assert!(parse("swtpm:host=127.0.0.1,port=70000").is_err());
    }
}
