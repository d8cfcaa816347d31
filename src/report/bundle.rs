//! `bundle.zip`: a report's directory as one file, to download and keep.
//!
//! The same files give the same bytes: no times of files, no order but the given one.

use std::{
    fs::File,
    io::{self, Cursor},
    path::Path,
};

use zip::{CompressionMethod, DateTime, ZipWriter, result::ZipResult, write::SimpleFileOptions};

/// Packs these files of a directory, in this order.
///
/// # Errors
/// When one of them cannot be read or packed.
pub(super) fn pack<'p>(directory: &Path, paths: impl IntoIterator<Item = &'p str>) -> ZipResult<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for path in paths {
        archive.start_file(path, options(path))?;
        io::copy(&mut File::open(directory.join(path))?, &mut archive)?;
    }
    Ok(archive.finish()?.into_inner())
}

fn options(path: &str) -> SimpleFileOptions {
    // Pictures are compressed already.
    let method = match path.ends_with(".png") {
        true => CompressionMethod::Stored,
        false => CompressionMethod::Deflated,
    };
    SimpleFileOptions::default()
        .compression_method(method)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read as _};

    use zip::ZipArchive;

    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_the_same_gives_the_same_bytes() {
        let content = [("a.txt", "x".repeat(5000)), ("charts/b.png", "picture".into())];
        let packed = || {
            let directory = tempfile::tempdir().unwrap();
            fs::create_dir(directory.path().join("charts")).unwrap();
            for (path, text) in &content {
                fs::write(directory.path().join(path), text).unwrap();
            }
            pack(directory.path(), content.iter().map(|(path, _)| *path)).unwrap()
        };
        let bytes = packed();
        let mut archive = ZipArchive::new(Cursor::new(&bytes)).unwrap();
        assert_eq!(archive.len(), 2);
        for (path, expected) in &content {
            let mut text = String::new();
            let mut file = archive.by_name(path).unwrap();
            assert_eq!(file.compression() == CompressionMethod::Stored, path.ends_with(".png"));
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, *expected);
        }
        assert_eq!(packed(), bytes);
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error() {
        assert!(pack(Path::new("/nowhere"), ["a"]).is_err());
    }
}
