//! Where a run is measured: machine, system, build, repository, CI.
//!
//! Facts that cannot be had are `None`, never an error: a run is worth having
//! without them.

use std::{path::Path, thread};

use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use super::repository::repository;
use crate::run::Environment;

/// A CI system, known by a variable that it sets.
struct Ci {
    name: &'static str,
    /// Set wherever it runs jobs.
    marker: &'static str,
    /// Holds the commit.
    commit: &'static str,
    /// Hold the branch; the first that is set counts.
    branch: &'static [&'static str],
}

/// Those recognised; the last stands for all others.
const CI_SYSTEMS: &[Ci] = &[
    Ci {
        name: "github",
        marker: "GITHUB_ACTIONS",
        commit: "GITHUB_SHA",
        // On a pull request the name of the ref is "17/merge"; its branch is the head.
        branch: &["GITHUB_HEAD_REF", "GITHUB_REF_NAME"],
    },
    Ci {
        name: "gitlab",
        marker: "GITLAB_CI",
        commit: "CI_COMMIT_SHA",
        branch: &[
            "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME",
            "CI_COMMIT_BRANCH",
            "CI_COMMIT_REF_NAME",
        ],
    },
    Ci {
        name: "buildkite",
        marker: "BUILDKITE",
        commit: "BUILDKITE_COMMIT",
        branch: &["BUILDKITE_BRANCH"],
    },
    Ci {
        name: "jenkins",
        marker: "JENKINS_URL",
        commit: "GIT_COMMIT",
        branch: &["CHANGE_BRANCH", "BRANCH_NAME", "GIT_BRANCH"],
    },
    Ci {
        name: "other",
        marker: "CI",
        commit: "CI_COMMIT_SHA",
        branch: &[],
    },
];

/// Collects the facts; at most two seconds, when git hangs.
///
/// `ci` looks up a variable of the environment. The repository is that of the
/// working directory; where it says nothing (no git, a detached head), the CI
/// system's variables do.
pub fn environment(ci: impl Fn(&str) -> Option<String>) -> Environment {
    environment_in(Path::new("."), ci)
}

fn environment_in(directory: &Path, variable: impl Fn(&str) -> Option<String>) -> Environment {
    let wanted = RefreshKind::nothing()
        .with_cpu(CpuRefreshKind::nothing())
        .with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(wanted).ok();
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let ci = CI_SYSTEMS
        .iter()
        .find(|ci| set(ci.marker).is_some_and(|value| value != "false" && value != "0"));
    let repository = repository(directory);
    let dirty = repository.as_ref().map(|repository| repository.dirty);
    let repository = repository.unwrap_or_default();
    Environment {
        os: System::long_os_version().ok(),
        kernel: System::kernel_version().ok(),
        arch: std::env::consts::ARCH.to_owned(),
        cpu: system.as_ref().and_then(cpu_brand),
        cores: thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: system.as_ref().map(System::total_memory).filter(|bytes| *bytes > 0),
        build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
        commit: repository.commit.or_else(|| set(ci?.commit)),
        branch: repository
            .branch
            .or_else(|| ci?.branch.iter().find_map(|name| set(name))),
        dirty,
        ci: ci.map(|ci| ci.name.to_owned()),
    }
}

fn cpu_brand(system: &System) -> Option<String> {
    let brand = system.cpus().first()?.brand().trim();
    (!brand.is_empty()).then(|| brand.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The environment outside any repository, with these variables.
    fn outside(variables: &[(&str, &str)]) -> Environment {
        let directory = tempfile::tempdir().unwrap();
        environment_in(directory.path(), |name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_machine_is_described() {
        let found = outside(&[]);
        assert!(
            found.cores >= 1 && found.memory_bytes.is_some_and(|bytes| bytes > 1 << 24),
            "{found:?}"
        );
        assert!(!found.arch.is_empty() && found.kernel.is_some(), "{found:?}");
        assert_eq!(found.build, if cfg!(debug_assertions) { "debug" } else { "release" });
        assert_eq!(
            (found.commit, found.branch, found.dirty, found.ci),
            (None, None, None, None)
        );
    }

    #[test]
    fn ci_variables_stand_in_for_a_repository() {
        let found = outside(&[
            ("CI", "true"),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_SHA", "abc"),
            ("GITHUB_HEAD_REF", "topic"),
            ("GITHUB_REF_NAME", "17/merge"),
        ]);
        assert_eq!(found.ci.as_deref(), Some("github"));
        assert_eq!(
            (found.commit.as_deref(), found.branch.as_deref()),
            (Some("abc"), Some("topic"))
        );

        let pushed = outside(&[
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_HEAD_REF", ""),
            ("GITHUB_REF_NAME", "main"),
        ]);
        assert_eq!(pushed.branch.as_deref(), Some("main"), "an empty variable is none");
        assert_eq!(
            outside(&[("GITLAB_CI", "true"), ("CI_COMMIT_BRANCH", "x")])
                .branch
                .as_deref(),
            Some("x")
        );
        assert_eq!(
            outside(&[("JENKINS_URL", "http://j"), ("GIT_COMMIT", "d")])
                .commit
                .as_deref(),
            Some("d")
        );
        assert_eq!(outside(&[("CI", "true")]).ci.as_deref(), Some("other"));
        assert_eq!(outside(&[("CI", "false"), ("GITHUB_SHA", "abc")]).commit, None);
    }
}
