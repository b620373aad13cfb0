//! The configuration: one document, replaced as a whole, by whoever has seen the present one.

use std::sync::Arc;

use holdfast_api::{Configuration, ConfigurationChange, DryRunQuery, ProblemId, openapi};

use super::blocking;
use crate::edge::api::Api;
use crate::edge::api::answer::{Answer, Fail};
use crate::edge::api::asked::Asked;
use crate::settings::{ApplyError, Settings, WrongField, changes, etag};

pub(super) fn show(api: &Api) -> Result<Answer, Fail> {
    let configuration = api.host.configuration();
    Ok(Answer::json(&configuration)?.tagged(&etag(&configuration)))
}

pub(super) fn schema() -> Result<Answer, Fail> {
    Answer::json(&openapi::configuration_schema())
}

pub(super) async fn history(api: &Api) -> Result<Answer, Fail> {
    let host = Arc::clone(&api.host);
    Answer::json(&blocking(move || host.configuration_history()).await??)
}

pub(super) async fn put(api: &Api, asked: &Asked) -> Result<Answer, Fail> {
    let DryRunQuery { dry_run } = asked.query()?;
    let expected = asked.header("if-match")?.ok_or_else(|| {
        let detail = "this needs If-Match with the ETag of the configuration that it replaces: read it first";
        Fail::new(ProblemId::PreconditionRequired, detail)
    })?;
    let after: Configuration = asked.json()?;
    let _changing = api.changing.lock().await;
    let before = api.host.configuration();
    let present = etag(&before);
    if expected != present {
        return Err(stale());
    }
    Settings::check(&after).map_err(|wrong| invalid(&wrong))?;
    if dry_run {
        let change =
            ConfigurationChange { changes: changes(&before, &after), dry_run, etag: present.clone(), confirm_by: None };
        return Ok(Answer::json(&change)?.tagged(&present));
    }
    let (host, by) = (Arc::clone(&api.host), asked.by());
    let applied = blocking(move || host.apply(&present, after, &by)).await?.map_err(|error| match error {
        ApplyError::Stale => stale(),
        ApplyError::Unconfirmed { .. } => Fail::new(ProblemId::ConfigurationLocksOut, error.to_string()),
        ApplyError::Wrong(wrong) => invalid(&wrong),
        ApplyError::Folder(error) => error.into(),
    })?;
    let change = ConfigurationChange {
        changes: applied.changes,
        dry_run,
        etag: applied.etag.clone(),
        confirm_by: applied.confirm_by,
    };
    Ok(Answer::json(&change)?.tagged(&applied.etag))
}

pub(super) async fn confirm(api: &Api) -> Result<Answer, Fail> {
    let _changing = api.changing.lock().await;
    let host = Arc::clone(&api.host);
    let confirmed = blocking(move || host.confirm()).await??;
    let none = || Fail::conflict("no change waits for a confirmation: it was confirmed, or taken back already");
    let etag = etag(&api.host.configuration());
    let change = ConfigurationChange {
        changes: confirmed.ok_or_else(none)?,
        dry_run: false,
        etag: etag.clone(),
        confirm_by: None,
    };
    Ok(Answer::json(&change)?.tagged(&etag))
}

/// One line for each field that cannot be right.
fn invalid(wrong: &[WrongField]) -> Fail {
    let lines: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    Fail::new(ProblemId::ConfigurationInvalid, lines.join("\n"))
}

fn stale() -> Fail {
    let detail = "the configuration was changed since it was read: read it again and apply the change to that";
    Fail::new(ProblemId::ConfigurationStale, detail)
}
