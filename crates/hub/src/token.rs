//! The access token: where it is stored, and the memory of tokens that the hub has rejected.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use hf_hub::Cache;
use parking_lot::Mutex;

use crate::Error;
use crate::blocking::blocking;

/// Tokens that a hub has rejected since this process started, each with the hub's origin.
static REJECTED: LazyLock<Mutex<HashSet<(String, String)>>> = LazyLock::new(Mutex::default);
/// Service and user of the token's entry in the system's keychain.
const KEYCHAIN: (&str, &str) = ("Lilims", "Hugging Face");
/// The largest token file that is read.
const MAX_TOKEN_BYTES: u64 = 4096;

/// The access token for one hub.
#[derive(Debug)]
pub(crate) struct AccessToken {
    /// The hub's origin.
    hub: String,
    /// Replaces the token of this machine: a token, or none at all.
    fixed: Option<Option<String>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The token in use. Its absence is not cached, since the user may add one at any time.
    token: Option<String>,
    /// Whether the last token was rejected.
    is_rejected: bool,
    /// Whether that has been reported.
    is_reported: bool,
}

impl AccessToken {
    /// The token for the hub at `origin`: `fixed` if there is one, else the token of this machine.
    pub(crate) fn new(origin: String, fixed: Option<Option<String>>) -> Self {
        Self { hub: origin, fixed, state: Mutex::default() }
    }

    /// Looks the token up, unless it is known. Never returns a token that the hub has rejected.
    pub(crate) async fn find(self: &Arc<Self>) -> Option<String> {
        if let Some(token) = self.known() {
            return Some(token);
        }
        let this = Arc::clone(self);
        // Without the keychain, requests are sent without a token.
        blocking(move || Ok(this.look_up())).await.ok().flatten()
    }

    fn look_up(&self) -> Option<String> {
        let token = self.fixed.clone().unwrap_or_else(stored_token)?;
        if REJECTED.lock().contains(&(self.hub.clone(), token.clone())) {
            return None;
        }
        let mut state = self.state.lock();
        state.is_rejected = false;
        state.token = Some(token.clone());
        Some(token)
    }

    /// The token, if it has been looked up.
    pub(crate) fn known(&self) -> Option<String> {
        self.state.lock().token.clone()
    }

    /// Looks the token up again when one is needed next.
    pub(crate) fn forget(&self) {
        self.state.lock().token = None;
    }

    /// Stops using `token`, which the hub has rejected.
    pub(crate) fn reject(&self, token: String) {
        let mut state = self.state.lock();
        if state.token.as_ref() == Some(&token) {
            state.token = None;
            state.is_rejected = true;
            state.is_reported = false;
        }
        REJECTED.lock().insert((self.hub.clone(), token));
    }

    /// Whether the last token was rejected.
    pub(crate) fn is_rejected(&self) -> bool {
        self.state.lock().is_rejected
    }

    /// Whether a token was rejected since the last call.
    pub(crate) fn take_rejection(&self) -> bool {
        let mut state = self.state.lock();
        let is_new = state.is_rejected && !state.is_reported;
        state.is_reported |= is_new;
        is_new
    }
}

/// Stores the access token in the system's keychain, or removes it.
///
/// # Errors
/// [`Error::Io`] if the keychain fails.
pub fn set_token(token: Option<&str>) -> Result<(), Error> {
    let result = keyring::Entry::new(KEYCHAIN.0, KEYCHAIN.1).and_then(|entry| match token {
        Some(token) => entry.set_password(token),
        None => match entry.delete_credential() {
            Err(keyring::Error::NoEntry) => Ok(()),
            result => result,
        },
    });
    result.map_err(|error| Error::io("the keychain")(std::io::Error::other(error)))
}

/// The token of this machine: `HF_TOKEN`, else from the keychain, else from Hugging Face's tools.
fn stored_token() -> Option<String> {
    let from_env = std::env::var("HF_TOKEN").ok();
    let from_keychain = || keyring::Entry::new(KEYCHAIN.0, KEYCHAIN.1).ok()?.get_password().ok();
    let from_cache = || {
        std::env::home_dir()?;
        lilims_files::read_to_string(&Cache::from_env().token_path(), MAX_TOKEN_BYTES).ok()
    };
    let token = from_env.or_else(from_keychain).or_else(from_cache)?;
    let token = token.trim();
    (!token.is_empty()).then(|| token.to_owned())
}
