//! The head of a response does not depend on how it is cut into reads.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| tokenway::upstream::fuzzing::head(input));
