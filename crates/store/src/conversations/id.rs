//! Ids of conversations and messages: random, and in the order of their creation (UUID version 7,
//! RFC 9562).

use std::fmt;

use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// A new one. Ids that one process makes ascend.
            #[expect(clippy::new_without_default, reason = "each call gives another value")]
            pub fn new() -> Self {
                Self(Uuid::now_v7().simple().to_string())
            }

            /// Its text: letters and digits.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// Names a conversation.
    ConversationId
}

id! {
    /// Names a message, in all conversations.
    MessageId
}

id! {
    /// Names a document that is attached to a draft.
    AttachmentId
}

id! {
    /// Names a folder of conversations.
    FolderId
}
