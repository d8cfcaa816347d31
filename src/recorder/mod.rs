//! Samples → histograms and intervals.
