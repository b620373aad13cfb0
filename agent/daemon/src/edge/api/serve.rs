//! One request, from its header to its answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use holdfast_api::routes::Route;
use holdfast_api::{AuditEntry, ProblemId, Role, Timestamp};
use holdfast_provisioning::certificate::{ClientIdentity, parse_client};
use holdfast_provisioning::tls::Refusal;
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use tokio::time::Instant;

use super::Api;
use super::answer::{Answer, Body, Fail, Whole, chain};
use super::asked::{self, Asked, NOBODY};
use super::connection::{Connection, Phase};
use super::hall::Party;
use super::idempotency::{Turn, fingerprint};
use super::limits::{BODY_LEN_MAX, LOCK_LEN_MAX};
use super::path::{Found, find};
use super::routes;
use crate::clock;

/// Answers. Whatever comes, what goes back is an answer of the API or a problem.
pub(super) async fn serve(
    api: &Arc<Api>,
    connection: &Arc<Connection>,
    request: Request<Incoming>,
) -> (Response<Body>, Phase) {
    let number = api.requests.fetch_add(1, Ordering::Relaxed);
    let id = format!("{:08x}-{number}", api.started);
    let method = request.method().clone();
    let path: String = request.uri().path().chars().take(PATH_SHOWN_MAX).collect();
    let mut caller = Caller::default();
    let answer = answer(api, connection, request, &mut caller).await;
    let (status, problem) = match &answer {
        Ok(answer) => (answer.status().as_u16(), None),
        Err(fail) => (fail.id.status(), Some(fail.id)),
    };
    tracing::debug!(request = id, by = caller.name(), %method, path, status, "answered");
    if caller.is_audited(&method, problem) {
        let entry = AuditEntry {
            number: 0,
            at: Timestamp(clock::now()),
            by: caller.name(),
            from: connection.address.ip().to_canonical().to_string(),
            request: format!("{method} {path}"),
            status,
            problem: problem.map(|id| id.to_string()),
        };
        audit(api, entry).await;
    }
    let phase = if matches!(answer, Ok(Answer::Events(_))) { Phase::Following } else { Phase::Waiting };
    let response = match answer {
        Ok(answer) => answer.into_response(&id),
        Err(fail) => {
            if fail.id == ProblemId::Internal {
                tracing::error!(request = id, detail = fail.detail, "this request failed by our own fault");
            }
            fail.into_response(&id)
        }
    };
    (response, phase)
}

/// Who asked for what, as far as it was found out.
#[derive(Default)]
pub(super) struct Caller {
    client: Option<ClientIdentity>,
    route: Option<&'static Route>,
}

impl Caller {
    fn name(&self) -> String {
        let text = |client: &ClientIdentity| format!("{} ({})", client.name, client.serial_text());
        self.client.as_ref().map_or_else(|| NOBODY.to_owned(), text)
    }

    /// Whatever changes something, and whoever was refused for his role. What strangers try is kept only as far as a
    /// pairing code is tried, or they could push everything else out of the log.
    fn is_audited(&self, method: &Method, problem: Option<ProblemId>) -> bool {
        let Some(route) = self.route else { return false };
        if self.client.is_some() {
            let refused = matches!(problem, Some(ProblemId::CertificateRevoked | ProblemId::RoleForbids));
            return refused || method != Method::GET && problem != Some(ProblemId::TooManyRequests);
        }
        route.role.is_none() && matches!(problem, None | Some(ProblemId::PairingFailed))
    }
}

async fn answer(
    api: &Arc<Api>,
    connection: &Arc<Connection>,
    request: Request<Incoming>,
    caller: &mut Caller,
) -> Result<Answer, Fail> {
    let (parts, body) = request.into_parts();
    let judged = judge(api, connection);
    take_turn(api, connection, judged.as_ref().ok().and_then(Option::as_ref))?;
    let Found { route, parameter } = find(parts.method.as_str(), parts.uri.path())?;
    caller.route = Some(route);
    caller.client = admit(api, route.role, connection.certificate.as_deref(), judged, caller)?;
    let takes_json = route.problems.contains(&415);
    if takes_json {
        asked::is_json(&parts.headers)?;
    }
    let is_lock = route.path == "/v1/cluster/lock" && takes_json;
    let _large = if is_lock {
        let busy = || Fail::too_many("locks are coming in at the same time", api.limits.body);
        Some(api.large_bodies.try_acquire().map_err(|_| busy())?)
    } else {
        None
    };
    let (len_max, within) =
        if is_lock { (LOCK_LEN_MAX, api.limits.large_body) } else { (BODY_LEN_MAX, api.limits.body) };
    let body = asked::read(body, len_max, within).await?;
    let asked = Asked {
        connection: Arc::clone(connection),
        client: caller.client.clone(),
        parameter: parameter.to_owned(),
        method: parts.method,
        uri: parts.uri.clone(),
        headers: parts.headers,
        body,
    };
    if !takes_json {
        asked.no_body()?;
    }
    once(api, route, &asked).await
}

/// Who is at the other end, by the present judge.
pub(super) fn judge(api: &Api, connection: &Connection) -> Result<Option<ClientIdentity>, Refusal> {
    match (&connection.certificate, api.tls.judge()) {
        (Some(certificate), Some(judge)) => judge.admit(certificate).map(Some),
        // Nobody is admitted to a box that has no owner, or does not know his certificate.
        _ => Ok(None),
    }
}

/// Takes a turn of those that he may have in his time.
pub(super) fn take_turn(api: &Api, connection: &Connection, client: Option<&ClientIdentity>) -> Result<(), Fail> {
    let now = Instant::now();
    let taken = match client {
        Some(client) => api.rate.take(&Party::Client(client.serial.clone()), now),
        None => api.strangers_rate.take(&Party::of(connection.address.ip()), now),
    };
    taken.map_err(|wait| Fail::too_many("requests", wait))
}

/// Whether he may have this route.
pub(super) fn admit(
    api: &Api,
    needs: Option<Role>,
    certificate: Option<&[u8]>,
    judged: Result<Option<ClientIdentity>, Refusal>,
    caller: &mut Caller,
) -> Result<Option<ClientIdentity>, Fail> {
    let Some(needs) = needs else { return Ok(judged.ok().flatten()) };
    let client = match judged {
        Ok(Some(client)) => client,
        Ok(None) if api.tls.judge().is_none() => {
            let detail = "nobody owns this box, it lost its owner's certificates, or its vault does not say who he is: \
                          pair it with holdfast pair, or try again";
            return Err(Fail::new(ProblemId::NotOwned, detail));
        }
        Ok(None) => {
            let detail = "this needs a client certificate of the box's authority: use a context of holdfast pair";
            return Err(Fail::new(ProblemId::Unauthenticated, detail));
        }
        Err(Refusal::Revoked) => {
            caller.client = certificate.and_then(|shown| parse_client(shown).ok());
            let detail = "this certificate was revoked: an admin can issue another";
            return Err(Fail::new(ProblemId::CertificateRevoked, detail));
        }
        Err(refusal) => return Err(Fail::new(ProblemId::Unauthenticated, chain(&refusal))),
    };
    if client.role < needs {
        let detail = format!("this needs the role {needs}, and the certificate of {} has {}", client.name, client.role);
        caller.client = Some(client);
        return Err(Fail::new(ProblemId::RoleForbids, detail));
    }
    Ok(Some(client))
}

/// Does what a key names only once.
async fn once(api: &Arc<Api>, route: &'static Route, asked: &Asked) -> Result<Answer, Fail> {
    let key = if asked.method == Method::POST { asked.header("idempotency-key")? } else { None };
    // A pairing has no caller yet, and each of its messages counts once by itself.
    let caller = asked.client.as_ref().filter(|_| route.role.is_some());
    let (Some(key), Some(client)) = (key, caller) else { return routes::answer(api, route, asked).await };
    let target = asked.uri.path_and_query().map_or("/", |target| target.as_str());
    let request = fingerprint(asked.method.as_str(), target, &asked.body);
    match api.answers.begin(&client.serial, key, request, Instant::now())? {
        Turn::Again(answer) => answer.map(Answer::Whole),
        Turn::First(pending) => {
            let answer: Result<Whole, Fail> = match routes::answer(api, route, asked).await {
                Ok(Answer::Whole(whole)) => Ok(whole),
                // Events are read by GET, which has no key.
                Ok(events @ Answer::Events(_)) => return Ok(events),
                Err(fail) => Err(fail),
            };
            pending.answered(&answer);
            answer.map(Answer::Whole)
        }
    }
}

async fn audit(api: &Arc<Api>, entry: AuditEntry) {
    let host = Arc::clone(&api.host);
    match tokio::task::spawn_blocking(move || host.append_audit(entry)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(error = chain(&error), "the audit log cannot be written"),
        Err(error) => tracing::error!(%error, "the audit log cannot be written"),
    }
}

/// As much of a path as the log shows; ours are shorter.
const PATH_SHOWN_MAX: usize = 128;
