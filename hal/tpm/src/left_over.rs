//! What a client that was killed left in an emulated TPM.
//!
//! A chip lies behind the kernel's resource manager, which flushes for the dead. swtpm has nobody who does, and only
//! three places for objects: after three killed clients a fourth would find no room. Its socket serves one client at a
//! time, so whatever is loaded when we come belongs to nobody.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// Flushes every loaded object and session of the swtpm at `port`.
pub(crate) fn flush(port: u16) -> io::Result<()> {
    let mut tpm = TcpStream::connect(("127.0.0.1", port))?;
    for first in [FIRST_TRANSIENT, FIRST_LOADED_SESSION] {
        let mut command = GET_HANDLES.to_vec();
        command.extend_from_slice(&first.to_be_bytes());
        command.extend_from_slice(&HANDLES_MAX.to_be_bytes());
        // The header, "is there more", the capability, the number of handles; then the handles.
        let answer = send(&mut tpm, &command)?;
        for handle in answer.get(19..).unwrap_or_default().chunks_exact(4) {
            send(&mut tpm, &[FLUSH_CONTEXT, handle].concat())?;
        }
    }
    Ok(())
}

fn send(tpm: &mut TcpStream, command: &[u8]) -> io::Result<Vec<u8>> {
    tpm.write_all(command)?;
    let mut header = [0; 10];
    tpm.read_exact(&mut header)?;
    let [_, _, len @ .., _, _, _, _] = header;
    let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
    if !(header.len()..=ANSWER_LEN_MAX).contains(&len) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "swtpm answers with an impossible length"));
    }
    let mut answer = header.to_vec();
    answer.resize(len, 0);
    tpm.read_exact(&mut answer[header.len()..])?;
    Ok(answer)
}

/// `TPM2_GetCapability(TPM_CAP_HANDLES)`, up to its first handle.
const GET_HANDLES: &[u8] = &[0x80, 0x01, 0, 0, 0, 22, 0, 0, 0x01, 0x7a, 0, 0, 0, 1];
/// `TPM2_FlushContext`, up to its handle.
const FLUSH_CONTEXT: &[u8] = &[0x80, 0x01, 0, 0, 0, 14, 0, 0, 0x01, 0x65];
const FIRST_TRANSIENT: u32 = 0x8000_0000;
const FIRST_LOADED_SESSION: u32 = 0x0200_0000;
/// More than an emulator holds at once.
const HANDLES_MAX: u32 = 64;
/// The largest answer of a TPM (`TPM_PT_MAX_RESPONSE_SIZE`).
const ANSWER_LEN_MAX: usize = 4096;
