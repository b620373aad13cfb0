//! Plays against the vault in process: it owns the disk, the power, the clock, the TPM and the socket, and looks for two
//! signatures that a validator must never both make.
//!
//! The vault's real handler and real SQLite run on a simulated disk ([`disk`], [`vfs`]), of which a power cut loses any
//! subset of the unsynced operations, at any operation. A seed gives a schedule ([`driver`]): requests of all kinds, cuts,
//! kills, clocks rolled both ways, older and mixed disks, disks and TPMs that fail, another machine's TPM, orders of an
//! honest operator. Whatever is released goes to a judge that knows nothing of the vault ([`checker`]). A run that fails
//! prints its seed and what was done; `HOLDFAST_ADVERSARY_SEED` plays it again, `HOLDFAST_ADVERSARY_RUNS` says how many are
//! played. What was done is counted, and a test asserts a floor under each count.
//!
//! The adversary itself is tested: on a stand-in for the vault it finds nothing in many runs, and something slashable with
//! any one of its defences taken away. Not played here: processes, sockets and a real TPM (`tests/tests/vault`), and a TPM
//! that is rolled back together with the disk, which nothing on the box can notice.

#![deny(unsafe_code)]

pub mod checker;
mod content;
pub mod disk;
pub mod driver;
pub mod place;
pub mod rng;
#[expect(unsafe_code, reason = "SQLite calls its file system layer through C")]
pub mod vfs;
