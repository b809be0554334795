//! The access token: where it is kept, and that one which a hub refuses is put aside for as long as
//! this process lives.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use hf_hub::Cache;

use crate::Error;

/// Tokens that a hub has refused since this process began, with the hub's origin.
static REFUSED: LazyLock<Mutex<HashSet<(String, String)>>> = LazyLock::new(Mutex::default);
/// Under which service and user the system's keychain has the access token.
const KEYCHAIN: (&str, &str) = ("Lilims", "Hugging Face");
/// The most bytes of a file that holds an access token.
const MAX_TOKEN_BYTES: u64 = 4096;

/// The access token for a hub.
#[derive(Debug)]
pub(crate) struct AccessToken {
    /// The hub's origin.
    hub: String,
    /// The token to use in place of the one that this machine keeps.
    given: Option<Option<String>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What was found, once it was looked for.
    found: Option<Option<String>>,
    /// Whether one was refused, and whether that was reported.
    is_refused: bool,
    is_reported: bool,
}

impl AccessToken {
    /// For the hub at `origin`; `given`, or none, in place of the one that this machine keeps.
    pub(crate) fn new(origin: String, given: Option<Option<String>>) -> Self {
        Self { hub: origin, given, state: Mutex::default() }
    }

    /// The token, looked for where none is known; never one that was refused.
    pub(crate) fn get(&self) -> Option<String> {
        let mut state = lock(&self.state);
        let found = state.found.get_or_insert_with(|| {
            let found = self.given.clone().unwrap_or_else(find)?;
            let key = (self.hub.clone(), found.clone());
            (!lock(&REFUSED).contains(&key)).then_some(found)
        });
        found.clone()
    }

    /// The token, where it was looked for already.
    pub(crate) fn known(&self) -> Option<String> {
        lock(&self.state).found.clone()?
    }

    /// Does without this token from now on. Where another one is kept by then, that is taken.
    pub(crate) fn put_aside(&self, refused: String) {
        let mut state = lock(&self.state);
        lock(&REFUSED).insert((self.hub.clone(), refused.clone()));
        if state.found.as_ref().is_some_and(|found| found.as_ref() == Some(&refused)) {
            state.found = None;
        }
        state.is_refused = true;
    }

    /// Whether one was refused.
    pub(crate) fn is_refused(&self) -> bool {
        lock(&self.state).is_refused
    }

    /// Whether one was refused, the first time after it was.
    pub(crate) fn take_refusal(&self) -> bool {
        let mut state = lock(&self.state);
        let is_news = state.is_refused && !state.is_reported;
        state.is_reported |= is_news;
        is_news
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the access token in the system's keychain, or removes it from there.
///
/// # Errors
/// [`Error::Io`] where the keychain refuses.
pub fn set_token(token: Option<&str>) -> Result<(), Error> {
    let done = keyring::Entry::new(KEYCHAIN.0, KEYCHAIN.1).and_then(|entry| match token {
        Some(token) => entry.set_password(token),
        None => match entry.delete_credential() {
            Err(keyring::Error::NoEntry) => Ok(()),
            done => done,
        },
    });
    done.map_err(|error| Error::io("the keychain")(std::io::Error::other(error)))
}

/// The access token: `HF_TOKEN`, else the keychain's, else that of Hugging Face's own tools.
fn find() -> Option<String> {
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
