//! The System V segment by which a server guards its data, where a killed one left it.
//!
//! The kernel keeps it until somebody removes it. PostgreSQL takes the inode of
//! the data directory for its key, or the next number that is free, and writes
//! key and id into `postmaster.pid` a moment later. This module knows whose a
//! segment is, not how a server ends.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::{Command, Stdio},
};

/// Of a segment that holds nothing but PostgreSQL's header.
pub(super) const SIZE: u64 = 56;
/// How many keys PostgreSQL may have tried.
pub(super) const KEYS: u32 = 16;

/// Who may have made a segment: the server of a directory of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Maker {
    /// Of the directory; the first key that is tried.
    inode: u64,
    /// The user who owns the directory.
    user: u32,
}

/// A line of `/proc/sysvipc/shm`.
#[derive(Debug, PartialEq, Eq)]
struct Segment {
    /// The kernel prints it with a sign, PostgreSQL without.
    key: u32,
    id: i64,
    size: u64,
    /// The process that made it.
    maker: i64,
    /// Processes that have it.
    users: u64,
    /// The user who made it.
    owner: u32,
}

impl Maker {
    /// Of that directory, if it is there.
    pub(super) fn of(data: &Path) -> Option<Self> {
        let found = fs::metadata(data).ok()?;
        Some(Self {
            inode: found.ino(),
            user: found.uid(),
        })
    }

    /// Whether a segment that nobody uses was made by a server of these data that has ended.
    ///
    /// One of another server with a key as near, ended too, is nothing that anyone misses.
    fn left(&self, segment: &Segment, is_alive: impl Fn(i64) -> bool) -> bool {
        segment.size == SIZE
            && segment.users == 0
            && segment.owner == self.user
            && segment.key.wrapping_sub(self.inode as u32) < KEYS
            && !is_alive(segment.maker)
    }
}

/// Frees what a server that has ended left, and the segment of that key and id. False while others use that one.
pub(super) fn free(maker: &Maker, told: Option<(i64, i64)>) -> bool {
    let is_told = |segment: &Segment| told.is_some_and(|(key, id)| (segment.key, segment.id) == (key as u32, id));
    let mut free = true;
    for segment in segments(&fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default()) {
        if is_told(&segment) && segment.users > 0 {
            free = false;
        } else if is_told(&segment) || maker.left(&segment, is_alive) {
            remove(segment.id);
        }
    }
    free
}

/// Columns: key, id, mode, size, first and last process, users, owner, group, maker's user, …
fn segments(text: &str) -> impl Iterator<Item = Segment> {
    text.lines().filter_map(|line| {
        let columns: Vec<i64> = line
            .split_whitespace()
            .map_while(|column| column.parse().ok())
            .collect();
        let &[key, id, _, size, maker, _, users, _, _, owner, ..] = columns.as_slice() else {
            return None;
        };
        Some(Segment {
            key: key as u32,
            id,
            size: size.try_into().ok()?,
            maker,
            users: users.try_into().ok()?,
            owner: owner.try_into().ok()?,
        })
    })
}

/// One that has ended and was not yet reaped is none: it uses nothing any more.
fn is_alive(process: i64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
    state.is_some_and(|state| !state.starts_with(['Z', 'X']))
}

fn remove(id: i64) {
    let mut command = Command::new("ipcrm");
    command.args(["--shmem-id", &id.to_string()]);
    let _ = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// How many segments there are that a server of these data may have made, used or not.
///
/// Directories made one after the other have inodes as near: a server that lives and works in
/// another one did not.
#[cfg(test)]
pub(super) fn count(maker: &Maker) -> usize {
    let text = fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let near = |segment: &Segment| segment.key.wrapping_sub(maker.inode as u32) < KEYS && segment.owner == maker.user;
    let elsewhere = |segment: &Segment| {
        let works_in = fs::metadata(format!("/proc/{}/cwd", segment.maker));
        works_in.is_ok_and(|directory| directory.ino() != maker.inode)
    };
    segments(&text)
        .filter(|segment| near(segment) && !elsewhere(segment))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_server_of_these_data_left_is_taken_for_it() {
        let memory = "       key      shmid perms       size  cpid  lpid nattch   uid   gid  cuid  cgid\n\
               98  1  600   56 13 13      0   101   104   101   104      0  0  0  4096  0\n\
              113  2  600   56 13 13      0   101   104   101   104\n\
              114  3  600   56 13 13      0   101   104   101   104\n\
               97  4  600   56 13 13      0   101   104   101   104\n\
               99  5  600   64 13 13      0   101   104   101   104\n\
              100  6  600   56 13 13      1   101   104   101   104\n\
              101  7  600   56 13 13      0   101   104   102   104\n\
              102  8  600   56 14 13      0   101   104   101   104\n";
        let left = |inode: u64, memory: &str| -> Vec<i64> {
            let maker = Maker { inode, user: 101 };
            let left = segments(memory).filter(|segment| maker.left(segment, |process| process == 14));
            left.map(|segment| segment.id).collect()
        };
        assert_eq!(segments(memory).count(), 8);
        assert_eq!(left(98, memory), [1, 2]);
        // The low 32 bits, with and without a sign, and beyond their end.
        assert_eq!(left((7 << 32) + 98, memory), [1, 2]);
        let signed = "-2 9 600 56 13 13 0 0 0 101 0\n1 10 600 56 13 13 0 0 0 101 0\n";
        assert_eq!(left(4_294_967_294, signed), [9, 10]);
    }

    #[test]
    fn who_has_ended_is_not_alive_even_where_nobody_reaped() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let id = i64::from(child.id());
        assert!(is_alive(id));
        drop(child.stdin.take());
        while is_alive(id) {
            std::thread::yield_now();
        }
        assert!(Path::new("/proc").join(id.to_string()).exists());
        child.wait().unwrap();
        assert!(!is_alive(id));
    }
}
