//! How one operation is done.
