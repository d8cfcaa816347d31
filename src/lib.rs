//! loadgate: load testing and performance regression gates for HTTP services and databases.
//!
//! The crate is an hourglass. Above [`run`] the code *drives*: async, sockets,
//! clocks. Below it *judges*: plain functions over plain data. They meet in
//! [`run::Run`], which is a file; so a run can be judged and rendered again
//! without a target.
//!
//! ```text
//! units metric threshold claim sample    words shared by all
//! suite        the shipped experiments as tests
//! pacer        waiting until an exact moment
//! scenario     TOML → Scenario, every problem at once
//! workload     Scenario → Workload, all compiled before load
//! target       how one operation is done: http, sqlite, postgres; pool, retry, breaker
//! recorder     samples → histograms and intervals
//! executor     when operations start: open (arrivals), closed (users)
//! observer     machine, repository, the generator itself, PostgreSQL's counters
//! lab          managed processes, private databases, links to servers
//! trial        the conduct of one run
//! run          ── the waist: the result and its file
//! baseline     runs accepted as reference
//! stats        estimators and intervals
//! comparison   run beside baseline → verdict
//! report       text, JSON, PNG, HTML, and what CI systems read
//! demo         the built-in service to try things on
//! cli          arguments and verbs
//! ```
//!
//! Modules import only from those below them in the order that
//! `tests/program/layout.rs` checks; the judging half never imports the driving half.

pub mod baseline;
pub mod claim;
pub mod cli;
pub mod comparison;
pub mod demo;
pub mod executor;
pub mod lab;
pub mod metric;
pub mod observer;
pub mod pacer;
pub mod recorder;
pub mod report;
pub mod run;
pub mod sample;
pub mod scenario;
pub mod stats;
pub mod suite;
pub mod target;
pub mod threshold;
pub mod trial;
pub mod units;
pub mod workload;
