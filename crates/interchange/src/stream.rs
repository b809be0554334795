//! Reads JSON item by item: the elements of a list, those of `conversations` in an object, or the whole
//! object; and one JSON value after another, as in JSONL.
//!
//! At any time one item is in memory.

use std::fmt;
use std::io::{BufReader, Read};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::formats::is_own;
use crate::json::{Budget, Json, Key, Seed};
use crate::limits::Limits;
use crate::write::VERSION;

/// What the callback of [`read_values`] says to end the reading.
pub(crate) struct Stop;

/// Takes what is read.
pub(crate) trait Items {
    /// An item with what is left of its budget.
    fn item(&mut self, item: Json, budget: &Budget) -> Result<(), Stop>;

    /// The list ended to which the items before belong. It may have been empty.
    fn end_list(&mut self) -> Result<(), Stop>;

    /// The file says that it is an export of Lilims in a version that is not known.
    fn newer_version(&mut self, version: u64);
}

/// Reads values that follow each other.
///
/// # Errors
/// Those of the parser, also after [`Items`] returned [`Stop`].
pub(crate) fn read_values(
    reader: impl Read,
    limits: &Limits,
    items: &mut dyn Items,
) -> Result<(), serde_json::Error> {
    let reader = BufReader::with_capacity(64 << 10, reader);
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    loop {
        Document { limits, items }.deserialize(&mut deserializer)?;
        match deserializer.end() {
            Ok(()) => return Ok(()),
            Err(error) if error.is_io() => return Err(error),
            // Another value follows.
            Err(_) => {}
        }
    }
}

/// One value of the file.
struct Document<'a> {
    limits: &'a Limits,
    items: &'a mut dyn Items,
}

fn stopped<E: Error>(Stop: Stop) -> E {
    E::custom("the caller ended it")
}

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Document<'_> {
    fn read_list<'de, A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        loop {
            let budget = Budget::new(self.limits);
            let Some(item) = access.next_element_seed(Seed::new(&budget))? else { break };
            self.items.item(item, &budget).map_err(stopped)?;
        }
        self.items.end_list().map_err(stopped)
    }

    fn scalar<E: Error>(self) -> Result<(), E> {
        self.items.item(Json::Null, &Budget::new(self.limits)).map_err(stopped)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("conversations")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.scalar()
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.scalar()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.scalar()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<(), A::Error> {
        self.read_list(access)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let Self { limits, items } = self;
        let budget = Budget::new(limits);
        let (mut entries, mut has_list) = (Vec::new(), false);
        while let Some(key) = access.next_key_seed(Key(&budget))? {
            if key == "conversations" {
                check_version(&entries, items)?;
                access.next_value_seed(List(Document { limits, items: &mut *items }))?;
                has_list = true;
            } else {
                let value = access.next_value_seed(Seed::new(&budget))?;
                if !budget.is_exceeded() {
                    entries.push((key, value));
                }
            }
        }
        check_version(&entries, items)?;
        match has_list {
            true => Ok(()),
            false => items.item(Json::Object(entries), &budget).map_err(stopped),
        }
    }
}

fn check_version<E: Error>(entries: &[(String, Json)], items: &mut dyn Items) -> Result<(), E> {
    let value = |key: &str| entries.iter().find(|(name, _)| name == key).map(|(_, value)| value);
    let version = value("version").and_then(Json::as_u64).unwrap_or(VERSION);
    if value("format").is_some_and(is_own) && version > VERSION {
        items.newer_version(version);
        return Err(stopped(Stop));
    }
    Ok(())
}

/// The conversations inside of an object: a list, or an object whose values they are.
struct List<'a>(Document<'a>);

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of conversations")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.0.scalar()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.0.scalar()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.0.scalar()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.0.scalar()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.0.scalar()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<(), A::Error> {
        self.0.read_list(access)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let Document { limits, items } = self.0;
        loop {
            let budget = Budget::new(limits);
            if access.next_key_seed(Key(&budget))?.is_none() {
                break;
            }
            let item = access.next_value_seed(Seed::new(&budget))?;
            items.item(item, &budget).map_err(stopped)?;
        }
        items.end_list().map_err(stopped)
    }
}
