//! What differs between two configurations, field by field, and by what a configuration is told from others.

use holdfast_api::{Configuration, FieldChange};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What changes from one configuration to another, in the order of the document.
#[must_use]
pub fn changes(before: &Configuration, after: &Configuration) -> Vec<FieldChange> {
    let mut found = Vec::new();
    compare(String::new(), Some(&document(before)), Some(&document(after)), &mut found);
    found
}

/// Whether the change may cost whoever makes it the access to the box.
#[must_use]
pub fn risks_access(before: &Configuration, after: &Configuration) -> bool {
    before.api.listen != after.api.listen
}

/// The tag by which `If-Match` names a configuration, with its quotes.
#[must_use]
pub fn etag(configuration: &Configuration) -> String {
    let digest = Sha256::digest(document(configuration).to_string());
    format!("\"{}\"", hex::encode(&digest[..ETAG_LEN]))
}

fn document(configuration: &Configuration) -> Value {
    serde_json::to_value(configuration).expect("a configuration has a form in JSON")
}

/// Goes down where both sides have fields or entries, and tells of what differs there.
fn compare(pointer: String, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<FieldChange>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let gone = before.keys().filter(|key| !after.contains_key(*key));
            for key in after.keys().chain(gone) {
                // No key of a configuration has a character that a pointer escapes.
                compare(format!("{pointer}/{key}"), before.get(key), after.get(key), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            for place in 0..before.len().max(after.len()) {
                compare(format!("{pointer}/{place}"), before.get(place), after.get(place), found);
            }
        }
        (before, after) => {
            let text = |value: Option<&Value>| value.map(ToString::to_string);
            found.push(FieldChange { field: pointer, before: text(before), after: text(after) });
        }
    }
}

/// Enough of the hash to tell any two configurations apart.
const ETAG_LEN: usize = 12;

#[cfg(test)]
mod tests {
    use holdfast_api::{BeaconNode, PeerAddress};

    use super::*;

    fn told(before: &Configuration, after: &Configuration) -> Vec<(String, String, String)> {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let changes = changes(before, after);
        changes.into_iter().map(|change| (change.field, or_none(change.before), or_none(change.after))).collect()
    }

    fn line(field: &str, before: &str, after: &str) -> (String, String, String) {
        (field.to_owned(), before.to_owned(), after.to_owned())
    }

    #[test]
    fn each_field_that_differs_is_a_line() {
        let before = Configuration::default();
        let mut after = before.clone();
        after.nickname = "north".to_owned();
        after.beacon_nodes = vec![BeaconNode { name: "a".to_owned(), url: "http://192.0.2.1/".to_owned() }];
        after.peers.addresses = vec![PeerAddress { operator: 1, addresses: Vec::new() }];
        after.peers.listen.clear();
        let mut expected = [
            line("/nickname", "\"\"", "\"north\""),
            line("/beaconNodes/0", "-", "{\"name\":\"a\",\"url\":\"http://192.0.2.1/\"}"),
            line("/peers/addresses/0", "-", "{\"addresses\":[],\"operator\":1}"),
            line("/peers/listen/0", "\"/ip4/0.0.0.0/tcp/3610\"", "-"),
        ];
        let mut found = told(&before, &after);
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
        assert_eq!(told(&after, &after), []);
    }

    #[test]
    fn a_tag_changes_with_the_configuration_and_only_with_it() {
        let one = Configuration::default();
        let other = Configuration { nickname: "north".to_owned(), ..one.clone() };
        assert_eq!(etag(&one), etag(&one.clone()));
        assert_ne!(etag(&one), etag(&other));
        assert!(etag(&one).starts_with('"') && etag(&one).len() == 26);
    }

    #[test]
    fn only_where_the_api_listens_risks_the_access() {
        let one = Configuration::default();
        let mut other = one.clone();
        other.nickname = "north".to_owned();
        other.metrics.listen = "127.0.0.1:1".to_owned();
        assert!(!risks_access(&one, &other));
        other.api.listen = "127.0.0.1:4443".to_owned();
        assert!(risks_access(&one, &other));
    }
}
