//! The binary form in which values cross between the shell and the page.
//!
//! It is postcard's (<https://postcard.jamesmunns.com/wire-format>): the program and its page are always of
//! one version, so no value needs the names of its fields. Code that reads JSON would be a fifth of the
//! page. Postcard cannot read `#[serde(tag = …)]`, `untagged` and `flatten`, so types of this crate have
//! none of them where the page reads them.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// Encodes a value.
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).expect("plain data whose lengths are known")
}

/// Decodes a value.
///
/// # Errors
/// An internal error if the bytes are no such value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    postcard::from_bytes(bytes).map_err(|error| Error::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::Deserialize;

    use super::*;
    use crate::*;

    fn is_the_same<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
        assert_eq!(decode::<T>(&encode(&value)).unwrap(), value);
    }

    #[test]
    fn values_survive_the_crossing() {
        let id = ConversationId("c".into());
        is_the_same(Command::OpenConversation { conversation: Some(id.clone()), message: None });
        is_the_same(Command::UseModel {
            name: "m".into(),
            context_tokens: Some(4096),
            conversation: None,
        });
        let notes = vec![PromptNote::NoTemplate, PromptNote::MessagesLeftOut { count: 2 }];
        let view = ContextView { notes, ..ContextView::default() };
        let finish = Finish::EndOfTurn;
        let stats = Stats {
            prompt_tokens: 1,
            prefilled_tokens: 2,
            tokens: 3,
            first_token_ms: 0.5,
            tokens_per_second: 7.25,
        };
        is_the_same(Event::Done { outcome: Outcome { finish, stats }, view });
        is_the_same(AppEvent::ConversationGone(id));
        is_the_same::<Result<Reply, Error>>(Ok(Reply::Done));
        let value = Some(SettingValue::Lines(vec!["a".into()]));
        let scope = SettingScope::Everywhere;
        is_the_same(Command::SetSetting { scope, setting: Setting::Stop, value });
    }

    /// [`Problem`] as the page reads it.
    #[derive(Debug, PartialEq, Deserialize)]
    enum First {
        NoModel,
        ModelMissing { path: String },
    }

    #[test]
    fn the_page_reads_the_errors_of_the_shell() {
        for (problem, expected) in [
            (Problem::NoModel, First::NoModel),
            (Problem::ModelMissing { path: "m".into() }, First::ModelMissing { path: "m".into() }),
        ] {
            let error = Error::new(problem, "d");
            let read: (First, Option<String>) = decode(&encode(&error)).unwrap();
            assert_eq!(read, (expected, Some("d".into())));
        }
    }

    #[test]
    fn damaged_bytes_are_an_error() {
        assert!(decode::<Command>(&[255, 255, 3]).is_err());
        assert!(decode::<Command>(&[]).is_err());
    }
}
