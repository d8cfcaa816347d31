//! The conduct of one run, from prepare to teardown.
