//! Errors as JSON, in the forms that rows of the store have.
//!
//! The page gets errors in the binary form alone, in which an error is its two fields.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Error, Problem};

/// The forms of a stored error. A code of a later version becomes [`Problem::Unknown`], so that its row
/// stays readable.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Known {
        #[serde(flatten)]
        problem: Problem,
        #[serde(default)]
        detail: Option<String>,
    },
    Other {
        #[serde(default)]
        detail: Option<String>,
    },
    /// Written before there were codes.
    Sentence(String),
}

/// The JSON form.
#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    problem: &'a Problem,
    detail: &'a Option<String>,
}

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { problem, detail } = self;
        if serializer.is_human_readable() {
            Json { problem, detail }.serialize(serializer)
        } else {
            (problem, detail).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Error {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            let (problem, detail) = Deserialize::deserialize(deserializer)?;
            return Ok(Self { problem, detail });
        }
        Ok(match Stored::deserialize(deserializer)? {
            Stored::Known { problem, detail } => Self { problem, detail },
            Stored::Other { detail } => Self { problem: Problem::Unknown, detail },
            Stored::Sentence(text) => Self::new(Problem::Unknown, text),
        })
    }
}
