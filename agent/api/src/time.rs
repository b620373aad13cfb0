//! A moment as the API writes it: RFC 3339, UTC, milliseconds.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_types::Millis;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

/// A moment, in milliseconds since 1970; `2026-11-27T11:40:17.123Z` in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub Millis);

impl Timestamp {
    /// How long ago it was at `now`, zero when it is yet to come.
    #[must_use]
    pub fn age(self, now: Millis) -> Duration {
        Duration::from_millis(now.0.saturating_sub(self.0.0))
    }

    /// Years after 9999 have no form; such a moment is shown as the last that has one.
    fn as_system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0.0.min(LAST_MS))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis(self.as_system_time()).fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = humantime::parse_rfc3339(&text).map_err(D::Error::custom)?;
        let since = time.duration_since(UNIX_EPOCH).map_err(D::Error::custom)?;
        u64::try_from(since.as_millis()).map(|ms| Self(Millis(ms))).map_err(D::Error::custom)
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
    }
}

impl ToSchema for Timestamp {}

/// The last millisecond of the year 9999.
const LAST_MS: u64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_and_read() {
        let moment = Timestamp(Millis(1_795_779_617_123));
        let json = serde_json::to_string(&moment).unwrap();
        assert_eq!(json, "\"2026-11-27T11:40:17.123Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), moment);
    }

    #[test]
    fn no_moment_is_too_late_to_be_shown() {
        assert_eq!(Timestamp(Millis(u64::MAX)).to_string(), "9999-12-31T23:59:59.999Z");
    }
}
