//! Tokens: what they say, and the signature that proves that Hearth said it.
//!
//! `BODY.TAG`, both base64url: the body is [`Claims`] as JSON, the tag HMAC-SHA256 with the key of this service. The form
//! has no header, and so no name of an algorithm that somebody could change. Roles are not in it: they are what the records
//! say when the token is used.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::domain::time::Timestamp;

/// Longest token looked at.
pub const TOKEN_MAX: usize = 2048;

/// Signed with the body, so that no signature of another kind of message can be one of a token.
const PURPOSE: &[u8] = b"hearth token 1\n";

/// How somebody has shown who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// By a password.
    Password,
    /// By another token.
    Token,
    /// By an application credential.
    ApplicationCredential,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The token's own id.
    #[serde(rename = "a")]
    pub audit_id: String,
    /// The user's id.
    #[serde(rename = "u")]
    pub user: String,
    /// The project's id; none: unscoped.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The application credential's id.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub application_credential: Option<String>,
    /// How it was got, the first way first.
    #[serde(rename = "m")]
    pub methods: Vec<Method>,
    /// Since when.
    #[serde(rename = "i")]
    pub issued_at: Timestamp,
    /// Until when.
    #[serde(rename = "e")]
    pub expires_at: Timestamp,
}

/// The key that signs tokens.
#[derive(Clone)]
pub struct TokenKey(Hmac<Sha256>);

impl TokenKey {
    /// Of secret bytes.
    pub fn new(secret: &[u8]) -> Self {
        let mut mac = Hmac::new_from_slice(secret).expect("a key may have any length");
        mac.update(PURPOSE);
        Self(mac)
    }

    /// The token.
    pub fn sign(&self, claims: &Claims) -> String {
        let body = BASE64.encode(serde_json::to_vec(claims).expect("claims are JSON"));
        let tag = self.mac(&body).finalize().into_bytes();
        format!("{body}.{}", BASE64.encode(tag))
    }

    /// What a token of this key says, whether it has expired or not; none: it is not one. Takes the same time wherever a
    /// wrong tag differs.
    pub fn open(&self, token: &str) -> Option<Claims> {
        if token.len() > TOKEN_MAX {
            return None;
        }
        let (body, tag) = token.split_once('.')?;
        self.mac(body).verify_slice(&BASE64.decode(tag).ok()?).ok()?;
        serde_json::from_slice(&BASE64.decode(body).ok()?).ok()
    }

    fn mac(&self, body: &str) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(body.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            audit_id: "a1".to_owned(),
            user: "u1".to_owned(),
            project: Some("p1".to_owned()),
            application_credential: None,
            methods: vec![Method::Password],
            issued_at: Timestamp(1),
            expires_at: Timestamp(2),
        }
    }

    #[test]
    fn a_token_says_what_was_signed() {
        let key = TokenKey::new(b"key");
        let unscoped = Claims { project: None, ..claims() };
        for claims in [claims(), unscoped] {
            let token = key.sign(&claims);
            assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{token}");
            assert_eq!(key.open(&token), Some(claims));
        }
    }

    #[test]
    fn whatever_is_changed_is_no_token() {
        let key = TokenKey::new(b"key");
        let token = key.sign(&claims());
        assert_eq!(TokenKey::new(b"kez").open(&token), None, "of another key");
        for at in 0..token.len() {
            for other in ["A", "_", ".", "="] {
                let mut changed = token.clone();
                changed.replace_range(at..=at, other);
                // The last sign of a text of base64 has bits that do not count; they must be zero.
                assert!(changed == token || key.open(&changed).is_none(), "{changed}");
            }
            assert_eq!(key.open(&token[..at]), None);
        }
        assert_eq!(key.open(&format!("{token}A")), None);
        assert_eq!(key.open(&"A".repeat(TOKEN_MAX + 1)), None);
    }

    #[test]
    fn tokens_that_name_their_algorithm_are_none() {
        let key = TokenKey::new(b"key");
        let body = BASE64.encode(serde_json::to_vec(&claims()).expect("JSON"));
        for header in [r#"{"alg":"none"}"#, r#"{"alg":"HS256","typ":"JWT"}"#, r#"{"alg":"RS256"}"#] {
            let header = BASE64.encode(header);
            for token in [format!("{header}.{body}."), format!("{header}.{body}.{}", BASE64.encode("x"))] {
                assert_eq!(key.open(&token), None, "{token}");
            }
        }
        assert_eq!(key.open(&format!("{body}.")), None);
        // a body that is signed for something else
        let tag = Hmac::<Sha256>::new_from_slice(b"key").expect("a key").chain_update(&body).finalize().into_bytes();
        assert_eq!(key.open(&format!("{body}.{}", BASE64.encode(tag))), None);
    }
}
