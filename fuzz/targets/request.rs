//! Every body is refused, or goes upstream as the same JSON with another model.

#![no_main]

use bytes::Bytes;
use families::family::Form;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

/// What the gateway may change.
const CHANGED: [&str; 3] = ["model", "stream", "stream_options"];

/// The members that the gateway leaves as they are; `None` for numbers that serde_json's values do not hold.
fn others(body: &[u8]) -> Option<Map<String, Value>> {
    let mut members: Map<String, Value> = serde_json::from_slice(body).ok()?;
    CHANGED.iter().for_each(|name| drop(members.remove(*name)));
    Some(members)
}

fuzz_target!(|body: &[u8]| {
    for family in families::ALL {
        for form in [Form::Full, Form::Short, Form::Stream] {
            let Ok(request) = family.parse(Bytes::copy_from_slice(body), form) else { continue };
            let _ = request.prompt();
            let upstream = request.to_upstream("the-model", true);
            if let Some(members) = others(body) {
                let sent: Map<String, Value> = serde_json::from_slice(&upstream).expect("JSON goes upstream");
                assert_eq!(sent["model"], "the-model");
                if form != Form::Short {
                    assert_eq!(others(&upstream), Some(members));
                }
            }
        }
    }
});
