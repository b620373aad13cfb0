//! What the box shows without being asked to do anything.

use std::sync::Arc;

use holdfast_api::{AfterQuery, AuditList, DutyQuery, LogList, PageQuery, PeerList, openapi};

use super::blocking;
use crate::edge::api::Api;
use crate::edge::api::answer::{Answer, Fail};
use crate::edge::api::asked::{Asked, limit};

pub(super) fn version(api: &Api) -> Result<Answer, Fail> {
    Answer::json(&api.host.version())
}

pub(super) fn openapi() -> Result<Answer, Fail> {
    Answer::json(&openapi::document())
}

pub(super) fn status(api: &Api) -> Result<Answer, Fail> {
    Answer::json(&api.host.seen().status())
}

pub(super) fn peers(api: &Api) -> Result<Answer, Fail> {
    Answer::json(&PeerList { peers: api.host.seen().status().peers })
}

pub(super) fn duties(api: &Api, asked: &Asked) -> Result<Answer, Fail> {
    let query: DutyQuery = asked.query()?;
    Answer::json(&api.host.seen().duties(&query, limit(query.limit)?))
}

pub(super) fn validators(api: &Api, asked: &Asked) -> Result<Answer, Fail> {
    let query: PageQuery = asked.query()?;
    let from = match query.cursor.as_deref() {
        None => 0,
        Some(cursor) => {
            let at = cursor.parse::<u32>().ok().filter(|_| cursor.bytes().all(|byte| byte.is_ascii_digit()));
            at.ok_or_else(|| Fail::bad_request("the cursor is none that this list has given: begin without one"))?
        }
    };
    Answer::json(&api.host.seen().validators(from as usize, limit(query.limit)?))
}

pub(super) fn logs(api: &Api, asked: &Asked) -> Result<Answer, Fail> {
    let query: AfterQuery = asked.query()?;
    Answer::json(&LogList { lines: api.host.logs(query.after, limit(query.limit)?) })
}

pub(super) async fn audit(api: &Api, asked: &Asked) -> Result<Answer, Fail> {
    let query: AfterQuery = asked.query()?;
    let (host, limit) = (Arc::clone(&api.host), limit(query.limit)?);
    let entries = blocking(move || host.audit(query.after, limit)).await??;
    Answer::json(&AuditList { entries })
}
