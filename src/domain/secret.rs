//! Secrets cannot be printed by accident.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A password or key. `Debug` hides it; [`Secret::expose`] is the only way to it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
pub struct Secret(String);

impl Secret {
    /// Takes a text into custody.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The secret itself: for comparing, sending and storing, never for logs or errors.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

/// The secret in the URL of a public link.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShareToken(String);

const TOKEN_ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const TOKEN_LETTERS: usize = 22;

impl ShareToken {
    /// A token of 22 letters, 131 bits, from random bytes; none if the bytes run out (64 are ample).
    pub fn from_random(random: impl IntoIterator<Item = u8>) -> Option<ShareToken> {
        // Bytes of 248 and up are skipped: 248 is the last multiple of 62, and keeping them would make the first letters likelier.
        let letters = random.into_iter().filter(|byte| *byte < 248).take(TOKEN_LETTERS);
        let token: String =
            letters.filter_map(|byte| TOKEN_ALPHABET.get(usize::from(byte % 62)).map(|letter| char::from(*letter))).collect();
        (token.len() == TOKEN_LETTERS).then_some(ShareToken(token))
    }

    /// A token as it stands in a URL: 1 to 128 letters, digits, `-` or `_`.
    pub fn parse(text: &str) -> Option<ShareToken> {
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        fits.then(|| ShareToken(text.to_owned()))
    }

    /// The token itself: for URLs that are shown to their owner, and for requests.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ShareToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ShareToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l8_tokens_have_128_bits_and_every_letter_is_as_likely() {
        let token = ShareToken::from_random((0..=255).cycle().take(64)).unwrap();
        assert_eq!(token.expose().len(), 22);
        assert!(22.0 * 62f64.log2() >= 128.0);
        assert!(ShareToken::from_random([255; 64]).is_none());
    }

    #[test]
    fn secrets_do_not_show_in_debug() {
        assert!(!format!("{:?} {:?}", Secret::new("hunter2"), ShareToken::parse("abc").unwrap()).contains("hunter2"));
    }
}
