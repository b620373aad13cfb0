//! The support bundle: what somebody who helps has to see, and no secret.

use std::sync::Arc;

use holdfast_api::{AuditEntry, Configuration, LogLine, Operation, Status, Timestamp, VaultState, Version};
use reqwest::Url;
use serde::Serialize;

use super::{blocking, vault};
use crate::clock;
use crate::edge::api::Api;
use crate::edge::api::answer::{Answer, Fail};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    made: Timestamp,
    version: Version,
    status: Status,
    vault: Option<VaultState>,
    configuration: Configuration,
    operations: Vec<Operation>,
    logs: Vec<LogLine>,
    audit: Vec<AuditEntry>,
}

pub(super) async fn bundle(api: &Api) -> Result<Answer, Fail> {
    // A bundle is wanted most when something does not answer.
    let vault = api.vault.read(|vault| vault.status()).await.ok();
    let host = Arc::clone(&api.host);
    let audit = blocking(move || {
        let last = host.audit(0, usize::MAX);
        last.map(|mut all| all.split_off(all.len().saturating_sub(AUDIT_MAX)))
    });
    let bundle = Bundle {
        made: Timestamp(clock::now()),
        version: api.host.version(),
        status: api.host.seen().status(),
        vault: vault.as_ref().map(vault::shown),
        configuration: redacted(api.host.configuration()),
        operations: api.host.operations(),
        logs: api.host.logs(0, usize::MAX),
        audit: audit.await?.unwrap_or_default(),
    };
    Ok(Answer::json(&bundle)?.named("holdfast-support.json"))
}

/// URLs of beacon nodes carry tokens, in any of their parts but scheme, host and port.
fn redacted(mut configuration: Configuration) -> Configuration {
    for node in &mut configuration.beacon_nodes {
        let origin = Url::parse(&node.url).ok().filter(|url| url.host().is_some());
        node.url = origin.map_or_else(
            || "(not shown)".to_owned(),
            |url| {
                let more = !matches!(url.path(), "" | "/") || url.query().is_some() || !url.username().is_empty();
                format!("{}{}", url.origin().ascii_serialization(), if more { "/(not shown)" } else { "" })
            },
        );
    }
    configuration
}

/// The last things that were done.
const AUDIT_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use holdfast_api::BeaconNode;

    use super::*;

    #[test]
    fn no_part_of_a_url_that_may_be_a_token_is_shown() {
        for (url, shown) in [
            ("http://10.0.0.1:5052", "http://10.0.0.1:5052"),
            ("https://me:secret@node.example/", "https://node.example/(not shown)"),
            ("https://node.example/secret", "https://node.example/(not shown)"),
            ("https://node.example?key=secret", "https://node.example/(not shown)"),
            ("secret", "(not shown)"),
        ] {
            let node = BeaconNode { name: "a".to_owned(), url: url.to_owned() };
            let configuration = Configuration { beacon_nodes: vec![node], ..Configuration::default() };
            assert_eq!(redacted(configuration).beacon_nodes[0].url, shown);
        }
    }
}
