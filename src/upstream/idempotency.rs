//! The idempotency keys that upstreams get. Pure.

use http::HeaderValue;
use ring::digest::{Context, SHA256};

/// The `idempotency-key` of a caller's request. No upstream gets it as it is: all callers share the provider's key, so that a
/// key which two callers happen to use would give the answer of the one to the other.
#[derive(Clone)]
pub struct IdempotencyKey(Context);

impl IdempotencyKey {
    /// The key that this caller, by its [`id`](crate::auth::caller::Caller::id), has sent.
    pub fn of(caller: &str, key: &HeaderValue) -> Self {
        let mut context = Context::new(&SHA256);
        update(&mut context, caller.as_bytes());
        update(&mut context, key.as_bytes());
        Self(context)
    }

    /// Derives the key of the request to this model: the SHA-256 of caller, key and model, in hexadecimal. It is always the
    /// same one, so that a repeated request is recognized. Each model has its own, because the model is in the body, and a
    /// key must not be used with another body (draft-ietf-httpapi-idempotency-key-header §2.2).
    pub fn for_model(&self, model: &str) -> Option<HeaderValue> {
        let mut context = self.0.clone();
        update(&mut context, model.as_bytes());
        let hex: String = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        HeaderValue::try_from(hex).ok()
    }
}

/// Adds a part behind its length: no part of the one passes for a part of the other.
fn update(context: &mut Context, part: &[u8]) {
    context.update(&(part.len() as u64).to_be_bytes());
    context.update(part);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn derive(caller: &str, key: &str, model: &str) -> Option<HeaderValue> {
        IdempotencyKey::of(caller, &HeaderValue::from_bytes(key.as_bytes()).ok()?).for_model(model)
    }

    proptest! {
        #[test]
        fn each_caller_key_and_model_has_one_key_of_its_own(one: [String; 3], other: [String; 3]) {
            let of = |[caller, key, model]: &[String; 3]| derive(caller, key, model);
            prop_assert_eq!(of(&one), of(&one));
            if let (Some(a), Some(b)) = (of(&one), of(&other)) {
                prop_assert_eq!(a == b, one == other);
            }
        }
    }

    #[test]
    fn no_part_of_the_one_passes_for_a_part_of_the_other() {
        assert_ne!(derive("x", "ab", "c"), derive("x", "a", "bc"));
        assert_ne!(derive("xa", "b", "c"), derive("x", "ab", "c"));
        assert_eq!(derive("x", "ab", "c").map(|key| key.len()), Some(64));
    }
}
