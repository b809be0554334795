//! Settings that parse, that do not, and that this version does not know; the log of connections.

use lilims_store::{
    ConnectionEnd, Error, MAX_LOGGED_CONNECTIONS, NewConnection, Store, database_path,
};
use serde::{Deserialize, Serialize};

/// What a caller reads: a container with a default, to which a version added a field.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Sampling {
    temperature: f32,
    top_k: u32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.7, top_k: 40 }
    }
}

#[test]
fn a_field_that_a_later_version_adds_does_not_reset_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.get::<Sampling>("sampling").unwrap(), None);
    store.overwrite("sampling", &serde_json::json!({ "temperature": 0.1 })).unwrap();
    let sampling: Sampling = store.get("sampling").unwrap().unwrap();
    assert_eq!(sampling, Sampling { temperature: 0.1, top_k: 40 });
    store.set("sampling", &Sampling { top_k: 1, ..sampling }).unwrap();
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    let sampling: Sampling = store.get("sampling").unwrap().unwrap();
    assert_eq!(sampling, Sampling { temperature: 0.1, top_k: 1 });
}

#[test]
fn a_value_that_does_not_parse_is_reported_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.set("theme", &"dark".to_owned()).unwrap();
    store.set("of.a.later.version", &vec![1, 2]).unwrap();
    let error = store.get::<u32>("theme").unwrap_err();
    assert!(matches!(&error, Error::Setting { key, .. } if key == "theme"), "{error:?}");
    assert!(matches!(store.set("theme", &7_u32), Err(Error::Setting { .. })));
    assert_eq!(store.get::<String>("theme").unwrap().as_deref(), Some("dark"));
    store.overwrite("theme", &7_u32).unwrap();
    assert_eq!(store.get::<u32>("theme").unwrap(), Some(7));
    // Not even JSON.
    let connection = rusqlite::Connection::open(database_path(folder.path())).unwrap();
    connection.execute("UPDATE settings SET value = 'dark'", []).unwrap();
    assert!(store.get::<serde_json::Value>("theme").is_err());
    assert!(store.set("theme", &7_u32).is_err());
    assert_eq!(store.keys().unwrap(), ["of.a.later.version", "theme"]);
    store.unset("theme").unwrap();
    assert_eq!(store.get::<u32>("theme").unwrap(), None);
}

#[test]
fn the_log_of_connections_is_bounded_and_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let connection = rusqlite::Connection::open(database_path(folder.path())).unwrap();
    connection
        .execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
             INSERT INTO connections (at_ms, host, purpose, outcome)
             SELECT i, 'old', 'facts', '200' FROM n",
            [MAX_LOGGED_CONNECTIONS],
        )
        .unwrap();
    let download = NewConnection {
        host: "hub".into(),
        purpose: "download".into(),
        subject: "a/b".into(),
        asker: "window".into(),
    };
    let id = store.begin_connection(&download).unwrap();
    assert_eq!(store.connections(1).unwrap()[0].end, ConnectionEnd::default());
    let end = ConnectionEnd {
        address: Some("10.0.0.1:443".into()),
        outcome: "206".into(),
        sent_bytes: 5,
        received_bytes: 7,
    };
    store.note_connection(id, &end).unwrap();
    let all = store.connections(u32::MAX).unwrap();
    assert_eq!(all.len(), MAX_LOGGED_CONNECTIONS as usize);
    assert_eq!((&all[0].what, &all[0].end), (&download, &end));
    assert_eq!(all.last().unwrap().at_ms, 2);
    assert_eq!(store.connections(1).unwrap(), all[..1]);

    let last = store.last_connection().unwrap().unwrap();
    assert_eq!((last.at_ms, last.host.as_str()), (all[0].at_ms, "hub"));
    store.clear_connections().unwrap();
    assert_eq!(store.connections(9).unwrap(), []);
    assert_eq!(store.last_connection().unwrap(), Some(last), "it stays known after clearing");
}
