//! The protobuf messages of the cluster wire protocol, field by field (`cluster-wire.md` sections 4, 6, 7.1, 9.1, 10.1).
//!
//! Written by hand instead of generated, so that no build script is needed. Maps are sorted, which makes the encoding
//! canonical, except that prost leaves out an empty key or value of a map entry; where a map is hashed it is therefore
//! encoded by hand (`qbft::Value`).

use std::collections::BTreeMap;

/// `core.corepb.v1.Duty`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Duty {
    #[prost(uint64, tag = "1")]
    pub(crate) slot: u64,
    #[prost(int32, tag = "2")]
    pub(crate) kind: i32,
}

/// `core.corepb.v1.UnsignedDataSet`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct UnsignedDataSet {
    #[prost(btree_map = "string, bytes", tag = "1")]
    pub(crate) set: BTreeMap<String, Vec<u8>>,
}

/// `core.corepb.v1.ParSignedDataSet`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ParSignedDataSet {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(crate) set: BTreeMap<String, ParSignedData>,
}

/// `core.corepb.v1.ParSignedData`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ParSignedData {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) data: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) signature: Vec<u8>,
    #[prost(int32, tag = "3")]
    pub(crate) share_idx: i32,
}

/// `core.corepb.v1.ParSigExMsg`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ParSigExMsg {
    #[prost(message, optional, tag = "1")]
    pub(crate) duty: Option<Duty>,
    #[prost(message, optional, tag = "2")]
    pub(crate) data_set: Option<ParSignedDataSet>,
}

/// `core.corepb.v1.QBFTMsg`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct QbftMsg {
    #[prost(int64, tag = "1")]
    pub(crate) kind: i64,
    #[prost(message, optional, tag = "2")]
    pub(crate) duty: Option<Duty>,
    #[prost(int64, tag = "3")]
    pub(crate) peer_idx: i64,
    #[prost(int64, tag = "4")]
    pub(crate) round: i64,
    #[prost(int64, tag = "6")]
    pub(crate) prepared_round: i64,
    #[prost(bytes = "vec", tag = "8")]
    pub(crate) signature: Vec<u8>,
    #[prost(bytes = "vec", tag = "11")]
    pub(crate) value_hash: Vec<u8>,
    #[prost(bytes = "vec", tag = "12")]
    pub(crate) prepared_value_hash: Vec<u8>,
}

/// `core.corepb.v1.QBFTConsensusMsg`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct QbftConsensusMsg {
    #[prost(message, optional, tag = "1")]
    pub(crate) msg: Option<QbftMsg>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) justification: Vec<QbftMsg>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) values: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
}

/// `google.protobuf.Value`, of which only the string is ever used here.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StringValue {
    #[prost(string, optional, tag = "3")]
    pub(crate) string_value: Option<String>,
}

/// `core.corepb.v1.PriorityMsg`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PriorityMsg {
    #[prost(message, optional, tag = "1")]
    pub(crate) duty: Option<Duty>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) topics: Vec<PriorityTopicProposal>,
    #[prost(string, tag = "3")]
    pub(crate) peer_id: String,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) signature: Vec<u8>,
}

/// `core.corepb.v1.PriorityTopicProposal`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PriorityTopicProposal {
    #[prost(message, optional, tag = "1")]
    pub(crate) topic: Option<Any>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) priorities: Vec<Any>,
}

/// `core.corepb.v1.PriorityResult`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PriorityResult {
    #[prost(message, repeated, tag = "1")]
    pub(crate) msgs: Vec<PriorityMsg>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) topics: Vec<PriorityTopicResult>,
}

/// `core.corepb.v1.PriorityTopicResult`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PriorityTopicResult {
    #[prost(message, optional, tag = "1")]
    pub(crate) topic: Option<Any>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) priorities: Vec<PriorityScoredResult>,
}

/// `core.corepb.v1.PriorityScoredResult`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PriorityScoredResult {
    #[prost(message, optional, tag = "1")]
    pub(crate) priority: Option<Any>,
    #[prost(int64, tag = "2")]
    pub(crate) score: i64,
}

/// `app.peerinfo.peerinfopb.v1.PeerInfo`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PeerInfo {
    #[prost(string, tag = "1")]
    pub(crate) charon_version: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) lock_hash: Vec<u8>,
    #[prost(message, optional, tag = "3")]
    pub(crate) sent_at: Option<Timestamp>,
    #[prost(string, tag = "4")]
    pub(crate) git_hash: String,
    #[prost(message, optional, tag = "5")]
    pub(crate) started_at: Option<Timestamp>,
    #[prost(bool, tag = "6")]
    pub(crate) builder_api_enabled: bool,
    #[prost(string, tag = "7")]
    pub(crate) nickname: String,
    #[prost(string, tag = "8")]
    pub(crate) dv_client: String,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

/// Bytes that are not a message of the kind that was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProtobuf {
    /// The fields cannot be told apart.
    #[error("message is not protobuf: field {at} does not end where it should")]
    Fields {
        /// The position of the field in the message, from 0.
        at: usize,
    },
    /// A field does not hold what it should.
    #[error("message does not decode")]
    Decode(#[from] prost::DecodeError),
}

/// Counts how often a field occurs at the top level of a message, without decoding anything.
///
/// An element of a list takes as little as two bytes on the wire and a hundred times that in memory, so lists are
/// counted before they are decoded.
pub(crate) fn occurrences(message: &[u8], field: u64) -> Result<usize, NotProtobuf> {
    let mut count = 0;
    for_each_field(message, |found| count += usize::from(found.number == field))?;
    Ok(count)
}

/// How often a field occurs within all occurrences of another, which hold messages.
pub(crate) fn occurrences_within(message: &[u8], outer: u64, field: u64) -> Result<usize, NotProtobuf> {
    let mut total = Ok(0);
    for_each_field(message, |found| {
        if found.number == outer {
            total = total.clone().and_then(|sum| occurrences(found.content, field).map(|count: usize| sum + count));
        }
    })?;
    total
}

/// The fields of a message whose numbers are not among `known`, as they came. They are part of what is signed and hashed
/// (`cluster-wire.md` section 3.1), and prost drops them.
pub(crate) fn unknown_fields(message: &[u8], known: &[u64]) -> Result<Vec<u8>, NotProtobuf> {
    let mut unknown = Vec::new();
    for_each_field(message, |field| {
        if !known.contains(&field.number) {
            unknown.extend_from_slice(field.whole);
        }
    })?;
    Ok(unknown)
}

/// A field of a message on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) number: u64,
    /// What it holds, when that has a length; empty for numbers.
    pub(crate) content: &'a [u8],
    /// All of it, as it came.
    pub(crate) whole: &'a [u8],
}

/// Calls `visit` with every top-level field.
pub(crate) fn for_each_field<'a>(mut message: &'a [u8], mut visit: impl FnMut(Field<'a>)) -> Result<(), NotProtobuf> {
    let mut at = 0;
    while !message.is_empty() {
        let (number, content, rest) = next_field(message).ok_or(NotProtobuf::Fields { at })?;
        visit(Field { number, content, whole: &message[..message.len() - rest.len()] });
        message = rest;
        at += 1;
    }
    Ok(())
}

/// Appends a field with a length. The number is one of the 15 whose key takes one byte.
pub(crate) fn put_field(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    out.push(number << 3 | 2);
    prost::encode_length_delimiter(content.len(), out).expect("a vector grows as needed");
    out.extend_from_slice(content);
}

/// The next field's number and content, and what follows it. Groups are not taken: proto3 has none.
fn next_field(message: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (key, rest) = varint(message)?;
    let (content, rest) = match key & 7 {
        0 => (&[][..], varint(rest)?.1),
        1 => (&[][..], rest.get(8..)?),
        2 => {
            let (len, content) = varint(rest)?;
            content.split_at_checked(usize::try_from(len).ok()?)?
        }
        5 => (&[][..], rest.get(4..)?),
        _ => return None,
    };
    Some((key >> 3, content, rest))
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(at).ok()?)?;
        if byte < 0x80 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}
