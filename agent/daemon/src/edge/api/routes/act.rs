//! Actions and their operations, revocations, and the test of a beacon node.

use std::sync::Arc;
use std::time::Duration;

use holdfast_api::{
    Action, BeaconTest, OperationList, ProblemId, Revocation, RevocationList, RevocationRequest, Timestamp,
};
use holdfast_provisioning::certificate::{parse_serial, serial_text};
use hyper::StatusCode;
use tokio::time::Instant;

use super::blocking;
use crate::clock;
use crate::edge::api::Api;
use crate::edge::api::answer::{Answer, Fail};
use crate::edge::api::asked::Asked;

pub(super) async fn begin(api: &Api, asked: &Asked) -> Result<Answer, Fail> {
    let action = Action::ALL.into_iter().find(|action| action.name() == asked.parameter);
    let action = action.ok_or_else(|| {
        let actions = Action::ALL.map(Action::name).join(", ");
        Fail::new(ProblemId::NotFound, format!("there is no such action: there are {actions}"))
    })?;
    let (host, by) = (Arc::clone(&api.host), asked.by());
    let begun = blocking(move || host.begin(action, &by)).await?;
    let operation = begun.map_err(|conflict| Fail::conflict(conflict.to_string()))?;
    Answer::with(StatusCode::ACCEPTED, &operation)
}

pub(super) fn operations(api: &Api) -> Result<Answer, Fail> {
    Answer::json(&OperationList { operations: api.host.operations() })
}

pub(super) fn operation(api: &Api, asked: &Asked) -> Result<Answer, Fail> {
    let operation = api.host.operation(&asked.parameter);
    let none =
        || Fail::new(ProblemId::NotFound, "there is no such operation: /v1/operations lists those that are kept");
    Answer::json(&operation.ok_or_else(none)?)
}

pub(super) async fn revocations(api: &Api) -> Result<Answer, Fail> {
    let host = Arc::clone(&api.host);
    Answer::json(&RevocationList { revocations: blocking(move || host.revocations()).await?? })
}

pub(super) async fn revoke(api: &Arc<Api>, asked: &Asked) -> Result<Answer, Fail> {
    let request: RevocationRequest = asked.json()?;
    let serial = parse_serial(&request.serial)
        .map_err(|_| Fail::bad_request("the field serial is not 0x and the hex of 1 to 20 bytes"))?;
    if asked.client.as_ref().is_some_and(|client| client.serial == serial) {
        let detail = "this is the certificate of this request: revoke it with that of another admin";
        return Err(Fail::conflict(detail));
    }
    let _changing = api.changing.lock().await;
    let serial = serial_text(&serial);
    let host = Arc::clone(&api.host);
    let kept = blocking(move || host.revocations()).await??;
    if !kept.iter().any(|revoked| revoked.serial == serial) {
        if kept.len() >= REVOCATIONS_MAX {
            let detail = "the box keeps no more revocations: move it to a new authority";
            return Err(Fail::conflict(detail));
        }
        let revocation = Revocation { serial, at: Timestamp(clock::now()), by: asked.by() };
        let host = Arc::clone(&api.host);
        blocking(move || host.revoke(revocation)).await??;
        api.renew_tls(None, None).await;
    }
    revocations(api).await
}

pub(super) async fn test_beacon(api: &Api, asked: &Asked) -> Result<Answer, Fail> {
    let BeaconTest { url } = asked.json()?;
    if url.len() > URL_LEN_MAX {
        return Err(Fail::bad_request(format!("the URL has more than {URL_LEN_MAX} characters")));
    }
    api.beacon_test_rate.take(&(), Instant::now()).map_err(|wait| Fail::too_many("tests of beacon nodes", wait))?;
    let slow = || Fail::new(ProblemId::BeaconMismatch, "the beacon node does not answer: is the URL right, is it on");
    let tested = tokio::time::timeout(BEACON_TEST_MAX, api.host.test_beacon(url)).await.map_err(|_| slow())?;
    Answer::json(&tested.map_err(|refused| Fail::new(ProblemId::BeaconMismatch, refused.to_string()))?)
}

/// Certificates count for 90 days: these are more than an operator makes in all that time.
const REVOCATIONS_MAX: usize = 1_000;
const URL_LEN_MAX: usize = 2_048;
const BEACON_TEST_MAX: Duration = Duration::from_secs(30);
