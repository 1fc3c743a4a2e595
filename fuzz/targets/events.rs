//! No event and no whole answer of an upstream makes a family panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    for family in families::ALL {
        let mut reader = family.reader();
        // a NUL between two events, a byte 1 behind the name of an event that has a name
        for event in input.split(|byte| *byte == 0) {
            let (name, data) = match event.iter().position(|byte| *byte == 1) {
                Some(at) => (Some(&event[..at]), &event[at + 1..]),
                None => (None, event),
            };
            let _ = reader.read(name, data);
            let _ = family.read_answer(data);
        }
    }
});
