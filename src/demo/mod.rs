//! The built-in service to try things on.
