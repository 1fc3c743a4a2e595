//! Counts what a message has beside text: images, audio and files. Pure.

use crate::json::cursor::{Cursor, NotJson};
use crate::media::Media;

/// Counts the content of one part: a JSON object. A part is read by its members, as some servers do that need no `type`.
pub(super) fn count(part: &str, media: &mut Media) {
    let mut found = Media::default();
    // what cannot be read so was refused before, or is counted as far as it was read
    let is_text = read(part, &mut found).unwrap_or(true);
    if found == Media::default() && !is_text {
        // a kind of part that is not known
        found.files(part.len());
    }
    media.add(found);
}

/// Reads the members of a part. Returns whether the part says that it is text, or has text.
fn read(part: &str, found: &mut Media) -> Result<bool, NotJson> {
    let mut cursor = Cursor::lenient(part);
    let Some(mut members) = cursor.object_or_skip()? else { return Ok(true) };
    let mut is_text = false;
    while let Some(name) = members.next(&mut cursor)? {
        let value = cursor.value()?;
        match &*name {
            "image_url" | "image" | "input_image" | "image_pil" | "image_embeds" => found.images += 1,
            "input_audio" | "audio" | "audio_url" => found.audio(value.text.len()),
            "file" | "file_data" | "file_id" | "file_url" | "document" | "source" | "video" | "video_url"
            | "input_video" => found.files(value.text.len()),
            "text" | "refusal" | "thinking" | "reasoning" | "content" => is_text = true,
            "type" => is_text |= value.string().is_some_and(|kind| is_text_kind(&kind)),
            _ => {}
        }
    }
    Ok(is_text)
}

fn is_text_kind(kind: &str) -> bool {
    matches!(kind, "text" | "input_text" | "output_text" | "refusal" | "thinking" | "reasoning" | "tool_result")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn counted(part: &serde_json::Value) -> Media {
        let mut media = Media::default();
        count(&part.to_string(), &mut media);
        media
    }

    #[test]
    fn each_kind_of_part_is_counted_with_or_without_its_type() {
        let data = "A".repeat(4000);
        let image = Media { images: 1, ..Media::default() };
        for part in [
            json!({ "type": "image_url", "image_url": { "url": "https://a.example/i.png" } }),
            json!({ "image_url": "data:image/png;base64,AAAA" }),
            json!({ "type": "input_image", "image_url": "x", "detail": "high" }),
        ] {
            assert_eq!(counted(&part), image, "{part}");
        }
        let audio = counted(&json!({ "type": "input_audio", "input_audio": { "data": data, "format": "mp3" } }));
        assert!(audio.audio_bytes >= 3000 && audio.images + audio.file_bytes == 0, "{audio:?}");
        let file = counted(&json!({ "type": "file", "file": { "filename": "a.pdf", "file_data": data } }));
        assert!(file.file_bytes >= 3000 && file.images + file.audio_bytes == 0, "{file:?}");
        assert!(counted(&json!({ "type": "hologram", "data": data })).file_bytes >= 3000);
        for text in [json!({ "type": "text", "text": data }), json!({ "text": "a" }), json!({ "type": "refusal" })] {
            assert_eq!(counted(&text), Media::default(), "{text}");
        }
        // a name is not the file: its size is not known
        assert!(counted(&json!({ "type": "file", "file": { "file_id": "file-1" } })).tokens(1105) >= 1105);
    }

    proptest! {
        #[test]
        fn any_part_can_be_counted(part in "\\PC{0,60}") {
            count(&part, &mut Media::default());
        }
    }
}
