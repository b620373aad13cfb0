//! The OpenAPI 3.1 document, made from the code.

use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{KnownFormat, Schema, SchemaFormat, SchemaType, Type};
use utoipa::openapi::security::SecurityScheme;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, Number, OpenApi, PartialSchema as _, ToSchema as _};

use crate::routes::ROUTES;
use crate::{Configuration, Event, EventMessage, Problem, ProblemId, paths};

/// The document that `GET /v1/openapi.json` answers.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// The JSON schema of the configuration, which `GET /v1/configuration/schema` answers: self-contained, its parts under
/// `$defs`.
#[must_use]
pub fn configuration_schema() -> serde_json::Value {
    let mut parts = Vec::new();
    Configuration::schemas(&mut parts);
    let parts: serde_json::Map<String, serde_json::Value> =
        parts.into_iter().map(|(name, part)| (name, json(&part))).collect();
    let mut schema = json(&Configuration::schema());
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["$defs"] = parts.into();
    serde_json::from_str(&schema.to_string().replace("#/components/schemas/", "#/$defs/")).expect("it is JSON")
}

fn json(part: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(part).expect("a schema is JSON")
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Holdfast", description = "The management API of a Holdfast box. What is no HTTP is answered by 400, and a header that is too long by 431, both without a body, and the connection ends."),
    modifiers(&Security, &Problems, &Parameters),
    components(schemas(Problem, Event, EventMessage)),
    security(("authority" = [])),
    paths(paths::version, paths::openapi, paths::status, paths::peers, paths::duties, paths::validators, paths::cluster, paths::cluster_lock, paths::put_cluster_lock, paths::identity, paths::configuration, paths::put_configuration, paths::confirm_configuration, paths::configuration_schema, paths::configuration_history, paths::test_beacon_node, paths::vault, paths::vault_evidence, paths::vault_credential, paths::vault_challenge, paths::vault_orders, paths::vault_order, paths::vault_history, paths::vault_approval, paths::vault_authority, paths::vault_level, paths::act, paths::operations, paths::operation, paths::events, paths::logs, paths::audit, paths::support_bundle, paths::revocations, paths::revoke, paths::pairing_start, paths::pairing_finish, paths::pairing_evidence, paths::pairing_credential, paths::pairing_own)
)]
struct Document;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::MutualTls {
            description: Some("a client certificate of the box's authority; its role is the subject's unit".to_owned()),
            deprecated: None,
            extensions: None,
        };
        document.components.get_or_insert_default().add_security_scheme("authority", scheme);
    }
}

/// Adds the problems of each route, and the role that it needs.
struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for route in ROUTES {
            let Some(operation) = document.paths.paths.get_mut(route.path).and_then(|item| of(item, route.method))
            else {
                continue;
            };
            for status in [400, 429, 500].iter().chain(route.problems) {
                let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
                let response = ResponseBuilder::new()
                    .description(titles(*status))
                    .content("application/problem+json", content)
                    .build();
                operation.responses.responses.insert(status.to_string(), response.into());
            }
            let needs = route.role.map_or("needs no certificate".to_owned(), |role| format!("needs the role {role}"));
            operation.description = Some(needs);
        }
    }
}

/// Says of headers and queries what their Rust types do not.
struct Parameters;

impl Modify for Parameters {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for route in ROUTES {
            let operation = document.paths.paths.get_mut(route.path).and_then(|item| of(item, route.method));
            for parameter in operation.and_then(|operation| operation.parameters.as_mut()).into_iter().flatten() {
                let RefOr::T(parameter) = parameter else { continue };
                let Some(RefOr::T(Schema::Object(object))) = &mut parameter.schema else { continue };
                // What is optional is left out: `null` is a text like any other here.
                if let SchemaType::Array(types) = &object.schema_type
                    && let Some(only) = types.iter().find(|of| **of != Type::Null)
                {
                    object.schema_type = SchemaType::Type(only.clone());
                }
                if object.format == Some(SchemaFormat::KnownFormat(KnownFormat::UInt64)) {
                    object.maximum = Some(Number::UInt(usize::MAX));
                }
                if parameter.name == "Idempotency-Key" {
                    object.pattern = Some("^[!-~]{1,64}$".to_owned());
                }
            }
        }
    }
}

fn of<'a>(item: &'a mut PathItem, method: &str) -> Option<&'a mut Operation> {
    match method {
        "GET" => item.get.as_mut(),
        "PUT" => item.put.as_mut(),
        _ => item.post.as_mut(),
    }
}

/// What a status can mean.
fn titles(status: u16) -> String {
    let titles: Vec<&str> =
        ProblemId::ALL.into_iter().filter(|id| id.status() == status).map(ProblemId::title).collect();
    titles.join("; or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_the_routes_and_no_others() {
        let document = serde_json::to_value(document()).unwrap();
        let mut described: Vec<(String, String)> = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in ["get", "put", "post", "delete", "patch"] {
                if item.get(method).is_some() {
                    described.push((method.to_uppercase(), path.clone()));
                }
            }
        }
        let mut routes: Vec<(String, String)> =
            ROUTES.iter().map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
        described.sort();
        routes.sort();
        assert_eq!(described, routes);
    }

    #[test]
    fn every_problem_of_a_route_is_described() {
        let document = serde_json::to_value(document()).unwrap();
        for route in ROUTES {
            let operation = &document["paths"][route.path][route.method.to_lowercase()];
            for status in route.problems {
                let content = &operation["responses"][status.to_string()]["content"];
                assert!(content["application/problem+json"].is_object(), "{} {} {status}", route.method, route.path);
                assert!(!titles(*status).is_empty(), "no problem has the status {status}");
            }
        }
    }

    #[test]
    fn a_parameter_is_left_out_and_never_null() {
        let document = serde_json::to_value(document()).unwrap();
        let mut keys = 0;
        for route in ROUTES {
            let operation = &document["paths"][route.path][route.method.to_lowercase()];
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let (name, schema) = (&parameter["name"], &parameter["schema"]);
                assert!(schema["$ref"].is_string() || schema["type"].is_string(), "{} {name}: {schema}", route.path);
                if name == "Idempotency-Key" {
                    keys += 1;
                    assert!(schema["pattern"].is_string() && route.role.is_some(), "{}", route.path);
                }
                if name == "after" {
                    assert_eq!(schema["maximum"], u64::MAX, "{}", route.path);
                }
            }
        }
        let posts = ROUTES.iter().filter(|route| route.method == "POST" && route.role.is_some());
        assert_eq!(keys, posts.count(), "whatever a caller has done can be named by a key");
    }

    #[test]
    fn every_reference_of_the_schemas_leads_somewhere() {
        for (root, document) in
            [("#/components/schemas/", serde_json::to_value(document()).unwrap()), ("#/$defs/", configuration_schema())]
        {
            let text = document.to_string();
            let references: Vec<&str> =
                text.split("\"$ref\":\"").skip(1).filter_map(|at| at.split('"').next()).collect();
            assert!(!references.is_empty());
            for reference in references {
                assert!(reference.starts_with(root), "{reference}");
                assert!(document.pointer(&reference[1..]).is_some(), "{reference} leads nowhere");
            }
        }
    }
}
