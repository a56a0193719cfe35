//! Passwords and the secrets of application credentials: argon2id, as PHC strings.

use std::sync::LazyLock;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};

use crate::runtime::Randomness;

/// Longest password taken, in bytes: what anybody types, and no way to keep the processor busy.
pub const PASSWORD_MAX: usize = 1024;

/// What a password is compared with when there is no such user, so that both take the same time.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash_with("nobody has this password", &[0; 16]));

/// The hash that is kept. Takes some 20 MiB and tens of milliseconds: never on a thread that serves requests.
pub fn hash(password: &str, randomness: &Randomness) -> String {
    hash_with(password, randomness.uuid().as_bytes())
}

fn hash_with(password: &str, salt: &[u8]) -> String {
    let hash: PasswordHash = Argon2::default()
        .hash_password_with_salt(password.as_bytes(), salt)
        .expect("the default parameters and a salt of 16 bytes are valid");
    hash.to_string()
}

/// Whether it is the password of `hash`; without one the work is done all the same, and the answer is no. As slow as
/// [`hash`].
pub fn verify(password: &str, hash: Option<&str>) -> bool {
    let parsed = PasswordHash::new(hash.unwrap_or(&NOBODY));
    let is_right = parsed.is_ok_and(|parsed| Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok());
    is_right && hash.is_some()
}

/// Whether a text can be a hash of here.
pub fn is_hash(text: &str) -> bool {
    PasswordHash::new(text).is_ok_and(|hash| hash.algorithm.as_str().starts_with("argon2"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_itself_is_right() {
        let hash = hash("s3cret", &Randomness::from_seed(1));
        assert!(hash.starts_with("$argon2id$v=19$"), "{hash}");
        assert!(is_hash(&hash));
        for (password, expected) in [("s3cret", true), ("s3creT", false), ("", false), ("s3cret\0", false)] {
            assert_eq!(verify(password, Some(&hash)), expected, "{password:?}");
        }
        assert!(!verify("s3cret", Some("s3cret")), "what is no hash is nobody's password");
        assert!(!verify("nobody has this password", None));
        assert!(!is_hash("$2y$05$abcdefghijklmnopqrstuu"));
    }

    #[test]
    fn the_same_password_twice_gives_two_hashes() {
        let randomness = Randomness::from_seed(1);
        assert_ne!(hash("x", &randomness), hash("x", &randomness));
    }
}
