//! The count of HTTP/2 control frames does not depend on how a connection is cut into reads.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| tokenway::server::fuzzing::h2_frames(input));
