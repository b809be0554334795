//! `lilims token`: the access token of Hugging Face, in the system's keychain.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::output;

/// Keep an access token of Hugging Face, which gated models need, in the system's keychain. It is read
/// from standard input and sent to the hub alone, once that refuses without it.
#[derive(Args)]
pub(crate) struct Token {
    /// Remove the token that is kept.
    #[arg(long)]
    remove: bool,
}

impl Token {
    pub(crate) fn run(self) -> Result<ExitCode> {
        if self.remove {
            lilims_hub::set_token(None)?;
            output::note("The token was removed.");
            return Ok(ExitCode::SUCCESS);
        }
        if io::stdin().is_terminal() {
            output::note("Paste the token and press Enter; it will be visible here:");
        }
        let mut line = String::new();
        io::stdin().read_line(&mut line).context("cannot read the token")?;
        let token = line.trim();
        let is_plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        ensure!(is_plain, "standard input holds no access token");
        lilims_hub::set_token(Some(token))?;
        output::note("The token is kept in the system's keychain.");
        Ok(ExitCode::SUCCESS)
    }
}
