//! Values of settings as JSON has them, and in the binary form.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::SettingValue;

#[derive(Serialize, Deserialize)]
#[serde(remote = "SettingValue", untagged)]
enum Plain {
    Number(f64),
    Text(String),
    Lines(Vec<String>),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "SettingValue")]
enum Tagged {
    Number(f64),
    Text(String),
    Lines(Vec<String>),
}

impl Serialize for SettingValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => Plain::serialize(self, serializer),
            false => Tagged::serialize(self, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for SettingValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.is_human_readable() {
            true => Plain::deserialize(deserializer),
            false => Tagged::deserialize(deserializer),
        }
    }
}
