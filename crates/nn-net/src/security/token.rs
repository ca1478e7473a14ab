//! A secret that all workers of a run share.

use std::fmt;

use http::HeaderValue;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::SecurityError;

/// A join token. Who has it may take part; it does not show itself in what is printed.
#[derive(Clone)]
pub struct Token {
    secret: String,
    digest: [u8; 32],
}

impl Token {
    /// As short as one may be.
    pub const SHORTEST: usize = 16;
    /// As long as one may be.
    pub const LONGEST: usize = 1024;

    /// The token in the text of a file, without the white space around it.
    ///
    /// ```
    /// use nn_net::Token;
    /// assert!(Token::parse("correct horse battery").is_err(), "a space may not be in it");
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

    /// Whether the value of an `authorization` header has it. Digests are compared, in constant time: how long it takes
    /// tells nothing of the token, nor of its length.
    pub(crate) fn is_in(&self, header: &[u8]) -> bool {
        let Some(candidate) = header.strip_prefix(SCHEME.as_bytes()) else { return false };
        let candidate: [u8; 32] = Sha256::digest(candidate).into();
        self.digest.ct_eq(&candidate).into()
    }

    /// The value of the `authorization` header, which is not shown either.
    pub(crate) fn header(&self) -> HeaderValue {
        let text = format!("{SCHEME}{}", self.secret);
        let Ok(mut value) = HeaderValue::try_from(text) else { unreachable!("visible ASCII was checked") };
        value.set_sensitive(true);
        value
    }
}

/// As in RFC 6750.
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
    fn only_the_same_token_is_taken() {
        let token = Token::parse("  0123456789abcdef\n").unwrap();
        assert!(token.is_in(token.header().as_bytes()));
        for other in
            ["", "Bearer ", "Bearer 0123456789abcdeF", "Bearer 0123456789abcdef0", "0123456789abcdef"]
        {
            assert!(!token.is_in(other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        assert!(matches!(Token::parse(" short "), Err(SecurityError::TokenTooShort { length: 5, .. })));
        assert!(matches!(Token::parse(""), Err(SecurityError::TokenTooShort { length: 0, .. })));
        assert!(matches!(Token::parse(&"x".repeat(1025)), Err(SecurityError::TokenTooLong { .. })));
        for text in ["sixteen charact rs", "sixteen-charactérs", "sixteen-chara\0cters"] {
            assert_eq!(Token::parse(text).unwrap_err(), SecurityError::TokenCharacters, "{text:?}");
        }
    }

    #[test]
    fn it_does_not_show_itself() {
        let token = Token::parse("0123456789abcdef").unwrap();
        assert!(!format!("{token:?} {:?}", token.header()).contains("0123"));
    }
}
