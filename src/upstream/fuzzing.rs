//! What fuzz targets and the test of their corpus check. Pure.

use super::head::HeadReader;
use super::transfer::Decoder;

/// Checks that the content of a chunked body does not depend on how it is cut into reads. The first byte of `input` is the size of
/// the reads, the rest is the body.
///
/// # Panics
/// It does.
pub fn transfer(input: &[u8]) {
    let Some((size, body)) = input.split_first() else { return };
    let decoded = |size: usize| {
        let (mut decoder, mut content, mut taken) = (Decoder::chunked(), Vec::new(), 0);
        for piece in body.chunks(size.max(1)) {
            if decoder.is_ended() || decoder.is_malformed() {
                break;
            }
            let mut piece = piece.to_vec();
            let found = decoder.decode(&mut piece);
            assert!(found.read <= piece.len() && found.place.end <= piece.len());
            content.extend_from_slice(&piece[found.place]);
            taken += found.read;
        }
        (content, taken, decoder)
    };
    assert_eq!(decoded((*size).into()), decoded(body.len()));
}

/// Checks that the head of a response does not depend on how it is cut into reads. The first byte of `input` is the size of the
/// reads, the rest is the head.
///
/// # Panics
/// It does.
pub fn head(input: &[u8]) {
    let Some((size, bytes)) = input.split_first() else { return };
    let read = |size: usize| {
        let (mut reader, mut before) = (HeadReader::default(), 0);
        for piece in bytes.chunks(size.max(1)) {
            match reader.read(piece) {
                Ok(Some((head, length))) => {
                    let fields = head.fields().map(|(name, value)| (name.to_vec(), value.to_vec()));
                    return Some(Some((fields.collect::<Vec<_>>(), before + length)));
                }
                Ok(None) => before += piece.len(),
                Err(_) => return None,
            }
        }
        Some(None)
    };
    match (read((*size).into()), read(bytes.len())) {
        // in pieces, a mistake is found when the head may have ended
        (pieces, None) => assert!(!matches!(pieces, Some(Some(_)))),
        (pieces, whole) => assert_eq!(pieces, whole),
    }
}

#[cfg(test)]
mod tests {
    /// The stored corpus of a target.
    fn corpus(target: &str) -> Vec<Vec<u8>> {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let files = std::fs::read_dir(directory).unwrap();
        files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }

    #[test]
    fn the_corpus_of_chunked_bodies_and_of_response_heads_passes() {
        let (bodies, heads) = (corpus("transfer"), corpus("response_head"));
        assert!(!bodies.is_empty() && !heads.is_empty());
        bodies.iter().for_each(|input| super::transfer(input));
        heads.iter().for_each(|input| super::head(input));
    }
}
