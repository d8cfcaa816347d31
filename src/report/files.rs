//! A report as files in a directory: which there are, and in which order they are written.
//!
//! `report.json` comes after what it lists, and `bundle.zip` after what it
//! holds; so where one of them stands, the others do too.

use std::path::{Path, PathBuf};

use super::{
    DOCUMENT, PAGE, ReportError, badge, bundle,
    chart::{Format, Scene},
    document::{Artifact, Document},
    hlog, html, json, junit, openmetrics, summary,
};
use crate::{
    comparison::Comparison,
    run::{self, Run, StoreError},
};

const INDEX: &str = "index.html";
const STYLE: &str = "report.css";
const TESTS: &str = "junit.xml";
const SUMMARY: &str = "summary.md";
const METRICS: &str = "metrics.txt";
const LOG: &str = "latency.hlog";
const BADGE: &str = "badge.json";
const BUNDLE: &str = "bundle.zip";

/// Writes every file of a report into a directory, each whole or not at all; gives their paths.
///
/// # Errors
/// When a file cannot be rendered or written.
pub fn write(
    out: &Path,
    run: &Run,
    comparison: &Comparison,
    baseline: Option<&Run>,
    exit_code: u8,
) -> Result<Vec<PathBuf>, ReportError> {
    // The charts of variants show one beside the reference.
    let views = views(run, comparison);
    let (shown, beside) = match &views {
        Some((_, [reference, candidate])) => (candidate, Some(reference)),
        None => (run, baseline),
    };
    let scene = Scene::new(shown, comparison, beside);
    let scene = match &views {
        Some((names, _)) => scene.between(*names),
        None => scene,
    };
    let mut document = json::document(run, comparison, exit_code, vec![]);
    let mut files = Files {
        out,
        artifacts: Vec::new(),
    };
    files.charts(&scene)?;
    files.for_programs(run, comparison, &document)?;
    document.artifacts.clone_from(&files.artifacts);
    files.pages(&html::render(
        run,
        comparison,
        [Some(shown), beside],
        &document,
        &scene,
    )?)?;
    document.artifacts.clone_from(&files.artifacts);
    files.document(&document)?;
    files.bundle()?;
    Ok(files.paths())
}

/// The reference and the variant that is shown beside it, with their names: that of the worst finding, else the last.
fn views<'r>(run: &'r Run, comparison: &Comparison) -> Option<([&'r str; 2], [Run; 2])> {
    let worst = comparison
        .judgements
        .iter()
        .find_map(|judgement| judgement.variant.as_deref());
    let found = run
        .variants
        .iter()
        .position(|variant| Some(variant.name.as_str()) == worst);
    let shown = found.or(run.variants.len().checked_sub(1))?;
    let names = [&run.variants[0].name, &run.variants[shown].name].map(String::as_str);
    Some((names, [run.of_variant(0)?, run.of_variant(shown)?]))
}

/// The files written so far.
struct Files<'a> {
    out: &'a Path,
    artifacts: Vec<Artifact>,
}

impl Files<'_> {
    fn charts(&mut self, scene: &Scene<'_>) -> Result<(), ReportError> {
        for chart in scene.charts() {
            let png = scene.draw(chart, Format::Wide).png();
            let png = png.map_err(|source| ReportError::Chart {
                chart: chart.name(),
                source,
            })?;
            self.write(&chart.path(), &png)?;
        }
        Ok(())
    }

    fn for_programs(&mut self, run: &Run, comparison: &Comparison, document: &Document) -> Result<(), ReportError> {
        let tests = junit::render(run, comparison, document.exit_code);
        self.write(TESTS, tests.map_err(failed(TESTS))?.as_bytes())?;
        self.write(SUMMARY, summary::render(run, comparison, document).as_bytes())?;
        self.write(METRICS, openmetrics::render(document).as_bytes())?;
        self.write(LOG, &hlog::render(run).map_err(failed(LOG))?)?;
        self.write(BADGE, badge::render(document).as_bytes())?;
        Ok(())
    }

    fn pages(&mut self, pages: &html::Pages) -> Result<(), ReportError> {
        self.write(STYLE, html::STYLE.as_bytes())?;
        self.write(INDEX, pages.linked.as_bytes())?;
        self.write(PAGE, pages.alone.as_bytes())?;
        Ok(())
    }

    fn document(&mut self, document: &Document) -> Result<(), ReportError> {
        self.write(DOCUMENT, (serde_json::to_string(document)? + "\n").as_bytes())?;
        Ok(())
    }

    /// Everything so far, and the run where it stands in the same directory.
    fn bundle(&mut self) -> Result<(), ReportError> {
        let run = self.out.join(run::FILE_NAME).is_file().then_some(run::FILE_NAME);
        let paths = self.artifacts.iter().map(|artifact| artifact.path.as_str()).chain(run);
        let bytes = bundle::pack(self.out, paths).map_err(failed(BUNDLE))?;
        self.write(BUNDLE, &bytes)?;
        Ok(())
    }

    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        run::write_atomically(&self.out.join(path), bytes)?;
        self.artifacts.push(Artifact {
            path: path.into(),
            sha256: run::hash(bytes),
            bytes: bytes.len() as u64,
        });
        Ok(())
    }

    fn paths(&self) -> Vec<PathBuf> {
        let path = |artifact: &Artifact| self.out.join(&artifact.path);
        self.artifacts.iter().map(path).collect()
    }
}

/// Says of which file an error is.
pub(super) fn failed<E: std::fmt::Display>(file: &'static str) -> impl Fn(E) -> ReportError {
    move |error| ReportError::Render {
        file,
        reason: error.to_string(),
    }
}
