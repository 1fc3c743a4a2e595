//! The idempotency key of a request to another model. Pure.

use http::HeaderValue;
use ring::digest::{Context, SHA256};

/// Derives the key of the same request to another model: always the same one, so that a repeated request is recognized
/// there, too. The client's own key belongs to the client's own body: it must not be used with another model in the body
/// (draft-ietf-httpapi-idempotency-key-header §2.2), and an upstream would refuse that.
pub fn key_for(key: &HeaderValue, model: &str) -> Option<HeaderValue> {
    let mut context = Context::new(&SHA256);
    for part in [key.as_bytes(), model.as_bytes()] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let hex: String = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::try_from(hex).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_key_and_model_has_one_key_of_its_own(keys: [String; 2], models: [String; 2]) {
            let of = |key: &str, model: &str| key_for(&HeaderValue::from_bytes(key.as_bytes()).ok()?, model);
            let (one, other) = (of(&keys[0], &models[0]), of(&keys[1], &models[1]));
            prop_assert_eq!(&of(&keys[0], &models[0]), &one);
            if one.is_some() && other.is_some() {
                prop_assert_eq!(one == other, keys[0] == keys[1] && models[0] == models[1]);
            }
        }
    }

    #[test]
    fn no_part_of_the_one_passes_for_a_part_of_the_other() {
        let of = |key, model| key_for(&HeaderValue::from_static(key), model);
        assert_ne!(of("ab", "c"), of("a", "bc"));
        assert_eq!(of("ab", "c").map(|key| key.len()), Some(64));
    }
}
