//! What nodes tell each other about themselves (`cluster-wire.md` section 6).
//!
//! Nothing in it is proven; it serves the operator's eyes. A request's content is never looked at.

use holdfast_types::LockHash;
use prost::Message as _;

use crate::proto::{self, NotProtobuf};

/// What a node says about itself. All of it may be missing, as in the relays' empty request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerInfo {
    /// The version of the protocol that it speaks, as the reference counts them: `v1.11.0-dev`.
    pub version: String,
    /// The lock that it runs; `None` when absent or not 32 bytes long.
    pub lock_hash: Option<LockHash>,
    /// When it sent this.
    pub sent_at: Option<Timestamp>,
    /// The source that it was built from: 7 hex digits, or `unknown`.
    pub git_hash: String,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// Whether it proposes blocks of builders.
    pub builder_api: bool,
    /// What its operator calls it; at most 32 bytes when it is ours.
    pub nickname: String,
    /// The program; empty is read as `charon`.
    pub client: String,
}

/// A time by the clock of whoever wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds since the Unix epoch.
    pub seconds: i64,
    /// Nanoseconds on top.
    pub nanos: i32,
}

/// What the requester knows of itself, to compare an answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ours {
    /// Our lock.
    pub lock_hash: LockHash,
    /// Whether we propose blocks of builders.
    pub builder_api: bool,
}

/// What an answer tells about a peer. None of it is a reason to disconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Findings {
    /// How far the peer's clock is ahead of ours, in milliseconds; at most an hour either way.
    pub clock_offset_ms: i64,
    /// It runs another lock, or does not say which.
    pub other_lock: bool,
    /// It differs in whether it proposes blocks of builders.
    pub other_builder_api: bool,
}

/// Why an answer says nothing about the peer. For the log and the metrics only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerInfoFault {
    /// One of the times is missing.
    #[error("peer info names no time of {0}")]
    NoTime(&'static str),
    /// Not what a commit looks like.
    #[error("peer info names the commit {0:?}, which is neither 7 hex digits nor unknown")]
    GitHash(String),
    /// Not a version, or one that was never supported.
    #[error("peer runs version {0:?}, which is not supported")]
    Version(String),
}

impl PeerInfo {
    /// Decodes a request or an answer.
    ///
    /// # Errors
    ///
    /// [`NotProtobuf`] when the bytes are no such message; a message without any field is one.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotProtobuf> {
        let proto = proto::PeerInfo::decode(bytes)?;
        Ok(Self {
            version: proto.charon_version,
            lock_hash: LockHash::from_slice(&proto.lock_hash),
            sent_at: proto.sent_at.map(Timestamp::from),
            git_hash: proto.git_hash,
            started_at: proto.started_at.map(Timestamp::from),
            builder_api: proto.builder_api_enabled,
            nickname: proto.nickname,
            client: proto.dv_client,
        })
    }

    /// The bytes of the message, without the length that frames them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        proto::PeerInfo {
            charon_version: self.version.clone(),
            lock_hash: self.lock_hash.map(|hash| hash.0.to_vec()).unwrap_or_default(),
            sent_at: self.sent_at.map(Timestamp::into_proto),
            git_hash: self.git_hash.clone(),
            started_at: self.started_at.map(Timestamp::into_proto),
            builder_api_enabled: self.builder_api,
            nickname: self.nickname.clone(),
            dv_client: self.client.clone(),
        }
        .encode_to_vec()
    }

    /// Judges an answer as its requester. `received` is when it came, `rtt_ms` how long it took.
    ///
    /// # Errors
    ///
    /// [`PeerInfoFault`] when the answer is not to be judged further.
    pub fn judge(&self, ours: &Ours, received: Timestamp, rtt_ms: u64) -> Result<Findings, PeerInfoFault> {
        let sent_at = self.sent_at.ok_or(PeerInfoFault::NoTime("sending"))?;
        self.started_at.ok_or(PeerInfoFault::NoTime("starting"))?;
        if !is_git_hash(&self.git_hash) {
            return Err(PeerInfoFault::GitHash(shortened(&self.git_hash)));
        }
        if matches!(self.client.as_str(), "" | "charon") && !is_supported(&self.version) {
            return Err(PeerInfoFault::Version(shortened(&self.version)));
        }
        let half_way = i128::from(rtt_ms / 2);
        let offset = sent_at.millis() - (received.millis() - half_way);
        let clock_offset_ms = offset.clamp(-CLOCK_OFFSET_MAX_MS, CLOCK_OFFSET_MAX_MS);
        Ok(Findings {
            clock_offset_ms: i64::try_from(clock_offset_ms).expect("an hour of milliseconds fits"),
            other_lock: self.lock_hash != Some(ours.lock_hash),
            other_builder_api: self.builder_api != ours.builder_api,
        })
    }
}

impl Timestamp {
    /// A time from milliseconds since the Unix epoch.
    #[must_use]
    pub fn from_millis(millis: u64) -> Self {
        let seconds = i64::try_from(millis / 1000).expect("a u64 of milliseconds has fewer seconds than an i64");
        Self { seconds, nanos: (millis % 1000) as i32 * 1_000_000 }
    }

    /// In `i128`, as a peer may name any time.
    fn millis(self) -> i128 {
        i128::from(self.seconds) * 1000 + i128::from(self.nanos) / 1_000_000
    }

    fn into_proto(self) -> proto::Timestamp {
        proto::Timestamp { seconds: self.seconds, nanos: self.nanos }
    }
}

impl From<proto::Timestamp> for Timestamp {
    fn from(proto: proto::Timestamp) -> Self {
        Self { seconds: proto.seconds, nanos: proto.nanos }
    }
}

fn is_git_hash(text: &str) -> bool {
    text == "unknown" || (text.len() == 7 && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')))
}

/// `vMAJOR.MINOR[.PATCH][-LABEL]`, from v1.0 on.
fn is_supported(version: &str) -> bool {
    let Some(numbers) = version.strip_prefix('v').and_then(|rest| rest.split('-').next()) else { return false };
    let numbers: Option<Vec<u32>> = numbers.split('.').map(|number| number.parse().ok()).collect();
    match numbers.as_deref() {
        Some([major, _] | [major, _, _]) => *major >= 1,
        _ => false,
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

const CLOCK_OFFSET_MAX_MS: i128 = 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn lock_hash() -> LockHash {
        LockHash(std::array::from_fn(|index| index as u8))
    }

    /// The message of `cluster-wire.md` section 14.8.
    fn golden() -> PeerInfo {
        PeerInfo {
            version: "v1.11.0-dev".to_owned(),
            lock_hash: Some(lock_hash()),
            sent_at: Some(Timestamp { seconds: 1_700_000_000, nanos: 5 }),
            git_hash: "abcdef0".to_owned(),
            started_at: Some(Timestamp { seconds: 1_690_000_000, nanos: 0 }),
            builder_api: true,
            nickname: "node-a".to_owned(),
            client: "charon".to_owned(),
        }
    }

    fn judge(alter: impl FnOnce(&mut PeerInfo)) -> Result<Findings, PeerInfoFault> {
        let mut info = golden();
        alter(&mut info);
        let ours = Ours { lock_hash: lock_hash(), builder_api: true };
        info.judge(&ours, Timestamp::from_millis(1_700_000_000_100), 40)
    }

    #[test]
    fn the_frame_is_the_specified_one() {
        let frame = "5c0a0b76312e31312e302d6465761220000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\
                     1a080880e2cfaa0610052207616263646566302a060880b5eda50630013a066e6f64652d614206636861726f6e";
        assert_eq!(hex::encode(crate::frame::encode(&golden().encode())), frame);
        assert_eq!(PeerInfo::decode(&golden().encode()), Ok(golden()));
        assert_eq!(PeerInfo::decode(&[]), Ok(PeerInfo::default()));
        assert!(PeerInfo::decode(&[0xff; 20]).is_err());
    }

    #[test]
    fn an_answer_is_compared_with_what_we_are() {
        let fine = Findings { clock_offset_ms: -80, other_lock: false, other_builder_api: false };
        assert_eq!(judge(|_| ()), Ok(fine));
        assert_eq!(judge(|info| info.lock_hash = None), Ok(Findings { other_lock: true, ..fine }));
        assert_eq!(judge(|info| info.builder_api = false), Ok(Findings { other_builder_api: true, ..fine }));
        let at = |seconds| judge(|info| info.sent_at = Some(Timestamp { seconds, nanos: 0 })).unwrap().clock_offset_ms;
        assert_eq!(at(1_700_000_001), 920);
        assert_eq!(at(i64::MAX), 3_600_000);
        assert_eq!(at(i64::MIN), -3_600_000);
    }

    #[test]
    fn what_cannot_be_judged_is_named() {
        assert_eq!(judge(|info| info.sent_at = None), Err(PeerInfoFault::NoTime("sending")));
        assert_eq!(judge(|info| info.started_at = None), Err(PeerInfoFault::NoTime("starting")));
        for git_hash in ["", "abcdef", "ABCDEF0", "abcdefg", "abcdef01"] {
            let fault = judge(|info| info.git_hash = git_hash.to_owned());
            assert_eq!(fault, Err(PeerInfoFault::GitHash(git_hash.to_owned())));
        }
        assert!(judge(|info| info.git_hash = "unknown".to_owned()).is_ok());
    }

    #[test]
    fn versions_count_for_charon_only() {
        for version in ["v1.0", "v1.11", "v1.10.3", "v1.11.0-dev", "v1.12-rc1", "v2.0.0"] {
            assert!(judge(|info| info.version = version.to_owned()).is_ok(), "{version}");
        }
        for version in ["", "1.11", "v1", "v0.19.1", "v1.x", "v1.2.3.4", "v1.11.x-dev"] {
            for client in ["", "charon"] {
                let fault = judge(|info| {
                    info.version = version.to_owned();
                    info.client = client.to_owned();
                });
                assert_eq!(fault, Err(PeerInfoFault::Version(version.to_owned())));
            }
            let other = |info: &mut PeerInfo| {
                info.version = version.to_owned();
                info.client = "holdfast".to_owned();
            };
            assert!(judge(other).is_ok(), "another program counts its own versions");
        }
    }
}
