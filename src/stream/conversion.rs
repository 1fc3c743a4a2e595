//! An upstream's answer in the other form than the requested one: one JSON object instead of a stream, or a stream instead of
//! one object. Pure.

use bytes::Bytes;
use families::answer::Answer;
use families::family::Family;
use sse::event::{Event, Fields};
use sse::framer::Framer;

use crate::upstream::failure::Failure;

/// Returns the events of a whole answer, as the body of a stream.
///
/// # Errors
/// The answer is an error, or cannot be split into events.
pub(super) fn to_events(family: &dyn Family, answer: &[u8]) -> Result<Bytes, Failure> {
    family.read_answer(answer)?;
    let pieces = family.split(answer).ok_or(Failure::BadBody("it is JSON that makes no stream"))?;
    Ok(pieces.into_iter().flat_map(|piece| piece.event).collect())
}

/// Returns the whole answer of a stream, and its contents. `max_event` is in bytes.
///
/// # Errors
/// The stream reports an error, lacks its end, or cannot be joined to an answer.
pub(super) fn to_whole(family: &dyn Family, stream: Bytes, max_event: usize) -> Result<(Bytes, Answer), Failure> {
    let mut framer = Framer::new(max_event);
    framer.push(stream);
    let mut reader = family.reader();
    let (mut data, mut is_complete) = (Vec::new(), false);
    let mut take = |fields: Fields<'_>| {
        let Some(event) = fields.data.filter(|_| !is_complete) else { return Ok(()) };
        let meaning = reader.read(fields.name, &event);
        is_complete |= meaning.terminal;
        data.push(event.into_owned());
        meaning.fault.map_or(Ok(()), |fault| Err(Failure::InBody(fault)))
    };
    while let Some(event) =
        framer.next_event().map_err(|_| Failure::BadBody("an event is larger than stream.max_event"))?
    {
        take(Event::fields(&event))?;
    }
    // the last event may lack its blank line
    take(Fields::of(framer.unfinished()))?;
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let whole = family.join(&data).ok_or(Failure::BadBody("it is a stream that makes no whole answer"))?;
    let answer = family.read_answer(&whole)?;
    match is_complete || answer.finished {
        true => Ok((whole.into(), answer)),
        false => Err(Failure::Broken),
    }
}

#[cfg(test)]
mod tests {
    use families::chat::Chat;
    use families::fault::Fault;
    use families::usage::Usage;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn whole(stream: &str) -> Result<Value, Failure> {
        let (bytes, _) = to_whole(&Chat, Bytes::copy_from_slice(stream.as_bytes()), 1 << 20)?;
        Ok(serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn a_completion_is_a_stream_with_its_usage_and_its_end() {
        let answer = json!({
            "id": "c", "object": "chat.completion", "model": "m", "usage": {"prompt_tokens": 3, "completion_tokens": 1},
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}],
        });
        let events = to_events(&Chat, answer.to_string().as_bytes()).unwrap();
        let text = std::str::from_utf8(&events).unwrap();
        assert!(text.contains(r#""content":"Hi""#) && text.ends_with("data: [DONE]\n\n"), "{text}");
        let (_, read) = to_whole(&Chat, events, 1 << 20).unwrap();
        assert_eq!(read.usage, Some(Usage { prompt: 3, completion: 1, ..Usage::default() }));
    }

    #[test]
    fn an_error_is_one_and_other_json_makes_no_stream() {
        let failure = |body: &str| to_events(&Chat, body.as_bytes()).unwrap_err();
        assert_eq!(
            failure(r#"{"error":{"code":"context_length_exceeded"}}"#),
            Failure::InBody(Fault::ContextLengthExceeded)
        );
        assert_eq!(failure(r#"[{"error":{"code":429}}]"#), Failure::InBody(Fault::RateLimited));
        assert!(matches!(failure("{}"), Failure::BadBody(_)));
        assert!(matches!(failure("<html>"), Failure::BadBody(_)));
    }

    #[test]
    fn a_stream_is_a_whole_answer_only_if_it_is_complete() {
        let said = r#"data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"}}]}"#;
        let end = r#"data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
        for stream in [
            format!(": hb\n\n{said}\n\n{end}\n\ndata: [DONE]\n\n"),
            format!("{said}\n\n{end}\n\n"),
            format!("{said}\n\n{end}\n\ndata: [DONE]"),
            format!("{said}\n\ndata: [DONE]\n\ndata: {{\"error\":\"late\"}}\n\n"),
        ] {
            assert_eq!(whole(&stream).unwrap()["choices"][0]["message"]["content"], "Hi", "{stream}");
        }
        assert_eq!(whole(&format!("{said}\n\n")), Err(Failure::Broken));
        let error = "data: {\"error\":{\"code\":503}}\n\n";
        assert_eq!(whole(&format!("{said}\n\n{error}")), Err(Failure::InBody(Fault::Overloaded)));
        assert!(matches!(whole(""), Err(Failure::BadBody(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_converted(bytes: Vec<u8>) {
            let _ = (to_events(&Chat, &bytes), to_whole(&Chat, bytes.clone().into(), 64));
        }
    }
}
