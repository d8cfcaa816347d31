//! Things set up and torn down.
