//! Valid tokens, and every way in which a token is invalid.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::auth::token_key::SigningKey;
use crate::price::Cost;

const SECRET: &[u8] = b"a secret that backend and gateway share";
const OTHER: &[u8] = b"a secret that another party has chosen";
const NOW: u64 = 1_800_000_000;
const MAX_AGE: Duration = Duration::from_secs(900);
const RSA: &str = include_str!("test_keys/rsa.pem");
const RSA_PUBLIC: &str = include_str!("test_keys/rsa.pub.pem");

fn tokens() -> Tokens {
    of(vec![TokenKey::from_secret(SECRET).unwrap()])
}

fn of(keys: Vec<TokenKey>) -> Tokens {
    Tokens::new(keys, MAX_AGE, None)
}

fn claims() -> Value {
    json!({ "sub": "ann", "exp": NOW + 300 })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn signed(secret: &[u8], header: &str, claims: &str) -> String {
    let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    let signature = ring::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", BASE64.encode(signature))
}

fn hs256(claims: &Value) -> String {
    signed(SECRET, r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string())
}

fn pair(algorithm: &'static rcgen::SignatureAlgorithm) -> (SigningKey, TokenKey) {
    let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
    let signing = SigningKey::from_pem(pair.serialize_pem().as_bytes()).unwrap();
    (signing, TokenKey::from_pem(pair.public_key_pem().as_bytes()).unwrap())
}

fn minted() -> Claims {
    serde_json::from_value(claims()).unwrap()
}

#[test]
fn a_good_token_says_who_and_what_it_may() {
    let mut claims = with("models", json!(["a", "b"]));
    claims["rpm"] = 10.into();
    claims["tpm"] = 2000.into();
    claims["streams"] = 3.into();
    claims["budget"] = 0.1.into();
    claims["name"] = "unknown claims are ignored".into();
    let verified = tokens().check(&hs256(&claims), None, NOW).unwrap();
    assert_eq!(&*verified.subject, "ann");
    assert_eq!(verified.terms.models.as_deref(), Some(&["a".to_owned(), "b".to_owned()][..]));
    let allowance = Allowance {
        requests_per_minute: Some(10),
        tokens_per_minute: Some(2000),
        concurrent_streams: Some(3),
        budget_per_day: Cost::parse("0.1").ok(),
    };
    assert_eq!(verified.terms.allowance, allowance);
    // RFC 7519 §2: a NumericDate may have a fraction, and Python's time.time() does
    assert!(tokens().check(&hs256(&with("exp", json!(NOW as f64 + 0.5))), None, NOW).is_ok());
}

#[test]
fn each_kind_of_key_verifies_what_its_own_private_key_has_signed_and_no_other() {
    let rsa = (SigningKey::from_pem(RSA.as_bytes()).unwrap(), TokenKey::from_pem(RSA_PUBLIC.as_bytes()).unwrap());
    let secret = (SigningKey::from_secret(SECRET).unwrap(), TokenKey::from_secret(SECRET).unwrap());
    let pairs = [secret, rsa, pair(&rcgen::PKCS_ED25519), pair(&rcgen::PKCS_ECDSA_P256_SHA256)];
    let names: Vec<_> = pairs.iter().map(|(_, key)| key.algorithm()).collect();
    assert_eq!(names, ["HS256", "RS256", "EdDSA", "ES256"]);
    for (i, (signing, _)) in pairs.iter().enumerate() {
        let token = signing.sign(&minted()).unwrap();
        for (j, (_, key)) in pairs.iter().enumerate() {
            assert_eq!(of(vec![key.clone()]).check(&token, None, NOW).is_ok(), i == j, "{i} {j}");
        }
        let all = of(pairs.iter().map(|(_, key)| key.clone()).collect());
        assert!(all.check(&token, None, NOW).is_ok());
    }
    // another key of the same kind
    let (_, stranger) = pair(&rcgen::PKCS_ED25519);
    let token = pairs[2].0.sign(&minted()).unwrap();
    assert_eq!(of(vec![stranger]).check(&token, None, NOW), Err(Refusal::BadSignature));
}

#[test]
fn alg_none_and_a_public_key_taken_for_a_secret_are_refused() {
    let claims = claims().to_string();
    for none in ["none", "None", "NONE", ""] {
        let header = format!(r#"{{"alg":"{none}"}}"#);
        let unsigned = format!("{}.{}.", BASE64.encode(&header), BASE64.encode(&claims));
        assert_eq!(tokens().check(&unsigned, None, NOW), Err(Refusal::Malformed), "{none}");
        assert_eq!(tokens().check(&signed(SECRET, &header, &claims), None, NOW), Err(Refusal::Malformed), "{none}");
    }
    // RFC 8725 §2.1: HS256 with the public key's text as its secret
    let public = of(vec![TokenKey::from_pem(RSA_PUBLIC.as_bytes()).unwrap()]);
    for secret in [RSA_PUBLIC.as_bytes(), RSA_PUBLIC.trim().as_bytes()] {
        let confused = signed(secret, r#"{"alg":"HS256"}"#, &claims);
        assert_eq!(public.check(&confused, None, NOW), Err(Refusal::Unknown));
        let confused = signed(secret, r#"{"alg":"RS256"}"#, &claims);
        assert_eq!(public.check(&confused, None, NOW), Err(Refusal::BadSignature));
    }
    // other sizes of the same family
    let wider = signed(SECRET, r#"{"alg":"HS512"}"#, &claims);
    assert_eq!(tokens().check(&wider, None, NOW), Err(Refusal::Unknown));
}

#[test]
fn a_header_that_cannot_be_understood_is_refused() {
    let claims = claims().to_string();
    let refused = |header: &str| tokens().check(&signed(SECRET, header, &claims), None, NOW).unwrap_err();
    assert_eq!(refused(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#), Refusal::Malformed);
    assert_eq!(refused(r#"{"typ":"JWT"}"#), Refusal::Malformed);
    assert_eq!(refused("[]"), Refusal::Malformed);
    for shape in ["", ".", "..", "a.b", "a.b.c.d", "tw_key", "eyJhbGciOiJIUzI1NiJ9.e30"] {
        assert_eq!(tokens().check(shape, None, NOW), Err(Refusal::Malformed), "{shape}");
    }
    assert_eq!(tokens().check(&"a".repeat(MAX_TOKEN + 1), None, NOW), Err(Refusal::Malformed));
}

#[test]
fn claims_of_a_wrong_type_missing_or_twice_are_refused() {
    let wrong = [
        json!({ "sub": "ann" }),
        json!({ "exp": NOW + 300 }),
        with("exp", json!("1800000300")),
        with("exp", Value::Null),
        with("nbf", json!("now")),
        with("sub", json!(7)),
        with("sub", json!("")),
        with("sub", json!("a\nb")),
        with("sub", json!("a".repeat(257))),
        with("models", json!("a")),
        with("models", json!(vec!["a"; 65])),
        with("rpm", json!(-1)),
        with("tpm", json!("many")),
        with("streams", json!(1.5)),
        with("origin", json!(["https://a.example"])),
        json!([]),
    ];
    for claims in wrong {
        assert_eq!(tokens().check(&hs256(&claims), None, NOW), Err(Refusal::BadClaims), "{claims}");
    }
    let twice = format!(r#"{{"sub":"ann","exp":{0},"exp":{0}}}"#, NOW + 300);
    assert_eq!(tokens().check(&signed(SECRET, r#"{"alg":"HS256"}"#, &twice), None, NOW), Err(Refusal::BadClaims));
}

#[test]
fn a_token_is_valid_from_nbf_to_exp_and_for_no_longer_than_the_configured_age() {
    let check = |claims: Value| tokens().check(&hs256(&claims), None, NOW).map(|_| ());
    assert_eq!(check(with("exp", json!(NOW - 10))), Ok(()));
    assert_eq!(check(with("exp", json!(NOW - 11))), Err(Refusal::Expired));
    assert_eq!(check(with("exp", json!(NOW + 910))), Ok(()));
    assert_eq!(check(with("exp", json!(NOW + 911))), Err(Refusal::LivesTooLong));
    assert_eq!(check(with("exp", json!(1e300))), Err(Refusal::LivesTooLong));
    assert_eq!(check(with("exp", json!(-1))), Err(Refusal::Expired));
    assert_eq!(check(with("nbf", json!(NOW + 10))), Ok(()));
    assert_eq!(check(with("nbf", json!(NOW + 11))), Err(Refusal::NotYetValid));
}

#[test]
fn a_token_for_one_origin_is_good_for_its_pages_alone() {
    let token = hs256(&with("origin", json!("https://app.example.com")));
    let check = |origin| tokens().check(&token, origin, NOW).map(|verified| verified.origin);
    assert_eq!(check(Some("https://app.example.com")), Ok(Some("https://app.example.com".into())));
    for other in [None, Some("https://app.example.com:444"), Some("http://app.example.com"), Some("null")] {
        assert_eq!(check(other), Err(Refusal::WrongOrigin), "{other:?}");
    }
}

#[test]
fn a_token_for_another_audience_is_refused() {
    let ours = Tokens::new(vec![TokenKey::from_secret(SECRET).unwrap()], MAX_AGE, Some("tokenway".into()));
    let check = |tokens: &Tokens, claims: Value| tokens.check(&hs256(&claims), None, NOW).map(|_| ());
    assert_eq!(check(&ours, with("aud", json!("tokenway"))), Ok(()));
    assert_eq!(check(&ours, with("aud", json!(["shop", "tokenway"]))), Ok(()));
    for claims in [claims(), with("aud", json!("shop")), with("aud", json!([]))] {
        assert_eq!(check(&ours, claims), Err(Refusal::WrongAudience));
    }
    assert_eq!(check(&tokens(), with("aud", json!("shop"))), Err(Refusal::WrongAudience));
}

#[test]
fn a_key_with_an_id_verifies_tokens_with_that_id_or_none() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let x = BASE64.encode(pair.public_key_raw());
    let set = json!({ "keys": [
        { "kty": "OKP", "crv": "Ed25519", "kid": "now", "x": x, "use": "sig" },
        { "kty": "OKP", "crv": "Ed448", "kid": "later", "x": x },
        { "kty": "RSA", "alg": "RS512", "kid": "other", "n": "AQAB", "e": "AQAB" },
        { "kty": "EC", "crv": "P-256", "kid": "sealing", "use": "enc", "x": x, "y": x },
    ]});
    let keys = TokenKey::from_jwks(set.to_string().as_bytes()).unwrap();
    assert_eq!(keys.len(), 1, "only what can be used");
    let tokens = of(keys);
    let signing = jsonwebtoken::EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap();
    let token = |kid: Option<&str>| {
        let mut header = jsonwebtoken::Header::new(Algorithm::EdDSA);
        header.kid = kid.map(str::to_owned);
        jsonwebtoken::encode(&header, &minted(), &signing).unwrap()
    };
    assert!(tokens.check(&token(Some("now")), None, NOW).is_ok());
    assert!(tokens.check(&token(None), None, NOW).is_ok());
    assert_eq!(tokens.check(&token(Some("old")), None, NOW), Err(Refusal::Unknown));
}

#[test]
fn key_files_that_cannot_be_meant_are_refused_with_a_reason() {
    let reason = |result: Result<TokenKey, String>| result.unwrap_err();
    assert!(reason(TokenKey::from_secret(&[b'a'; 31])).contains("fewer than 32 bytes"));
    assert!(reason(TokenKey::from_pem(RSA.as_bytes())).contains("private key"));
    assert!(reason(TokenKey::from_pem(include_bytes!("test_keys/rsa1024.pub.pem"))).contains("2048 bits"));
    assert!(reason(TokenKey::from_pem(b"no key")).contains("no public key"));
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().public_key_pem();
    assert!(reason(TokenKey::from_pem(p384.as_bytes())).contains("another curve"));
    let jwks = |text: &str| TokenKey::from_jwks(text.as_bytes()).unwrap_err();
    assert!(jwks("{").contains("line 1"));
    assert!(jwks(r#"{"keys":[]}"#).contains("no signing key"));
    assert!(jwks(r#"{"keys":[{"kty":"oct","k":"Y2FuYXJ5"}]}"#).contains("shared secret"));
    assert!(!format!("{:?}", TokenKey::from_secret(SECRET).unwrap()).contains("secret that"));
}

proptest! {
    #[test]
    fn no_change_of_a_single_character_leaves_a_token_good(at in 0usize..200, to in "[A-Za-z0-9._-]") {
        let token = hs256(&claims());
        let at = at % token.len();
        // the last character of a base64 text may have unused bits: the library refuses those, too
        prop_assume!(token[at..=at] != to);
        let changed = format!("{}{to}{}", &token[..at], &token[at + 1..]);
        prop_assert!(tokens().check(&changed, None, NOW).is_err());
    }

    #[test]
    fn any_text_is_refused_and_nothing_panics(text in "\\PC{0,200}") {
        prop_assert!(tokens().check(&text, None, NOW).is_err());
    }

    #[test]
    fn no_token_of_another_secret_is_good(exp in NOW..NOW + 900, sub in "[a-z]{1,9}") {
        let claims = json!({ "sub": sub, "exp": exp });
        let forged = signed(OTHER, r#"{"alg":"HS256"}"#, &claims.to_string());
        prop_assert_eq!(tokens().check(&forged, None, NOW), Err(Refusal::BadSignature));
        prop_assert!(tokens().check(&hs256(&claims), None, NOW).is_ok());
    }

    #[test]
    fn a_good_token_is_within_its_time(exp in 0u64..4_000_000_000, nbf in prop::option::of(0u64..4_000_000_000), now in 0u64..4_000_000_000) {
        let mut claims = with("exp", json!(exp));
        if let Some(nbf) = nbf {
            claims["nbf"] = nbf.into();
        }
        let within = now <= exp + 10 && exp <= now + 910 && nbf.is_none_or(|nbf| nbf <= now + 10);
        prop_assert_eq!(tokens().check(&hs256(&claims), None, now).is_ok(), within);
    }
}
