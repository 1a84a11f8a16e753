//! Who posts, and that nothing was changed on the way: HMAC-SHA256 as the Standard Webhooks specification has it, so that its libraries
//! can check it.
//!
//! What is signed is `ID.TIMESTAMP.BODY`; the header is `v1,` and the code in base64, once for each secret, with spaces between. A
//! secret that begins with `whsec_` is base64 behind that; any other is taken byte by byte.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// What the specification's libraries write before a secret in base64.
const PREFIX: &str = "whsec_";

/// Shorter ones could be guessed.
const FEWEST_BYTES: usize = 16;

/// What posts are signed with; at least one.
#[derive(Clone)]
pub(super) struct Secrets(Vec<Zeroizing<Vec<u8>>>);

/// Why there is nothing to sign with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// None at all.
    #[error("there is no secret")]
    Empty,
    /// One that says it is base64.
    #[error("the {place}. secret begins with whsec_, and what follows is no base64")]
    Base64 {
        /// Which one, from 1.
        place: usize,
    },
    /// One that could be guessed.
    #[error(
        "the {place}. secret has {actual} bytes, expected at least {FEWEST_BYTES}; `openssl rand -hex 32` makes one"
    )]
    Short {
        /// Which one, from 1.
        place: usize,
        /// How many it has.
        actual: usize,
    },
}

impl Secrets {
    /// One a line; lines without any are passed over.
    pub(super) fn parse(text: &str) -> Result<Self, Invalid> {
        let mut secrets = Vec::new();
        for (line, place) in text.lines().map(str::trim).filter(|line| !line.is_empty()).zip(1..) {
            let key = match line.strip_prefix(PREFIX) {
                Some(encoded) => BASE64_STANDARD.decode(encoded).map_err(|_| Invalid::Base64 { place })?,
                None => line.as_bytes().to_vec(),
            };
            if key.len() < FEWEST_BYTES {
                return Err(Invalid::Short { place, actual: key.len() });
            }
            secrets.push(Zeroizing::new(key));
        }
        if secrets.is_empty() { Err(Invalid::Empty) } else { Ok(Self(secrets)) }
    }

    /// The header's value for this post.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let signed = |secret: &Zeroizing<Vec<u8>>| {
            let mut code = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
            code.update(format!("{id}.{timestamp}.").as_bytes());
            code.update(body);
            format!("v1,{}", BASE64_STANDARD.encode(code.finalize().into_bytes()))
        };
        self.0.iter().map(signed).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_specifications_own() {
        // The example in the specification's repository (libraries/python/tests).
        let secrets = Secrets::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = secrets.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn each_secret_signs_and_a_plain_one_is_its_bytes() {
        let encoded = BASE64_STANDARD.encode("sixteen letters!");
        let secrets = Secrets::parse(&format!("sixteen letters!\n\n whsec_{encoded} \n")).unwrap();
        let signed = secrets.sign("id", 7, b"body");
        let (first, second) = signed.split_once(' ').unwrap();
        assert_eq!(first, second);
    }

    #[test]
    fn what_cannot_be_signed_with_is_told_without_telling_it() {
        let invalid = |text: &str| Secrets::parse(text).err().unwrap();
        assert_eq!(invalid(" \n"), Invalid::Empty);
        assert_eq!(invalid("sixteen letters!\nshort"), Invalid::Short { place: 2, actual: 5 });
        assert_eq!(invalid("whsec_*"), Invalid::Base64 { place: 1 });
    }
}
