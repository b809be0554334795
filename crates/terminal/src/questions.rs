//! What is typed into a conversation, line by line. A signal that ends the program ends the waiting.

use std::io;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use anyhow::{Context, Result};

use crate::interrupt;

/// The longest line that is taken. Bytes.
const LINE_BYTES: u64 = 16 << 20;

/// The lines of standard input.
pub struct Questions(Receiver<Input>);

enum Input {
    Line(Result<Option<String>, lilims_files::Error>),
    /// A signal came that ends the program.
    End,
}

impl Questions {
    /// Starts reading. One line is read ahead, which changes nothing: it has no other reader.
    pub fn new() -> Result<Self> {
        let (sender, inputs) = mpsc::sync_channel(1);
        let on_signal = sender.clone();
        // With a line in the channel nothing blocks, and the next look at the signal is near.
        interrupt::begin_conversation(move || {
            let _ = on_signal.try_send(Input::End);
            true
        });
        let read = move || {
            let mut stdin = io::stdin().lock();
            loop {
                let line = lilims_files::read_line(&mut stdin, "standard input", LINE_BYTES);
                let is_last = !matches!(line, Ok(Some(_)));
                if sender.send(Input::Line(line)).is_err() || is_last {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("questions".to_owned())
            .spawn(read)
            .context("cannot read the questions")?;
        Ok(Self(inputs))
    }

    /// The next line, or `None` where there is none: at the end of what is typed, or when a signal
    /// ends the program.
    pub fn next(&self) -> Result<Option<String>> {
        if interrupt::is_ending() {
            return Ok(None);
        }
        match self.0.recv() {
            Ok(Input::Line(line)) if !interrupt::is_ending() => {
                line.context("cannot read the question")
            }
            // The reader ends with standard input.
            Ok(_) | Err(_) => Ok(None),
        }
    }
}
