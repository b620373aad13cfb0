//! Commands of TPM 2.0 as bytes (Library Part 3): what a machine, its owner or somebody on the bus does without a vault.
//!
//! All are authorized with an empty password, which is what an emulated TPM has in every hierarchy.

/// Tag, length, code: what every command and every answer begins with.
pub const HEADER_LEN: usize = 10;

/// `TPM2_NV_Increment`.
pub const NV_INCREMENT: u32 = 0x134;
/// `TPM2_NV_Read`.
pub const NV_READ: u32 = 0x14e;
/// `TPM2_NV_ReadPublic`.
pub const NV_READ_PUBLIC: u32 = 0x169;
/// `TPM2_PCR_Read`.
pub const PCR_READ: u32 = 0x17e;
/// `TPM2_Unseal`.
pub const UNSEAL: u32 = 0x15e;

/// The code of a command.
#[must_use]
pub fn code(command: &[u8]) -> u32 {
    word_at(command, 6)
}

/// The result of an answer; zero is success.
#[must_use]
pub fn result(answer: &[u8]) -> u32 {
    word_at(answer, 6)
}

/// An answer that says "done" and nothing else.
#[must_use]
pub fn done() -> Vec<u8> {
    vec![0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0]
}

/// An answer with a result code.
#[must_use]
pub fn refusal(result: u32) -> Vec<u8> {
    [&[0x80, 0x01, 0, 0, 0, 10], result.to_be_bytes().as_slice()].concat()
}

/// Measures `digest` into a register of the SHA-256 bank (`TPM2_PCR_Extend`).
#[must_use]
pub fn extend(register: u8, digest: &[u8; 32]) -> Vec<u8> {
    // A list of one digest, with its algorithm.
    authorized(0x182, &[u32::from(register)], &[[0, 0, 0, 1, 0, SHA256].as_slice(), digest].concat())
}

/// Says that the power goes (`TPM2_Shutdown`, `TPM_SU_CLEAR`).
#[must_use]
pub fn shutdown() -> Vec<u8> {
    plain(0x145, &[0, 0])
}

/// Clears the owner's hierarchy (`TPM2_Clear` by the platform).
#[must_use]
pub fn clear() -> Vec<u8> {
    authorized(0x126, &[PLATFORM], &[])
}

/// Counts, as whoever reaches the TPM can (`TPM2_NV_Increment`).
#[must_use]
pub fn increment(index: u32) -> Vec<u8> {
    authorized(NV_INCREMENT, &[index, index], &[])
}

/// Takes an index away (`TPM2_NV_UndefineSpace` by the owner).
#[must_use]
pub fn undefine(index: u32) -> Vec<u8> {
    authorized(0x122, &[OWNER, index], &[])
}

/// Makes an ordinary index of eight bytes, which can be written to any value (`TPM2_NV_DefineSpace`).
#[must_use]
pub fn define_ordinary(index: u32) -> Vec<u8> {
    let area = [index.to_be_bytes().as_slice(), &[0, SHA256], &ORDINARY.to_be_bytes(), &[0, 0, 0, 8]].concat();
    // No password, then the public area with its length.
    authorized(0x12a, &[OWNER], &[&[0, 0, 0, 14], area.as_slice()].concat())
}

/// Writes eight bytes into an ordinary index (`TPM2_NV_Write`).
#[must_use]
pub fn write(index: u32, value: u64) -> Vec<u8> {
    authorized(0x137, &[index, index], &[&[0, 8], value.to_be_bytes().as_slice(), &[0, 0]].concat())
}

fn plain(code: u32, parameters: &[u8]) -> Vec<u8> {
    with_header(0x8001, code, parameters)
}

fn authorized(code: u32, handles: &[u32], parameters: &[u8]) -> Vec<u8> {
    let mut body: Vec<u8> = handles.iter().flat_map(|handle| handle.to_be_bytes()).collect();
    // One session: TPM_RS_PW, no nonce, no attributes, an empty password.
    body.extend_from_slice(&[0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
    body.extend_from_slice(parameters);
    with_header(0x8002, code, &body)
}

fn with_header(tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(HEADER_LEN + body.len()).expect("a command of a test is short");
    [tag.to_be_bytes().as_slice(), &len.to_be_bytes(), &code.to_be_bytes(), body].concat()
}

fn word_at(message: &[u8], at: usize) -> u32 {
    message.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(u32::MAX, u32::from_be_bytes)
}

const OWNER: u32 = 0x4000_0001;
const PLATFORM: u32 = 0x4000_000c;
const SHA256: u8 = 0x0b;
/// NO_DA, AUTHREAD and AUTHWRITE of an ordinary index.
const ORDINARY: u32 = 0x0204_0004;
