//! What a prompt has beside text, and its estimate in tokens. Pure.

/// `cost.tokens_per_image`, if nothing else is configured: a detailed square image of 1024 pixels, which OpenAI counts as 765
/// to 1105 tokens.
pub const TOKENS_PER_IMAGE: u64 = 1105;

/// A second of speech is 32 tokens (Gemini) or 10 (OpenAI), and 8,000 bytes or more.
const AUDIO_BYTES_PER_TOKEN: u64 = 256;

/// A page of a document is 500 to 3,000 tokens, and mostly more than 16 bytes for each.
const FILE_BYTES_PER_TOKEN: u64 = 16;

/// Images, audio and files of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Media {
    /// The number of images.
    pub images: u64,
    /// Bytes of audio, decoded from base64.
    pub audio_bytes: u64,
    /// Bytes of files, decoded from base64.
    pub file_bytes: u64,
    /// The number of files and recordings, whose bytes may be elsewhere.
    pub attachments: u64,
}

impl Media {
    /// Adds a recording that takes this many bytes of the request.
    pub fn audio(&mut self, spelled: usize) {
        self.audio_bytes = self.audio_bytes.saturating_add(decoded(spelled));
        self.attachments += 1;
    }

    /// Adds a file that takes this many bytes of the request.
    pub fn files(&mut self, spelled: usize) {
        self.file_bytes = self.file_bytes.saturating_add(decoded(spelled));
        self.attachments += 1;
    }

    /// Adds those.
    pub fn add(&mut self, other: Self) {
        self.images += other.images;
        self.audio_bytes = self.audio_bytes.saturating_add(other.audio_bytes);
        self.file_bytes = self.file_bytes.saturating_add(other.file_bytes);
        self.attachments += other.attachments;
    }

    /// Returns the estimate in tokens. A file or a recording counts at least as much as an image: if the request only names
    /// it, its size is not known.
    pub fn tokens(self, per_image: u64) -> u64 {
        let by_bytes = self
            .audio_bytes
            .div_ceil(AUDIO_BYTES_PER_TOKEN)
            .saturating_add(self.file_bytes.div_ceil(FILE_BYTES_PER_TOKEN));
        let least = self.attachments.saturating_mul(per_image);
        self.images.saturating_mul(per_image).saturating_add(by_bytes.max(least))
    }
}

/// Four bytes of base64 are three (RFC 4648 §4).
fn decoded(spelled: usize) -> u64 {
    (spelled as u64).div_ceil(4).saturating_mul(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_count_each_and_the_rest_by_its_bytes() {
        let mut media = Media { images: 110, ..Media::default() };
        assert_eq!(media.tokens(TOKENS_PER_IMAGE), 121_550);
        media.audio(4_000_000);
        media.files(400_000);
        assert_eq!(media.tokens(10), 1100 + 3_000_000_u64.div_ceil(256) + 300_000 / 16);
        let mut named = Media::default();
        named.files(20);
        assert_eq!(named.tokens(1105), 1105);
        assert_eq!(Media::default().tokens(1105), 0);
    }
}
