//! Renderings of a run and its comparison. Computes no statistic that decides anything.
mod chart;
pub mod document;
#[cfg(test)]
mod example;
mod json;
mod tables;
mod timeline;
mod words;
