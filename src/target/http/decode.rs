//! Bodies packed with gzip or br, unpacked within bounds.

use std::io::Read;

use bytes::Bytes;
use hyper::{HeaderMap, header::CONTENT_ENCODING};

use super::{Failure, body::too_large};
use crate::{sample::ErrorClass, target::answer::KEPT_FOR_MESSAGE};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Gzip,
    Brotli,
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
        }
    }

    fn reader<'a>(self, packed: impl Read + 'a) -> Box<dyn Read + 'a> {
        match self {
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(packed)),
            Self::Brotli => Box::new(brotli_decompressor::Decompressor::new(packed, 8 << 10)),
        }
    }
}

/// Nobody packs a body more often; who says so wants to keep us busy.
const MOST_LAYERS: usize = 3;

/// The encodings of a body, the innermost first; `None` where one is unknown or they are too many.
fn encodings(headers: &HeaderMap) -> Option<Vec<Encoding>> {
    let mut found = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        for name in value.to_str().ok()?.split(',') {
            match name.trim().to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => found.push(Encoding::Gzip),
                "br" => found.push(Encoding::Brotli),
                "identity" | "" => {}
                _ => return None,
            }
            if found.len() > MOST_LAYERS {
                return None;
            }
        }
    }
    Some(found)
}

/// The body unpacked; `None` where it stands as it is.
pub(super) fn whole(headers: &HeaderMap, body: &Bytes, limit: u64) -> Result<Option<Bytes>, Failure> {
    let Some(encodings) = encodings(headers) else {
        let named = headers.get(CONTENT_ENCODING).map_or(&b""[..], |value| value.as_bytes());
        let reason = format!(
            "the body is packed as \"{}\"; loadgate unpacks gzip and br",
            String::from_utf8_lossy(named)
        );
        return Err(Failure::new(ErrorClass::Protocol, reason));
    };
    let mut unpacked = None;
    for encoding in encodings.into_iter().rev() {
        let packed = unpacked.as_ref().unwrap_or(body);
        let mut out = Vec::new();
        let reader = encoding.reader(packed.as_ref());
        if let Err(error) = reader.take(limit + 1).read_to_end(&mut out) {
            let reason = format!("the body is not valid {}: {error}", encoding.name());
            return Err(Failure::new(ErrorClass::Protocol, reason));
        }
        if out.len() as u64 > limit {
            return Err(too_large("the body, unpacked,", limit));
        }
        unpacked = Some(Bytes::from(out));
    }
    Ok(unpacked)
}

/// As much of a body as a message shows, from what was kept of it.
pub(super) fn start(headers: &HeaderMap, kept: &Bytes) -> Option<Bytes> {
    let encodings = encodings(headers).filter(|encodings| !encodings.is_empty())?;
    let mut reader: Box<dyn Read + '_> = Box::new(kept.as_ref());
    for encoding in encodings.into_iter().rev() {
        reader = encoding.reader(reader);
    }
    let mut out = Vec::new();
    // It ends where what was kept of it does.
    let _ = reader.take(KEPT_FOR_MESSAGE as u64).read_to_end(&mut out);
    Some(out.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    fn named(encoding: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, hyper::header::HeaderValue::from_static(encoding));
        headers
    }

    /// "hello" as one uncompressed block, without the empty block that ends a stream.
    const BROTLI: [u8; 8] = [0x0b, 0x02, 0x80, b'h', b'e', b'l', b'l', b'o'];

    #[test]
    fn bodies_are_unpacked_in_the_order_of_their_encodings() {
        let hello = Bytes::from_static(b"hello");
        assert_eq!(whole(&named("gzip"), &gzip(b"hello"), 5).unwrap(), Some(hello.clone()));
        let twice = gzip(&gzip(b"hello"));
        assert_eq!(whole(&named("gzip, X-GZIP"), &twice, 100).unwrap(), Some(hello.clone()));
        let mut brotli = BROTLI.to_vec();
        brotli.push(0x03);
        assert_eq!(whole(&named("br"), &brotli.into(), 5).unwrap(), Some(hello));
        assert_eq!(whole(&named("identity"), &gzip(b"x"), 5).unwrap(), None);
    }

    #[test]
    fn what_unpacks_to_too_much_or_not_at_all_is_a_failure() {
        let bomb = gzip(&vec![0; 1 << 20]);
        assert!(bomb.len() < 10_000);
        assert_eq!(
            whole(&named("gzip"), &bomb, 1000).unwrap_err().class,
            ErrorClass::TooLarge
        );
        for (encoding, body) in [("gzip", &b"plain"[..]), ("br", b"\xff\xff\xff"), ("zstd", b"x")] {
            let failure = whole(&named(encoding), &Bytes::from_static(body), 1000).unwrap_err();
            assert_eq!(failure.class, ErrorClass::Protocol, "{encoding}");
        }
    }

    #[test]
    fn the_start_of_a_cut_body_is_shown() {
        let text: String = (0..2000).map(|n| format!("{n} ")).collect();
        let packed = gzip(text.as_bytes());
        let shown = start(&named("gzip"), &packed.slice(..packed.len() / 2)).unwrap();
        assert!(shown.len() > 100 && text.as_bytes().starts_with(&shown));
        assert_eq!(start(&HeaderMap::new(), &packed), None);
    }
}
