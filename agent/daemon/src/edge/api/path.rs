//! Which route of [`ROUTES`] a request is for.

use holdfast_api::ProblemId;
use holdfast_api::routes::{ROUTES, Route};

use super::answer::Fail;

/// A route with what its path said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub(super) route: &'static Route,
    /// The part that stands in the place of the braces; empty when there are none.
    pub(super) parameter: &'a str,
}

/// Finds the route.
///
/// # Errors
/// When there is no such resource, or it has no such method.
pub(super) fn find<'a>(method: &str, path: &'a str) -> Result<Found<'a>, Fail> {
    let mut allow: Vec<&str> = Vec::new();
    for route in ROUTES {
        let Some(parameter) = matches(route.path, path) else { continue };
        if route.method == method {
            return Ok(Found { route, parameter });
        }
        allow.push(route.method);
    }
    if allow.is_empty() {
        return Err(Fail::new(ProblemId::NotFound, "there is no such resource: /v1/openapi.json lists all that are"));
    }
    let allow = allow.join(", ");
    let detail = format!("this resource has the methods {allow} and no other");
    Err(Fail { allow: Some(allow), ..Fail::new(ProblemId::MethodNotAllowed, detail) })
}

fn matches<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let Some((before, _)) = pattern.split_once('{') else { return (pattern == path).then_some("") };
    let rest = path.strip_prefix(before)?;
    (!rest.is_empty() && rest.len() <= PARAMETER_LEN_MAX && !rest.contains('/')).then_some(rest)
}

/// Ids and names of actions are shorter.
const PARAMETER_LEN_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_found_by_its_own_path() {
        for route in ROUTES {
            let path = route.path.replace("{action}", "drain").replace("{id}", "7");
            let found = find(route.method, &path).unwrap();
            assert_eq!(found.route, route);
        }
        assert_eq!(find("POST", "/v1/actions/drain").unwrap().parameter, "drain");
    }

    #[test]
    fn what_is_no_route_is_named() {
        for path in ["/", "/v1", "/v1/status/", "/v1/actions/", "/v1/actions/a/b", "/v2/status", "//v1/status"] {
            assert_eq!(find("GET", path).unwrap_err().id, ProblemId::NotFound, "{path}");
        }
        let wrong = find("DELETE", "/v1/configuration").unwrap_err();
        assert_eq!((wrong.id, wrong.allow.as_deref()), (ProblemId::MethodNotAllowed, Some("GET, PUT")));
    }
}
