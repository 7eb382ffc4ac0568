//! What a process has used, as the kernel accounts for it in `/proc`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Position of `utime` among the fields of `/proc/PID/stat` that follow the program's name.
const UTIME_FIELD: usize = 11;

/// Processor time of all threads, in the kernel and outside, to the tick (10 ms).
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let file = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&file).with_context(|| file.clone())?;
    // The name stands in parentheses and may hold anything, also blanks and parentheses.
    let (_, fields) = text.rsplit_once(')').with_context(|| file.clone())?;
    let mut fields = fields.split_whitespace().skip(UTIME_FIELD);
    let mut ticks = || -> Result<u64> { Ok(fields.next().with_context(|| file.clone())?.parse()?) };
    let total = ticks()? + ticks()?;
    Ok(Duration::from_secs_f64(total as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// Processor time of several processes together, if there are any.
pub(crate) fn cpu_of_all(pids: &[u32]) -> Result<Option<Duration>> {
    let all: Vec<Duration> = pids.iter().copied().map(cpu).collect::<Result<_>>()?;
    Ok((!all.is_empty()).then(|| all.iter().sum()))
}

/// What several processes occupy together, if there are any.
pub(crate) fn resident_bytes_of_all(pids: &[u32]) -> Result<Option<u64>> {
    let all: Vec<Memory> = pids.iter().copied().map(memory).collect::<Result<_>>()?;
    Ok((!all.is_empty()).then(|| all.iter().map(|memory| memory.resident_bytes).sum()))
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// What it occupies now.
    pub(crate) resident_bytes: u64,
    /// The most that it ever occupied.
    pub(crate) peak_bytes: u64,
}

/// How much memory a process occupies.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let file = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&file).with_context(|| file.clone())?;
    let bytes = |key: &str| -> Result<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        let kib = line.and_then(|rest| rest.split_whitespace().next());
        Ok(kib.with_context(|| format!("{file} has no {key}"))?.parse::<u64>()? * 1_024)
    };
    Ok(Memory { resident_bytes: bytes("VmRSS:")?, peak_bytes: bytes("VmHWM:")? })
}

/// How many files, sockets and pipes a process has open.
pub(crate) fn descriptors(pid: u32) -> Result<u64> {
    let folder = format!("/proc/{pid}/fd");
    Ok(fs::read_dir(&folder).context(folder)?.count() as u64)
}

/// Bytes that the files below `folder` occupy on disk.
pub(crate) fn disk_bytes(folder: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            // A database deletes files while it is looked at.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                bytes += metadata.blocks() * 512;
            }
        }
    }
    Ok(bytes)
}

/// Allows this process as many open sockets as it may allow itself.
pub(crate) fn raise_descriptor_limit() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit { current: maximum, maximum };
    setrlimit(Resource::Nofile, limit).context("raising the limit on open files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_memory_and_descriptors_and_a_stranger_has_not() {
        let own = std::process::id();
        let memory = memory(own).unwrap();
        assert!(memory.resident_bytes > 100_000 && memory.peak_bytes >= memory.resident_bytes);
        assert!(descriptors(own).unwrap() >= 3);
        assert!(cpu(own).unwrap() < Duration::from_hours(1));
        assert!(cpu(0).is_err());
        let once = cpu(own).unwrap();
        assert!(cpu_of_all(&[own, own]).unwrap() >= Some(once * 2));
        assert!(resident_bytes_of_all(&[own, own]).unwrap() > Some(memory.resident_bytes));
        assert!(cpu_of_all(&[]).unwrap().is_none() && cpu_of_all(&[own, 0]).is_err());
    }
}
