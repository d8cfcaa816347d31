//! TOML → Scenario; every problem at once, each with its place in the file.
