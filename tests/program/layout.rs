//! Holds `src/` to the order of imports that the crate comment promises.
//!
//! Works on tokens, so comments and strings cannot mislead it and paths inside
//! macros count too. It knows nothing of what the modules do.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The layers, lowest first. A module imports only from layers above its own line.
const LAYERS: &[&[&str]] = &[
    &["units"],
    &["metric"],
    &["threshold", "sample", "pacer"],
    &["claim", "suite"],
    &["scenario", "run", "stats"],
    &["workload", "recorder", "baseline"],
    &["target", "comparison"],
    &["executor", "observer", "lab", "report"],
    &["trial"],
    &["demo"],
    &["cli"],
];

/// Judges a run; needs no target, no clock and no runtime.
const JUDGING: &[&str] = &["run", "baseline", "stats", "comparison", "report"];

/// Makes a run.
const DRIVING: &[&str] = &[
    "pacer", "scenario", "workload", "recorder", "target", "executor", "observer", "lab", "trial",
];

/// Names that say nothing of what is inside.
const NAMELESS: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc", "shared"];

#[test]
fn modules_import_only_from_layers_below() {
    let mut wrong = Vec::new();
    for file in sources() {
        let Some(layer) = layer_of(&file.module) else { continue };
        for import in file.imports() {
            match layer_of(&import) {
                Some(other) if other < layer => {}
                // An item of lib.rs itself, or a module the table does not know: its own test says so.
                None => {}
                Some(_) => wrong.push(format!(
                    "{}: `{}` must not import `{import}`, which is not in a layer before it.\n  \
                     Move what both need into a lower module, or hand it over as an argument; \
                     LAYERS in tests/program/layout.rs shows the order.",
                    file.path.display(),
                    file.module
                )),
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn what_judges_never_imports_what_drives() {
    let mut wrong = Vec::new();
    for file in sources().filter(|file| JUDGING.contains(&file.module.as_str())) {
        for import in file
            .imports()
            .intersection(&DRIVING.iter().map(ToString::to_string).collect())
        {
            wrong.push(format!(
                "{}: `{}` judges and must not import `{import}`, which drives.\n  \
                 What it needs to know belongs into the run (src/run/), where the trial puts it.",
                file.path.display(),
                file.module
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_module_has_a_layer() {
    let found: BTreeSet<String> = sources()
        .map(|file| file.module)
        .filter(|module| !module.is_empty())
        .collect();
    let listed: BTreeSet<String> = LAYERS.iter().copied().flatten().map(ToString::to_string).collect();
    let unlisted: Vec<_> = found.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(
        unlisted.is_empty(),
        "new modules {unlisted:?}: give each its line in LAYERS and in the crate comment of src/lib.rs"
    );
    assert!(
        gone.is_empty(),
        "modules {gone:?} are no longer in src/: take them out of LAYERS and of src/lib.rs"
    );
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> = sources()
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| file.path)
        .collect();
    assert!(
        silent.is_empty(),
        "{silent:?}: begin with a `//!` line: what the file is for and what it knows nothing of"
    );
}

#[test]
fn every_module_has_a_name_that_says_something() {
    let nameless: Vec<_> = sources()
        .map(|file| file.path)
        .filter(|path| {
            path.with_extension("")
                .iter()
                .any(|part| NAMELESS.iter().any(|name| part == *name))
        })
        .collect();
    assert!(
        nameless.is_empty(),
        "{nameless:?}: name a module for the noun it holds, or put its code where it is used"
    );
}

#[test]
fn imports_are_found_in_all_their_forms() {
    let text = r#"
        //! use crate::in_a_comment;
        use crate::{a, b::{c, d}, e as f};
        pub(crate) use crate::g::*;
        const S: &str = "crate::in_a_string";
        #[serde(deserialize_with = "crate::in_an_attribute::x")]
        fn f() { let _ = crate::h::i(crate::j::K); m!(crate::l); }
        use super::sibling;
        use super::super::m;
        mod tests { use super::super::super::n; use super::super::cousin; }
    "#;
    let file = Source {
        path: "o/p.rs".into(),
        module: "o".into(),
        text: text.into(),
    };
    assert_eq!(
        file.imports().iter().map(String::as_str).collect::<Vec<_>>(),
        ["a", "b", "e", "g", "h", "in_an_attribute", "j", "l", "m", "n"]
    );
}

/// A file under `src/`.
struct Source {
    /// Relative to `src/`.
    path: PathBuf,
    /// The top-level module it belongs to; empty for lib.rs and main.rs.
    module: String,
    text: String,
}

impl Source {
    /// The other top-level modules that it names.
    fn imports(&self) -> BTreeSet<String> {
        let tokens = self
            .text
            .parse()
            .unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        let mut found = BTreeSet::new();
        collect(tokens, self.depth(), &mut found);
        found.remove(&self.module);
        found
    }

    /// How many `super` lead from here to the root of the crate.
    fn depth(&self) -> usize {
        let stem = self.path.with_extension("");
        stem.iter().count() - usize::from(stem.ends_with("mod"))
    }
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn sources() -> impl Iterator<Item = Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    assert!(paths.len() > 20, "src/ was not found");
    paths.sort();
    paths.into_iter().map(move |path| {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(&root).unwrap().to_owned();
        let top = path
            .with_extension("")
            .iter()
            .next()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let module = if top == "lib" || top == "main" {
            String::new()
        } else {
            top
        };
        Source { path, module, text }
    })
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Finds the modules named after `crate::`, or after enough `super::` to reach the root.
fn collect(tokens: TokenStream, depth: usize, found: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut ups = 0;
    for (at, token) in tokens.iter().enumerate() {
        let path_goes_on = is_path_separator(&tokens[at + 1..]);
        match token {
            TokenTree::Ident(ident) if ident == "crate" && path_goes_on => first_names(tokens.get(at + 3), found),
            TokenTree::Ident(ident) if ident == "super" && path_goes_on => {
                ups += 1;
                if ups == depth {
                    first_names(tokens.get(at + 3), found);
                }
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => {}
            TokenTree::Group(group) => {
                ups = 0;
                let inner = depth + usize::from(is_inline_module(&tokens[..at], group.delimiter()));
                collect(group.stream(), inner, found);
            }
            TokenTree::Literal(literal) => {
                ups = 0;
                // serde names functions in strings.
                if let Some(path) = literal.to_string().strip_prefix("\"crate::") {
                    found.extend(path.split_once("::").map(|(module, _)| module.to_owned()));
                }
            }
            _ => ups = 0,
        }
    }
}

fn is_path_separator(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [TokenTree::Punct(a), TokenTree::Punct(b), ..] if a.as_char() == ':' && b.as_char() == ':')
}

fn is_inline_module(before: &[TokenTree], delimiter: Delimiter) -> bool {
    delimiter == Delimiter::Brace
        && matches!(before, [.., TokenTree::Ident(keyword), TokenTree::Ident(_)] if keyword == "mod")
}

/// `a` of `a::b`, or `a` and `c` of `{a::b, c}`.
fn first_names(token: Option<&TokenTree>, found: &mut BTreeSet<String>) {
    match token {
        Some(TokenTree::Ident(ident)) => {
            found.insert(ident.to_string());
        }
        Some(TokenTree::Group(group)) => {
            let mut begins = true;
            for token in group.stream() {
                if begins {
                    first_names(Some(&token), found);
                }
                begins = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ',');
            }
        }
        _ => {}
    }
}
