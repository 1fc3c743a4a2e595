//! Gateway keys as text: `tw_`, 256 random bits in base62, and a checksum. Pure.
//!
//! The form is for people and secret scanners, which find a leaked key by its prefix and verify it by its checksum. The gateway
//! itself finds a key by its hash alone.

use std::fmt;

use ring::digest;

/// The prefix of every key.
pub const PREFIX: &str = "tw_";
/// ⌈256 / log₂ 62⌉
const RANDOM_DIGITS: usize = 43;
/// ⌈32 / log₂ 62⌉
const CHECK_DIGITS: usize = 6;
/// The length of a key.
pub const KEY_LENGTH: usize = PREFIX.len() + RANDOM_DIGITS + CHECK_DIGITS;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A new key. It is shown once; `Debug` does not show it.
pub struct Key(String);

/// The SHA-256 of a key's text, which is stored. A key has 256 random bits and cannot be guessed, so that a slow hash, as for
/// passwords, would protect nothing more.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl Key {
    /// The key of these random bits.
    pub fn from_random(bits: [u8; 32]) -> Self {
        let mut text = String::with_capacity(KEY_LENGTH);
        text.push_str(PREFIX);
        push_base62(&mut text, &bits, RANDOM_DIGITS);
        let check = crc32(text.as_bytes());
        push_base62(&mut text, &check.to_be_bytes(), CHECK_DIGITS);
        Self(text)
    }

    /// The key's text, for the only place that prints it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The hash that is stored.
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Whether a text has the form and the checksum of a key: if not, it was cut or mistyped.
pub fn is_whole(text: &str) -> bool {
    let Some((key, check)) = text.split_at_checked(KEY_LENGTH - CHECK_DIGITS) else { return false };
    let mut expected = String::with_capacity(CHECK_DIGITS);
    push_base62(&mut expected, &crc32(key.as_bytes()).to_be_bytes(), CHECK_DIGITS);
    key.starts_with(PREFIX) && check == expected
}

impl KeyHash {
    /// The hash of a text that may be a key.
    pub fn of(text: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
        Self(hash)
    }

    /// Reads 64 hexadecimal digits.
    pub fn parse(hex: &str) -> Option<Self> {
        let mut hash = [0; 32];
        if hex.len() != 64 {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
        }
        Some(Self(hash))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({self})")
    }
}

/// A big-endian number in this many base62 digits, leading zeros included.
fn push_base62(text: &mut String, number: &[u8], digits: usize) {
    let mut number = number.to_vec();
    let mut reversed = Vec::with_capacity(digits);
    for _ in 0..digits {
        let mut rest = 0_u32;
        for byte in &mut number {
            let value = rest << 8 | u32::from(*byte);
            *byte = (value / 62) as u8; // rest < 62, so that the quotient is below 256
            rest = value % 62;
        }
        reversed.push(DIGITS[rest as usize]);
    }
    text.extend(reversed.iter().rev().copied().map(char::from));
}

/// CRC-32 as in ISO 3309 and zlib, bit by bit: a key is short.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn crc32_is_the_standards() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_key_is_52_characters_of_letters_and_digits_after_its_prefix() {
        let key = Key::from_random([0; 32]);
        assert_eq!(key.expose().len(), 52);
        assert!(key.expose().starts_with(&format!("tw_{}", "0".repeat(43))));
        assert_eq!(format!("{key:?}"), "Key(…)");
        let most = Key::from_random([255; 32]);
        assert!(most.expose()[3..].bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }

    #[test]
    fn a_hash_is_sha256_in_hexadecimal() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(KeyHash::of("abc").to_string(), abc);
        assert_eq!(KeyHash::parse(&abc.to_uppercase()), Some(KeyHash::of("abc")));
        for bad in ["", "ba78", &"g".repeat(64), &"é".repeat(32), &abc[1..], &format!("{abc}0")] {
            assert_eq!(KeyHash::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn different_bits_make_different_keys_and_each_is_whole(one: [u8; 32], other: [u8; 32]) {
            let (first, second) = (Key::from_random(one), Key::from_random(other));
            prop_assert!(is_whole(first.expose()) && first.expose().len() == KEY_LENGTH);
            prop_assert_eq!(one == other, first.expose() == second.expose());
        }

        #[test]
        fn a_changed_or_cut_key_is_not_whole(bits: [u8; 32], at in 0..KEY_LENGTH, to in "[0-9A-Za-z_]") {
            let key = Key::from_random(bits).expose().to_owned();
            prop_assume!(key[at..=at] != to);
            let changed = format!("{}{to}{}", &key[..at], &key[at + 1..]);
            prop_assert!(!is_whole(&changed) && !is_whole(&key[..at]));
        }

        #[test]
        fn any_text_is_whole_or_not(text in "\\PC{0,80}") {
            let _no_panic = is_whole(&text);
        }

        #[test]
        fn a_hash_survives_its_own_spelling(hash: [u8; 32]) {
            prop_assert_eq!(KeyHash::parse(&KeyHash(hash).to_string()), Some(KeyHash(hash)));
        }
    }
}
