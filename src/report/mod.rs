//! Renderings of a run and its comparison. Computes no statistic.
