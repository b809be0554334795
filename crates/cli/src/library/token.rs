//! `lilims token`: the access token of Hugging Face, in the system's keychain.

use std::io::{self, IsTerminal};

use anyhow::{Result, ensure};
use clap::Args;
use lilims_core::Error;
use lilims_core::library::set_token;
use lilims_terminal::output;

#[derive(Args)]
pub(crate) struct Token {
    /// Remove the token that is kept.
    #[arg(long)]
    remove: bool,
}

impl Token {
    pub(crate) fn run(self) -> Result<()> {
        if self.remove {
            set_token(None).map_err(Error::from)?;
            output::note("The token was removed.");
            return Ok(());
        }
        if io::stdin().is_terminal() {
            output::note("Paste the token and press Enter; it will be visible here:");
        }
        let line = lilims_files::read_line(&mut io::stdin().lock(), "standard input", 4096)?;
        let token = line.as_deref().unwrap_or_default().trim();
        let is_plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        ensure!(is_plain, "standard input holds no access token");
        set_token(Some(token)).map_err(Error::from)?;
        output::note("The token is kept in the system's keychain.");
        Ok(())
    }
}
