//! A managed process: started in a group of its own, waited for, watched, and stopped whole.
//!
//! How nothing is left behind:
//! - [`Process::stop`] asks the group to end, waits, kills it, and reaps;
//! - dropping a [`Process`] kills its group, [`super::kill_all`] kills all groups;
//! - when loadgate itself is killed nothing of the above runs. The kernel's
//!   parent-death signal would have to be set between fork and exec, which safe
//!   Rust cannot do. Instead the child's standard input is a pipe that ends with
//!   its parent, and [`PARENT_PIPE`] tells a child that is a loadgate to end
//!   with it. Another program outlives a killed loadgate unless it, too, ends
//!   with its standard input.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::{
    process::{Child, ChildStdin, Command},
    time::{Instant, sleep, timeout},
};

use super::{
    LabError, groups,
    output::{Output, mask},
    probe::{Probe, Ready},
};

/// Set to `1` for a child that is a loadgate: end when standard input ends.
pub const PARENT_PIPE: &str = "LOADGATE_PARENT_PIPE";

/// How long a group may take to end once asked to.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Between two probes, and between two looks at a group that is ending.
const POLL: Duration = Duration::from_millis(25);

/// What to start and how to know that it is ready.
#[derive(Debug, Clone)]
pub struct Spec<'a> {
    /// What messages call it, such as `target shop`.
    pub name: &'a str,
    /// The command line, port and directory filled in; split as a shell would, run without one.
    pub command: &'a str,
    /// The running executable, which is meant where the first word is `loadgate`.
    pub loadgate: &'a Path,
    /// What shows that it is ready.
    pub ready: Ready,
    /// How long it may take to become ready; 30 s is a good value.
    pub ready_within: Duration,
    /// Texts that must not appear in any message.
    pub secrets: &'a [String],
}

/// A process that is ready, until it ends or is stopped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    group: Pid,
    group_ended: bool,
    output: Output,
    secrets: Vec<String>,
    /// Held open: its end tells the child that its parent is gone.
    _parent_pipe: Option<ChildStdin>,
}

impl Process {
    /// Starts the command and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be started, ends early or is not ready in time; nothing is left running then.
    pub async fn start(spec: &Spec<'_>) -> Result<Self, LabError> {
        let probe = Probe::new(&spec.ready).map_err(|reason| LabError::Probe {
            name: spec.name.into(),
            reason: mask(&reason, spec.secrets),
        })?;
        let mut process = Self::spawn(spec)?;
        match process.until_ready(spec, &probe).await {
            Ok(()) => Ok(process),
            Err(error) => {
                process.stop().await;
                Err(error)
            }
        }
    }

    /// The group of processes that it leads.
    pub fn group(&self) -> Pid {
        self.group
    }

    /// How it ended, if it has; does not wait. What is left of its group ends with it.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten();
        if status.is_some() {
            self.end_group();
        }
        status
    }

    /// Waits until it ends. May be dropped and called again. What is left of its group ends with it.
    ///
    /// # Errors
    /// When the system cannot say.
    pub async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.end_group();
        self.output.settle().await;
        Ok(status)
    }

    /// The last lines that it printed, secrets masked, for messages.
    pub fn last_output(&self) -> String {
        self.output.last_lines(&self.secrets)
    }

    /// The process id, which is also that of its group.
    pub fn id(&self) -> i32 {
        self.group.as_raw_pid()
    }

    /// Asks the whole group to end, kills what has not after 5 s, and reaps.
    pub async fn stop(self) {
        self.stop_within(STOP_GRACE).await;
    }

    async fn stop_within(mut self, grace: Duration) {
        if self.exited().is_none() {
            let _ = kill_process_group(self.group, Signal::TERM);
            let _ = timeout(grace, self.ended()).await;
        }
        self.end_group();
        let _ = self.child.wait().await;
    }

    fn spawn(spec: &Spec<'_>) -> Result<Self, LabError> {
        let mut command = command(spec)?;
        let started = groups::spawn(Signal::KILL, || command.spawn(), group_of).map_err(|source| LabError::Start {
            name: spec.name.into(),
            command: mask(spec.command, spec.secrets),
            source,
        });
        let mut child = started?;
        let group = group_of(&child).ok_or_else(|| LabError::System {
            name: spec.name.into(),
            source: std::io::Error::other("the process has no id"),
        })?;
        let output = Output::drain(child.stdout.take(), child.stderr.take());
        // Taken out of the child, which would close it when waited for.
        let parent_pipe = child.stdin.take();
        Ok(Self {
            child,
            group,
            group_ended: false,
            output,
            secrets: spec.secrets.to_vec(),
            _parent_pipe: parent_pipe,
        })
    }

    /// Probes until ready, until the process ends, or until the deadline.
    async fn until_ready(&mut self, spec: &Spec<'_>, probe: &Probe) -> Result<(), LabError> {
        let deadline = Instant::now() + spec.ready_within;
        let mut found = "no answer".to_owned();
        loop {
            let attempt = tokio::select! {
                biased;
                status = self.wait() => return Err(self.exited_early(spec, status)),
                attempt = tokio::time::timeout_at(deadline, probe.attempt()) => attempt,
            };
            match attempt {
                // Something may have answered in place of a process that has just ended.
                Ok(Ok(())) if self.exited().is_none() => return Ok(()),
                Ok(Ok(())) => continue,
                Ok(Err(reason)) => found = reason,
                Err(_) => {}
            }
            if Instant::now() >= deadline {
                return Err(self.not_ready(spec, &found));
            }
            tokio::time::sleep_until(deadline.min(Instant::now() + POLL)).await;
        }
    }

    fn exited_early(&self, spec: &Spec<'_>, status: std::io::Result<ExitStatus>) -> LabError {
        let name = spec.name.to_owned();
        match status {
            Err(source) => LabError::System { name, source },
            Ok(status) => LabError::Exited {
                name,
                command: mask(spec.command, spec.secrets),
                status,
                output: self.last_output(),
            },
        }
    }

    fn not_ready(&self, spec: &Spec<'_>, found: &str) -> LabError {
        LabError::NotReady {
            name: spec.name.into(),
            command: mask(spec.command, spec.secrets),
            within: spec.ready_within,
            reason: mask(found, spec.secrets),
            output: self.last_output(),
        }
    }

    /// Completes when the process and every other member of its group have ended.
    async fn ended(&mut self) {
        let _ = self.child.wait().await;
        while test_kill_process_group(self.group).is_ok() {
            sleep(POLL).await;
        }
    }

    /// Kills what is left of the group and forgets it, once.
    ///
    /// No later than when the leader is reaped: from then on the number of an
    /// empty group may be given to others.
    fn end_group(&mut self) {
        if !std::mem::replace(&mut self.group_ended, true) {
            let _ = kill_process_group(self.group, Signal::KILL);
            groups::forget(self.group);
        }
    }
}

impl Drop for Process {
    /// The last resort, for a `Process` that was not stopped. Tokio reaps what is killed here.
    fn drop(&mut self) {
        self.end_group();
    }
}

/// The command, ready to spawn: without a shell, in a group of its own, its streams ours.
fn command(spec: &Spec<'_>) -> Result<Command, LabError> {
    let wrong = |reason: &str| LabError::Command {
        name: spec.name.into(),
        command: mask(spec.command, spec.secrets),
        reason: reason.into(),
    };
    let words = shell_words::split(spec.command).map_err(|_| wrong("has a quote that is not closed"))?;
    let (program, arguments) = words.split_first().ok_or_else(|| wrong("is empty"))?;
    let mut command = if program == "loadgate" {
        let mut command = Command::new(spec.loadgate);
        command.env(PARENT_PIPE, "1");
        command
    } else {
        Command::new(program)
    };
    command
        .args(arguments)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    Ok(command)
}

/// A process started in a group of its own leads it: the numbers are the same.
fn group_of(child: &Child) -> Option<Pid> {
    Pid::from_raw(child.id()?.try_into().ok()?)
}

#[cfg(test)]
mod tests;
