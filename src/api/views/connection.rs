//! The answer of os-initialize_connection (volume-actions §2.11).

use serde_json::{Value, json};

use crate::domain::claims::Connection;
use crate::domain::document::Document;

/// What the backend answered, with everything but the protocol inside of `data`, and the members that clients rely on.
pub fn connection_info(connection: &Connection, qos_specs: Option<Value>) -> Value {
    let mut data = connection.connection_info.as_ref().map_or(Value::Null, Document::to_value);
    let protocol = data.as_object_mut().and_then(|members| members.remove("driver_volume_type"));
    let enforce_multipath = connection.connector.member("enforce_multipath") == Some(Value::Bool(true));
    if let Some(members) = data.as_object_mut() {
        for (name, value) in [
            ("qos_specs", qos_specs.into()),
            ("access_mode", connection.mode.as_str().into()),
            ("encrypted", false.into()),
            ("cacheable", false.into()),
            ("enforce_multipath", enforce_multipath.into()),
        ] {
            members.insert(name.to_owned(), value);
        }
    }
    json!({"driver_volume_type": protocol, "data": data, "enforce_multipath": enforce_multipath})
}
