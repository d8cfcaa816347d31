//! The table of all shipped scenarios in `scenarios/README.md`: made of the files themselves.
//!
//! `LOADGATE_UPDATE=1 cargo test --test program catalogue` writes it anew.

use std::{
    fs,
    path::{Path, PathBuf},
};

const BEGIN: &str = "<!-- scenarios: made by `LOADGATE_UPDATE=1 cargo test --test program catalogue` -->\n";
const END: &str = "<!-- /scenarios -->\n";

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// Files of a directory, by name.
fn files(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(scenarios().join(directory)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    files
}

/// The sentence after "Measured (…)" in the comment at the top.
fn measured(text: &str) -> Option<String> {
    let comment: Vec<&str> = text
        .lines()
        .take_while(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim())
        .collect();
    let mut paragraphs = comment.split(|line| line.is_empty()).map(|lines| lines.join(" "));
    paragraphs.find_map(|paragraph| {
        let (_, rest) = paragraph.split_once("Measured (")?;
        let (_, said) = rest.split_once(')')?;
        let sentence = said.trim_start_matches([':', ',', ' ']).split(". ").next()?;
        Some(sentence.trim_end_matches('.').to_owned())
    })
}

fn row(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let scenario: toml::Table = toml::from_str(&text).unwrap();
    let relative = path.strip_prefix(scenarios()).unwrap().display().to_string();
    let shows = scenario.get("description").and_then(|value| value.as_str());
    let shows = shows.unwrap_or_else(|| panic!("{relative}: give it a description"));
    let measured = measured(&text);
    assert!(
        measured.is_some() || !relative.starts_with("experiments/"),
        "{relative}: say what was measured: `# Measured (two cores, release): …`, a paragraph of the first comment"
    );
    let measured = measured.unwrap_or_default();
    assert!(
        !format!("{shows}{measured}").contains('|'),
        "{relative}: a | ends a cell"
    );
    format!("| [{relative}]({relative}) | {shows} | {measured} |\n")
}

#[test]
fn the_table_of_scenarios_says_what_the_files_say() {
    let page = scenarios().join("README.md");
    let text = fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("README.md has the mark before its table");
    let (written, after) = rest.split_once(END).expect("README.md has the mark after its table");
    let mut table = "| file | shows | measured |\n|---|---|---|\n".to_owned();
    for path in ["", "examples", "experiments"].into_iter().flat_map(files) {
        table.push_str(&row(&path));
    }
    if std::env::var_os("LOADGATE_UPDATE").is_some() {
        fs::write(&page, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert!(
        written == table,
        "scenarios/README.md has another table than the files; write it anew with\n    LOADGATE_UPDATE=1 cargo test --test program catalogue"
    );
}
