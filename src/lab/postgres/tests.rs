//! Servers killed at bad moments, in real data directories: no shared memory stays.

use std::{
    env, fs,
    io::Write as _,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::{
    abandoned,
    account::Account,
    guard::Guard,
    memory::{self, Maker},
    programs::Programs,
    server::init_arguments,
    *,
};
use crate::lab::RunDirectory;

/// Kills of initdb, half of them with the guard; it takes some 0.7 s.
const KILLS: u64 = 12;
const APART: Duration = Duration::from_millis(65);

/// Held by the desk that there is.
static ONLY: Mutex<()> = Mutex::new(());

/// A directory as a cluster has it, with programs to run in it.
struct Desk {
    programs: Programs,
    account: Option<Account>,
    directory: RunDirectory,
    maker: Maker,
    /// What one desk leaves behind is as near to the data of another as their inodes are.
    _only: MutexGuard<'static, ()>,
}

impl Desk {
    /// Where servers can be started; where not it is said, and with `CI` set it fails.
    fn new() -> Option<Self> {
        let site = Site::new(|name| env::var(name).ok());
        let Ok(programs) = Programs::find(&site) else {
            let missing = "PostgreSQL's server programs were not found: run ci/test, which installs them";
            assert!(env::var_os("CI").is_none(), "{missing}");
            let _ = writeln!(io::stderr(), "SKIPPED a test: {missing}");
            return None;
        };
        let only = ONLY.lock().unwrap_or_else(PoisonError::into_inner);
        let account = Account::find(None).unwrap();
        let directory = RunDirectory::new_in(Path::new("/tmp")).unwrap();
        let data = directory.path().join("data");
        fs::create_dir(&data).unwrap();
        for (path, mode) in [(directory.path(), 0o711), (&data, 0o700)] {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        Account::give(account.as_ref(), &data).unwrap();
        let maker = Maker::of(&data).unwrap();
        Some(Self {
            programs,
            account,
            directory,
            maker,
            _only: only,
        })
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn initdb(&self) -> Command {
        let mut command = self.programs.command("initdb", self.account.as_ref());
        command.args(init_arguments(&self.programs)).arg("-D").arg(self.data());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// A server that has written all into `postmaster.pid`, its segment counted.
    fn serving(&self) -> Child {
        let mut command = self.programs.command("postgres", self.account.as_ref());
        command.arg("-D").arg(self.data());
        command.arg("-k").arg(self.data());
        command.args(["-h", ""]);
        // Killed, it would leave POSIX memory that is not the matter here.
        command.args(["-c", "dynamic_shared_memory_type=mmap"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let file = self.data().join("postmaster.pid");
        until(|| fs::read_to_string(&file).is_ok_and(|text| text.lines().nth(7).is_some()));
        assert_eq!(memory::count(&self.maker), 1);
        child
    }

    /// As if the server had not come to write down its memory.
    fn forget_memory(&self) {
        let file = self.data().join("postmaster.pid");
        let text = fs::read_to_string(&file).unwrap();
        let first: Vec<&str> = text.lines().take(5).collect();
        fs::write(file, first.join("\n")).unwrap();
    }
}

/// The POSIX memory that processes of a group have.
fn mapped(group: Pid) -> Vec<PathBuf> {
    let group = group.as_raw_pid().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let maps = processes.filter_map(|process| {
        let stat = fs::read_to_string(process.join("stat")).ok()?;
        let member = stat.rsplit_once(") ")?.1.split(' ').nth(2)? == group;
        member.then(|| fs::read_to_string(process.join("maps")).ok())?
    });
    let maps: String = maps.collect();
    let paths = maps
        .split_whitespace()
        .filter(|word| word.starts_with("/dev/shm/PostgreSQL."));
    paths.map(PathBuf::from).collect()
}

#[track_caller]
fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if done() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("waited for half a minute");
}

fn kill(child: &mut Child) {
    let _ = kill_process(Pid::from_child(child), Signal::KILL);
    child.wait().unwrap();
}

#[test]
fn the_sweep_finds_memory_that_was_not_written_down() {
    let Some(desk) = Desk::new() else { return };
    assert!(desk.initdb().status().unwrap().success());
    let mut server = desk.serving();
    desk.forget_memory();
    kill(&mut server);
    assert_eq!(memory::count(&desk.maker), 1);
    until(|| {
        abandoned::end(desk.directory.path());
        memory::count(&desk.maker) == 0
    });
}

#[test]
fn the_guard_finds_memory_that_was_not_written_down() {
    let Some(desk) = Desk::new() else { return };
    assert!(desk.initdb().status().unwrap().success());
    let guard = Guard::set(&desk.directory).unwrap();
    let mut server = desk.serving();
    desk.forget_memory();
    kill(&mut server);
    // Its children notice a moment later.
    thread::sleep(Duration::from_secs(1));
    drop(guard);
    assert_eq!(memory::count(&desk.maker), 0);
    assert!(!desk.data().exists());
}

#[test]
fn a_server_that_ignores_what_background_jobs_ignore_is_ended() {
    let Some(desk) = Desk::new() else { return };
    let guard = Guard::set(&desk.directory).unwrap();
    let mut job = Command::new("sh");
    // As initdb in a background job of a shell: neither signal reaches it.
    job.args(["-c", "trap '' INT QUIT; echo ready; exec sleep 60"])
        .stdout(Stdio::piped());
    guard.enlist(&mut job);
    let mut job = job.spawn().unwrap();
    io::Read::read_exact(job.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
    drop(guard);
    assert!(job.try_wait().unwrap().is_some());
}

#[test]
fn initdb_killed_at_any_moment_leaves_no_memory() {
    let kill_at = |round: u64| {
        let desk = Desk::new()?;
        let guard = Guard::set(&desk.directory).unwrap();
        let mut initdb = desk.initdb();
        // A group of its own where it is killed by the test, that of the guard where by that.
        let swept = round.is_multiple_of(2);
        if swept {
            initdb.process_group(0);
        } else {
            guard.enlist(&mut initdb);
        }
        let mut initdb = initdb.spawn().unwrap();
        thread::sleep(APART * u32::try_from(round).unwrap());
        if swept {
            let group = Pid::from_child(&initdb);
            let _ = kill_process_group(group, Signal::STOP);
            // With the guard nobody is left who could know of it.
            let mapped = mapped(group);
            let _ = kill_process_group(group, Signal::KILL);
            initdb.wait().unwrap();
            mapped.iter().for_each(|path| drop(fs::remove_file(path)));
            abandoned::end(desk.directory.path());
            guard.dismiss();
        } else {
            let mapped = mapped(guard.group());
            drop(guard);
            initdb.wait().unwrap();
            let left: Vec<_> = mapped.iter().filter(|path| path.exists()).collect();
            assert!(left.is_empty(), "killed in round {round}: {left:?}");
        }
        assert_eq!(memory::count(&desk.maker), 0, "killed in round {round}");
        Some(())
    };
    for round in 0..KILLS {
        if kill_at(round).is_none() {
            return;
        }
    }
}
