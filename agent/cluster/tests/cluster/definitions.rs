//! Right and wrong definitions, and what the reference made of each when it was asked to load it.

use std::fs;

use holdfast_cluster::{VerifiedDefinition, read_definition};
use serde_json::Value;

use crate::common::{networks, told, vectors};

/// What we say where the reference says this.
const OUR_WORDS: [(&str, &str); 17] = [
    ("empty operator enr signature", "enr_signature is missing"),
    ("empty operator config signature", "config_signature is missing"),
    ("invalid operator enr signature", "enr_signature is not by 0x"),
    ("invalid operator config signature", "config_signature is not by 0x"),
    ("empty creator config signature", "creator.config_signature is missing"),
    ("invalid creator config signature", "creator.config_signature is not by 0x"),
    ("some operators signed while others did not", "did not sign, others did"),
    ("operators signed while creator did not", "the creator did not"),
    ("invalid fork version", "is of no known network"),
    ("invalid config hash", "config_hash is 0x"),
    ("signature not a multiple of 65 bytes", "has 64 bytes: a signature has 65"),
    ("num_validators does not match validators length", "num_validators is"),
    ("invalid prefix", "invalid type: integer"),
    ("invalid deposit amounts", "deposit_amounts of the definition"),
    ("unsupported definition version", "v1.12.0\" of the cluster files is unknown"),
    ("threshold ", "threshold is "),
    ("duplicate peer ids", "has the node key of operators["),
];

fn load(bytes: &[u8]) -> Result<(), String> {
    let definition = read_definition(bytes).map_err(|error| told(&error))?;
    VerifiedDefinition::verify(definition, &networks()).map(drop).map_err(|error| told(&error))
}

#[test]
fn definitions_load_where_they_load_in_the_reference() {
    let dir = vectors().join("live-dkg-definitions");
    let expected: Value = serde_json::from_str(&fs::read_to_string(dir.join("expected.json")).unwrap()).unwrap();
    let files = expected["files"].as_object().unwrap();
    assert_eq!(files.len(), 36);
    for (name, expected) in files {
        let loaded = load(&fs::read(dir.join(name)).unwrap());
        let Some(theirs) = expected["error"].as_str() else {
            assert_eq!(loaded, Ok(()), "{name}");
            continue;
        };
        let ours = loaded.expect_err(name);
        let (_, words) = OUR_WORDS.iter().find(|(pattern, _)| theirs.contains(pattern)).expect(theirs);
        assert!(ours.contains(words), "{name}: they say {theirs:?}, we say {ours:?}");
    }
}
