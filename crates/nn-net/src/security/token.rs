//! A secret that all workers of a run share.

use std::fmt;

use http::HeaderValue;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::error::SecurityError;

/// A join token. A client with the token may join; printing the token does not reveal it.
#[derive(Clone)]
pub struct Token {
    secret: String,
    digest: [u8; 32],
}

impl Token {
    /// The least number of characters.
    pub const SHORTEST: usize = 16;
    /// The most characters.
    pub const LONGEST: usize = 1024;

    /// The token in the text of a file, without surrounding white space.
    ///
    /// ```
    /// use nn_net::Token;
    /// assert!(Token::parse("correct horse battery").is_err(), "spaces are not allowed");
    /// let token = Token::parse("correct-horse-battery\n").unwrap();
    /// assert!(!format!("{token:?}").contains("horse"));
    /// ```
    ///
    /// # Errors
    /// If it is too short to be a secret, too long for a header, or has characters that a header cannot carry.
    pub fn parse(text: &str) -> Result<Self, SecurityError> {
        let secret = text.trim();
        let length = secret.chars().count();
        if length < Self::SHORTEST {
            return Err(SecurityError::TokenTooShort { length, least: Self::SHORTEST });
        }
        if length > Self::LONGEST {
            return Err(SecurityError::TokenTooLong { length, most: Self::LONGEST });
        }
        if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SecurityError::TokenCharacters);
        }
        Ok(Self { secret: secret.to_owned(), digest: Sha256::digest(secret).into() })
    }

    /// Whether the value of an `authorization` header contains it. Digests are compared in constant time, so the time reveals
    /// neither the token nor its length.
    pub(crate) fn is_in(&self, header: &[u8]) -> bool {
        let Some(candidate) = header.strip_prefix(SCHEME.as_bytes()) else { return false };
        let candidate: [u8; 32] = Sha256::digest(candidate).into();
        self.digest.ct_eq(&candidate).into()
    }

    /// The value of the `authorization` header, which is marked as sensitive.
    pub(crate) fn header(&self) -> HeaderValue {
        let text = format!("{SCHEME}{}", self.secret);
        let Ok(mut value) = HeaderValue::try_from(text) else { unreachable!("visible ASCII was checked") };
        value.set_sensitive(true);
        value
    }
}

/// The scheme of RFC 6750.
const SCHEME: &str = "Bearer ";

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_token_is_accepted() {
        let token = Token::parse("  0123456789abcdef\n").unwrap();
        assert!(token.is_in(token.header().as_bytes()));
        for other in
            ["", "Bearer ", "Bearer 0123456789abcdeF", "Bearer 0123456789abcdef0", "0123456789abcdef"]
        {
            assert!(!token.is_in(other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn weak_or_malformed_tokens_are_refused() {
        assert!(matches!(Token::parse(" short "), Err(SecurityError::TokenTooShort { length: 5, .. })));
        assert!(matches!(Token::parse(""), Err(SecurityError::TokenTooShort { length: 0, .. })));
        assert!(matches!(Token::parse(&"x".repeat(1025)), Err(SecurityError::TokenTooLong { .. })));
        for text in ["sixteen charact rs", "sixteen-charactérs", "sixteen-chara\0cters"] {
            assert_eq!(Token::parse(text).unwrap_err(), SecurityError::TokenCharacters, "{text:?}");
        }
    }

    #[test]
    fn printing_does_not_reveal_it() {
        let token = Token::parse("0123456789abcdef").unwrap();
        assert!(!format!("{token:?} {:?}", token.header()).contains("0123"));
    }
}
