//! The committed sample report is what the program makes of the committed run today.
//!
//! Text is compared as text and pictures as pixels; `bundle.zip` is not
//! committed, since it holds what stands beside it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::support::program::loadgate;
use regex::Regex;
use resvg::tiny_skia::Pixmap;

/// What the sample holds besides what is rendered.
const NOT_RENDERED: [&str; 2] = ["run.json", "page.png"];

const MEND: &str = "render it anew with\n    \
    cargo run -- report reports/sample --out reports/sample --baselines reports/sample/baselines";

/// All files below a directory by their paths in it, but for baselines and the bundle.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for below in ["", "charts"] {
        for entry in fs::read_dir(directory.join(below)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && !path.ends_with("bundle.zip") {
                let bytes = fs::read(&path).unwrap();
                files.insert(path.strip_prefix(directory).unwrap().to_owned(), bytes);
            }
        }
    }
    files
}

/// Text without sizes and hashes of files, which depend on how pictures were compressed.
fn text(bytes: &[u8]) -> String {
    let hashes = Regex::new("[0-9a-f]{64}(\",\"bytes\":[0-9]+)?").unwrap();
    let sizes = Regex::new("<td class=\"n\">[0-9,]+</td><td><code>#").unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    sizes.replace_all(&hashes.replace_all(&text, "#"), "").into_owned()
}

/// How many of a thousand pixels differ by more than the eye sees.
fn difference(one: &[u8], other: &[u8]) -> usize {
    let [one, other] = [one, other].map(|png| Pixmap::decode_png(png).unwrap());
    assert_eq!((one.width(), one.height()), (other.width(), other.height()));
    let pixels = one.data().chunks(4).zip(other.data().chunks(4));
    let differs = |(a, b): &(&[u8], &[u8])| a.iter().zip(*b).any(|(a, b)| a.abs_diff(*b) > 8);
    pixels.filter(differs).count() * 1000 / (one.width() * one.height()) as usize
}

#[test]
fn the_sample_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let place = tempfile::tempdir().unwrap();
    let arguments = [
        "report",
        "reports/sample",
        "--baselines",
        "reports/sample/baselines",
        "--out",
    ];
    let output = loadgate(root, &arguments).arg(place.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");

    let (committed, rendered) = (files(&root.join("reports/sample")), files(place.path()));
    let named = |path: &&PathBuf| !NOT_RENDERED.iter().any(|name| path.ends_with(name));
    let expected: Vec<_> = committed.keys().filter(named).collect();
    assert_eq!(expected, rendered.keys().collect::<Vec<_>>(), "{MEND}");
    for (path, bytes) in &rendered {
        let name = path.display();
        if path.extension().is_some_and(|extension| extension == "png") {
            let differ = difference(bytes, &committed[path]);
            assert_eq!(differ, 0, "{name}: {differ} of 1,000 pixels differ; {MEND}");
        } else {
            assert!(text(bytes) == text(&committed[path]), "{name} has changed; {MEND}");
        }
    }
}
