//! Where the TPM is: `device:PATH`, and in builds for tests `swtpm:host=127.0.0.1,port=N`.

use std::str::FromStr;

use holdfast_hal::tpm::{TpmError, TpmKind};
use tss_esapi::tcti_ldr::{DeviceConfig, TctiNameConf};

/// How to connect to `address`, and what kind of TPM that promises.
pub(crate) fn parse(address: &str) -> Result<(TctiNameConf, TpmKind), TpmError> {
    let unknown = || TpmError::UnknownAddress { address: address.to_owned() };
    if let Some(path) = address.strip_prefix("device:").filter(|path| path.starts_with('/')) {
        let device = DeviceConfig::from_str(path).map_err(|_| unknown())?;
        return Ok((TctiNameConf::Device(device), TpmKind::Device));
    }
    emulated(address).ok_or_else(unknown)
}

#[cfg(feature = "danger_emulated_tpm")]
fn emulated(address: &str) -> Option<(TctiNameConf, TpmKind)> {
    let port = emulated_port(address)?;
    let network = tss_esapi::tcti_ldr::NetworkTPMConfig::from_str(&format!("host=127.0.0.1,port={port}")).ok()?;
    Some((TctiNameConf::Swtpm(network), TpmKind::Emulated))
}

/// The port of an emulated TPM on this machine. Loopback only: whoever can reach an emulator's socket owns it.
#[cfg(feature = "danger_emulated_tpm")]
pub(crate) fn emulated_port(address: &str) -> Option<u16> {
    address.strip_prefix("swtpm:host=127.0.0.1,port=")?.parse().ok()
}

#[cfg(not(feature = "danger_emulated_tpm"))]
fn emulated(_address: &str) -> Option<(TctiNameConf, TpmKind)> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_a_part_of_the_machine() {
        assert!(matches!(parse("device:/dev/tpmrm0"), Ok((TctiNameConf::Device(_), TpmKind::Device))));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for address in ["", "device", "device:", "device:tpm0", "tabrmd", "mssim:port=1", "swtpm", "/dev/tpmrm0"] {
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
