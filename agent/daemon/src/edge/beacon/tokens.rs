//! The parts of a beacon node's URL that may be tokens. Nobody is told them, but a node may: many repeat the path that
//! they do not have, and what a node says ends up in the log, in the mode's reason and on the screen.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;

/// The parts, the longest first. Cheap to clone.
#[derive(Clone)]
pub(super) struct Tokens(Arc<[String]>);

impl Tokens {
    /// Those of this URL.
    pub(super) fn of(url: &Url) -> Self {
        let (user, password) = (url.username(), url.password().unwrap_or_default());
        let mut parts = vec![user.to_owned(), password.to_owned()];
        // In the clear, as a server may show it, and as the header of basic authentication has it.
        let login = format!("{}:{}", decoded(url, user), decoded(url, password));
        parts.push(STANDARD.encode(&login));
        parts.extend(url.path_segments().into_iter().flatten().map(str::to_owned));
        parts.extend(url.query().into_iter().flat_map(|query| query.split(['&', '='])).map(str::to_owned));
        // As a path is read, and as a query is.
        let clear = |part: &String| [decoded(url, part), decoded(url, &part.replace('+', "%20"))];
        let clear: Vec<String> = parts.iter().flat_map(clear).collect();
        parts.extend(clear);
        parts.retain(|part| part.len() >= TOKEN_LEN_MIN);
        // One may be a part of another.
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        parts.dedup();
        Self(parts.into())
    }

    /// The text without them.
    pub(super) fn hidden(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, part| text.replace(part.as_str(), "…"))
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(..)")
    }
}

/// What percent signs stand for.
fn decoded(url: &Url, part: &str) -> String {
    let mut url = url.clone();
    // A query is read as a form, in which a plus is a blank.
    url.set_query(Some(&part.replace('+', "%2B")));
    url.query_pairs().next().map_or_else(|| part.to_owned(), |(name, _)| name.into_owned())
}

/// Shorter parts are words such as `eth` or `api`, and guessed as soon as found out.
const TOKEN_LEN_MIN: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_that_may_be_a_token_is_hidden_in_each_of_its_forms() {
        let url = "https://ada%2Badmin:pass%20word@node.example:5052/api/v2/tok%2Fen77?key=query+token&x=1";
        let tokens = Tokens::of(&url.parse().unwrap());
        let login = STANDARD.encode("ada+admin:pass word");
        for token in [
            "ada%2Badmin",
            "ada+admin",
            "pass%20word",
            "pass word",
            "tok%2Fen77",
            "tok/en77",
            "query+token",
            "query token",
            &login,
        ] {
            let said = tokens.hidden(&format!("not found: /{token}/eth, <{token}>"));
            assert_eq!(said, "not found: /…/eth, <…>", "{token}");
        }
        assert_eq!(tokens.hidden("GET /api/v2 of node.example:5052"), "GET /api/v2 of node.example:5052");
        assert_eq!(format!("{tokens:?}"), "Tokens(..)");
    }

    #[test]
    fn a_token_within_another_leaves_nothing_of_the_longer() {
        let tokens = Tokens::of(&"http://node.example/secret/secretsecret2".parse().unwrap());
        assert_eq!(tokens.hidden("secretsecret2 secret"), "… …");
    }

    #[test]
    fn a_url_without_tokens_hides_nothing() {
        let tokens = Tokens::of(&"http://127.0.0.1:5052".parse().unwrap());
        assert_eq!(tokens.hidden("Route GET:/eth/v1/x not found"), "Route GET:/eth/v1/x not found");
    }
}
