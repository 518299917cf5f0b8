//! Rows of older versions of a type.

use std::sync::Arc;

use aimdb_data_contracts::{MigrationError, MigrationStep, SchemaType, migration_chain};
use annals_aimdb::{AimDbBuilderPersistExt, AimDbMigrateExt, AimDbQueryExt};
use annals_core::{MemoryBackend, PersistenceBackend, QueryParams};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::line;
use crate::fixture::WEEK;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct OldTemperature {
    schema_version: u32,
    temp: f64,
    unit: String,
}

impl SchemaType for OldTemperature {
    const NAME: &'static str = "temperature_v1";
    const VERSION: u32 = 1;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Temperature {
    schema_version: u32,
    celsius: f64,
}

impl SchemaType for Temperature {
    const NAME: &'static str = "temperature";
    const VERSION: u32 = 2;
}

struct ToCelsius;

impl MigrationStep for ToCelsius {
    type Older = OldTemperature;
    type Newer = Temperature;
    const FROM_VERSION: u32 = 1;
    const TO_VERSION: u32 = 2;

    fn up(old: OldTemperature) -> Result<Temperature, MigrationError> {
        let celsius = match old.unit.as_str() {
            "C" => old.temp,
            "K" => old.temp - 273.15,
            _ => return Err(MigrationError::ConversionFailed("no such unit")),
        };
        Ok(Temperature { schema_version: 2, celsius })
    }

    fn down(new: Temperature) -> Result<OldTemperature, MigrationError> {
        Ok(OldTemperature { schema_version: 1, temp: new.celsius, unit: "C".to_owned() })
    }
}

migration_chain! {
    type Current = Temperature;
    version_field = "schema_version";
    steps {
        ToCelsius: OldTemperature => Temperature,
    }
}

/// They were once skipped: version 1 does not deserialize as version 2.
#[tokio::test]
async fn rows_of_version_1_come_back_as_version_2_and_a_failing_migration_is_counted() {
    let backend = Arc::new(MemoryBackend::new());
    for (at, value) in [
        (1, json!({"schema_version": 1, "temp": 293.15, "unit": "K"})),
        (2, json!({"schema_version": 1, "temp": 1.0, "unit": "furlong"})),
        (3, json!({"schema_version": 2, "celsius": 22.5})),
        (4, json!({"schema_version": 3, "celsius": 1})),
        (5, json!({"celsius": 1})),
        (6, json!({"schema_version": 1, "temp": 24.5, "unit": "C"})),
    ] {
        backend.store("temperature.attic", &value, at).await.unwrap();
    }
    let db = line::start(line::builder().with_persistence(backend, WEEK)).await;
    let current = |celsius| Temperature { schema_version: 2, celsius };
    let all = "temperature.*";
    let latest: Vec<Temperature> = db.query_latest_migrated(all, 6).await.unwrap();
    assert_eq!(latest, [current(24.5), current(22.5), current(20.0)]);
    let range: Vec<Temperature> = db.query_range_migrated(all, 1, 3).await.unwrap();
    assert_eq!(range, [current(22.5), current(20.0)]);
    let typed = db.query_typed_migrated::<Temperature>(all, QueryParams::default()).await.unwrap();
    assert_eq!((typed.rows.len(), typed.skipped), (3, 3));
    assert_eq!((typed.rows[2].stored_at, &*typed.rows[2].record), (1, "temperature.attic"));
    // Without the chain only the current version is read.
    let plain: Vec<Temperature> = db.query_latest(all, 6).await.unwrap();
    assert_eq!(plain.len(), 2);
}
