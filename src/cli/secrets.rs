//! Passwords: asked for on a terminal, or one line of standard input; never an argument, which every user of the machine could read.

use std::io::{BufRead as _, IsTerminal as _, Read as _};

use crate::domain::Secret;
use crate::service::Refusal;

const LINE_MAX: u64 = 8 * 1024;

/// A new password: asked for twice, or read from standard input.
pub(super) fn new_password(stdin: bool, what: &str) -> Result<Secret, Refusal> {
    if stdin {
        return from_stdin();
    }
    let first = prompt(&format!("New password for {what}: "))?;
    if first != prompt("Once more: ")? {
        return Err(Refusal::usage("the two passwords differ"));
    }
    Ok(first)
}

/// A password that exists already: asked for once, or read from standard input.
pub(super) fn known_password(stdin: bool, what: &str) -> Result<Secret, Refusal> {
    if stdin { from_stdin() } else { prompt(&format!("Password for {what}: ")) }
}

/// Whether somebody can be asked.
pub(super) fn can_ask() -> bool {
    std::io::stdin().is_terminal()
}

fn prompt(text: &str) -> Result<Secret, Refusal> {
    if !can_ask() {
        return Err(Refusal::usage("there is no terminal to ask for the password: give it with --password-stdin"));
    }
    rpassword::prompt_password(text).map(Secret::new).map_err(|error| Refusal::failed(format!("the password cannot be read: {error}")))
}

fn from_stdin() -> Result<Secret, Refusal> {
    let mut line = String::new();
    let read = std::io::stdin().lock().take(LINE_MAX).read_line(&mut line);
    read.map_err(|error| Refusal::failed(format!("the password cannot be read: {error}")))?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() { Err(Refusal::usage("standard input holds no password")) } else { Ok(Secret::new(password)) }
}
